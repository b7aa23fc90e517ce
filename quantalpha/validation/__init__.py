"""Evidence that a result is earned: splits, metrics, and proof that nothing looks ahead."""

from quantalpha.validation.augment import block_bootstrap, jitter, magnitude_warp, time_warp, training_windows
from quantalpha.validation.causality import check_causal
from quantalpha.validation.causality_evidence import LeakReport
from quantalpha.validation.causality_fit import check_fit, check_walk_forward
from quantalpha.validation.classification import class_scores, direction_loss, log_loss
from quantalpha.validation.drift import period_drift
from quantalpha.validation.metrics import (
    annual_volatility,
    cagr,
    calmar_ratio,
    drawdown,
    max_drawdown,
    profit_factor,
    sharpe_ratio,
    sortino_ratio,
    win_rate,
)
from quantalpha.validation.redundancy import alike, rank_correlation
from quantalpha.validation.splits import Fold, combinatorial_paths, combinatorial_purged, group_blocks, walk_forward
from quantalpha.validation.trials import Trials, Try
from quantalpha.validation.warm_up import WarmUpReport, check_warm_up

__all__ = [
    "Fold",
    "LeakReport",
    "Trials",
    "Try",
    "WarmUpReport",
    "alike",
    "annual_volatility",
    "block_bootstrap",
    "cagr",
    "calmar_ratio",
    "check_causal",
    "check_fit",
    "check_walk_forward",
    "check_warm_up",
    "class_scores",
    "combinatorial_paths",
    "combinatorial_purged",
    "direction_loss",
    "drawdown",
    "group_blocks",
    "jitter",
    "log_loss",
    "magnitude_warp",
    "max_drawdown",
    "period_drift",
    "profit_factor",
    "rank_correlation",
    "sharpe_ratio",
    "sortino_ratio",
    "time_warp",
    "training_windows",
    "walk_forward",
    "win_rate",
]
