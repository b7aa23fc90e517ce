"""Random event sequences for the ledger: accounts, costs and stops of every kind on short violent tapes, lived by the compiled clock.

Everything of a batch stands in arrays float64[sequences, bars, symbols], so that `audit` judges thousands of sequences at once.
"""

from typing import NamedTuple

import numpy as np

from quantalpha.perp import Account, Costs, Instrument, Slippage, Stops, clock
from quantalpha.perp.account import fresh, terms, tiers
from quantalpha.perp.brackets import rates_and_amounts
from quantalpha.perp.portfolio import books, log

CASH = 10_000.0
BARS = 24
TAPES = 25  # tapes each account lives through
BRACKETS = (((0.0, 0.004), (50_000.0, 0.01)), ((0.0, 0.02), (3_000.0, 0.05), (20_000.0, 0.2)), ((0.0, 0.1),))
ACCOUNTS = {
    "leverage": (1.0, 2.0, 5.0, 20.0, 100.0), "margin_mode": ("cross", "isolated"), "lot": (0.0, 0.001, 0.25, 1.0),
    "min_notional": (0.0, 0.0, 2000.0), "tick": (0.0, 0.25, 0.3), "rebalance_band": (None, None, 0.05, 0.3), "limit_bars": (None, 1, 3),
    "brackets": (None, *BRACKETS),
}  # fmt: skip
COSTS = {
    "maker": (-0.0001, 0.0002, 0.002), "taker": (0.0, 0.0005, 0.01), "slippage": (0.0, 0.0003, 0.01, Slippage(0.0)),
    "liquidation": (0.0, 0.0125, 0.05), "delay": (0, 0, 1, 3),
}  # fmt: skip
STOPS = {
    "stop_loss": (None, 0.01, 0.05, 0.2), "take_profit": (None, 0.015, 0.05, 0.3), "trailing_stop": (None, None, 0.01, 0.1),
    "max_bars": (None, None, 1, 5),
}  # fmt: skip


class Rules(NamedTuple):
    """What `audit` needs to know, by sequence and symbol: float64[sequences, symbols], infinity where there is no such level."""

    maker: np.ndarray
    taker: np.ndarray
    slippage: np.ndarray  # NaN: a model, whose curves stand in Batch
    liquidation: np.ndarray
    delay: np.ndarray
    stop_loss: np.ndarray
    take_profit: np.ndarray
    trailing_stop: np.ndarray
    max_bars: np.ndarray
    leverage: np.ndarray  # of its initial margin: 1 for a coin
    alone: np.ndarray  # 1: only its own margin stands behind it
    spot: np.ndarray
    lot: np.ndarray
    tick: np.ndarray
    min_notional: np.ndarray
    band: np.ndarray
    limit_bars: np.ndarray


class Batch(NamedTuple):
    market: clock.Market  # float64[sequences, bars, symbols] each; a missing bar is NaN
    target: np.ndarray  # NaN: nothing decided
    limit: np.ndarray  # 0: at market
    rules: Rules
    rates: np.ndarray  # float64[sequences, symbols, brackets], maintenance margin = the largest rate * notional - amount
    amounts: np.ndarray


class Lived(NamedTuple):
    """What the clock made of a batch."""

    fills: np.ndarray  # float64[rows, 10]: bar, reason, quantity, price, fee, realised, position after, slippage, symbol, sequence
    paid: np.ndarray  # float64[rows, 7]: bar, amount, rate, mark, quantity, symbol, sequence
    equity: np.ndarray  # float64[sequences, bars]
    cash: np.ndarray  # float64[sequences], at the end


def draw(rng: np.random.Generator, sequences: int, symbols: int) -> tuple[Batch, list]:
    """A batch and the (account, costs by symbol, stops) of every TAPES sequences."""
    worlds = [world(rng, symbols) for _ in range(sequences // TAPES)]
    kept = [np.repeat(values, TAPES, axis=0) for values in zip(*(told(*rules) for rules in worlds))]
    rules = Rules(*np.moveaxis(kept[0], 2, 0))
    size = sequences, BARS, symbols
    volatility = rng.choice([0.003, 0.02, 0.1, 0.4], (sequences, 1, 1))
    market, modelled = tapes(rng, size, volatility), np.isnan(rules.slippage)[:, None]
    spread, impact = (np.where(modelled, rng.random(size) * scale, np.nan) for scale in (0.02, 1e-4))
    rate = np.where(rules.spot[:, None] > 0.0, 0.0, market.rate)  # a coin pays none: who calls the clock sees to it
    market = market._replace(rate=rate, spread=spread, impact=impact)
    target, limit = plans(rng, market, rules, volatility)
    target = np.where(np.isfinite(rules.band)[:, None], last_told(target), target)  # who rebalances decides at every close
    return Batch(market, target, limit, rules, *kept[1:]), worlds


def world(rng: np.random.Generator, symbols: int) -> tuple[Account, dict[str, Costs], Stops]:
    def pick(table):
        return {name: values[rng.integers(len(values))] for name, values in table.items()}

    names, instruments = "ABC"[:symbols], {}
    if symbols > 1 and rng.random() < 0.5:
        instruments["A"] = Instrument(lot=0.01, tick=0.25, min_notional=500.0, brackets=BRACKETS[rng.integers(len(BRACKETS))])
    if symbols > 1 and rng.random() < 0.5:
        instruments[names[-1]] = Instrument(lot=0.01, spot=True)
    account = Account(CASH, **pick(ACCOUNTS), instruments=instruments)
    return account, {name: Costs(**pick(COSTS)) for name in names}, Stops(**pick(STOPS))


def told(account: Account, costs: dict[str, Costs], stops: Stops) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rules of a world as float64[symbols, Rules], and its brackets; read from the account itself, not from what the clock is given."""
    rows, tables = [], []
    for symbol, cost in costs.items():
        own = account.instrument(symbol)
        slippage = np.nan if isinstance(cost.slippage, Slippage) else cost.slippage
        levels = (stops.stop_loss, stops.take_profit, stops.trailing_stop, stops.max_bars)
        row = [cost.maker, cost.taker, slippage, cost.liquidation, cost.delay, *levels, 1.0 if own.spot else account.leverage]
        row += [own.spot or account.margin_mode == "isolated", own.spot, own.lot, own.tick, own.min_notional]
        rows.append([np.inf if value is None else value for value in (*row, account.rebalance_band, account.limit_bars)])
        rates, amounts = rates_and_amounts(account.brackets if own.brackets is None else own.brackets)
        if own.spot:
            rates, amounts = np.zeros(1), np.zeros(1)
        tables.append([np.pad(values, (0, clock.BRACKETS - len(values)), mode="edge") for values in (rates, amounts)])
    rates, amounts = np.moveaxis(np.array(tables), 1, 0)
    return np.array(rows, dtype=float), rates, amounts


def tapes(rng: np.random.Generator, size: tuple[int, int, int], volatility: np.ndarray) -> clock.Market:
    """Heavy tails, gaps, prices on a coarse grid (so that levels tie), marks that stray or miss, funding of every size, missing bars."""

    def moves():
        return np.clip(rng.standard_t(3, size) * volatility, -1.0, 1.0)

    close = 100.0 * np.exp(np.clip(np.cumsum(moves(), axis=1), -6.0, 6.0))
    before = np.concatenate([np.full_like(close[:, :1], 100.0), close[:, :-1]], axis=1)
    open_ = before * np.exp(moves() * (rng.random(size) < 0.3))
    high = np.maximum(open_, close) * (1.0 + np.abs(moves()))
    low = np.minimum(open_, close) / (1.0 + np.abs(moves()))
    grid = rng.choice([0.0, 0.0, 0.5], (size[0], 1, 1))
    steps = np.where(grid > 0.0, grid, 1.0)
    prices = [np.where(grid > 0.0, np.maximum(np.rint(p / steps) * steps, steps), p) for p in (open_, high, low, close)]
    mark = np.where(rng.random(size) < rng.choice([0.0, 0.1, 1.0], (size[0], 1, 1)), np.nan, prices[3] * np.exp(moves() / 4.0))
    rate = rng.normal(0.0, 1.0, size) * rng.choice([0.0, 1e-4, 0.01, 0.3], (size[0], 1, 1)) * (rng.random(size) < 0.3)
    rate = np.clip(rate, -0.9, 0.9)
    missing = rng.random(size) < rng.choice([0.0, 0.1], (size[0], 1, 1))
    missing |= np.arange(size[1])[:, None] >= rng.choice([size[1], size[1], 12], (size[0], 1, size[2]))  # delisted
    missing &= size[2] > 1
    columns = [np.where(missing, np.nan, column) for column in (*prices, mark)]
    return clock.Market(*columns, np.where(missing, 0.0, rate), None, None)


def plans(rng: np.random.Generator, market: clock.Market, rules: Rules, volatility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets that together never exceed the leverage and change now and then, some told again, some not; limits near the close."""
    size = market.open.shape
    leverage = rules.leverage.max(axis=1)[:, None, None]
    reach = np.minimum(np.minimum(rng.choice([0.3, 1.0, 100.0], (size[0], 1, 1)), leverage), 0.99 * leverage / size[2])
    level = rng.choice([0.0, 1.0, -1.0, 0.5, -0.3], size) * reach
    level = np.where(rules.spot[:, None] > 0.0, np.minimum(np.abs(level), 0.9), level)
    changed = rng.random(size) < rng.choice([0.1, 0.4, 1.0], (size[0], 1, 1))
    last = np.maximum.accumulate(np.arange(size[1])[:, None] * changed, axis=1)
    silent = np.isnan(market.close) | (rng.random(size) < 0.2)
    limit = market.close * (1.0 + np.clip(rng.normal(0.0, 1.0, size) * volatility, -0.5, 0.5))
    limited = (rng.random(size) < rng.choice([0.0, 0.8], (size[0], 1, 1))) & ~silent
    return np.where(silent, np.nan, np.take_along_axis(level, last, axis=1)), np.where(limited, limit, 0.0)


def last_told(target: np.ndarray) -> np.ndarray:
    """The target in force after each bar, NaN before the first."""
    told = np.where(np.isnan(target), 0, np.arange(target.shape[1])[:, None])
    return np.take_along_axis(target, np.maximum.accumulate(told, axis=1), axis=1)


def live(batch: Batch, worlds: list) -> Lived:
    """One symbol through `clock.run`, several through `clock.run_many`."""
    lived = _one if batch.target.shape[2] == 1 else _several
    equity, cash = np.empty(batch.target.shape[:2]), np.empty(len(batch.target))
    fills, paid = [], []
    for b, (row_fills, row_paid) in enumerate(lived(batch, worlds, equity, cash)):
        fills.append(np.column_stack([row_fills, np.full(len(row_fills), float(b))]))
        paid.append(np.column_stack([row_paid, np.full(len(row_paid), float(b))]))
    return Lived(np.concatenate(fills), np.concatenate(paid), equity, cash)


def _one(batch: Batch, worlds: list, equity: np.ndarray, cash: np.ndarray):
    """Yields fills and payments of each sequence; writes equity and the last cash."""
    flat = [column.reshape(column.shape[:2]) for column in (*batch.market, batch.target, batch.limit)]
    fills, paid, nothing = np.zeros((3 * BARS + 3, 9)), np.zeros((BARS + 1, 6)), np.empty(0)
    for b, columns in enumerate(zip(*flat)):
        if b % TAPES == 0:
            account, costs, stops = worlds[b // TAPES]
            given = fresh(account), terms(account, costs["A"], stops), tiers(account)[0][1]
        curves = columns[6:8] if np.isnan(given[1].slippage) else (nothing, nothing)
        market, plan = clock.Market(*columns[:6], *curves), clock.Plan(*columns[8:], sparse=True)
        state, filled, settled, end, fault = clock.run(market, plan, (0, BARS), *given, (equity[b], fills, paid))
        assert end == BARS and not fault
        cash[b] = state.cash
        yield fills[:filled], paid[:settled]


def _several(batch: Batch, worlds: list, equity: np.ndarray, cash: np.ndarray):
    symbols = batch.target.shape[2]
    record = log(4 * symbols * (BARS + 1), symbols * (BARS + 1))
    for b, columns in enumerate(zip(*batch.market, batch.target, batch.limit)):
        account, costs, stops = worlds[b // TAPES]
        if b % TAPES == 0:
            held = books(tuple(costs), account, costs, stops)
            start = held.states.copy()
        held.cash[0], held.states[:], held.prices[:], record.counts[:] = CASH, start, 0.0, 0
        market, plan, first = clock.Market(*columns[:8]), clock.Plan(*columns[8:], sparse=True), 0
        lasts = BARS - 1 - np.argmax(~np.isnan(market.open[::-1]), axis=0)
        for end in sorted({*(lasts + 1).tolist(), BARS}):
            first, fault = clock.run_many(market, plan, (first, end), held, account.leverage, equity[b], record)
            assert first == end and fault == -1
            for s in np.flatnonzero(lasts == end - 1) if end < BARS else []:
                equity[b, end - 1] = clock.delist(held, record, end - 1, s)
        cash[b] = held.cash[0]
        yield record.fills[: record.counts[0]], record.paid[: record.counts[1]]
