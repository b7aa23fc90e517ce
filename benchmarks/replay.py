"""How much the runner carries: recorded bars a second, a session's memory over a million of them, a venue broker's over its orders.

python benchmarks/replay.py [bars]            precomputed forecasts, against `simulate` and one insert of the same rows
python benchmarks/replay.py soak [bars]       one session
python benchmarks/replay.py orders [orders]   decided orders through an ExchangeBroker, whose market fills at once
"""

import gc
import os
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config, perp
from quantalpha.backtest import simulate
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Account, Costs
from quantalpha.runner import feed, risk
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import Event, FillEvent, InstructionEvent, OrderUpdateEvent, QuoteEvent, ValidatedOrderEvent
from quantalpha.runner.execution import Terms
from quantalpha.runner.journal import INSERT, Journal, read
from quantalpha.runner.orders import CANCELLED, FILLED, OPEN
from quantalpha.runner.session import REPLAY_BATCH
from quantalpha.runner.venue_setup import Market, Setup

HOUR = 3_600_000  # ms


class Scripted:
    """Precomputed forecasts: another target every day of hours."""

    fingerprint, novelty = "", 0.0

    def __init__(self):
        self.bars = 0

    def observe(self, bar) -> None:
        self.bars += 1

    def decide(self, previous: float) -> tuple[float, float]:
        return 0.1, float(self.bars // 24 % 3 - 1)


def of_paper(folder: Path) -> tuple[Engine, Journal]:
    journal = Journal(folder / "journal.db", "s", batch=REPLAY_BATCH)
    broker = PaperBroker("BTCUSDT", Account(1e6, 5.0), Costs(0.0, 0.0, 0.0, 0.0125))
    return Engine([Strategy("b" * 64, "BTCUSDT", Scripted())], broker, Gates(risk.standard(5.0)), journal, lambda: 0), journal


def recorded_bars(count: int) -> pd.DataFrame:
    return synthetic_bars("BTCUSDT", config.load("demo", [f"synthetic.bars={count}"]).synthetic)


def seconds(call: Callable, clock: Callable[[], float] = time.process_time) -> float:
    begun = clock()
    call()
    return clock() - begun


def replayed(bars: pd.DataFrame, folder: Path) -> Journal:
    engine, journal = of_paper(folder)
    for event in feed.replay(bars, "BTCUSDT", HOUR):
        engine.feed(event)
    journal.close()
    return journal


def inserted(folder: Path, rows: int) -> None:
    """The same rows in one go, into a table of the same kind that nothing guards."""
    with sqlite3.connect(folder / "journal.db") as source, sqlite3.connect(folder / "copy.db") as target:
        found = source.execute("SELECT * FROM events").fetchall()
        assert len(found) == rows
        target.execute("CREATE TABLE events (session, seq, event_time, recv_time, kind, payload, PRIMARY KEY (session, seq)) WITHOUT ROWID")
        print(f"one insert of the same {rows:,} rows: {seconds(lambda: (target.executemany(INSERT, found), target.commit())):.2f} s CPU")


def measure_replay(count: int) -> None:
    bars = recorded_bars(count)
    count = len(bars)
    target = pd.Series(np.arange(1, count + 1) // 24 % 3 - 1.0, index=bars.index)
    terms = {"account": Account(1e6, 5.0), "costs": Costs(0.0, 0.0, 0.0, 0.0125)}
    simulate(bars, target, **terms)
    kernel = min(seconds(lambda: simulate(bars, target, **terms)) for _ in range(3))
    with tempfile.TemporaryDirectory() as first:
        replayed(bars.head(1000), Path(first))
    for attempt in range(3):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            spent = seconds(lambda: replayed(bars, Path(folder)))
            rate = count / spent
            wall = count / (time.perf_counter() - begun)
            print(f"replay: {rate:,.0f} bars a CPU second, {wall:,.0f} by the wall; {spent / kernel:,.0f} x simulate")
            if attempt == 2:
                inserted(Path(folder), len(read(Path(folder) / "journal.db")))


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def show(rows: list[tuple[int, float, float]], what: str) -> None:
    """(count, MiB, CPU seconds since the row before) and the slope after the first."""
    for count, memory, spent in rows:
        print(f"{count:>10,} {what}  {memory:8.1f} MiB  {spent:6.1f} s CPU")
    counts, memory = np.array([row[0] for row in rows[1:]]), np.array([row[1] for row in rows[1:]])
    print(f"slope {np.polyfit(counts, memory, 1)[0] * 2**20:.2f} bytes a {what.rstrip('s')}")


def measure_soak(count: int) -> None:
    """One session over tapes one after the other, as if they were one."""
    bars, rows = recorded_bars(min(count, 100_000)), []
    step, span = len(bars), int((bars.index[-1] - bars.index[0]).total_seconds()) * 1000 + HOUR
    with tempfile.TemporaryDirectory() as folder:
        engine, journal = of_paper(Path(folder))
        begun = time.process_time()
        for lap in range(max(count // 100_000, 1)):
            shift = lap * span
            for event in feed.replay(bars, "BTCUSDT", HOUR):
                moved = {"event_time": event.event_time + shift, "recv_time": event.recv_time + shift, "bar": event.bar + shift}
                engine.feed(replace(event, **moved))
            gc.collect()
            rows.append(((lap + 1) * step, resident(), time.process_time() - begun))
            begun = time.process_time()
        journal.close()
    show(rows, "bars")


def answered(instruction: InstructionEvent, price: float) -> list[Event]:
    """A venue that does at once what it is told: market orders fill, others rest."""
    when = {"event_time": instruction.event_time, "recv_time": instruction.recv_time, "symbol": instruction.symbol}
    word = {"client_id": instruction.client_id, "venue_id": instruction.client_id}
    if instruction.action == "cancel":
        return [OrderUpdateEvent(**when, **word, status=CANCELLED)]
    if instruction.kind != "market":
        return [OrderUpdateEvent(**when, **word, status=OPEN)]
    traded = {
        "bar": 0,
        "client_id": instruction.client_id,
        "trade": instruction.client_id,
        "quantity": instruction.quantity,
        "price": price,
    }
    fill = FillEvent(**when, **traded, fee=0.0, realised=0.0, reason="order")
    return [fill, OrderUpdateEvent(**when, **word, status=FILLED, filled=instruction.quantity, average=price)]


def measure_orders(count: int) -> None:
    """Decided orders that open and close a position, each with its stop, through an ExchangeBroker."""
    rows, begun = [], time.process_time()
    market = Market(Terms(0.001, 0.1, 5.0, (1e-4, 0.0)), perp.Stops(), 0.05)
    broker = ExchangeBroker(Setup(Account(1e6, 5.0, lot=0.001), {"X": market}, config.load().execution, "s", print))
    for number in range(count):
        times = {"event_time": number * 1000, "recv_time": number * 1000, "symbol": "X"}
        wish = {"client_id": f"o{number}", "quantity": 0.5 - number % 2, "target": 0.0, "price": 1000.0, "bar": 0}
        quote = QuoteEvent(**times, bid=999.9, ask=1000.1, bid_quantity=9.0, ask_quantity=9.0)
        queue: deque[Event] = deque([quote, ValidatedOrderEvent(**times, **wish)])
        while queue:
            event = queue.popleft()
            for told in broker.submit(event) if isinstance(event, ValidatedOrderEvent) else broker.heard(event):
                queue += [told, *answered(told, 1000.0)]
        if (number + 1) % (count // 10) == 0:
            gc.collect()
            rows.append((number + 1, resident(), time.process_time() - begun))
            begun = time.process_time()
    show(rows, "orders")


def main() -> None:
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    if "soak" in sys.argv:
        measure_soak(*(numbers or [1_000_000]))
    elif "orders" in sys.argv:
        measure_orders(*(numbers or [100_000]))
    else:
        measure_replay(*(numbers or [60_000]))


if __name__ == "__main__":
    main()
