"""The way of a decision is walked, without a consequence, while a close is due.

A session sleeps between bars, and within milliseconds of sleep what a decision needs (windows, trees, code) has left the processor's
caches: then it takes half as long again (benchmarks/runner.py). Whoever has just walked it finds everything there.

Nor does it meet Python's search for garbage, which takes a millisecond whenever enough was made: that has its turn here, little by little.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from quantalpha.runner.engine import Engine
from quantalpha.runner.events import OrderEvent

AHEAD = 0.05  # seconds before one is expected
EVERY = 0.005  # seconds; what is walked takes a fifth of it
LATE = 1.0  # seconds after which a close is waited for without hurry
LONGEST = 1.0  # seconds between looks
YOUNG = 1  # generations searched at each look; an old one only between bars
OLD = 600  # such looks, at least as many seconds
TURNS = 3  # of the loop, in which a frame that has come is read, handed on and acted upon


async def stay_warm(
    walk: Callable[[], Iterable[None]], left: Callable[[], float], *, sleep: Callable[[float], Awaitable] = asyncio.sleep
) -> None:
    """Without end. walk: step by step, between which what has arrived meanwhile has its turn. left: seconds until a close is expected,
    negative while it is late."""
    looks = 0
    with without_collections():
        while True:
            seconds = left()
            due = -LATE < seconds <= AHEAD
            for _ in walk() if due else ():
                await turns(sleep)
            looks += not due
            gc.collect(YOUNG if due or looks % OLD else YOUNG + 1)
            await sleep(EVERY if due else pause(seconds))


async def turns(sleep: Callable[[float], Awaitable]) -> None:
    for _ in range(TURNS):
        await sleep(0.0)


@contextmanager
def without_collections() -> Iterator[None]:
    """But those that are asked for."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def pause(left: float) -> float:
    """Seconds until it is looked at again."""
    return min(max(left - AHEAD, EVERY), LONGEST) if left > 0 else LONGEST


class Account(Protocol):
    """At a venue."""

    def expect_order(self) -> None: ...


def rehearse(engine: Engine, accounts: Sequence[Account] = ()) -> Iterator[None]:
    """Every strategy is asked, an order of the whole equity judged, and one expected at each venue; nobody is told."""
    for account in accounts:
        account.expect_order()
        yield
    for strategy in engine.strategies:
        strategy.decider.decide(engine.targets[strategy.name])
        yield
    view = engine.view()
    for symbol, price in engine.prices().items():
        terms = {"client_id": "", "quantity": view.equity / price if price else 0.0, "target": 1.0, "price": price}
        engine.gates.risk.judge(OrderEvent(event_time=view.time, recv_time=view.time, symbol=symbol, bar=view.time, **terms), view)
