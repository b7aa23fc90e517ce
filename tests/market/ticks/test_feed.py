"""Feeds over real sockets: the practice exchange as it comes, cut off in the middle, and venues that misbehave."""

import asyncio
import json

import numpy as np
import orjson
import pytest
from aiohttp import web

from quantalpha import config
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.exchange import Retry
from quantalpha.market.ticks import feed as feeds
from quantalpha.market.ticks.feed import Feed, Subscription
from quantalpha.market.ticks.messages import KINDS, Bar, Trade
from quantalpha.market.ticks.record import Recorder, read_ticks
from quantalpha.market.ticks.session import record
from quantalpha.practice.server import EXCHANGE, SOCKETS

START = 1_609_502_400_000 + 20 * 60_000  # 2021-01-01 12:20
FAST = 10 * 3600.0  # ten hours a second
SETTINGS = config.load("demo").stream
WISH = Subscription(("BTCUSDT",), KINDS, "1h")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """No second is waited in vain."""
    monkeypatch.setattr(feeds, "Retry", lambda *args, **options: Retry(*args, **{"base": 0.02, "cap": 0.1} | options))


async def collect(feed, enough, each=None) -> list:
    found = []
    async with asyncio.timeout(40):
        async for _, message in feed.messages():
            found.append(message)
            if each is not None:
                await each(found)
            if enough(found):
                break
    return found


def trades_in_order(found) -> int:
    """How many there are, without a hole."""
    numbers = [message.id for message in found if type(message) is Trade]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return len(numbers)


def bars_in_order(times, tape) -> int:
    """How many there are: every one that is on the tape from the first to the last."""
    made = tape.instruments["BTCUSDT"].times
    assert times == made[(made >= times[0]) & (made <= times[-1])].tolist()
    return len(times)


def closed(found) -> list[int]:
    return [message.time for message in found if type(message) is Bar and message.closed]


def test_everything_of_the_practice_exchange_comes_once_and_in_order(practice, tape):
    async def main():
        async with practice(tape, now=START, speed=FAST) as (venue, _, server), Feed(venue, WISH, SETTINGS) as feed:
            book = feed.intake.book("BTCUSDT")
            found = await collect(feed, lambda found: len(closed(found)) >= 8 and book.synced)
            theirs = server.runner.app[EXCHANGE].book("BTCUSDT")
            return found, feed.health, book, (theirs.version, theirs.bids, theirs.asks)

    found, health, book, (version, bids, asks) = asyncio.run(main())
    assert trades_in_order(found) > 8 and bars_in_order(closed(found), tape) >= 8
    assert {kind for _, kind in health.channels} == set(KINDS)
    assert not health.malformed and not health.overflows and not book.crossed()
    assert not health.channel("BTCUSDT", "trades").lost
    if book.last == version:
        assert len(book.bids.keys) == len(bids) and len(book.asks.keys) == len(asks)


def test_an_undisturbed_line_has_no_gap(practice, tape):
    """Snapshots fall between two changes or inside one: either way the next change joins on."""

    async def main():
        async with practice(tape, now=START, speed=FAST) as (venue, _, _):
            wish = Subscription(("BTCUSDT",), ("depth",))
            async with Feed(venue, wish, SETTINGS) as feed:
                synced = []

                async def each(_):
                    synced.append(feed.intake.books["BTCUSDT"].synced)

                await collect(feed, lambda found: sum(synced) >= 12, each)
                return feed.health.channel("BTCUSDT", "depth"), synced

    channel, synced = asyncio.run(main())
    assert channel.gaps == 0 and channel.resyncs == 1 and all(synced[synced.index(True) :])


def test_a_cut_line_is_mended_without_a_hole(practice, tape):
    cuts = []

    async def main():
        async with practice(tape, now=START, speed=FAST) as (venue, _, server):

            async def cut(found):
                lines = [socket for socket in set(server.runner.app[SOCKETS]) if not socket.closed]
                since = found[cuts[-1] if cuts else 0 :]
                if len(cuts) < 2 and len(lines) == 2 and book.synced and any(type(m) is Trade for m in since):
                    cuts.append(len(found))
                    for socket in lines:
                        await socket.close()

            def mended(found):
                return len(cuts) == 2 and len(closed(found[cuts[-1] :])) > 3 and book.synced

            async with Feed(venue, WISH, SETTINGS) as feed:
                book = feed.intake.book("BTCUSDT")
                return await collect(feed, mended, cut), feed.health

    found, health = asyncio.run(main())
    assert trades_in_order(found) and bars_in_order(closed(found), tape)
    assert health.reconnects >= 4 and health.channel("BTCUSDT", "depth").resyncs >= 2
    assert not health.channel("BTCUSDT", "trades").lost


@pytest.mark.parametrize("name", ["binanceusdm", "bybit"])
def test_a_recording_goes_on_where_the_last_one_ended(practice, tape, tmp_path, name):
    """What passed between two recordings is fetched; nothing is there twice."""

    async def main():
        async with practice(tape, now=START, speed=FAST / 5) as (binance, _, server):
            venue = binance.model_copy(update={"name": name, "rest_url": server.url})
            for _ in range(2):
                stop = asyncio.Event()
                asyncio.get_running_loop().call_later(2.0, stop.set)
                await record(venue, WISH, Recorder(tmp_path, WISH.symbols, SETTINGS), stop=stop, on_status=lambda status: str(status))

    asyncio.run(main())
    trades, bars = read_ticks(tmp_path, "BTCUSDT", "trades"), read_ticks(tmp_path, "BTCUSDT", "bars")
    assert trades["id"].is_unique and trades["time"].is_monotonic_increasing and bars_in_order(bars["time"].tolist(), tape) > 5
    assert name == "bybit" or (np.diff(trades["id"]) == 1).all()  # Bybit's have no numbers


class Script:
    """A websocket that plays `frames` to each client, then does as told: 'hang' or 'close'. No REST but the time."""

    def __init__(self, frames, then="hang"):
        self.frames, self.then, self.asked = frames, then, []

    async def handle(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.asked.append(orjson.loads(await socket.receive_str()))
        for frame in self.frames:
            await socket.send_str(frame)
        if self.then == "hang":
            async for message in socket:
                self.asked.append(orjson.loads(message.data))
        await socket.close()
        return socket


class StillRest:
    """REST that answers the time, and to all else that it cannot."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def unified(self, symbol):
        return symbol

    async def server_time(self):
        return 0

    async def recent_trades(self, symbol):
        return []

    async def snapshot(self, symbol):
        raise ExchangeError("no")


def scripted(script: Script, scenario, wish: Subscription, name="binanceusdm", **changes):
    """Run `scenario(feed)` against a scripted venue."""

    async def main():
        app = web.Application()
        app.router.add_get("/{path:.*}", script.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"//127.0.0.1:{runner.addresses[0][1]}"
        venue = config.Venue(name=name, source="script", rest_url=f"http:{address}", ws_url=f"ws:{address}", timeout=5.0, budget=0.8)
        feed = Feed(venue, wish, SETTINGS.model_copy(update=changes))
        feed.rest = StillRest()
        try:
            async with asyncio.timeout(30), feed:
                return await scenario(feed)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def mark(time: int) -> str:
    return json.dumps({"e": "markPriceUpdate", "E": time, "s": "BTCUSDT", "p": "1", "i": "1", "P": "1", "r": "0", "T": 9})


MARKS = Subscription(("BTCUSDT",), ("mark",))


def test_a_venue_that_hangs_up_again_and_again_is_given_up():
    async def scenario(feed):
        async for _ in feed.messages():
            pass

    told = "binanceusdm at ws://.*broke off 4 times in a row; last: closed by the venue.*check the network"
    with pytest.raises(ExchangeError, match=told):
        scripted(Script([], "close"), scenario, MARKS, retries=3)


def test_silence_opens_the_line_anew():
    script = Script([mark(1)])

    async def scenario(feed):
        while feed.health.stalls < 2:
            feed._queue.clear()
            await asyncio.sleep(0.02)

    scripted(script, scenario, MARKS, stale=0.1)
    assert len(script.asked) >= 2 and script.asked[0]["params"] == ["btcusdt@markPrice@1s"]


def test_a_slow_reader_is_told_and_memory_stays_bounded():
    most = []

    async def scenario(feed):
        found = []
        async for _, message in feed.messages():
            found.append(message.time)
            most.append(len(feed._queue))
            if len(found) == 1:
                while not feed.health.overflows:
                    await asyncio.sleep(0.01)  # does not read meanwhile
            if message.time == 5_000:
                break
        return found, feed.health.overflows

    found, overflows = scripted(Script([mark(time) for time in range(1, 5_001)]), scenario, MARKS, queue=500)
    assert overflows >= 1 and max(most) <= 501 and found == sorted(found) and len(found) < 5_000


def test_bybits_book_is_renewed_by_subscribing_anew():
    head = '{"topic":"orderbook.200.BTCUSDT","type":"%s","ts":1,"data":{"s":"BTCUSDT","b":[["10","1"]],"a":[["11","1"]],"u":%d},"cts":1}'
    script = Script([head % ("snapshot", 5), head % ("delta", 6), head % ("delta", 9)])

    async def scenario(feed):
        found = await collect(feed, lambda found: len(found) == 3)
        while len(script.asked) < 3:
            await asyncio.sleep(0.01)
        return found, feed.health.channel("BTCUSDT", "depth").gaps, feed.intake.books["BTCUSDT"].synced

    found, gaps, synced = scripted(script, scenario, Subscription(("BTCUSDT",), ("depth",)), name="bybit")
    assert gaps == 1 and not synced and [message.last for message in found] == [5, 6, 9]
    assert [(each["op"], each["args"]) for each in script.asked] == [
        ("subscribe", ["orderbook.200.BTCUSDT"]),
        ("unsubscribe", ["orderbook.200.BTCUSDT"]),
        ("subscribe", ["orderbook.200.BTCUSDT"]),
    ]


def aggregate(symbol: str, number: int) -> str:
    return json.dumps({"e": "aggTrade", "E": number, "s": symbol, "a": number, "p": "1", "q": "1", "T": number, "m": False})


def test_an_answer_that_does_not_come_holds_up_no_other():
    frames = [aggregate("AAAUSDT", number) for number in (1, 3)]

    async def scenario(feed):
        async def trades_after(symbol, last, until):
            if symbol == "AAAUSDT":
                for number in (1, 3):
                    feed._put(aggregate("BBBUSDT", number))  # another's hole shows while this waits
                await asyncio.Event().wait()
            return [Trade(symbol, 2, 2, 2, 1.0, 1.0, 1)]

        feed.rest.trades_after = trades_after
        return await collect(feed, lambda found: ("BBBUSDT", 3) in [(m.symbol, m.id) for m in found])

    found = scripted(Script(frames), scenario, Subscription(("AAAUSDT", "BBBUSDT"), ("trades",)))
    assert [(m.symbol, m.id) for m in found] == [("AAAUSDT", 1), ("BBBUSDT", 1), ("BBBUSDT", 2), ("BBBUSDT", 3)]


def test_an_answer_from_before_a_second_break_mends_nothing():
    """Bybit's trades have no numbers: trade 3 passes while the line is down again, after REST has answered."""
    frame = '{"topic":"publicTrade.BTCUSDT","ts":5,"data":[{"T":%d,"s":"BTCUSDT","S":"Buy","v":"1","p":"1","i":"id%d"}]}'
    asked = []

    async def scenario(feed):
        async def recent_trades(symbol):
            asked.append(symbol)
            if len(asked) == 1:
                feed._put(feeds.Lost(("trades",)))
                return [Trade(symbol, n, n, f"id{n}", 1.0, 1.0, 1) for n in (1, 2)]
            return [Trade(symbol, n, n, f"id{n}", 1.0, 1.0, 1) for n in (1, 2, 3, 4)]

        feed.rest.recent_trades = recent_trades

        async def break_off(found):
            if len(found) == 1:
                feed._put(feeds.Lost(("trades",)))
                feed._put(frame % (4, 4))

        found = await collect(feed, lambda found: found[-1].id == "id4", break_off)
        return [message.id for message in found], feed.health.channel("BTCUSDT", "trades").lost

    found, lost = scripted(Script([frame % (1, 1)]), scenario, Subscription(("BTCUSDT",), ("trades",)), name="bybit")
    assert found == ["id1", "id2", "id3", "id4"] and lost == 0 and len(asked) == 2


def test_other_venues_are_refused():
    with pytest.raises(UsageError, match="streams are read from binanceusdm and bybit, found 'kraken'"):
        Feed(config.Venue(name="kraken", source=None, rest_url=None, ws_url=None, timeout=1.0, budget=0.8), MARKS, SETTINGS)
