"""The labels that `params.labels` asks for, and what each weighs in training."""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.config import Labels
from quantalpha.labels.events import cusum_events
from quantalpha.labels.fixed_horizon import fixed_horizon
from quantalpha.labels.table import paths
from quantalpha.labels.trend_scanning import trend_scanning
from quantalpha.labels.triple_barrier import barrier_volatility, triple_barrier
from quantalpha.labels.weights import average_uniqueness, return_attribution


def label(bars: pd.DataFrame, params: Labels) -> pd.DataFrame:
    """The table of `params.kind`, its levels in units of the volatility to expect over the horizon, and a column `weight` for training.

    A bar without an event (`params.events`) has NaN and NaT like an unfinished label: nothing is learned from it, but it is forecast.
    So has one whose path, its own bar included, touches a bar that the clean stage has masked (column `disputed`).
    All columns but `weight` are known at the close of the bar that `end_time` names.
    """
    volatility = barrier_volatility(bars, window=params.volatility_window, horizon=params.horizon)
    table = _outcomes(bars, params, volatility)
    if params.events is not None:
        table = table.where(cusum_events(bars["close"], params.events * volatility) != 0)
    if schema.DISPUTED in bars:
        table = table.where(~_touches((bars[schema.DISPUTED] == schema.MASKED).to_numpy(), table["end_time"]))
    return table.assign(weight=_weights(bars, table["end_time"], params.weights))


def _outcomes(bars: pd.DataFrame, params: Labels, volatility: pd.Series) -> pd.DataFrame:
    if params.kind == "triple_barrier":
        levels = {"take_profit": params.take_profit, "stop_loss": params.stop_loss}
        return triple_barrier(bars, horizon=params.horizon, volatility=volatility, **levels)
    if params.kind == "fixed_horizon":
        return fixed_horizon(bars, horizon=params.horizon, threshold=params.threshold, volatility=volatility)
    return trend_scanning(bars, shortest=params.shortest, longest=params.horizon, least=params.threshold)


def _touches(masked: np.ndarray, end_time: pd.Series) -> pd.Series:
    """bool[n]: whether one of the bars from the decision's to the path's last is masked."""
    decided, _, stop = paths(end_time)
    before = np.append(0, np.cumsum(masked))
    touched = np.zeros(len(masked), bool)
    touched[decided] = before[stop] > before[decided]
    return pd.Series(touched, end_time.index)


def _weights(bars: pd.DataFrame, end_time: pd.Series, weights: str) -> pd.Series:
    """A path lies before every test that may learn from it, and which labels are alive there is settled by then: no later price enters.

    Labels that the end of the bars cuts off are not counted, so the newest finished ones weigh a little more than they will.
    """
    if weights == "uniqueness":
        return average_uniqueness(end_time)
    if weights == "attribution":
        return return_attribution(bars, end_time)
    return pd.Series(1.0, end_time.index).where(end_time.notna())
