"""Evidence that a result is earned: splits, metrics, and proof that nothing looks ahead."""

from quantalpha.validation.augment import block_bootstrap, jitter, magnitude_warp, time_warp, training_windows
from quantalpha.validation.calibration import brier_score, brier_skill, calibration_error, reliability
from quantalpha.validation.causality import check_causal
from quantalpha.validation.causality_evidence import LeakReport
from quantalpha.validation.causality_fit import check_fit, check_walk_forward
from quantalpha.validation.classification import class_scores, confusion, direction_loss, judged, log_loss, log_losses
from quantalpha.validation.clusters import EffectiveTrials, effective_trials
from quantalpha.validation.comparison import Difference, diebold_mariano, sharpe_difference
from quantalpha.validation.confidence import confidence_bands
from quantalpha.validation.coverage import check_coverage
from quantalpha.validation.discrimination import areas, precision_recall_curves, roc_curves
from quantalpha.validation.drift import period_drift
from quantalpha.validation.evidence import Evidence, evidence
from quantalpha.validation.family import Family, family
from quantalpha.validation.information import information_coefficient, information_decay
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
from quantalpha.validation.overfitting import Overfitting, probability_of_backtest_overfitting
from quantalpha.validation.redundancy import alike, rank_correlation
from quantalpha.validation.sharpe import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)
from quantalpha.validation.snooping import Snooping, superior_tries
from quantalpha.validation.splits import Fold, combinatorial_paths, combinatorial_purged, group_blocks, walk_forward
from quantalpha.validation.trials import Trials, Try
from quantalpha.validation.warm_up import WarmUpReport, check_warm_up

__all__ = [
    "Difference",
    "EffectiveTrials",
    "Evidence",
    "Family",
    "Fold",
    "LeakReport",
    "Overfitting",
    "Snooping",
    "Trials",
    "Try",
    "WarmUpReport",
    "alike",
    "annual_volatility",
    "areas",
    "block_bootstrap",
    "brier_score",
    "brier_skill",
    "cagr",
    "calibration_error",
    "calmar_ratio",
    "check_causal",
    "check_coverage",
    "check_fit",
    "check_walk_forward",
    "check_warm_up",
    "class_scores",
    "combinatorial_paths",
    "combinatorial_purged",
    "confidence_bands",
    "confusion",
    "deflated_sharpe_ratio",
    "diebold_mariano",
    "direction_loss",
    "drawdown",
    "effective_trials",
    "evidence",
    "expected_maximum_sharpe",
    "family",
    "group_blocks",
    "information_coefficient",
    "information_decay",
    "jitter",
    "judged",
    "log_loss",
    "log_losses",
    "magnitude_warp",
    "max_drawdown",
    "minimum_track_record_length",
    "period_drift",
    "precision_recall_curves",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "profit_factor",
    "rank_correlation",
    "reliability",
    "roc_curves",
    "sharpe_difference",
    "sharpe_ratio",
    "sortino_ratio",
    "superior_tries",
    "time_warp",
    "training_windows",
    "walk_forward",
    "win_rate",
]
