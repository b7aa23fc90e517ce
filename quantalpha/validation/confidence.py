"""How far off may it be? Bootstrap confidence intervals of what one series of returns came to."""

from statistics import NormalDist

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.validation.bootstrap import block_length, resample
from quantalpha.validation.metrics import NAN, finite, max_drawdown, profit_factor, sharpe_ratio

NORMAL = NormalDist()


def confidence_bands(returns, *, level: float = 0.95, paths: int = 2000, block: float | None = None, seed: int = 0) -> pd.DataFrame:
    """DataFrame[observed, low, high] with rows sharpe_ratio (per period), max_drawdown, profit_factor.

    returns: float64[n], simple, at least -1. low and high: the interval that holds the true figure with probability `level`, by the
    stationary bootstrap, percentiles corrected for bias (Efron, Canadian Journal of Statistics 9, 1981). block None: the longer of what
    `block_length` asks for the returns and for their squares. Paths on which a figure is undefined are left out; NaN where none is left.
    """
    values = finite(returns, "returns")
    if not 0.0 < level < 1.0:
        raise UsageError(f"confidence_bands: expected a level of (0, 1), found {level}")
    block = max(block_length(values), block_length(values**2)) if block is None else float(block)
    plan = {"paths": paths, "block": block, "seed": seed, "steps": []}
    drawn, gains = resample(values, **plan), resample(np.maximum(values, 0.0), **plan).mean  # the same seed: the same paths
    rows = {
        "sharpe_ratio": (sharpe_ratio(values, periods_per_year=1.0), _ratio(drawn.mean, drawn.deviation)),
        "max_drawdown": (max_drawdown(np.cumprod(np.append(1.0, 1.0 + values))), drawn.max_drawdown),
        "profit_factor": (profit_factor(values), _ratio(gains, gains - drawn.mean)),
    }
    table = {name: [observed, *_interval(observed, found, level)] for name, (observed, found) in rows.items()}
    return pd.DataFrame.from_dict(table, orient="index", columns=["observed", "low", "high"]).rename_axis(index="figure")


def _interval(observed: float, found: np.ndarray, level: float) -> list[float]:
    """Percentiles moved by twice the bias, both in normal deviates."""
    known = found[np.isfinite(found)]
    if not known.size or not np.isfinite(observed):
        return [NAN, NAN]
    below = ((known < observed).sum() + (known == observed).sum() / 2 + 0.5) / (known.size + 1)
    bias, reach = NORMAL.inv_cdf(below), NORMAL.inv_cdf((1.0 + level) / 2.0)
    return np.quantile(known, [NORMAL.cdf(2.0 * bias - reach), NORMAL.cdf(2.0 * bias + reach)]).tolist()


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.size, NAN), where=whole > 1e-12 * np.abs(part))
