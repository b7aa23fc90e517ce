"""Websocket: raw and combined streams, live subscriptions, error replies, ping frames, and what must never be lost or come early."""

import asyncio

import aiohttp
import pytest
from aiohttp import WSMsgType
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.practice import Tape, server, streams
from quantalpha.practice.book import LEVELS, Book, Changes
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange

from .support import HOUR, Wall, play, recorded

COLUMNS = ("o", "h", "l", "c", "v")


def values(message):
    bar = message["k"]
    return [bar["t"], *(float(bar[name]) for name in COLUMNS)]


async def collect(socket, count):
    return [await asyncio.wait_for(socket.receive_json(), 5) for _ in range(count)]


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.floats(0.001, 9.0), min_size=3, max_size=40), interval=st.sampled_from(["1h", "4h"]))
def test_every_kline_opens_and_closes_in_order_whatever_the_pace(frames, tape, steps, interval):
    """Bars pass one by one or several at a leap (a wall second is a tape hour): first message, updates, final, next first."""
    wall = Wall()
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 3600.0, wall))
    stream = streams.subscribe(exchange, f"btcusdt@kline_{interval}")
    messages = []
    for step in steps:
        messages += stream.due(exchange.now(), wall())
        wall.seconds += step
    chart = tape.instruments["BTCUSDT"].last.chart(interval)
    opens = list(dict.fromkeys(message["k"]["t"] for message in messages))
    first = chart.times.tolist().index(opens[0])
    assert opens == chart.times[first : first + len(opens)].tolist()
    assert [message["E"] for message in messages] == sorted(message["E"] for message in messages)
    for number, open_time in enumerate(opens):
        own = [message for message in messages if message["k"]["t"] == open_time]
        assert [message["k"]["x"] for message in own[:-1]] == [False] * (len(own) - 1)
        assert len({message["k"]["o"] for message in own}) == 1
        if number < len(opens) - 1:
            assert own[-1]["k"]["x"] and len(own) >= 2
            assert values(own[-1])[1:] == chart.rows[first + number, :5].tolist()
        if number:
            assert values(own[0])[1] == values(own[0])[4]  # the first message knows the open alone


def test_the_top_of_the_book_is_the_book_and_its_changes_lead_from_one_to_the_next(tape):
    """Whichever is asked for, and in which order."""
    moved, lone = Book(tape.instruments["BTCUSDT"]), Book(tape.instruments["BTCUSDT"])
    changes, bids = Changes(moved), {}
    for time in range(tape.opening, tape.opening + 2 * HOUR, HOUR // 7):
        moved.advance(time), lone.advance(time)
        assert lone.top(-1) == next(iter(moved.bids.items())) and lone.top(1) == next(iter(moved.asks.items()))
        assert len(moved.bids) == len(moved.asks) == LEVELS and max(moved.bids) < min(moved.asks)
        bids = {price: quantity for price, quantity in bids.items() if price not in changes.bids}
        bids |= {price: moved.bids[price] for price in changes.bids if price in moved.bids}
        assert bids == moved.bids == lone.bids
        changes.clear()


def test_ten_bars_a_second_lose_nothing(frames, tape):
    async def scenario(served):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(served.ws_url + "/stream?streams=btcusdt@kline_1h/btcusdt@markPrice@1s") as socket,
        ):
            found = []
            while sum("k" in message["data"] and message["data"]["k"]["x"] for message in found) < 12:
                found += await collect(socket, 1)
            return found

    found = play(tape, scenario, speed=36_000.0)
    klines = [message["data"] for message in found if message["stream"] == "btcusdt@kline_1h"]
    finals = [values(message) for message in klines if message["k"]["x"]]
    expected = recorded(frames["BTCUSDT"])
    begin = [row[0] for row in expected].index(finals[0][0])
    assert finals == expected[begin : begin + 12]
    for before, after in zip(klines, klines[1:]):
        if before["k"]["x"]:
            assert not after["k"]["x"] and after["k"]["t"] > before["k"]["t"] and values(after)[1] == values(after)[4]
    marks = {message["data"]["E"]: float(message["data"]["p"]) for message in found if message["stream"] == "btcusdt@markPrice@1s"}
    closes = {int(time) + HOUR - 1: mark for time, mark in zip(frames["BTCUSDT"].index.asi8, frames["BTCUSDT"]["mark"])}
    exact = [time for time in marks if time in closes]
    assert len(exact) >= 10
    assert all(marks[time] == closes[time] for time in exact)


def test_streams_tell_nothing_of_later_bars(frames, tape):
    """A tape that is another one after `now` sends the same messages up to `now`."""
    begin = int(frames["BTCUSDT"].index.asi8[1_000])
    now = begin + 5 * HOUR + 17 * 60_000
    others = {}
    for symbol, bars in frames.items():
        others[symbol] = bars.copy()
        others[symbol].loc[bars.index.asi8 > now] *= 2
    names = [f"btcusdt@{kind}" for kind in ("kline_1h", "kline_1d", "markPrice", "aggTrade", "bookTicker", "depth@100ms")]
    sent = []
    for played in (tape, Tape(others)):
        wall = Wall()
        exchange = Exchange(played, Clock(begin, played.end, 3600.0, wall))
        opened = [streams.subscribe(exchange, name) for name in names]
        messages = []
        while exchange.now() <= now:
            messages += [message for stream in opened for message in stream.due(exchange.now(), wall())]
            wall.seconds += 0.09
        sent.append(messages)
    assert len(sent[0]) > 100
    assert sent[0] == sent[1]


def test_depth_stream_and_snapshot_make_one_book(tape):
    """Binance's recipe for a local order book, followed strictly, ends in the book that REST shows."""
    wall = Wall()

    async def scenario(served):
        async with aiohttp.ClientSession(served.url) as session, session.ws_connect(served.ws_url + "/ws/btcusdt@depth@100ms") as socket:

            async def snapshot():
                async with session.get("/fapi/v1/depth?symbol=BTCUSDT&limit=1000") as response:
                    return await response.json()

            wall.seconds += 0.05
            await asyncio.sleep(0.05)
            start = await snapshot()  # between two events
            events = []
            for _ in range(8):
                wall.seconds += 0.4
                events += await collect(socket, 1)
            return start, events, await snapshot()

    start, events, end = play(tape, scenario, wall=wall, speed=3600.0)
    assert all(after["pu"] == before["u"] for before, after in zip(events, events[1:]))
    events = [event for event in events if event["u"] >= start["lastUpdateId"]]
    assert events[0]["U"] <= start["lastUpdateId"] <= events[0]["u"]
    book = {side: dict(start[name]) for side, name in (("b", "bids"), ("a", "asks"))}
    for event in events:
        for side in "ba":
            book[side] |= dict(event[side])
    held = {side: {price: quantity for price, quantity in levels.items() if float(quantity)} for side, levels in book.items()}
    assert end["lastUpdateId"] == events[-1]["u"]
    assert held["b"] == dict(end["bids"])
    assert held["a"] == dict(end["asks"])


def test_every_trade_is_streamed(tape):
    wall = Wall()
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 3600.0, wall))
    stream = streams.subscribe(exchange, "btcusdt@aggTrade")
    numbers = []
    for step in (0.3, 1.4, 0.01, 2.2):
        wall.seconds += step
        numbers += [message["a"] for message in stream.due(exchange.now(), wall())]
    assert numbers == list(range(numbers[0], tape.instruments["BTCUSDT"].last.trades_until(exchange.now())))


@pytest.mark.parametrize("prefix", ["", "/market", "/public", "/private"])
def test_raw_and_combined_paths_under_every_prefix(tape, prefix):
    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session:
            async with session.ws_connect(prefix + "/ws/btcusdt@bookTicker") as socket:
                raw = await collect(socket, 1)
            async with session.ws_connect(prefix + "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker") as socket:
                return raw[0], await collect(socket, 2)

    raw, combined = play(tape, scenario)
    assert raw["e"] == "bookTicker" and raw["s"] == "BTCUSDT"
    assert set(raw) == {"e", "u", "s", "b", "B", "a", "A", "T", "E"}
    assert {message["stream"] for message in combined} == {"btcusdt@bookTicker", "ethusdt@bookTicker"}
    assert all(message["stream"].startswith(message["data"]["s"].lower()) for message in combined)


def test_live_subscriptions_and_error_replies(tape):
    requests = [
        {"method": "SUBSCRIBE", "params": ["btcusdt@kline_7h", "nope@depth", "ethusdt@depth@500ms"], "id": 1},
        {"method": "LIST_SUBSCRIPTIONS", "id": 2},
        {"method": "UNSUBSCRIBE", "params": ["nope@depth", "never@heard"], "id": 3},
        {"method": "LIST_SUBSCRIPTIONS", "id": 4},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 5},
        {"method": "SET_PROPERTY", "params": ["combined", True], "id": 6},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 7},
        {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 8},
        {"method": "GET_PROPERTY", "params": ["split"], "id": 9},
        {"method": "GET_PROPERTY", "params": [], "id": 10},
        {"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": "one"},
        {"method": "SUBSCRIBE", "params": "btcusdt@depth", "id": 11},
        {"method": "SUBSCRIB", "id": 12},
        {"id": 13},
        [1, 2],
    ]

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect("/ws/0") as socket:
            for request in requests:
                await socket.send_json(request)
            await socket.send_str("{not json")
            return await collect(socket, len(requests) + 1)

    replies = play(tape, scenario)
    assert [reply["id"] for reply in replies[:10]] == list(range(1, 11))
    left = ["btcusdt@kline_7h", "ethusdt@depth@500ms"]
    assert [reply["result"] for reply in replies[:7]] == [None, [left[0], "nope@depth", left[1]], None, left, False, None, True]
    assert [reply["error"]["code"] for reply in replies[7:]] == [1, 0, 2, 2, 2, 2, 2, 2, 3]


def test_unsubscribing_stops_the_messages(tape):
    wall = Wall()

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect("/ws") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
            assert (await collect(socket, 1))[0] == {"result": None, "id": 1}
            wall.seconds += 0.1
            trades = await collect(socket, 20)
            await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 2})
            while "result" not in (await collect(socket, 1))[0]:
                pass
            wall.seconds += 1.0
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive_json(), 0.2)
            return trades

    trades = play(tape, scenario, wall=wall, speed=3600.0)
    assert [trade["e"] for trade in trades] == ["aggTrade"] * 20


def test_server_pings_and_hangs_up_when_it_closes(tape, monkeypatch):
    monkeypatch.setattr(server, "PING_SECONDS", 0.05)

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect("/ws", autoping=False) as socket:
            ping = await asyncio.wait_for(socket.receive(), 5)
            await socket.pong(ping.data)
            await served.close()
            while (last := await asyncio.wait_for(socket.receive(), 5)).type is WSMsgType.PING:
                pass
            return ping.type, last

    kind, last = play(tape, scenario)
    assert kind is WSMsgType.PING
    assert (last.type, last.data) == (WSMsgType.CLOSE, 1001)


def test_after_the_last_bar_streams_stay_open_and_silent(frames, tape):
    wall = Wall()

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect("/ws/btcusdt@kline_1h") as socket:
            first = await collect(socket, 1)
            wall.seconds += 100.0
            rest = await collect(socket, 5)
            wall.seconds += 100.0
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive_json(), 0.2)
            return first + rest, served.clock.now(), socket.closed

    messages, now, closed = play(tape, scenario, wall=wall, speed=3600.0, now=tape.end - 3 * HOUR)
    assert not closed
    assert now == tape.end
    assert [message["k"]["x"] for message in messages] == [False, True] * 3
    assert values(messages[-1]) == recorded(frames["BTCUSDT"])[-1]
