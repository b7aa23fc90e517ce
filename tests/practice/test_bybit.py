"""Bybit's REST rules: envelope, newest first, paging, cursors, refusals, limits, and no answer about the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.perp import maintenance_margin
from quantalpha.perp.brackets import brackets_for
from quantalpha.practice import Tape
from quantalpha.practice.binance import ENDPOINTS as BINANCE
from quantalpha.practice.bybit import Bybit
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_query import INTERVALS
from quantalpha.practice.candles import TRADES
from quantalpha.practice.query import Query

from .support import HOUR, changed_after, still

LINEAR = {"category": "linear"}
BTC = LINEAR | {"symbol": "BTCUSDT"}
KLINES = BTC | {"interval": "60"}


def reply(venue, name, **values):
    texts = {key: str(value) for key, value in values.items()}
    return venue.answer("GET", f"/v5/market/{name}", texts, "here")[1]


def ask(venue, name, **values):
    found = reply(venue, name, **values)
    assert (found["retCode"], found["retMsg"]) == (0, "OK"), found
    return found["result"]


@pytest.fixture
def venue(exchange) -> Bybit:
    return Bybit(exchange, AddressLimit(limit=10**9))


def at(tape, now) -> Bybit:
    return Bybit(still(tape, now), AddressLimit(limit=10**9))


def opens(venue, **values):
    return [int(row[0]) for row in ask(venue, "kline", **KLINES, **values)["list"]]


def test_the_envelope_and_the_time(venue, exchange):
    found = reply(venue, "time")
    assert set(found) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert found["time"] == exchange.now() == int(found["result"]["timeNano"]) // 1_000_000
    assert int(found["result"]["timeSecond"]) == exchange.now() // 1000


def test_klines_come_newest_first_and_begin_with_the_open_bar(venue, exchange):
    found = ask(venue, "kline", **KLINES)
    rows = found["list"]
    assert (found["category"], found["symbol"], len(rows)) == ("linear", "BTCUSDT", 200)
    assert int(rows[0][0]) <= exchange.now() < int(rows[0][0]) + HOUR
    assert [int(row[0]) for row in rows] == sorted((int(row[0]) for row in rows), reverse=True)
    assert {type(value) for value in rows[0]} == {str} and len(rows[0]) == 7
    assert {len(row) for name in ("mark", "index") for row in ask(venue, f"{name}-price-kline", **KLINES)["list"]} == {5}


def test_kline_paging(venue, exchange, tape):
    ascending = opens(venue, start=tape.start, limit=10)[::-1]
    assert ascending == [tape.start + number * HOUR for number in range(10)]  # a start alone pages forward
    assert opens(venue, start=ascending[2], end=ascending[5]) == ascending[2:6][::-1]
    assert opens(venue, start=ascending[0], end=ascending[9], limit=3) == ascending[7:][::-1]  # a wide span gives its last rows
    assert opens(venue, end=ascending[9], limit=3) == ascending[7:][::-1]
    assert opens(venue, start=ascending[3] + 1, limit=2) == ascending[3:5][::-1]  # the bar that contains the start
    assert opens(venue, start=exchange.now() + HOUR) == []


@given(limit=st.integers(20, 400), back=st.integers(0, 900), width=st.integers(0, 900))
@settings(max_examples=20, deadline=None)
def test_paging_backwards_and_forwards_finds_the_same_bars(tape, limit, back, width):
    now = tape.start + 1_500 * HOUR
    venue = at(tape, now)
    start = tape.start + back * HOUR
    end = start + width * HOUR
    backwards, until = [], end
    while page := opens(venue, start=start, end=until, limit=limit):
        backwards += page
        until = page[-1] - 1
        if until < start:
            break
    forwards, since = [], start
    while page := opens(venue, start=since, limit=limit)[::-1]:
        forwards += [time for time in page if time <= end]
        since = page[-1] + HOUR
        if since > end:
            break
    assert backwards[::-1] == forwards == [int(time) for time in tape.instruments["BTCUSDT"].times if start <= time <= min(end, now)]


@pytest.mark.parametrize("kinds", [("kline", "klines"), ("mark-price-kline", "markPriceKlines"), ("index-price-kline", "indexPriceKlines")])
def test_both_dialects_tell_the_same_bars(venue, exchange, kinds):
    for interval in ("60", "240", "D", "W", "M"):
        ours = ask(venue, kinds[0], **BTC, interval=interval, limit=50)["list"][::-1]
        query = Query({"symbol": "BTCUSDT", "pair": "BTCUSDT", "interval": INTERVALS[interval], "limit": "50"}, exchange)
        theirs = BINANCE[f"/fapi/v1/{kinds[1]}"](exchange, query)[0]
        both = [[int(row[0]), *map(float, row[1 : len(ours[0]) - 1])] for row in ours]
        assert both == [[row[0], *map(float, row[1 : len(ours[0]) - 1])] for row in theirs]


def test_funding_walks_back_from_its_end(venue, exchange, tape):
    rows = ask(venue, "funding/history", **BTC)["list"]
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert len(rows) == 200 and times == sorted(times, reverse=True) and times[0] <= exchange.now()
    assert ask(venue, "funding/history", **BTC, endTime=times[3], limit=2)["list"] == rows[3:5]
    assert ask(venue, "funding/history", **BTC, startTime=times[9], endTime=times[3], limit=4)["list"] == rows[3:7]
    settled = tape.instruments["BTCUSDT"]
    assert float(rows[0]["fundingRate"]) == settled.funding_rates[settled.settled(exchange.now()) - 1]
    assert reply(venue, "funding/history", **BTC, startTime=tape.start)["retCode"] == 10001


def test_longs_of_this_side_may_pay_more_than_those_of_the_other(exchange):
    """Market, clock and money of the other side stay as they are; what is told is what is settled."""
    side, symbol, now = exchange.with_funding(0.0005), exchange.instruments["BTCUSDT"], exchange.now()
    rows = ask(Bybit(side, AddressLimit(limit=10**9)), "funding/history", **BTC)["list"]
    plain = ask(Bybit(exchange, AddressLimit(limit=10**9)), "funding/history", **BTC)["list"]
    assert [float(row["fundingRate"]) for row in rows] == pytest.approx([float(row["fundingRate"]) + 0.0005 for row in plain])
    settled = side.instruments["BTCUSDT"].funding_rates[: symbol.settled(now)][-200:]
    assert [float(row["fundingRate"]) for row in rows[::-1]] == settled.tolist()
    assert side.clock is exchange.clock and side.book("BTCUSDT") is exchange.book("BTCUSDT")


def test_open_interest_pages_by_cursor(venue, exchange, tape):
    query = BTC | {"intervalTime": "4h", "startTime": tape.start, "endTime": tape.start + 99 * 4 * HOUR, "limit": 30}
    rows, cursor = [], {}
    while True:
        page = ask(venue, "open-interest", **query, **cursor)
        rows += page["list"]
        if not page["nextPageCursor"]:
            break
        cursor = {"cursor": page["nextPageCursor"]}
    times = [int(row["timestamp"]) for row in rows]
    assert times == sorted(set(times), reverse=True) and times[-1] == tape.start and {time % (4 * HOUR) for time in times} == {0}
    assert len(rows) == 100 and len(page["list"]) == 10
    newest = ask(venue, "open-interest", **BTC, intervalTime="1h")["list"]
    assert len(newest) == 50 and int(newest[0]["timestamp"]) <= exchange.now()
    assert reply(venue, "open-interest", **query, cursor="1")["retCode"] == 10001


def test_a_tape_with_its_own_interest_and_index_is_told_exactly(frames):
    bars = frames["BTCUSDT"].assign(open_interest=np.arange(len(frames["BTCUSDT"])) + 0.5)
    bars["index_price"] = np.round(bars["close"] * 1.001, 8)
    tape = Tape({"BTCUSDT": bars})
    venue = at(tape, tape.start + 20 * HOUR)
    interest = ask(venue, "open-interest", **BTC, intervalTime="1h")["list"][::-1]
    assert [float(row["openInterest"]) for row in interest] == bars["open_interest"].iloc[:21].tolist()
    index = ask(venue, "index-price-kline", **KLINES)["list"][::-1]
    assert [float(row[4]) for row in index[:-1]] == bars["index_price"].iloc[:20].tolist()
    assert float(ask(venue, "tickers", **BTC)["list"][0]["openInterest"]) == 20.5


def test_instruments_agree_with_the_prices_served(venue):
    found = ask(venue, "instruments-info", **LINEAR)
    assert [entry["symbol"] for entry in found["list"]] == ["BTCUSDT", "ETHUSDT"] and found["nextPageCursor"] == ""
    for entry, tick in zip(found["list"], ("0.1", "0.01")):
        assert entry["priceFilter"]["tickSize"] == tick and entry["lotSizeFilter"]["qtyStep"] == "0.001"
        row = ask(venue, "kline", category="linear", symbol=entry["symbol"], interval="D")["list"][0]
        assert {len(price.partition(".")[2]) for price in row[1:5]} == {int(entry["priceScale"])}
    first = ask(venue, "instruments-info", **LINEAR, limit=1)
    assert ask(venue, "instruments-info", **LINEAR, limit=1, cursor=first["nextPageCursor"])["list"] == found["list"][1:]
    assert ask(venue, "instruments-info", **LINEAR, status="PreLaunch")["list"] == []
    assert ask(venue, "instruments-info", category="spot")["list"] == []
    assert [entry["symbol"] for entry in ask(venue, "instruments-info", **LINEAR, baseCoin="ETH")["list"]] == ["ETHUSDT"]


def test_trades_make_up_the_bar(tape):
    venue = at(tape, tape.start + HOUR - 1)
    trades = ask(venue, "recent-trade", **BTC, limit=1000)["list"]
    bar = ask(venue, "kline", **KLINES, limit=1)["list"][0]
    prices = [float(trade["price"]) for trade in trades[::-1]]
    assert len(trades) == TRADES == len({trade["execId"] for trade in trades})
    assert [prices[0], max(prices), min(prices), prices[-1]] == [float(value) for value in bar[1:5]]
    assert sum(float(trade["size"]) for trade in trades) == pytest.approx(float(bar[5]), rel=1e-9)
    assert [int(trade["seq"]) for trade in trades] == list(range(TRADES, 0, -1))
    assert {trade["side"] for trade in trades} == {"Buy", "Sell"}


def test_the_ticker_agrees_with_book_klines_and_funding(venue, wall):
    wall.seconds += 5.5
    [ticker] = ask(venue, "tickers", **BTC)["list"]
    book, bar = ask(venue, "orderbook", **BTC, limit=500), ask(venue, "kline", **KLINES, limit=1)["list"][0]
    assert [ticker["bid1Price"], ticker["bid1Size"]] == book["b"][0] and [ticker["ask1Price"], ticker["ask1Size"]] == book["a"][0]
    assert ticker["lastPrice"] == bar[4]
    assert float(ticker["markPrice"]) == float(ask(venue, "mark-price-kline", **KLINES, limit=1)["list"][0][4])
    assert ticker["fundingRate"] == ask(venue, "funding/history", **BTC, limit=1)["list"][0]["fundingRate"]
    day = ask(venue, "kline", **KLINES, limit=24)["list"]
    assert float(ticker["highPrice24h"]) == max(float(row[2]) for row in day)
    assert float(ticker["lowPrice24h"]) == min(float(row[3]) for row in day)
    assert float(ticker["volume24h"]) == pytest.approx(sum(float(row[5]) for row in day), abs=1e-6)
    assert [entry["symbol"] for entry in ask(venue, "tickers", **LINEAR)["list"]] == ["BTCUSDT", "ETHUSDT"]


def test_the_order_book_is_sorted_and_numbered(venue, wall):
    book = ask(venue, "orderbook", **BTC, limit=500)
    bids, asks = (np.array(book[side], dtype=float) for side in "ba")
    assert len(bids) == len(asks) == 500 and len(ask(venue, "orderbook", **BTC)["b"]) == 25
    assert (np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all() and bids[0, 0] < asks[0, 0]
    assert book["cts"] <= book["ts"] and ask(venue, "orderbook", **BTC, limit=500) == book
    wall.seconds += 0.5
    later = ask(venue, "orderbook", **BTC, limit=500)
    assert later["u"] == book["u"] + 1 and later["seq"] > book["seq"]


def test_risk_limits_are_the_brackets_of_the_day(venue, exchange):
    rows = ask(venue, "risk-limit", **BTC)["list"]
    brackets = brackets_for("BTCUSDT", np.datetime64(exchange.now(), "ms"))
    assert len(rows) == len(brackets)
    for row, notional in zip(rows, (float(row["riskLimitValue"]) for row in rows)):
        margin = float(row["maintenanceMargin"]) * notional - float(row["mmDeduction"] or 0)
        assert margin == pytest.approx(maintenance_margin(notional, brackets))
    assert {row["symbol"] for row in ask(venue, "risk-limit", **LINEAR)["list"]} == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("kline", {"category": "linear", "interval": "60"}),
        ("kline", KLINES | {"symbol": "btcusdt"}),
        ("kline", KLINES | {"symbol": "DOGEUSDT"}),
        ("kline", KLINES | {"category": "spot"}),
        ("kline", KLINES | {"category": "futures"}),
        ("kline", BTC),
        ("kline", BTC | {"interval": "1h"}),
        ("kline", BTC | {"interval": "15"}),
        ("kline", KLINES | {"limit": 1001}),
        ("kline", KLINES | {"limit": 0}),
        ("kline", KLINES | {"limit": "ten"}),
        ("kline", KLINES | {"start": "1e9"}),
        ("kline", KLINES | {"start": -1}),
        ("kline", KLINES | {"start": 2, "end": 1}),
        ("funding/history", {"symbol": "BTCUSDT"}),
        ("funding/history", BTC | {"limit": 201}),
        ("open-interest", BTC),
        ("open-interest", BTC | {"intervalTime": "60"}),
        ("open-interest", BTC | {"intervalTime": "1h", "limit": 201}),
        ("orderbook", BTC | {"limit": 501}),
        ("orderbook", {"symbol": "BTCUSDT"}),
        ("recent-trade", BTC | {"limit": 1001}),
        ("tickers", {}),
        ("tickers", LINEAR | {"symbol": "DOGEUSDT"}),
        ("risk-limit", {}),
        ("instruments-info", LINEAR | {"limit": 1001}),
        ("instruments-info", LINEAR | {"cursor": "nowhere"}),
    ],
)
def test_wrong_parameters_are_refused(venue, name, values):
    found = reply(venue, name, **values)
    assert found["retCode"] == 10001 and found["retMsg"] and found["result"] == {}


QUESTIONS = [
    *[("kline", BTC | {"interval": interval, "limit": 20}) for interval in ("60", "240", "720", "D", "W", "M")],
    *[(f"{kind}-price-kline", BTC | {"interval": interval, "limit": 20}) for kind in ("mark", "index") for interval in ("60", "D")],
    ("kline", KLINES | {"end": 9_999_999_999_999}),
    ("funding/history", BTC | {"endTime": 9_999_999_999_999}),
    ("open-interest", BTC | {"intervalTime": "1h", "endTime": 9_999_999_999_999}),
    ("tickers", LINEAR),
    ("orderbook", BTC | {"limit": 500}),
    ("recent-trade", BTC | {"limit": 300}),
    ("instruments-info", LINEAR),
    ("risk-limit", BTC),
]


def test_a_contract_that_ended_early_is_closed_and_then_gone(frames):
    tape = Tape({"BTCUSDT": frames["BTCUSDT"], "ETHUSDT": frames["ETHUSDT"].iloc[:500]})
    end = tape.instruments["ETHUSDT"].end

    def symbols(now, **status):
        return [entry["symbol"] for entry in ask(at(tape, now), "instruments-info", **LINEAR, **status)["list"]]

    assert symbols(end - 1) == ["BTCUSDT", "ETHUSDT"] and symbols(end - 1, status="Closed") == []
    assert symbols(end) == ["BTCUSDT"] and symbols(end, status="Closed") == ["ETHUSDT"]
    assert len(ask(at(tape, end), "kline", **LINEAR, symbol="ETHUSDT", interval="60")["list"]) == 200
    assert reply(at(tape, end + 24 * HOUR), "kline", **LINEAR, symbol="ETHUSDT", interval="60")["retCode"] == 10001


@settings(max_examples=12, deadline=None)
@given(elapsed=st.integers(0, 2_300 * HOUR))
def test_no_answer_depends_on_later_bars(frames, tape, elapsed):
    now = tape.start + elapsed
    here, elsewhere = at(tape, now), at(changed_after(frames, now), now)
    for name, values in QUESTIONS:
        assert ask(here, name, **values) == ask(elsewhere, name, **values), name


def test_at_its_open_a_bar_shows_its_open_alone(frames, tape):
    now = int(frames["BTCUSDT"].index.asi8[1_700])
    here, elsewhere = at(tape, now), at(changed_after(frames, now, opening_bar_too=True), now)
    row = ask(here, "kline", **KLINES, limit=1)["list"][0]
    assert int(row[0]) == now and row[1] == row[2] == row[3] == row[4]
    assert ask(elsewhere, "kline", **KLINES, limit=1)["list"][0][:5] == row[:5]
    for name, values in (("orderbook", BTC), ("funding/history", BTC), ("open-interest", BTC | {"intervalTime": "1h"})):
        assert ask(here, name, **values) == ask(elsewhere, name, **values), name
