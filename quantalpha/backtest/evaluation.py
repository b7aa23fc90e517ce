"""How good out-of-sample forecasts are: in all, and fold by fold, regime by regime, hour by hour. Money: `Result.metrics`.

labels: as `labels.label` gives them, at least for the forecasts' times; rows without a finished label are left out of every score.
"""

import numpy as np
import pandas as pd

from quantalpha.backtest.walk_forward import SCORES, WalkForward, forecast_scores
from quantalpha.errors import DataError
from quantalpha.models import CLASSES, PROBABILITIES
from quantalpha.validation import brier_skill, calibration_error, confusion

VOLATILITY, TREND = ("calm", "usual", "wild"), ("down", "up")


def scores_by(walk: WalkForward, labels: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """DataFrame[rows, accuracy, f1, log_loss, brier, information_coefficient] by `group` of the decision times, in its order.

    group: a name for each time of the forecasts (others are ignored; NaN: none). rows counts those with a finished label.
    """
    group = group.reindex(walk.forecasts.index)
    outcome = outcomes(walk, labels)
    found = {}
    for name, times in group.groupby(group, observed=True).groups.items():
        part, chance = outcome.loc[times], walk.forecasts.loc[times, list(PROBABILITIES)].to_numpy()
        judged = part["label"].notna() & np.isfinite(chance).all(axis=1)
        found[name] = {"rows": int(judged.sum())} | forecast_scores(part, chance)
    return pd.DataFrame.from_dict(found, orient="index").astype({"rows": int}).astype(float, errors="ignore").rename_axis(group.name)


def summary(walk: WalkForward, labels: pd.DataFrame) -> dict[str, float]:
    """All folds in a few numbers: those of `WalkForward.folds` as means over the folds, brier_skill against `known_frequencies`, and
    calibration_error over all rows (NaN where no label is finished)."""
    means = pd.DataFrame(walk.folds)[list(SCORES)].astype(float).mean().to_dict()
    label, chance = outcomes(walk, labels)["label"].to_numpy(float), walk.forecasts[list(PROBABILITIES)].to_numpy()
    known = known_frequencies(walk, labels)
    return means | {"brier_skill": brier_skill(label, chance, known), "calibration_error": calibration_error(label, chance)}


def known_frequencies(walk: WalkForward, labels: pd.DataFrame) -> np.ndarray:
    """float64[forecasts, 3]: the shares of down, flat, up among all labels that had ended before each fold's test block began."""
    blocks = []
    for _, block in walk.forecasts.groupby("fold"):
        ended = labels.loc[labels["end_time"] < block.index[0], "label"].dropna()
        blocks.append(np.tile([(ended == kind).mean() for kind in CLASSES], (len(block), 1)))
    return np.vstack(blocks)


def confusion_by_fold(walk: WalkForward, labels: pd.DataFrame) -> pd.DataFrame:
    """`validation.confusion` of each fold with any finished label: rows (fold, came), columns forecast."""
    outcome, found = outcomes(walk, labels)["label"], {}
    for fold, block in walk.forecasts.groupby("fold"):
        label, chance = outcome.loc[block.index].to_numpy(float), block[list(PROBABILITIES)].to_numpy()
        if (np.isfinite(label) & np.isfinite(chance).all(axis=1)).any():
            found[fold] = confusion(label, chance)
    return pd.concat(found, names=["fold"])


def outcomes(walk: WalkForward, labels: pd.DataFrame) -> pd.DataFrame:
    """The labels of the forecasts' times, NaN where there is none yet; DataError where no time has a row."""
    if not walk.forecasts.index.isin(labels.index).any():
        raise DataError("evaluation: no label has the time of a forecast; give the labels the forecasts were trained with")
    return labels.reindex(walk.forecasts.index)


def volatility_regime(volatility: pd.Series, walk: WalkForward) -> pd.Series:
    """calm, usual or wild for each decision time: the third of the volatilities before its fold's test block into which it falls.

    volatility: by bar, known at its close, such as `labels.barrier_volatility(bars, window=168, horizon=1)`. Nothing after a block's
    beginning sets its borders, so a quiet block may be all calm. None where it is unknown.
    """
    blocks = []
    for _, block in walk.forecasts.groupby("fold"):
        low, high = volatility[volatility.index < block.index[0]].quantile([1 / 3, 2 / 3])
        now = volatility.reindex(block.index)
        third = (now > low).astype(int) + (now > high).astype(int)
        blocks.append(third.where(now.notna() & np.isfinite(low)))
    return _named(pd.concat(blocks), VOLATILITY, "volatility")


def trend_regime(close: pd.Series, walk: WalkForward, window: int = 168) -> pd.Series:
    """up or down for each decision time: whether the close is above that of `window` bars ago. None where that is unknown."""
    rise = (close / close.shift(window) - 1.0).reindex(walk.forecasts.index)
    return _named((rise > 0).astype(int).where(rise.notna()), TREND, "trend")


def hour(walk: WalkForward) -> pd.Series:
    """Hour of day, UTC, at which the bar of each decision opens."""
    index = walk.forecasts.index
    return pd.Series(index.hour, index, name="hour (UTC)")


def _named(code: pd.Series, names: tuple[str, ...], what: str) -> pd.Series:
    kinds = pd.Categorical.from_codes(code.fillna(-1).astype(int), names, ordered=True)
    return pd.Series(kinds, code.index, name=what)
