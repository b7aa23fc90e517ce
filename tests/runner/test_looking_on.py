"""What a session at two venues waits for before it decides anything."""

import asyncio
from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.runner import dogs, listening, live


class Session:
    """Counts the looks at the latch."""

    def __init__(self):
        self.params, self.composition = config.load(), SimpleNamespace(symbols=("BTCUSDT",), timeframe="1h")
        self.step, self.looks = 3_600_000, 0

    def feed(self, event):
        return False

    def clock(self):
        return 0

    def look_at_latch(self):
        self.looks += 1

    def require_running(self):
        pass


class Silent:
    """A stream on which nothing comes."""

    def __init__(self, *_):
        pass

    async def run(self):
        await asyncio.Event().wait()


def side(place):
    return SimpleNamespace(place=place, params=None, quoted=False, follow_rates=Silent().run)


@pytest.fixture
def looking(monkeypatch):
    monkeypatch.setattr(live, "TICK", 0.001)
    monkeypatch.setattr(listening, "Socket", Silent)
    made = live.Live(Session(), SimpleNamespace(trading=SimpleNamespace(now=lambda: 0), sides=()), dogs.Dogs(lambda: False))
    made.sides = made.listening.sides = (side(""), side("@bybit"))
    return made


async def looked_on(looking, stop, happens):
    """Waits, with looks at the latch, until `happens`."""
    task = asyncio.create_task(looking._look_on(stop))
    while looking.session.looks < 3:
        await asyncio.sleep(0)
    assert not task.done()
    happens()
    async with asyncio.timeout(30.0):
        await task
    for each in looking.tasks:
        each.cancel()


@pytest.mark.parametrize("feed", ["rest", "socket"])
def test_nothing_is_decided_before_both_have_quoted(looking, feed):
    """By socket the first's quotes come with its bars: only the second's are waited for."""
    looking.listening.params = looking.params.model_copy(update={"runner": looking.params.runner.model_copy(update={"feed": feed})})
    first, second = looking.sides

    def quote():
        first.quoted, second.quoted = feed == "rest", True

    asyncio.run(looked_on(looking, asyncio.Event(), quote))


def test_a_session_that_is_told_to_stop_waits_for_nobody(looking):
    stop = asyncio.Event()
    asyncio.run(looked_on(looking, stop, stop.set))


def test_one_that_says_nothing_is_not_waited_for_without_end(looking, monkeypatch):
    monkeypatch.setattr(live, "LONGEST_LAG", 0.05)
    looking.sides[0].quoted = True
    asyncio.run(looking._look_on(asyncio.Event()))
    assert looking.session.looks > 0


def test_one_venue_alone_is_not_waited_for(looking):
    """Its orders wait for a quote by themselves."""
    looking.sides = looking.listening.sides = looking.sides[:1]
    asyncio.run(looking._look_on(asyncio.Event()))
    assert looking.session.looks == 0
