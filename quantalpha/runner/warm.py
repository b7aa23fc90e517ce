"""The way of a decision is walked, without a consequence, while a close is due.

A session sleeps between bars, and within milliseconds of sleep what a decision needs (windows, trees, code) has left the processor's
caches: then it takes half as long again (benchmarks/runner.py). Whoever has just walked it finds everything there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from quantalpha.runner.engine import Engine
from quantalpha.runner.events import OrderEvent

AHEAD = 0.05  # seconds before one is expected
EVERY = 0.005  # seconds; what is walked takes a fifth of it
LATE = 1.0  # seconds after which a close is waited for without hurry
LONGEST = 1.0  # seconds between looks


async def stay_warm(
    walk: Callable[[], Iterable[None]], left: Callable[[], float], *, sleep: Callable[[float], Awaitable] = asyncio.sleep
) -> None:
    """Without end. walk: step by step, between which what has arrived meanwhile has its turn. left: seconds until a close is expected,
    negative while it is late."""
    while True:
        seconds = left()
        due = -LATE < seconds <= AHEAD
        for _ in walk() if due else ():
            await sleep(0.0)
        await sleep(EVERY if due else pause(seconds))


def pause(left: float) -> float:
    """Seconds until it is looked at again."""
    return min(max(left - AHEAD, EVERY), LONGEST) if left > 0 else LONGEST


def rehearse(engine: Engine) -> Iterator[None]:
    """Every strategy is asked and an order of the whole equity judged; nobody is told."""
    for strategy in engine.strategies:
        strategy.decider.decide(engine.targets[strategy.name])
        yield
    view = engine.view()
    for symbol, price in engine.prices().items():
        terms = {"client_id": "", "quantity": view.equity / price if price else 0.0, "target": 1.0, "price": price}
        engine.gates.risk.judge(OrderEvent(event_time=view.time, recv_time=view.time, symbol=symbol, bar=view.time, **terms), view)
