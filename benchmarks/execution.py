"""What each way to execute costs on recorded books and trades: expected before, measured after, in basis points of the mid at the decision.

python benchmarks/execution.py      reads ../shared/data/lob_binance_{l2_top10,trades}.parquet; where absent, a synthetic market instead

An order every 30 s on either side, on every market of the recording, by the settings of params.yaml (urgency 60 s). What is told reaches
the venue LATENCY later. A market order takes the ten levels displayed then (what they lack does not fill); an order that rests fills when
the market trades through its price, or when as much as waited there before it has traded at it. Our orders move nobody.
"""

import itertools
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.runner import orders as states
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderUpdateEvent, ValidatedOrderEvent
from quantalpha.runner.execution import ALGORITHMS, Book, Terms, View, of, slippage
from quantalpha.runner.execution.book import walk
from quantalpha.runner.orders import Orders

DATA = Path(__file__).parents[2] / "shared" / "data"
LATENCY, EVERY = 50, 30_000  # ms
NOTIONALS = (2_000.0, 20_000.0, 200_000.0)
LEVELS = range(1, 11)


@dataclass
class Tape:
    """books: [n, 10] prices and sizes of each side; trades: time, price, quantity (+ where the taker bought)."""

    name: str
    times: np.ndarray
    sides: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    trades: tuple[np.ndarray, np.ndarray, np.ndarray]
    lot: float
    tick: float

    def book(self, row: int) -> Book:
        bids, bid_sizes, asks, ask_sizes = (side[row].tolist() for side in self.sides)
        return Book(tuple(zip(bids, bid_sizes)), tuple(zip(asks, ask_sizes)))

    def between(self, start: int, end: int) -> zip:
        times, prices, quantities = self.trades
        part = slice(np.searchsorted(times, start), np.searchsorted(times, end))
        return zip(prices[part].tolist(), quantities[part].tolist())


def recorded() -> list[Tape]:
    books, trades = (pd.read_parquet(DATA / f"lob_binance_{name}.parquet").query("market == 'um'") for name in ("l2_top10", "trades"))
    tapes = []
    for (symbol, session), rows in books.sort_values("ts_exch_ms", kind="stable").groupby(["symbol", "session"]):
        sides = tuple(
            rows[[f"{side}_{what}_{level}" for level in LEVELS]].to_numpy(float) for side in ("bid", "ask") for what in ("px", "sz")
        )
        own = trades.query("symbol == @symbol and session == @session").sort_values("ts_trade_ms", kind="stable")
        signed = own["qty"].to_numpy(float) * np.where(own["is_buyer_maker"], -1.0, 1.0)
        times = rows["ts_exch_ms"].to_numpy("int64")
        flow = own["ts_trade_ms"].to_numpy("int64"), own["price"].to_numpy(float), signed
        tapes.append(Tape(f"{symbol} {session}", times, sides, flow, 0.001, 0.1 if symbol == "BTCUSDT" else 0.01))
    return tapes


def synthetic() -> list[Tape]:
    rng, n = np.random.default_rng(11), 6_000
    mid = np.round(60_000.0 + np.cumsum(rng.normal(0, 1.0, n)), 1)
    ladder = np.cumsum(rng.exponential(0.3, (n, 10)), axis=1).round(1)
    sizes = rng.exponential(1.0, (2, n, 10)).round(3) + 0.001
    times = np.arange(n, dtype="int64") * 100
    at = np.sort(rng.integers(0, n, 20_000))
    sign = rng.choice((-1.0, 1.0), at.size)
    flow = times[at], mid[at] + 0.05 * sign, sign * rng.exponential(0.05, at.size)
    return [Tape("synthetic", times, (mid[:, None] - 0.05 - ladder, sizes[0], mid[:, None] + 0.05 + ladder, sizes[1]), flow, 0.001, 0.1)]


class Venue:
    """Fills the children of one order from the tape."""

    def __init__(self, tape: Tape, orders: Orders, fees: tuple[float, float]):
        self.tape, self.orders, self.fees = tape, orders, fees
        self.fills: list[FillEvent] = []
        self._told: list[tuple[int, InstructionEvent]] = []
        self._ahead: dict[str, float] = {}  # resting order -> what waits before it

    def tell(self, instruction: InstructionEvent) -> None:
        self._told.append((instruction.recv_time + LATENCY, instruction))

    def step(self, before: int, now: int, book: Book) -> None:
        for price, quantity in self.tape.between(before, now):
            for name in list(self._ahead):
                self._trade(name, price, quantity, now)
        due, self._told = [i for at, i in self._told if at <= now], [(at, i) for at, i in self._told if at > now]
        for instruction in due:
            {"market": self._market, "post_only": self._rest}[instruction.kind](instruction, now, book)

    def _market(self, instruction: InstructionEvent, now: int, book: Book) -> None:
        taken, money = walk(book.against(instruction.quantity), abs(instruction.quantity))
        taken = math.floor(taken / self.tape.lot + 1e-9) * self.tape.lot
        money = walk(book.against(instruction.quantity), taken)[1]
        self._fill(instruction, math.copysign(taken, instruction.quantity), money / taken, self.fees[1], now)
        self._word(instruction.client_id, states.FILLED if abs(taken - abs(instruction.quantity)) < 1e-9 else states.EXPIRED, now)

    def _rest(self, instruction: InstructionEvent, now: int, book: Book) -> None:
        name, buys = instruction.client_id, instruction.quantity > 0
        if instruction.action == "cancel":
            self._ahead.pop(name, None)
            return None if self.orders[name].final else self._word(name, states.CANCELLED, now)
        if instruction.price >= book.ask if buys else instruction.price <= book.bid:
            return self._word(name, states.EXPIRED, now)
        waiting = dict(book.bids if buys else book.asks)
        self._ahead[name] = waiting.get(instruction.price, 0.0)
        return self._word(name, states.OPEN, now)

    def _trade(self, name: str, price: float, quantity: float, now: int) -> None:
        order = self.orders[name]
        side = math.copysign(1.0, order.quantity)
        if quantity * side > 0 or (price - order.instruction.price) * side > 1e-9:
            return
        through = (order.instruction.price - price) * side > 1e-9
        free = abs(quantity) if through else max(0.0, abs(quantity) - self._ahead[name])
        self._ahead[name] = max(0.0, self._ahead[name] - abs(quantity))
        part = math.floor(min(free, abs(order.remaining)) / self.tape.lot + 1e-9) * self.tape.lot
        if part > 0:
            self._fill(order.instruction, side * part, order.instruction.price, self.fees[0], now)
            if abs(self.orders[name].remaining) < 1e-9:
                del self._ahead[name]
                self._word(name, states.FILLED, now)

    def _fill(self, instruction: InstructionEvent, quantity: float, price: float, fee: float, now: int) -> None:
        fill = FillEvent(
            event_time=now, recv_time=now, symbol="X", bar=0, client_id=instruction.client_id, quantity=quantity, price=price,
            fee=fee * abs(quantity) * price, realised=0.0, reason="order", maker=instruction.kind == "post_only",
        )  # fmt: skip
        self.fills.append(fill)
        self.orders.fill(fill)

    def _word(self, name: str, status: str, now: int) -> None:
        word = OrderUpdateEvent(event_time=now, recv_time=now, symbol="X", client_id=name, venue_id=name, status=status)
        self.orders.update(replace(word, filled=self.orders[name].filled))


def traded(tape: Tape, row: int, side: float, notional: float, settings: config.Execution, params: config.Params) -> dict[str, float]:
    """One order from its decision to its end."""
    start, book = int(tape.times[row]), tape.book(row)
    quantity = side * max(1, math.floor(notional / book.mid / tape.lot)) * tape.lot
    order = ValidatedOrderEvent(
        event_time=start, recv_time=start, symbol="X", bar=0, client_id="p", quantity=quantity, target=side, price=book.mid
    )  # fmt: skip
    orders = Orders()
    venue = Venue(tape, orders, (params.costs.maker, params.costs.taker))
    terms = Terms(tape.lot, tape.tick, 5.0, (params.costs.slippage, 0.0))
    execution, now, volume = of(settings, order, 0.0, terms, orders), start, 0.0
    while not execution.done and row < len(tape.times):
        before, now, here = now, int(tape.times[row]), tape.book(row)
        venue.step(before, now, here)
        volume += sum(abs(part) for _, part in tape.between(before, now))
        for instruction in execution.act(View(now, here, volume)):
            venue.tell(instruction)
        row += 1
    lost = slippage.measured(quantity, venue.fills, book.mid, here.mid)
    money = abs(quantity) * book.mid
    return {
        "expected": slippage.predicted(quantity, book, terms.model),
        "slippage": lost.fraction,
        "missed": lost.missed / money,
        "fees": lost.fees / money,
        "total": lost.total / money,
        "filled": lost.filled / quantity,
        "maker": sum(abs(fill.quantity) for fill in venue.fills if fill.maker) / max(abs(lost.filled), 1e-12),
        "seconds": (now - start) / 1000,
    }


def main() -> None:
    params = config.load()
    real = (DATA / "lob_binance_l2_top10.parquet").exists()
    tapes = recorded() if real else synthetic()
    rows = []
    for tape, algorithm, notional, side in itertools.product(tapes, ALGORITHMS, NOTIONALS, (1.0, -1.0)):
        settings = params.execution.model_copy(update={"algorithm": algorithm})
        last = tape.times[-1] - round(settings.urgency * 1000) - 10_000
        for start in np.arange(tape.times[0] + 1_000, last, EVERY):
            found = traded(tape, int(np.searchsorted(tape.times, start)), side, notional, settings, params)
            rows.append({"order": notional, "algorithm": algorithm, "side": "buy" if side > 0 else "sell", **found})
    table = pd.DataFrame(rows)
    show(table, f"{', '.join(tape.name for tape in tapes)}: {len(table)} orders, basis points of the mid at the decision, + is a cost")


def show(table: pd.DataFrame, title: str) -> None:
    table[["expected", "slippage", "missed", "fees", "total"]] *= 1e4
    keys = ["order", "algorithm", "side"]
    shown = table.groupby(keys, sort=False).mean()
    shown.insert(2, "+-", table.groupby(keys, sort=False)["slippage"].sem())
    both = table.drop(columns="side").groupby(keys[:2], sort=False).mean()
    print(title, shown.round(2).to_string(), "both sides together", both.round(2).to_string(), sep="\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
