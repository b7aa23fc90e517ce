"""The way of a decision is walked while a close is due, and leaves no trace."""

import asyncio
import contextlib
import gc

import pandas as pd
from paper_accounts import ACCOUNT, COSTS, HOUR, Kept, Script, tape

from quantalpha.runner import feed
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.latency import Stopwatch
from quantalpha.runner.risk import standard
from quantalpha.runner.warm import AHEAD, EVERY, LATE, LONGEST, pause, rehearse, stay_warm


def test_it_is_walked_around_the_moment_and_at_no_other():
    moments, walked, asked = [10.0, AHEAD + 1e-9, AHEAD, 0.0, -LATE / 2, -LATE, -100.0, float("inf")], [], []

    def left():
        if len(asked) == len(moments):
            raise asyncio.CancelledError
        asked.append(moments[len(asked)])
        return asked[-1]

    async def run():
        await stay_warm(lambda: [walked.append(asked[-1])], left, sleep=lambda seconds: asyncio.sleep(0))

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(run())
    assert walked == [AHEAD, 0.0, -LATE / 2]


def test_garbage_is_searched_for_between_and_by_itself_again_afterwards():
    found = []

    def left():
        found.append(gc.isenabled())
        if len(found) == 3:
            raise asyncio.CancelledError
        return 0.0

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(stay_warm(list, left, sleep=lambda seconds: asyncio.sleep(0)))
    assert found == [False] * 3 and gc.isenabled()


def test_what_has_come_is_acted_upon_before_the_next_step():
    order = []

    def walk():
        for step in range(3):
            order.append(step)
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, order.append, "frame")
            yield

    async def run():
        task = asyncio.create_task(stay_warm(walk, lambda: 0.0))
        while len(order) < 6:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
    assert order[:6] == [0, "frame", 1, "frame", 2, "frame"]


def test_it_is_looked_at_again_in_time():
    assert pause(AHEAD + 0.3) == 0.3 and pause(AHEAD) == EVERY
    assert pause(3600.0) == pause(-100.0) == pause(float("inf")) == LONGEST


def test_a_walk_leaves_no_trace():
    table, events = tape(3, 12), Kept()
    strategy = Strategy("a" * 64, "BTCUSDT", Script(pd.Series(1.0, table.index)))
    engine = Engine([strategy], PaperBroker("BTCUSDT", ACCOUNT, COSTS), Gates(standard(4.0)), events, lambda: 7)
    for event in feed.replay(table, "BTCUSDT", HOUR):
        engine.feed(event)
    before, account, targets = list(events), engine.broker.account(), dict(engine.targets)
    assert len(list(rehearse(engine))) == 1
    assert (list(events), engine.broker.account(), engine.targets) == (before, account, targets)


def test_the_next_close_is_expected_as_long_after_the_last_as_that_was_after_the_one_before():
    now = [0]
    watch = Stopwatch(lambda: now[0])
    assert watch.left() == float("inf")
    watch.closed(0, 1_000_000_000)
    assert watch.left() == float("inf")
    watch.closed(60_000, 61_000_000_000)
    watch.closed(60_000, 61_500_000_000)  # another symbol's close of the same bar
    now[0] = 121_000_000_000
    assert watch.left() == 0.5
    now[0] = 122_000_000_000
    assert watch.left() == -0.5
