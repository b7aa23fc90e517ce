"""Several target paths in one account, under the clock of `quantalpha.perp`."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd

from quantalpha.backtest.result import Leg, Result
from quantalpha.backtest.simulate import ROWS, Target, check_times, market_of, plan_of, unsound
from quantalpha.errors import DataError
from quantalpha.perp.account import Account
from quantalpha.perp.costs import Costs, Stops
from quantalpha.perp.ledger import check_target
from quantalpha.perp.portfolio import books, check_together, costs_of, log, tables
from quantalpha.schema import check_index, epoch_ms


def simulate_portfolio(
    bars: Mapping[str, pd.DataFrame],
    target: Mapping[str, Target],
    *,
    account: Account,
    costs: Costs | Mapping[str, Costs],
    stops: Stops | None = None,
) -> Result:
    """`simulate` of several symbols in one account; they trade in the order of `bars`, on the union of their times.

    A symbol without a bar at some time does nothing there and keeps its last mark; a target said in such a gap is decided at its next
    close, and funding after it is settled at its open. After its last bar a symbol is delisted: its position is closed at the last mark,
    for a taker's fee. The targets of a time together stay within `account.leverage`, those of coins within 1. Cross positions support each
    other: a loss that breaks the maintenance margin of all closes all of them.
    """
    from quantalpha.perp import clock

    symbols = _symbols(bars, target)
    account.check_symbols(symbols)
    for symbol in symbols:
        check_index(bars[symbol], f"bars of {symbol}")
    index = reduce(lambda left, right: left if left.equals(right) else left.union(right), (bars[symbol].index for symbol in symbols))
    spot = [account.instrument(symbol).spot for symbol in symbols]
    market = _market(bars, index, costs_of(symbols, costs), spot)
    plans = [_plan(target[symbol], bars[symbol].index, index, f"target of {symbol}", account) for symbol in symbols]
    ends = [int(index.get_loc(bars[symbol].index[-1])) for symbol in symbols]
    _check_targets([target[symbol] for symbol in symbols], ends, spot, index, account.leverage)
    plan, legs = _stacked(plans, len(index)), {symbol: bars[symbol].reindex(index) for symbol in symbols}
    held, record, equity = books(symbols, account, costs, stops), log(ROWS + 4 * len(symbols), ROWS + len(symbols)), np.empty(len(index))
    written: list[tuple[np.ndarray, ...]] = []
    for first, end, rates, amounts in _spans(index, tables(symbols, account), ends):
        held.rates[:], held.amounts[:] = rates, amounts
        while first < end:
            first, wrong = clock.run_many(market, plan, (first, end), held, account.leverage, equity, record)
            if wrong >= 0:
                raise unsound(legs[symbols[wrong]], plans[wrong], first, account.leverage, f" of {symbols[wrong]}")
            written.append(_taken(record))
        for s in (s for s, last in enumerate(ends) if last == end - 1 < len(index) - 1):
            equity[end - 1] = clock.delist(held, record, end - 1, s)
            written.append(_taken(record))
    fills, paid = (np.concatenate(rows) for rows in zip(*written))
    parts = {
        symbol: Leg(legs[symbol], fills[fills[:, 8] == s][:, :8], paid[paid[:, 5] == s][:, :5], clock.stored(held, s))
        for s, symbol in enumerate(symbols)
    }
    return Result(index, equity, parts, account, costs, stops)


def _taken(record) -> tuple[np.ndarray, ...]:
    """Copies of the rows written, whose place is free again."""
    rows = tuple(table[:count].copy() for table, count in zip(record[:2], record.counts))
    record.counts[:] = 0
    return rows


def _symbols(bars: Mapping[str, pd.DataFrame], target: Mapping[str, Target]) -> tuple[str, ...]:
    """Their names, in order."""
    named = set(target.keys()) if isinstance(target, Mapping | pd.DataFrame) else None
    if not bars or named != set(bars):
        found = type(target).__name__ if named is None else ", ".join(map(str, target.keys()))
        raise DataError(f"target: expected one for each of {', '.join(bars) or 'some symbols'}; found {found[:200]}")
    return tuple(bars)


def _plan(target: Target, own: pd.DatetimeIndex, index: pd.DatetimeIndex, where: str, account: Account):
    """On `index`: what was said at a bar of the symbol's own, or in the gap before it; after its last bar there is nobody to hear it."""
    if not target.index.equals(own):
        check_times(target.index, where)
        stray = target.index.difference(index)
        if len(stray):
            raise DataError(f"{where}: {stray[0]} is not the open time of any bar; reindex the target to the bars")
        target = target.sort_index()
        rows = own.searchsorted(target.index)
        target = target[rows < len(own)].set_axis(own[rows[rows < len(own)]])
        target = target[~target.index.duplicated(keep="last")]
    plan = plan_of(target, index, where, account)
    missing = np.flatnonzero(np.isnan(plan.target))
    if missing.size and not plan.sparse:
        check_target(np.nan, np.inf, f"{where} at {index[missing[0]]}")
    return plan


def _check_targets(targets: list[Target], ends: list[int], spot: list[bool], index: pd.DatetimeIndex, leverage: float) -> None:
    """All that is said together, as far as somebody hears it."""
    said = [target["target"] if isinstance(target, pd.DataFrame) else target for target in targets]
    aims = pd.concat([path.reindex(index) for path in said], axis=1).ffill().fillna(0.0).to_numpy(float, copy=True)
    aims[np.arange(len(index))[:, None] > np.array(ends)] = 0.0
    coins, tolerated = aims[:, np.array(spot)], 1.0 + 1e-9
    wrong = (np.abs(aims).sum(axis=1) > leverage * tolerated) | (coins < 0.0).any(axis=1) | (coins.sum(axis=1) > tolerated)
    if wrong.any():
        row = int(wrong.argmax())
        check_together(aims[row], spot, leverage, f"target at {index[row]}")


def _market(bars: Mapping[str, pd.DataFrame], index: pd.DatetimeIndex, costs: Mapping[str, Costs], spot: list[bool]):
    """Columns float64[n, symbols]; NaN where a symbol has no bar or no such value. A coin pays no funding."""
    from quantalpha.perp import clock

    rows = {symbol: index.get_indexer(table.index) for symbol, table in bars.items()}
    parts = {symbol: market_of(table, costs[symbol]) for symbol, table in bars.items()}
    columns = {name: np.full((len(index), len(bars)), 0.0 if name == "rate" else np.nan) for name in clock.Market._fields}
    for s, (symbol, part) in enumerate(parts.items()):
        for name, column in part._asdict().items():
            if column.size:
                columns[name][rows[symbol], s] = column
    columns["rate"][:, spot] = 0.0
    return clock.Market(**columns)


def _stacked(plans, n: int):
    from quantalpha.perp import clock

    limits = [plan.limit if plan.limit.size else np.zeros(n) for plan in plans]
    return clock.Plan(np.stack([plan.target for plan in plans], axis=1), np.stack(limits, axis=1), sparse=True)


def _spans(index: pd.DatetimeIndex, schedule: list[tuple[int, np.ndarray, np.ndarray]], ends: list[int]):
    """(first bar, end, rates, amounts): cut where the maintenance tables change and where a symbol ends."""
    starts = np.searchsorted(epoch_ms(index), [time for time, *_ in schedule[1:]])
    edges = sorted({0, len(index), *starts.tolist(), *(last + 1 for last in ends)})
    valid = np.searchsorted(starts, edges, side="right")
    return [(first, end, *schedule[k][1:]) for first, end, k in zip(edges[:-1], edges[1:], valid)]
