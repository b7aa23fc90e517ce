"""One candidate against another, on the same rows and folds."""

import numpy as np
import pandas as pd

from quantalpha.backtest.evaluation import outcomes
from quantalpha.backtest.walk_forward import WalkForward
from quantalpha.errors import DataError
from quantalpha.models import PROBABILITIES
from quantalpha.validation import diebold_mariano, log_losses, sharpe_difference


def compare_forecasts(first: WalkForward, second: WalkForward, labels: pd.DataFrame) -> pd.DataFrame:
    """`diebold_mariano` of the two log losses: DataFrame[first, second, difference, statistic, p_value, n] with row log_loss.

    Over the rows with a finished label and both forecasts; a difference below 0 says the first is better. labels: those both were trained
    with; the furthest `end_time` is the horizon of the test. DataError where times or folds differ, naming the first that does.
    """
    check_same_folds(first, second)
    outcome = outcomes(first, labels)
    chances = [walk.forecasts[list(PROBABILITIES)].to_numpy() for walk in (first, second)]
    judged = outcome["label"].notna().to_numpy() & np.isfinite(np.hstack(chances)).all(axis=1)
    losses = [log_losses(outcome["label"].to_numpy(float)[judged], chance[judged]) for chance in chances]
    found = diebold_mariano(*losses, horizon=_horizon(outcome))
    return _row("log_loss", [loss.mean() for loss in losses], found, int(judged.sum()))


def compare_returns(first: pd.Series, second: pd.Series) -> pd.DataFrame:
    """`sharpe_difference` of net returns by day (`periods.daily_returns`): the columns of `compare_forecasts`, row sharpe_ratio.

    Above 0 says the first is better. DataError where the days differ, naming the first that does.
    """
    _check_same(first.index, second.index, "days")
    yearly = np.sqrt(365.0)
    ratios = [float(series.mean() / series.std(ddof=0) * yearly) if series.std(ddof=0) > 0 else np.nan for series in (first, second)]
    return _row("sharpe_ratio", ratios, sharpe_difference(first.to_numpy(), second.to_numpy()), len(first))


def check_same_folds(first: WalkForward, second: WalkForward) -> None:
    """DataError naming the first time or fold in which they differ."""
    _check_same(first.forecasts.index, second.forecasts.index, "times")
    folds = first.forecasts["fold"].to_numpy(), second.forecasts["fold"].to_numpy()
    if (folds[0] != folds[1]).any():
        row = int((folds[0] != folds[1]).argmax())
        time = first.forecasts.index[row]
        raise DataError(
            f"comparison: {time} is in fold {folds[0][row]} of one and {folds[1][row]} of the other; use the same splits for both"
        )


def _check_same(first: pd.Index, second: pd.Index, what: str) -> None:
    if not first.equals(second):
        odd = first.symmetric_difference(second)
        named = f"{odd[0]} is in one only" if len(odd) else "their order differs"
        raise DataError(
            f"comparison: expected the same {what}, but {named} ({len(first)} and {len(second)}); compare the same data and splits"
        )


def _horizon(outcome: pd.DataFrame) -> int:
    """Bars to the end of the furthest label."""
    index = outcome.index
    ended = outcome["end_time"].dropna()
    return max(int(np.max(index.searchsorted(ended) - index.get_indexer(ended.index), initial=1)), 1)


def _row(name: str, values: list[float], found, n: int) -> pd.DataFrame:
    row = {
        "first": values[0],
        "second": values[1],
        "difference": found.value,
        "statistic": found.statistic,
        "p_value": found.p_value,
        "n": n,
    }
    return pd.DataFrame([row], index=pd.Index([name], name="score"))
