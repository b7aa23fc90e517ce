"""Bybit's websocket: replies, one chain of book updates for all, klines that close, and what must never be lost or come early."""

import asyncio

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.practice import streams
from quantalpha.practice.bybit import Bybit
from quantalpha.practice.bybit_book import REMEMBERED, REPEAT_SECONDS
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_streams import Topics
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange

from .support import HOUR, Wall, changed_after, play, recorded

PATH = "/v5/public/linear"
COLUMNS = ("open", "high", "low", "close", "volume")


async def collect(socket, count):
    return [await asyncio.wait_for(socket.receive_json(), 5) for _ in range(count)]


def running(tape, wall, begin=None):
    """One wall second is a tape hour."""
    return Exchange(tape, Clock(tape.opening if begin is None else begin, tape.end, 3600.0, wall))


def due(stream, exchange):
    return list(stream.due(exchange.now(), exchange.clock.wall()))


def applied(book, message):
    """The local book after a message, by Bybit's rules; a gap in `u` is an error."""
    data = message["data"]
    sides = {side: dict(data[side]) for side in "ba"}
    if message["type"] == "delta":
        assert data["u"] == book["u"] + 1 and any(sides.values())
        sides = {side: {price: size for price, size in (book[side] | sides[side]).items() if float(size)} for side in "ba"}
    return sides | {"u": data["u"], "seq": data["seq"]}


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.floats(0.001, 0.8), min_size=1, max_size=60),
    depth=st.sampled_from([1, 50, 200, 500, 1000]),
    others=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_a_snapshot_and_its_deltas_make_any_later_snapshot(tape, steps, depth, others):
    """Whatever the pace, and however often another client or REST looks, or this one lags and starts again."""
    wall = Wall()
    exchange = running(tape, wall)
    venue = Bybit(exchange, AddressLimit(limit=10**9))
    mine, theirs = (venue.topics.subscribe(f"orderbook.{depth}.BTCUSDT") for _ in range(2))
    book = None
    for step, look in zip(steps, others):
        wall.seconds += step
        if look:
            due(theirs, exchange)
            venue.answer("GET", "/v5/market/orderbook", {"category": "linear", "symbol": "BTCUSDT"}, "there")
        for message in due(mine, exchange):
            assert message["cts"] <= message["ts"] <= exchange.now()
            book = applied(book, message)
    wall.seconds += 1.0
    for message in due(mine, exchange):
        book = applied(book, message)
    fresh = due(venue.topics.subscribe(f"orderbook.{depth}.BTCUSDT"), exchange)
    assert [message["type"] for message in fresh] == ["snapshot"]
    assert book == applied(None, fresh[0]) and len(book["b"]) == len(book["a"]) == depth


def test_rest_and_the_deepest_stream_are_one_book(tape):
    wall = Wall()
    exchange = running(tape, wall)
    venue = Bybit(exchange, AddressLimit())
    stream, book = venue.topics.subscribe("orderbook.1000.BTCUSDT"), None
    for _ in range(10):
        wall.seconds += 0.13
        _, found, _ = venue.answer("GET", "/v5/market/orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": "500"}, "there")
        for message in due(stream, exchange):
            book = applied(book, message)
        result = found["result"]
        assert (result["u"], result["seq"]) == (book["u"], book["seq"])
        for side, best in (("b", max), ("a", min)):
            assert dict(result[side]).items() <= book[side].items()
            assert result[side][0][0] == best(book[side], key=float)


def test_a_client_that_lags_gets_a_new_snapshot(tape):
    wall = Wall()
    exchange = running(tape, wall)
    topics = Topics(exchange)
    slow, quick = topics.subscribe("orderbook.50.BTCUSDT"), topics.subscribe("orderbook.50.BTCUSDT")
    due(slow, exchange)
    for _ in range(REMEMBERED + 3):
        wall.seconds += 0.2
        due(quick, exchange)
    assert [message["type"] for message in due(slow, exchange)] == ["snapshot"]
    wall.seconds += 0.2
    assert [message["type"] for message in due(slow, exchange)] == ["delta"]


def test_the_best_prices_are_told_again_where_nothing_moves(tape):
    wall = Wall()
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 0.0, wall))
    stream = Topics(exchange).subscribe("orderbook.1.BTCUSDT")
    first = due(stream, exchange)
    wall.seconds += REPEAT_SECONDS / 2
    assert due(stream, exchange) == []
    wall.seconds += REPEAT_SECONDS / 2
    assert due(stream, exchange) == first and first[0]["type"] == "snapshot"


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.floats(0.001, 9.0), min_size=3, max_size=40), interval=st.sampled_from([("60", "1h"), ("240", "4h")]))
def test_klines_open_and_close_in_order_and_agree_with_binances(tape, steps, interval):
    wall = Wall()
    exchange = running(tape, wall)
    ours = Topics(exchange).subscribe(f"kline.{interval[0]}.BTCUSDT")
    theirs = streams.subscribe(exchange, f"btcusdt@kline_{interval[1]}")
    messages, others = [], []
    for step in steps:
        messages += due(ours, exchange)
        others += due(theirs, exchange)
        wall.seconds += step
    bars = [message["data"][0] for message in messages]
    assert [message["ts"] for message in messages] == sorted(message["ts"] for message in messages)
    assert [(bar["start"], bar["end"], bar["confirm"], *(float(bar[name]) for name in COLUMNS)) for bar in bars] == [
        (k["t"], k["T"], k["x"], *(float(k[name[0]]) for name in COLUMNS)) for k in (message["k"] for message in others)
    ]
    assert all(bar["start"] <= bar["timestamp"] <= min(message["ts"], bar["end"]) for bar, message in zip(bars, messages))
    chart = tape.instruments["BTCUSDT"].last.chart(interval[1])
    closed = [bar for bar in bars if bar["confirm"]]
    first = chart.times.tolist().index(bars[0]["start"])
    assert [[float(bar[name]) for name in COLUMNS] for bar in closed] == chart.rows[first : first + len(closed), :5].tolist()


def test_every_trade_is_streamed_and_is_the_one_rest_tells(tape):
    wall = Wall()
    exchange = running(tape, wall)
    venue = Bybit(exchange, AddressLimit())
    stream, told = venue.topics.subscribe("publicTrade.BTCUSDT"), []
    for step in (0.3, 1.4, 0.01, 2.2):
        wall.seconds += step
        told += [entry for message in due(stream, exchange) for entry in message["data"]]
    query = {"category": "linear", "symbol": "BTCUSDT", "limit": str(len(told))}
    _, found, _ = venue.answer("GET", "/v5/market/recent-trade", query, "there")
    listed = [(row["execId"], row["price"], row["size"], row["side"], int(row["time"]), int(row["seq"])) for row in found["result"]["list"]]
    assert [(row["i"], row["p"], row["v"], row["S"], row["T"], row["seq"]) for row in told[::-1]] == listed and len(told) > 500
    for before, after in zip(told, told[1:]):
        assert after["seq"] == before["seq"] + 1
        rise = float(after["p"]) - float(before["p"])
        assert after["L"] in (("PlusTick",) if rise > 0 else ("MinusTick",) if rise < 0 else ("ZeroPlusTick", "ZeroMinusTick"))


def test_ticker_deltas_add_up_to_what_rest_tells_and_miss_no_mark_at_a_close(frames, tape):
    wall = Wall()
    exchange = running(tape, wall)
    venue = Bybit(exchange, AddressLimit())
    stream = venue.topics.subscribe("tickers.BTCUSDT")
    state, messages, marks = {}, [], {}
    for step in (0.05, 0.1, 0.4, 3.7, 0.12, 9.0, 0.5):
        wall.seconds += step
        for message in due(stream, exchange):
            state |= message["data"]
            messages.append(message)
            marks[message["ts"]] = float(state["markPrice"])
    assert [message["type"] for message in messages] == ["snapshot"] + ["delta"] * (len(messages) - 1)
    assert [message["ts"] for message in messages] == sorted(message["ts"] for message in messages)
    _, found, _ = venue.answer("GET", "/v5/market/tickers", {"category": "linear", "symbol": "BTCUSDT"}, "there")
    assert state == found["result"]["list"][0]
    closes = {int(time) + HOUR - 1: mark for time, mark in zip(frames["BTCUSDT"].index.asi8, frames["BTCUSDT"]["mark"])}
    passed = {time: mark for time, mark in closes.items() if messages[0]["ts"] < time <= exchange.now()}
    assert len(passed) > 10 and passed.items() <= marks.items()


def test_streams_tell_nothing_of_later_bars(frames, tape):
    begin = int(frames["BTCUSDT"].index.asi8[1_000])
    now = begin + 5 * HOUR + 17 * 60_000
    names = ("kline.60", "kline.D", "tickers", "publicTrade", "orderbook.1", "orderbook.50", "orderbook.1000")
    sent = []
    for played in (tape, changed_after(frames, now)):
        wall = Wall()
        exchange = running(played, wall, begin)
        topics = Topics(exchange)
        opened = [topics.subscribe(f"{name}.BTCUSDT") for name in names]
        messages = []
        while exchange.now() <= now:
            messages += [message for stream in opened for message in due(stream, exchange)]
            wall.seconds += 0.09
        sent.append(messages)
    assert len(sent[0]) > 100 and sent[0] == sent[1]
    assert all(message["ts"] <= now for message in sent[0])


def test_requests_and_their_replies(tape):
    requests = [
        {"req_id": "a", "op": "subscribe", "args": ["kline.60.BTCUSDT", "tickers.ETHUSDT"]},
        {"req_id": 7, "op": "ping"},
        {"op": "ping"},
        {"req_id": "b", "op": "subscribe", "args": ["orderbook.50.BTCUSDT", "orderbook.30.BTCUSDT"]},
        {"req_id": "c", "op": "subscribe", "args": ["orderbook.50.BTCUSDT"]},
        {"req_id": "d", "op": "subscribe", "args": ["tickers.ETHUSDT"]},
        {"req_id": "e", "op": "unsubscribe", "args": ["tickers.ETHUSDT", "kline.60.BTCUSDT", "orderbook.50.BTCUSDT"]},
        {"op": "nope"},
        {"op": "subscribe", "args": "tickers.ETHUSDT"},
        [1],
    ]
    unknown = [
        "tickers.btcusdt",
        "tickers",
        "kline.15.BTCUSDT",
        "kline.1h.BTCUSDT",
        "publicTrade.NOPEUSDT",
        "order",
        "orderbook.050.BTCUSDT",
    ]

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect(PATH) as socket:
            for request in [*requests, *({"op": "subscribe", "args": [topic]} for topic in unknown)]:
                await socket.send_json(request)
            await socket.send_str("hello")
            found = []
            while len(found) < len(requests) + len(unknown) + 1:
                found += [message for message in await collect(socket, 1) if "op" in message]
            return found

    replies = play(tape, scenario, wall=Wall())
    assert {frozenset(reply) for reply in replies} == {frozenset({"success", "ret_msg", "conn_id", "req_id", "op"})}
    assert len({reply["conn_id"] for reply in replies}) == 1
    assert [reply["req_id"] for reply in replies[:7]] == ["a", 7, "", "b", "c", "d", "e"]
    assert [reply["success"] for reply in replies[:7]] == [True, True, True, False, True, False, True]
    told = [reply["ret_msg"] for reply in replies]
    assert told[:3] == ["", "pong", "pong"] and replies[1]["op"] == "ping"
    assert told[3] == "error:handler not found,topic:orderbook.30.BTCUSDT"
    assert told[5] == "error:already subscribed,topic:tickers.ETHUSDT"
    assert told[7:10] == ["error:invalid op", "error:invalid args", "error:invalid op"]
    assert told[10:-1] == [f"error:handler not found,topic:{topic}" for topic in unknown]
    assert told[-1].startswith("Failed to decode incoming data") and not any(reply["success"] for reply in replies[7:])


def test_unsubscribing_stops_the_messages(tape):
    wall = Wall()

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session, session.ws_connect(PATH) as socket:
            await socket.send_json({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
            assert (await collect(socket, 1))[0]["success"]
            wall.seconds += 0.1
            trades = await collect(socket, 20)
            await socket.send_json({"op": "unsubscribe", "args": ["publicTrade.BTCUSDT"]})
            while "success" not in (await collect(socket, 1))[0]:
                pass
            wall.seconds += 1.0
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive_json(), 0.2)
            return trades

    trades = play(tape, scenario, wall=wall, speed=3600.0)
    assert {trade["topic"] for trade in trades} == {"publicTrade.BTCUSDT"}


def test_ten_bars_a_second_lose_nothing_on_either_socket(frames, tape):
    async def finals(session, path, request, final):
        async with session.ws_connect(path) as socket:
            if request:
                await socket.send_json(request)
            found = []
            while len(found) < 12:
                found += [row for row in map(final, await collect(socket, 1)) if row]
            return found

    def ours(message):
        bar = message["data"][0] if "data" in message else {"confirm": False}
        return [bar["start"], *(float(bar[name]) for name in COLUMNS)] if bar["confirm"] else None

    def theirs(message):
        bar = message["k"]
        return [bar["t"], *(float(bar[name[0]]) for name in COLUMNS)] if bar["x"] else None

    async def scenario(served):
        async with aiohttp.ClientSession(served.ws_url) as session:
            subscribe = {"op": "subscribe", "args": ["kline.60.BTCUSDT"]}
            return await asyncio.gather(finals(session, PATH, subscribe, ours), finals(session, "/ws/btcusdt@kline_1h", None, theirs))

    expected = recorded(frames["BTCUSDT"])
    for found in play(tape, scenario, speed=36_000.0):
        begin = [row[0] for row in expected].index(found[0][0])
        assert found == expected[begin : begin + 12]
