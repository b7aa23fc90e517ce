"""What came of each decision: take profit, stop loss or time, whichever the path met first."""

import numpy as np
import pandas as pd
from numba import njit

from quantalpha import schema
from quantalpha.config import Labels
from quantalpha.errors import DataError, UsageError

UNFINISHED, TAKE_PROFIT, STOP_LOSS, TIME = -1, 0, 1, 2
BARRIERS = ["take_profit", "stop_loss", "time"]  # by code
LABELS = np.array([1.0, -1.0, 0.0])  # by code


def triple_barrier(
    bars: pd.DataFrame,
    *,
    take_profit: float,
    stop_loss: float,
    horizon: int,
    volatility: pd.Series | None = None,
    side: pd.Series | None = None,
    entry: str = "next_open",
) -> pd.DataFrame:
    """One label for a decision at the close of every bar: DataFrame[label, end_time, ret, barrier] on the index of `bars`.

    The position of `side` (+1 long, -1 short; None: long) enters at the open of the next bar (`entry="next_open"`) or at the deciding
    close (`entry="close"`) and lives for at most `horizon` bars from the next one on. Levels are entry * (1 + side * take_profit *
    volatility) and entry * (1 - side * stop_loss * volatility); `volatility` is a fraction per row (None: 1, plain fractions); inf
    switches a barrier off. The first touch by high or low decides; both in one bar count as the stop.

    label     +1 take profit, -1 stop loss, 0 time: seen from the side held, so a short that gains is +1
    end_time  open time of the bar in which the path ended: its outcome is known when that bar closes
    ret       the side's simple return from entry to exit, before costs: the exit is the level, the open of a bar that opens beyond
              it, or the last close at the time barrier
    barrier   category take_profit, stop_loss or time

    A path still open at the last bar, and a row without volatility (NaN or 0) or side (NaN), has NaN and NaT.
    """
    schema.check_bars(bars, "triple_barrier")
    _check_settings(take_profit, stop_loss, horizon, entry)
    scale = _aligned(volatility, bars, "volatility")
    held = _aligned(side, bars, "side")
    if (scale < 0).any():
        raise DataError(f"triple_barrier: volatility must not be negative; it is at {bars.index[scale < 0][0]}")
    if not np.isin(held[~np.isnan(held)], (-1.0, 1.0)).all():
        raise DataError("triple_barrier: side must be +1, -1 or NaN in every row")
    prices = [bars[name].to_numpy(float).copy() for name in ("open", "high", "low", "close")]
    code, end, ret = _paths(*prices, held, take_profit * scale, stop_loss * scale, int(horizon), entry == "next_open")
    return _table(bars.index, code, end, ret)


def label(bars: pd.DataFrame, params: Labels) -> pd.DataFrame:
    """Triple-barrier labels whose levels are multiples of the volatility to expect over the horizon."""
    volatility = barrier_volatility(bars, window=params.volatility_window, horizon=params.horizon)
    return triple_barrier(bars, take_profit=params.take_profit, stop_loss=params.stop_loss, horizon=params.horizon, volatility=volatility)


def barrier_volatility(bars: pd.DataFrame, *, window: int, horizon: int) -> pd.Series:
    """Sample standard deviation of the last `window` one-bar log returns, times sqrt(horizon): the spread to expect over `horizon` bars.

    A fraction per row (0.03 is 3 %), known at the bar's close; NaN in the first `window` rows.
    """
    change = np.log(bars["close"]).diff()
    return (change.rolling(window).std() * np.sqrt(horizon)).rename("volatility")


@njit(cache=True)
def _paths(open_, high, low, close, side, gain, loss, horizon, at_open):
    """(barrier code, row of the end, side's return) per decision row."""
    rows = len(close)
    code = np.full(rows, UNFINISHED, dtype=np.int8)
    end = np.zeros(rows, dtype=np.int64)
    ret = np.full(rows, np.nan)
    for row in range(rows - 1):
        if not (gain[row] > 0.0 and loss[row] > 0.0 and abs(side[row]) == 1.0):
            continue
        entry = open_[row + 1] if at_open else close[row]
        s = side[row]
        target = s * entry * (1.0 + s * gain[row])  # prices times the side: a gain is upward for longs and shorts alike
        stop = s * entry * (1.0 - s * loss[row])
        for bar in range(row + 1, min(row + horizon, rows - 1) + 1):
            worst, best = (low[bar], high[bar]) if s > 0 else (-high[bar], -low[bar])
            first = s * open_[bar]
            if worst <= stop:
                code[row], exit_ = STOP_LOSS, min(stop, first)
            elif best >= target:
                code[row], exit_ = TAKE_PROFIT, max(target, first)
            elif bar == row + horizon:
                code[row], exit_ = TIME, s * close[bar]
            else:
                continue
            end[row] = bar
            ret[row] = (exit_ - s * entry) / entry
            break
    return code, end, ret


def _table(index, code, end, ret) -> pd.DataFrame:
    done = code != UNFINISHED
    times = index.as_unit("ms")[end].where(done)
    return pd.DataFrame(
        {
            "label": np.where(done, LABELS[code], np.nan),
            "end_time": times,
            "ret": ret,
            "barrier": pd.Categorical.from_codes(code, BARRIERS),
        },
        index=index,
    )


def _aligned(series: pd.Series | None, bars: pd.DataFrame, name: str) -> np.ndarray:
    """float64[n] of a Series that shares the bars' index; ones for None."""
    if series is None:
        return np.ones(len(bars))
    if not isinstance(series, pd.Series) or not series.index.equals(bars.index):
        raise DataError(f"triple_barrier: {name} must be a Series on the index of the bars; use {name}.reindex(bars.index)")
    return series.to_numpy(float).copy()


def _check_settings(take_profit, stop_loss, horizon, entry):
    if not (take_profit > 0 and stop_loss > 0):
        raise UsageError(f"triple_barrier: take_profit and stop_loss must be above 0 (inf: none), found {take_profit} and {stop_loss}")
    if horizon != int(horizon) or horizon < 1:
        raise UsageError(f"triple_barrier: horizon must be a whole number of bars, at least 1, found {horizon}")
    if entry not in ("next_open", "close"):
        raise UsageError(f"triple_barrier: entry must be 'next_open' or 'close', found {entry!r}")
