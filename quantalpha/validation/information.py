"""How well a forecast ranks what comes, and how soon that is over."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError

HORIZONS = (1, 2, 4, 8, 24, 48, 96, 168)


def information_coefficient(forecast, outcome) -> float:
    """Spearman's correlation of what was forecast and what came, [n] each, of the rows where both are finite; NaN where one is constant."""
    pair = pd.DataFrame({"forecast": np.asarray(forecast, dtype=float), "outcome": np.asarray(outcome, dtype=float)})
    ranks = pair[np.isfinite(pair).all(axis=1)].rank()
    with np.errstate(invalid="ignore"):
        return float(ranks["forecast"].corr(ranks["outcome"], min_periods=2))


def information_decay(forecast: pd.Series, opens: pd.Series, horizons: Sequence[int] = HORIZONS) -> pd.DataFrame:
    """Information coefficient of the forecast at each bar's close and the return from the next open over 1, 2, ... bars.

    forecast: by bar, NaN where there is none. opens: open price of all bars, the forecast's and those after them. DataFrame[
    information_coefficient, independent, t_value] by horizon; NaN beyond the bars there are.

    Returns over h bars overlap and say the same h times over: the t-value counts every h-th row only (`independent`), as if the others
    added nothing. For forecasts that change faster than that it is on the safe side. Above 2 it is hardly luck, for one horizon looked at.
    """
    places = opens.index.get_indexer(forecast.index)
    if (places < 0).any():
        raise DataError(f"information_decay: no open at {forecast.index[places < 0][0]}; give the bars the forecasts were made from")
    if not len(horizons) or min(horizons) < 1:
        raise UsageError(f"information_decay: expected horizons of at least one bar, found {list(horizons)}")
    rows = {h: _coefficient(forecast.to_numpy(float), _forward(opens.to_numpy(float), h)[places], h) for h in horizons}
    columns = ["information_coefficient", "independent", "t_value"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("horizon").astype({"independent": int})


def _forward(opens: np.ndarray, horizon: int) -> np.ndarray:
    """float64[n]: simple return from the next open to the one `horizon` bars after it; NaN at the end."""
    out = np.full(len(opens), np.nan)
    later = opens[1 + horizon :]
    out[: len(later)] = later / opens[1 : 1 + len(later)] - 1.0
    return out


def _coefficient(forecast: np.ndarray, outcome: np.ndarray, horizon: int) -> tuple[float, int, float]:
    correlation = information_coefficient(forecast, outcome)
    independent = int((np.isfinite(forecast) & np.isfinite(outcome)).sum() // horizon)
    if independent < 3 or not abs(correlation) < 1.0:
        return correlation, independent, float("nan")
    return correlation, independent, float(correlation * np.sqrt((independent - 2) / (1.0 - correlation**2)))
