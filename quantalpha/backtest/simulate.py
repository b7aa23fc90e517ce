"""A target path against a table of bars, under the clock of `quantalpha.perp`."""

import numpy as np
import pandas as pd

from quantalpha.backtest.result import Result
from quantalpha.errors import DataError
from quantalpha.perp.account import Account, terms, tiers
from quantalpha.perp.costs import Costs, Stops
from quantalpha.perp.ledger import check_target
from quantalpha.schema import check_bars

NOTHING = np.empty(0)


def simulate(bars: pd.DataFrame, target: pd.Series, *, account: Account, costs: Costs, stops: Stops | None = None) -> Result:
    """What `account` would have become by following `target` through `bars`.

    bars: as `schema`; `mark` (at the bar's close) and `funding_rate` (settled at its open) are used where present.
    target: signed leverage (position notional / equity), known at the close of the bar it is indexed by; a changed target trades at the
    next bar's open. Bars without a row keep the previous target, bars before the first row hold nothing, and the last bar's decision never
    fills. Stop-loss, liquidation and take-profit are met by the bar's traded high and low.

    Raises DataError for unsound bars, a NaN target or a target at a time that is no bar; UsageError for a target beyond `account.leverage`.
    """
    from quantalpha.perp import clock

    check_bars(bars)
    columns = (_array(bars[name]) for name in ("open", "high", "low", "close"))
    state = clock.State(float(account.initial_cash), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    path = _aligned(target, bars.index, account.leverage)
    fixed = terms(account, costs, stops), tiers(account)
    outcome = clock.run(*columns, _mark(bars), _funding_rate(bars), path, state, *fixed)
    return Result.from_clock(bars.index, *outcome, account=account, costs=costs)


def _array(column: pd.Series) -> np.ndarray:
    return np.ascontiguousarray(column.to_numpy(dtype=float))


def _mark(bars: pd.DataFrame) -> np.ndarray:
    if "mark" not in bars:
        return NOTHING
    mark = _array(bars["mark"])
    bad = np.flatnonzero((mark <= 0.0) | np.isinf(mark))
    if bad.size:
        raise DataError(f"bars: mark must be a positive price (NaN where unknown), found {mark[bad[0]]} at {bars.index[bad[0]]}")
    return mark


def _funding_rate(bars: pd.DataFrame) -> np.ndarray:
    if "funding_rate" not in bars:
        return NOTHING
    rate = _array(bars["funding_rate"])
    bad = np.flatnonzero(~np.isfinite(rate))
    if bad.size:
        raise DataError(f"bars: funding_rate must be a number, found {rate[bad[0]]} at {bars.index[bad[0]]}; 0 where none is due")
    return rate


def _aligned(target: pd.Series, index: pd.DatetimeIndex, leverage: float) -> np.ndarray:
    """float64[len(index)]: the target decided at each bar's close, NaN where none is."""
    values = target.to_numpy(dtype=float)
    bad = np.flatnonzero(~(np.abs(values) <= leverage))
    if bad.size:
        check_target(values[bad[0]], leverage, f"target at {target.index[bad[0]]}")
    if target.index is index or target.index.equals(index):
        return np.ascontiguousarray(values)
    if not isinstance(target.index, pd.DatetimeIndex) or target.index.tz is None or not target.index.is_unique:
        raise DataError(f"target: expected unique UTC bar open times as index, found {target.index.dtype}")
    rows = index.get_indexer(target.index)
    if (rows < 0).any():
        raise DataError(f"target: {target.index[np.argmax(rows < 0)]} is not the open time of a bar; reindex the target to the bars")
    path = np.full(len(index), np.nan)
    path[rows] = values
    return path
