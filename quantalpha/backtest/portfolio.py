"""Several target paths in one account, under the clock of `quantalpha.perp`."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd

from quantalpha.backtest.result import Leg, Result
from quantalpha.backtest.simulate import Target, market_of, plan_of, unsound
from quantalpha.errors import DataError, UsageError
from quantalpha.perp.account import Account
from quantalpha.perp.costs import Costs, Stops
from quantalpha.perp.ledger import check_target
from quantalpha.perp.portfolio import books, costs_of, log, tables
from quantalpha.schema import check_index, epoch_ms

ROWS = 16_384  # fills kept before they are copied away


def simulate_portfolio(
    bars: Mapping[str, pd.DataFrame],
    target: Mapping[str, Target],
    *,
    account: Account,
    costs: Costs | Mapping[str, Costs],
    stops: Stops | None = None,
) -> Result:
    """`simulate` of several symbols in one account; they trade in the order of `bars`, on the union of their times.

    A symbol without a bar at some time does nothing there and keeps its last mark. The targets of a time together stay within
    `account.leverage`. Cross positions support each other: a loss that breaks the maintenance margin of all closes all of them.
    """
    from quantalpha.perp import clock

    symbols = _symbols(bars, target)
    index = reduce(lambda left, right: left if left.equals(right) else left.union(right), (bars[symbol].index for symbol in symbols))
    by_symbol = costs_of(symbols, costs)
    for symbol in symbols:
        check_index(bars[symbol], f"bars of {symbol}")
        if account.instrument(symbol).spot and (np.nan_to_num(_target(target[symbol])) < 0.0).any():
            raise UsageError(f"target of {symbol}: a spot instrument cannot be sold short; keep its target at 0 or above")
    legs = {symbol: bars[symbol].reindex(index) for symbol in symbols}
    market = _market(bars, index, by_symbol, [account.instrument(symbol).spot for symbol in symbols])
    plans = [_plan(target[symbol], bars[symbol].index, index, f"target of {symbol}") for symbol in symbols]
    plan = _stacked(plans, len(index))
    held, record, equity = books(symbols, account, costs, stops), log(ROWS + 4 * len(symbols), ROWS + len(symbols)), np.empty(len(index))
    written: list[tuple[np.ndarray, np.ndarray]] = []
    for first, end, rates, amounts in _spans(index, tables(symbols, account)):
        held.rates[:], held.amounts[:] = rates, amounts
        while first < end:
            record.counts[:] = 0
            first, wrong = clock.run_many(market, plan, (first, end), held, account.leverage, equity, record)
            if wrong == len(symbols):
                together = np.abs(np.nan_to_num(plan.target[first])).sum()
                raise UsageError(f"targets at {index[first]} together need leverage {together:g}, account.leverage is {account.leverage:g}")
            if wrong >= 0:
                raise unsound(legs[symbols[wrong]], plans[wrong], first, account.leverage, f" of {symbols[wrong]}")
            written.append(tuple(rows[:count].copy() for rows, count in zip(record[:2], record.counts)))
    fills, paid = (np.concatenate(rows) for rows in zip(*written))
    parts = {
        symbol: Leg(legs[symbol], fills[fills[:, 8] == s][:, :8], paid[paid[:, 5] == s][:, :5], clock.stored(held, s))
        for s, symbol in enumerate(symbols)
    }
    return Result(index, equity, parts, account, costs, stops)


def _symbols(bars: Mapping[str, pd.DataFrame], target: Mapping[str, Target]) -> tuple[str, ...]:
    if not bars or set(target.keys()) != set(bars):
        raise DataError(f"target: expected one for each of {', '.join(bars) or 'some symbols'}; found {', '.join(map(str, target.keys()))}")
    return tuple(bars)


def _target(target: Target) -> np.ndarray:
    return (target["target"] if isinstance(target, pd.DataFrame) else target).to_numpy(float)


def _plan(target: Target, own: pd.DatetimeIndex, index: pd.DatetimeIndex, where: str):
    """On `index`; what is said of times at which the symbol itself has no bar is passed over."""
    stray = target.index.difference(index)
    if len(stray):
        raise DataError(f"{where}: {stray[0]} is not the open time of any bar; reindex the target to the bars")
    plan = plan_of(target[target.index.isin(own)], index, where)
    missing = np.flatnonzero(np.isnan(plan.target))
    if missing.size and not plan.sparse:
        check_target(np.nan, np.inf, f"{where} at {index[missing[0]]}")
    return plan


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


def _spans(index: pd.DatetimeIndex, schedule: list[tuple[int, np.ndarray, np.ndarray]]):
    """(first bar, end, rates, amounts)."""
    edges = [0, *np.searchsorted(epoch_ms(index), [time for time, *_ in schedule[1:]]).tolist(), len(index)]
    return [(a, b, rates, amounts) for a, b, (_, rates, amounts) in zip(edges[:-1], edges[1:], schedule) if a < b]
