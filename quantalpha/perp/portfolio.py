"""One account in several symbols stepped bar by bar: a thin object over the compiled clock that the backtest loops over."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from quantalpha.errors import DataError, UsageError
from quantalpha.perp.account import Account, fresh, terms, tiers
from quantalpha.perp.costs import Costs, Slippage, Stops
from quantalpha.perp.ledger import TOLERATED, Event, Fill, FundingPayment, check_prices, check_target, in_force

if TYPE_CHECKING:
    from quantalpha.perp.clock import Books, Log, State

Prices = Mapping[str, float]


class Portfolio:
    """`Ledger` for several symbols: open_bar, inside_bar, close_bar, decide, each with what is known of the symbols that have a bar.

    All money in quote currency, quantities in base currency, times in ms since 1970 UTC.
    """

    def __init__(self, symbols: Sequence[str], account: Account, costs: Costs | Mapping[str, Costs], stops: Stops | None = None):
        from quantalpha.perp import clock

        self.symbols, self._clock, self._leverage = tuple(symbols), clock, account.leverage
        if any(isinstance(cost.slippage, Slippage) for cost in costs_of(self.symbols, costs).values()):
            raise UsageError("portfolio: slippage models are for simulate; give a fixed slippage")
        account.check_symbols(self.symbols)
        self._books, self._tables = books(self.symbols, account, costs, stops), tables(self.symbols, account)
        self._log, self._aims = log(4 * len(self.symbols), len(self.symbols)), np.zeros(len(self.symbols))
        self._unknown, self._spot = np.full(len(self.symbols), math.nan), [account.instrument(symbol).spot for symbol in self.symbols]
        self.equity = float(account.initial_cash)

    def open_bar(
        self, time_ms: int, open: Prices, mark_open: Prices, funding_rate: Prices, slippage: Mapping[str, float] | None = None
    ) -> list[tuple[str, Event]]:
        """Steps 1 and 2; `mark_open` may lack symbols (the open), `funding_rate` too (none is due), `slippage` too (the costs'; else a
        fraction, + against us, at most CEILING)."""
        for symbol, price in open.items():
            check_prices(time_ms, **{f"open of {symbol}": price, f"mark_open of {symbol}": mark_open.get(symbol, price)})
            if not abs(funding_rate.get(symbol, 0.0)) < 1.0:
                raise DataError(f"ledger at {time_ms}: funding_rate of {symbol} must be a fraction below 1, found {funding_rate[symbol]}")
        self._books.rates[:], self._books.amounts[:] = in_force(self._tables, time_ms)[1:]
        self._log.counts[:] = 0
        rates = np.where(self._spot, 0.0, np.nan_to_num(self._row(funding_rate), nan=0.0))
        slip = (self._unknown, self._unknown) if not slippage else (self._row(slippage), np.zeros(len(self.symbols)))
        self._clock.open_all(self._books, self._log, 0, self._row(open), rates, self._row(mark_open), *slip)
        return self._events(time_ms)

    def inside_bar(self, time_ms: int, open: Prices, high: Prices, low: Prices) -> list[tuple[str, Event]]:
        """Step 3."""
        for symbol in open:
            check_prices(time_ms, **{f"open of {symbol}": open[symbol], f"high of {symbol}": high[symbol], f"low of {symbol}": low[symbol]})
        self._log.counts[:] = 0
        rows = self._row(open), self._row(high), self._row(low)
        self._clock.inside_all(self._books, self._log, 0, *rows, self._unknown, self._unknown)
        return self._events(time_ms)

    def close_bar(self, time_ms: int, close: Prices, mark: Prices) -> list[tuple[str, Event]]:
        """Step 4: `equity` at the marks (missing: the closes); liquidations if the closes no longer cover the maintenance margin."""
        for symbol, price in close.items():
            check_prices(time_ms, **{f"close of {symbol}": price, f"mark of {symbol}": mark.get(symbol, price)})
        self._log.counts[:] = 0
        self.equity = float(self._clock.close_all(self._books, self._log, 0, self._row(close), self._row(mark)))
        return self._events(time_ms)

    def decide(self, target: Mapping[str, float], close: Prices, limit: Prices | None = None) -> dict[str, float]:
        """Fix the orders for the next open; signed quantities by symbol, 0.0 where nothing is ordered."""
        for symbol, value in target.items():
            check_target(value, self._leverage, f"portfolio: {symbol}")
        check_prices("decide", **{f"limit of {symbol}": price for symbol, price in (limit or {}).items()})
        wanted = self._row(target)
        aims = np.where(np.isnan(wanted), self._aims, wanted)
        check_together(aims, self._spot, self._leverage, "portfolio")
        self._aims = aims
        limits = np.nan_to_num(self._row(limit or {}), nan=0.0)
        self._clock.decide_all(self._books, wanted, limits, self._row(close))
        return {symbol: self.state(symbol).order for symbol in self.symbols}

    def foresee(self, symbol: str, target: float, close: float) -> float | None:
        """The signed quantity that deciding `target` would order, None where nothing would be decided; changes nothing."""
        check_target(target, self._leverage, f"portfolio: {symbol}")
        check_prices("foresee", **{f"close of {symbol}": close})
        after, before = self._books._replace(states=self._books.states.copy()), self.state(symbol)
        wanted, none = self._row({symbol: target}), np.zeros(len(self.symbols))
        self._clock.decide_all(after, wanted, none, self._row({symbol: close}))
        decided = self._clock.stored(after, self.symbols.index(symbol))
        return None if decided == before else decided.order

    def state(self, symbol: str) -> "State":
        """Position and order of one symbol, with the shared wallet."""
        return self._clock.stored(self._books, self.symbols.index(symbol))

    def _row(self, values: Prices) -> np.ndarray:
        unknown = set(values) - set(self.symbols)
        if unknown:
            raise DataError(f"portfolio: {', '.join(sorted(unknown))} is not among its symbols {', '.join(self.symbols)}")
        return np.array([values.get(symbol, math.nan) for symbol in self.symbols], dtype=float)

    def _events(self, time_ms: int) -> list[tuple[str, Event]]:
        fills, paid = (rows[:count] for rows, count in zip(self._log[:2], self._log.counts))
        payments = [(self.symbols[int(row[5])], FundingPayment(int(time_ms), *row[1:5].tolist())) for row in paid]
        reasons = self._clock.REASONS
        return payments + [(self.symbols[int(row[8])], Fill(int(time_ms), *row[2:6].tolist(), reasons[int(row[1])])) for row in fills]


def check_together(aims: np.ndarray, spot: Sequence[bool], leverage: float, where: str) -> None:
    """Refuse targets in force (one a symbol) that need more leverage than the account has, and coins sold short or bought on credit."""
    needed, coins = float(np.abs(aims).sum()), aims[np.asarray(spot, dtype=bool)]
    if needed > leverage * (1.0 + TOLERATED):
        raise UsageError(f"{where}: targets together need leverage {needed:g}, account.leverage is {leverage:g}; lower them or raise it")
    if (coins < 0.0).any() or coins.sum() > 1.0 + TOLERATED:
        raise UsageError(f"{where}: targets of spot instruments must be at least 0 and together at most 1, found {coins.tolist()}")


def costs_of(symbols: Sequence[str], costs: Costs | Mapping[str, Costs]) -> dict[str, Costs]:
    """By symbol."""
    if isinstance(costs, Costs):
        return dict.fromkeys(symbols, costs)
    if not isinstance(costs, Mapping):
        raise UsageError(f"costs: expected Costs, or a mapping of them by symbol, found {type(costs).__name__}")
    missing = [symbol for symbol in symbols if symbol not in costs]
    if missing:
        raise UsageError(f"costs: expected one for each symbol, found none for {', '.join(missing)}")
    return {symbol: costs[symbol] for symbol in symbols}


def books(symbols: Sequence[str], account: Account, costs: Costs | Mapping[str, Costs], stops: Stops | None) -> "Books":
    """The account before the first bar."""
    from quantalpha.perp import clock

    by_symbol, start = costs_of(symbols, costs), fresh(account)
    fixed = np.array([terms(account, by_symbol[symbol], stops, symbol) for symbol in symbols], dtype=float)
    states = np.array([start] * len(symbols), dtype=float)
    ((_, rates, amounts), *_) = tables(symbols, account)
    cash, (prices, lent) = np.array([float(account.initial_cash)]), np.zeros((2, len(symbols)))
    return clock.Books(cash, states, fixed, rates.copy(), amounts.copy(), prices, lent)


def tables(symbols: Sequence[str], account: Account) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(from when in ms, rates, amounts) of all symbols, whenever one of them changes."""
    by_symbol = [tiers(account, symbol) for symbol in symbols]
    times = sorted({time for schedule in by_symbol for time, _ in schedule})
    held = [[max((row for row in schedule if row[0] <= time), key=lambda row: row[0])[1] for schedule in by_symbol] for time in times]
    return [(time, np.array([t.rates for t in row]), np.array([t.amounts for t in row])) for time, row in zip(times, held)]


def log(fills: int, payments: int) -> "Log":
    from quantalpha.perp import clock

    return clock.Log(np.empty((fills, 9)), np.empty((payments, 6)), np.zeros(2, dtype=np.int64))
