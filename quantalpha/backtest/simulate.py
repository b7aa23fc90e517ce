"""A target path against a table of bars, or several against several, under the clock of `quantalpha.perp`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.backtest.result import FILL_COLUMNS, FUNDING_COLUMNS, Leg, Result
from quantalpha.errors import DataError, UsageError
from quantalpha.perp.account import Account, fresh, terms, tiers
from quantalpha.perp.costs import Costs, Slippage, Stops
from quantalpha.perp.ledger import check_target
from quantalpha.schema import check_bars, check_index, epoch_ms

if TYPE_CHECKING:
    from quantalpha.perp.clock import Market, Plan, State

ROWS = 16_384  # fills kept before they are copied away
Target = pd.Series | pd.DataFrame


def _frozen(array: np.ndarray) -> np.ndarray:
    """A view nobody writes to: the clock is compiled for one kind of array only."""
    view = array.view()
    view.flags.writeable = False
    return view


NOTHING = _frozen(np.empty(0))  # a column that is not there


def simulate(
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    target: Target | Mapping[str, Target],
    *,
    account: Account,
    costs: Costs | Mapping[str, Costs],
    stops: Stops | None = None,
) -> Result:
    """What `account` would have become by following `target` through `bars`.

    bars: as `schema`; `mark` (at the bar's close) and `funding_rate` (settled at its open) are used where present. Several symbols in one
    account: a table for each by name, and `target` (a DataFrame will do) and, if they differ, `costs` by the same names; see `portfolio`.
    target: signed leverage (position notional / equity), known at the close of the bar it is indexed by; a changed target trades at the
    next bar's open. Bars without a row keep the previous target, bars before the first row hold nothing, and the last bar's decision never
    fills. A table with columns `target` and `limit` trades at that price or better (NaN: at market).
    Stop-loss, liquidation, take-profit and limits are met by the bar's traded high and low.

    Raises DataError for unsound bars, a NaN target or a target at a time that is no bar; UsageError for a target beyond `account.leverage`.
    """
    check_rules(account, stops)
    if isinstance(bars, Mapping):
        from quantalpha.backtest.portfolio import simulate_portfolio

        return simulate_portfolio(bars, target, account=account, costs=costs, stops=stops)
    check_index(bars, "bars")
    account.check_symbols((None,))
    tape = Tape(len(bars))
    final = follow(bars, market_of(bars, costs), plan_of(target, bars.index, "target", account), tape, (account, costs, stops))
    return Result(bars.index, tape.equity, {None: Leg(bars, tape.fills(), tape.paid(), final)}, account, costs, stops)


def follow(
    bars: pd.DataFrame, market: "Market", plan: "Plan", tape: "Tape", rules: tuple[Account, Costs, Stops | None], where: str = ""
) -> "State":
    """Let an account follow `plan` through `market`, the columns of `bars`; what happens stands on `tape`. Returns the last state."""
    account = rules[0]
    state, fixed = fresh(account), terms(*rules)
    for first, end, table in spans(bars.index, tiers(account)):
        while first < end:
            state, first, fault = tape.record(market, plan, (first, end), state, fixed, table)
            if fault:
                raise unsound(bars, plan, first, account.leverage, where)
    return state


class Tape:
    """What the clock writes: equity, and as many rows of fills and payments as come; their buffers serve again and again."""

    def __init__(self, bars: int):
        self.equity = np.empty(bars)
        self._buffers = np.empty((ROWS, len(FILL_COLUMNS) + 2)), np.empty((ROWS, len(FUNDING_COLUMNS) + 1))
        self._written: tuple[list, list] = [], []

    def rewound(self) -> "Tape":
        """Ready to be written again from the start."""
        for written in self._written:
            written.clear()
        return self

    def record(self, market, plan, span, state, terms, tiers) -> tuple["State", int, bool]:
        """Run the clock until `span` ends, a buffer is full or a bar is unsound: the state, the next bar, whether it is unsound."""
        from quantalpha.perp import clock

        state, *counts, bar, fault = clock.run(market, plan, span, state, terms, tiers, (self.equity, *self._buffers))
        for written, buffer, count in zip(self._written, self._buffers, counts):
            written.append(buffer[:count].copy())
        return state, bar, fault

    def fills(self) -> np.ndarray:
        return np.concatenate(self._written[0])

    def paid(self) -> np.ndarray:
        return np.concatenate(self._written[1])


def market_of(bars: pd.DataFrame, costs: Costs) -> "Market":
    """The columns the clock reads; their values are checked on the way."""
    from quantalpha.perp import clock

    if not len(bars):
        raise DataError("bars: expected at least one bar, found none")
    if not isinstance(costs, Costs):
        raise UsageError(f"costs: expected Costs, found {type(costs).__name__}; a mapping is for several symbols")
    prices = (_array(bars[name]) for name in ("open", "high", "low", "close"))
    others = (_array(bars[name]) if name in bars else NOTHING for name in ("mark", "funding_rate"))
    slippage = map(_frozen, costs.slippage.curves(check_bars(bars))) if isinstance(costs.slippage, Slippage) else (NOTHING, NOTHING)
    return clock.Market(*prices, *others, *slippage)


def plan_of(target: Target, index: pd.DatetimeIndex, where: str, account: Account) -> "Plan":
    """Target and limit decided at each bar's close; NaN where nothing is decided. An account that rebalances decides the last target said
    again at every close."""
    from quantalpha.perp import clock

    if not isinstance(target, pd.Series | pd.DataFrame):
        raise DataError(f"{where}: expected a Series, or a table with columns target and limit; found {type(target).__name__}")
    limited = isinstance(target, pd.DataFrame)
    if limited and set(target.columns) != {"target", "limit"}:
        raise DataError(
            f"{where}: expected a Series, or a table with columns target and limit; found {', '.join(map(str, target.columns))}"
        )
    values = _array(target["target"] if limited else target)
    limits = _frozen(_limits(target["limit"], where)) if limited else NOTHING
    if target.index is index or target.index.equals(index):
        return clock.Plan(values, limits, sparse=False)
    check_times(target.index, where)
    rows = index.get_indexer(target.index)
    if (rows < 0).any():
        raise DataError(f"{where}: {target.index[np.argmax(rows < 0)]} is not the open time of a bar; reindex the target to the bars")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        check_target(values[bad[0]], np.inf, f"{where} at {target.index[bad[0]]}")
    path, bounds = np.full(len(index), np.nan), np.zeros(len(index) if limited else 0)
    path[rows] = values
    path = path if account.rebalance_band is None else pd.Series(path).ffill().to_numpy()
    if limited:
        bounds[rows] = limits
    return clock.Plan(_frozen(path), _frozen(bounds), sparse=True)


def _limits(limit: pd.Series, where: str) -> np.ndarray:
    """As the clock takes them: 0 for a market order."""
    prices = _array(limit)
    wrong = ~(np.isnan(prices) | (prices > 0.0) & (prices < np.inf))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where} at {limit.index[row]}: limit must be a positive price (NaN: at market), found {prices[row]}")
    return np.nan_to_num(prices, nan=0.0)


def check_rules(account: Account, stops: Stops | None) -> None:
    """Refuse what is no account or no stops."""
    if not isinstance(account, Account):
        raise UsageError(f"account: expected an Account, found {type(account).__name__}")
    if not isinstance(stops, Stops | None):
        raise UsageError(f"stops: expected Stops or None, found {type(stops).__name__}")


def check_times(index: pd.Index, where: str) -> None:
    """Refuse what cannot be the open times of bars."""
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None or not index.is_unique:
        raise DataError(f"{where}: expected unique UTC bar open times as index, found {index.dtype}")


def spans(index: pd.DatetimeIndex, tables: list) -> list[tuple]:
    """(first bar, end, table) for each of the dated maintenance tables that holds in the time of `index`."""
    if len(tables) == 1:
        return [(0, len(index), tables[0][1])]
    starts = np.searchsorted(epoch_ms(index), [time for time, _ in tables[1:]])
    edges = [0, *starts.tolist(), len(index)]
    return [(first, end, table) for first, end, (_, table) in zip(edges[:-1], edges[1:], tables) if first < end]


def unsound(bars: pd.DataFrame, plan: "Plan", row: int, leverage: float, where: str = "") -> Exception:
    """What is wrong with bar `row`, at which the clock stopped."""
    time = bars.index[row]
    try:
        check_bars(bars.iloc[row : row + 1], f"bars{where}")
        check_target(0.0 if plan.sparse and np.isnan(plan.target[row]) else plan.target[row], leverage, f"target{where} at {time}")
    except (DataError, ValueError) as error:
        return error
    rate = bars["funding_rate"].iloc[row] if "funding_rate" in bars else 0.0
    if not abs(rate) < 1.0:
        return DataError(f"bars{where}: funding_rate must be a fraction below 1 (0 where none is due), found {rate} at {time}")
    mark = bars["mark"].iloc[row] if "mark" in bars else np.nan
    if not (np.isnan(mark) or 0.0 < mark < np.inf):
        return DataError(f"bars{where}: mark must be a positive price (NaN where unknown), found {mark} at {time}")
    return DataError(f"target{where} at {time}: limit must be a positive price (NaN: at market), found {plan.limit[row]}")


def _array(column: pd.Series) -> np.ndarray:
    try:
        return _frozen(np.ascontiguousarray(column.to_numpy(dtype=float)))
    except (TypeError, ValueError):
        raise DataError(f"bars or target: column {column.name!r} must hold numbers, found {column.dtype}") from None
