"""What came of each decision: take profit, stop loss or time, whichever the path met first."""

import numpy as np
import pandas as pd
from numba import njit

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels.table import NEVER, aligned, check_bars_ahead, check_entry, is_number, volatility_of
from quantalpha.windows import lagged, moments

UNFINISHED, TAKE_PROFIT, STOP_LOSS, TIME = -1, 0, 1, 2
BARRIERS = ["take_profit", "stop_loss", "time"]  # by code
LABELS = np.array([1.0, -1.0, 0.0, np.nan])  # by code: unfinished, -1, is the last
BLOCK = 4096  # decisions worked on together


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
    if not all(is_number(level) and level > 0 for level in (take_profit, stop_loss)):
        raise UsageError(f"triple_barrier: take_profit and stop_loss must be above 0 (inf: none), found {take_profit!r} and {stop_loss!r}")
    horizon = check_bars_ahead("triple_barrier", "horizon", horizon)
    check_entry("triple_barrier", entry)
    scale = volatility_of(volatility, bars, "triple_barrier")
    held = aligned(side, bars, "triple_barrier", "side")
    if not (np.isnan(held) | (np.abs(held) == 1.0)).all():
        raise DataError("triple_barrier: side must be +1, -1 or NaN in every row")
    prices = [bars[name].to_numpy(float).copy() for name in ("open", "high", "low", "close")]
    with np.errstate(invalid="ignore"):  # no barrier at no volatility: such a row has no label
        levels = take_profit * scale, stop_loss * scale
    code, end, ret = _paths(*prices, schema.epoch_ms(bars.index), held, *levels, min(horizon, len(bars)), entry == "next_open")
    columns = {"label": LABELS[code], "end_time": schema.from_epoch_ms(end), "ret": ret}
    columns["barrier"] = pd.Categorical.from_codes(code, BARRIERS, validate=False)
    return pd.DataFrame(columns, index=bars.index, copy=False)


def barrier_volatility(bars: pd.DataFrame, *, window: int, horizon: int) -> pd.Series:
    """Sample standard deviation of the last `window` one-bar log returns, times sqrt(horizon): the spread to expect over `horizon` bars.

    A fraction per row (0.03 is 3 %), known at the bar's close; NaN in the first `window` rows.
    """
    window = check_bars_ahead("barrier_volatility", "window", window, least=2)
    horizon = check_bars_ahead("barrier_volatility", "horizon", horizon)
    close = bars["close"].to_numpy(float)
    _, variance = moments(np.log(close / lagged(close, 1)), window)
    return pd.Series(np.sqrt(variance * (window / (window - 1) * horizon)), bars.index, name="volatility")


@njit(cache=True)
def _paths(open_, high, low, close, times, side, gain, loss, horizon, at_open):
    """(barrier code, open time of the last bar, side's return) per decision row.

    The first touch is found by strides: the lowest low and highest high of the 4^k bars from each bar on tell whether all of them may be
    skipped, so that a path costs at most 3 looks a power of four, whatever its length. Blocks of rows keep those extremes in the cache.
    """
    rows = len(close)
    code, end, ret = np.full(rows, UNFINISHED, dtype=np.int8), np.full(rows, NEVER), np.full(rows, np.nan)
    for begin in range(0, rows - 1, max(BLOCK, 4 * horizon)):
        after = min(begin + max(BLOCK, 4 * horizon), rows - 1)
        lowest, highest = _extremes(low, high, begin + 1, min(after + horizon, rows), horizon)
        for row in range(begin, after):
            s = side[row]
            if not (gain[row] > 0.0 and loss[row] > 0.0 and abs(s) == 1.0):
                continue
            entry = open_[row + 1] if at_open else close[row]
            target = s * entry * (1.0 + s * gain[row])  # prices times the side: a gain is upward for longs and shorts alike
            stop = s * entry * (1.0 - s * loss[row])
            top, bottom = (target, stop) if s > 0 else (-stop, -target)
            limit = min(row + 1 + horizon, rows)
            bar = begin + 1 + _first_touch(lowest, highest, row - begin, limit - begin - 1, bottom, top)
            if bar == limit:
                if limit < row + 1 + horizon:
                    continue
                bar -= 1
                code[row], exit_ = TIME, s * close[bar]
            elif (low[bar] if s > 0 else -high[bar]) <= stop:
                code[row], exit_ = STOP_LOSS, min(stop, s * open_[bar])
            else:
                code[row], exit_ = TAKE_PROFIT, max(target, s * open_[bar])
            end[row] = times[bar]
            ret[row] = (exit_ - s * entry) / entry
    return code, end, ret


@njit(cache=True)
def _first_touch(lowest, highest, at, limit, bottom, top):
    """The first of the bars at ... limit - 1 whose low is <= bottom or whose high is >= top; `limit` if there is none."""
    for power in range(len(lowest) - 1, -1, -1):
        stride = 4**power
        while at + stride <= limit and lowest[power, at] > bottom and highest[power, at] < top:
            at += stride
    return at


@njit(cache=True)
def _extremes(low, high, first, stop, horizon):
    """(lowest low, highest high) float64[powers, bars] of the 4^power bars from each of first ... stop - 1; unset where fewer are left."""
    powers = 1
    while 4**powers <= horizon:
        powers += 1
    lowest, highest = np.empty((powers, stop - first)), np.empty((powers, stop - first))
    lowest[0], highest[0] = low[first:stop], high[first:stop]
    for power in range(1, powers):
        step, below, above = 4 ** (power - 1), lowest[power - 1], highest[power - 1]
        for bar in range(stop - first - 4 * step + 1):
            lowest[power, bar] = min(min(below[bar], below[bar + step]), min(below[bar + 2 * step], below[bar + 3 * step]))
            highest[power, bar] = max(max(above[bar], above[bar + step]), max(above[bar + 2 * step], above[bar + 3 * step]))
    return lowest, highest
