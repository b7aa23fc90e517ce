"""Do probabilities mean what they say? Brier's score, and how often what was given a probability came true.

labels: [n] of -1, 0, 1; NaN: not finished. probabilities: [n, 3] of down, flat, up; NaN: no forecast. Rows without either are left out;
DataError where none is left.
"""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.classification import NAMES, judged


def brier_score(labels, probabilities) -> float:
    """Mean over rows of the sum over classes of (probability - whether it came)^2 (Brier, 1950).

    In [0, 2]: 0 is sure and right, 2/3 says a third of each class, 2 is sure and wrong.
    """
    truth, chance = judged(labels, probabilities)
    return float(((chance - truth) ** 2).sum(axis=1).mean())


def brier_skill(labels, probabilities, reference) -> float:
    """1 - Brier score / Brier score of `reference`: 1 is perfect, 0 no better, below 0 worse. NaN where the reference is perfect.

    reference: [3] class frequencies known before the forecasts (of the training rows), or [n, 3], one for each row.
    """
    known = np.asarray(reference, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    if known.shape not in ((3,), probabilities.shape):
        raise DataError(f"calibration: expected a reference of 3 frequencies or [{len(probabilities)}, 3], found {known.shape}")
    known = np.where(np.isnan(probabilities), np.nan, known)  # both are judged on the same rows
    base = brier_score(labels, known)
    return 1.0 - brier_score(labels, probabilities) / base if base > 0 else float("nan")


def reliability(labels, probabilities, bins: int = 10) -> pd.DataFrame:
    """DataFrame[class, count, forecast, observed]: mean probability and frequency of each class in `bins` bins of about equal count.

    Equal probabilities share a bin, so there may be fewer. In an honest forecast `observed` is `forecast` but for chance.
    """
    if bins < 1:
        raise UsageError(f"calibration: expected at least one bin, found {bins}")
    truth, chance = judged(labels, probabilities)
    return pd.concat([_bins(name, truth[:, k], chance[:, k], bins) for k, name in enumerate(NAMES)], ignore_index=True)


def calibration_error(labels, probabilities, bins: int = 10) -> float:
    """Expected calibration error of the worst class: mean over rows of |forecast - observed| of the row's bin in `reliability`, in [0, 1].

    Naeini, Cooper & Hauskrecht (2015), by class. The largest and not the mean of the three: a class that hardly ever comes is forecast
    well by saying so, and must not hide one that is traded. Chance alone gives about sqrt(p (1 - p) bins / n).
    """
    table = reliability(labels, probabilities, bins)
    gap = (table["forecast"] - table["observed"]).abs() * table["count"]
    return float((gap.groupby(table["class"]).sum() / table.groupby("class")["count"].sum()).max())


def _bins(name: str, came: np.ndarray, chance: np.ndarray, bins: int) -> pd.DataFrame:
    edges = np.quantile(chance, np.linspace(0, 1, bins + 1)[1:-1])
    groups = pd.DataFrame({"forecast": chance, "observed": came}).groupby(np.searchsorted(edges, chance))
    table = groups.mean().assign(count=groups.size())
    return table.assign(**{"class": name})[["class", "count", "forecast", "observed"]]
