"""Binance's REST rules: fields, paging limits, refusals with their codes, weights, and no answer about the future."""

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.practice.binance import ENDPOINTS
from quantalpha.practice.candles import INTERVALS, TRADES
from quantalpha.practice.query import Query, Refusal

from .support import HOUR, Wall, changed_after, play, still


def ask(exchange, name, **values):
    return ENDPOINTS[f"/fapi/v1/{name}"](exchange, Query({key: str(value) for key, value in values.items()}, exchange))[0]


def weigh(exchange, name, **values):
    return ENDPOINTS[f"/fapi/v1/{name}"](exchange, Query({key: str(value) for key, value in values.items()}, exchange))[1]


def refused(exchange, name, **values):
    with pytest.raises(Refusal) as caught:
        ask(exchange, name, **values)
    return caught.value.code


BTC = {"symbol": "BTCUSDT"}
KLINES = BTC | {"interval": "1h"}


def test_klines_default_to_the_last_500_and_end_with_the_open_bar(exchange):
    rows = ask(exchange, "klines", **KLINES)
    assert len(rows) == 500
    assert rows[-1][0] <= exchange.now() < rows[-1][0] + HOUR
    assert [type(value) for value in rows[0]] == [int, str, str, str, str, str, int, str, int, str, str, str]
    assert rows[0][6] == rows[0][0] + HOUR - 1
    assert float(rows[0][9]) < float(rows[0][5])


def test_kline_times_are_inclusive_and_a_start_pages_forward(exchange, tape):
    times = [row[0] for row in ask(exchange, "klines", **KLINES, startTime=tape.start, limit=10)]
    assert times[0] == tape.start
    assert [row[0] for row in ask(exchange, "klines", **KLINES, startTime=times[2], endTime=times[5])] == times[2:6]
    assert [row[0] for row in ask(exchange, "klines", **KLINES, startTime=times[2] + 1, limit=2)] == times[3:5]
    assert [row[0] for row in ask(exchange, "klines", **KLINES, endTime=times[9], limit=3)] == times[7:10]
    assert ask(exchange, "klines", **KLINES, startTime=exchange.now() + 1) == []


def test_a_missing_bar_is_simply_absent(exchange, tape, frames):
    held = set((frames["BTCUSDT"].index.asi8).tolist())
    served = {row[0] for row in ask(exchange, "klines", **KLINES, startTime=tape.start, limit=1500)}
    span = range(tape.start, max(served) + 1, HOUR)
    assert served == held & set(span)


def test_mark_klines_have_no_volume(exchange):
    rows = ask(exchange, "markPriceKlines", **KLINES, limit=3)
    assert len(rows) == 3
    assert rows[0][5] == rows[0][7] == rows[0][9] == "0"


def test_funding_pages_within_its_limits(exchange, tape):
    assert len(ask(exchange, "fundingRate", **BTC)) == 200
    assert len(ask(exchange, "fundingRate", **BTC, startTime=tape.start)) == 100
    rows = ask(exchange, "fundingRate", **BTC, startTime=tape.start, limit=1000)
    assert [row["fundingTime"] for row in rows] == sorted(row["fundingTime"] for row in rows)
    assert all(row["fundingTime"] % (8 * HOUR) == 0 and row["fundingTime"] <= exchange.now() for row in rows)
    both = ask(exchange, "fundingRate", limit=10)
    assert {row["symbol"] for row in both} == {"BTCUSDT", "ETHUSDT"}
    assert set(rows[0]) == {"symbol", "fundingRate", "fundingTime", "markPrice"}


def test_premium_index_tells_the_last_settlement(exchange, wall):
    wall.seconds += 5.5
    facts = ask(exchange, "premiumIndex", **BTC)
    assert facts["lastFundingRate"] == ask(exchange, "fundingRate", **BTC, limit=1)[0]["fundingRate"]
    assert 0 < facts["nextFundingTime"] - exchange.now() <= 8 * HOUR
    assert [entry["symbol"] for entry in ask(exchange, "premiumIndex")] == ["BTCUSDT", "ETHUSDT"]


def test_trades_make_up_the_bar(exchange, tape):
    begin, end = tape.start, tape.start + HOUR - 1
    trades = ask(exchange, "aggTrades", **BTC, startTime=begin, endTime=end, limit=1000)
    bar = ask(exchange, "klines", **KLINES, startTime=begin, limit=1)[0]
    prices = [float(trade["p"]) for trade in trades]
    assert len(trades) == TRADES
    assert [prices[0], max(prices), min(prices), prices[-1]] == [float(value) for value in bar[1:5]]
    assert sum(float(trade["q"]) for trade in trades) == pytest.approx(float(bar[5]), rel=1e-9)
    assert (trades[0]["T"], trades[-1]["T"]) == (begin, end)
    assert ask(exchange, "aggTrades", **BTC, fromId=trades[7]["a"], limit=5) == trades[7:12]
    assert ask(exchange, "aggTrades", **BTC, endTime=end, limit=5) == trades[-5:]
    assert ask(exchange, "aggTrades", **BTC, startTime=trades[3]["T"], limit=2) == trades[3:5]


def test_depth_is_an_order_book(exchange):
    book = ask(exchange, "depth", **BTC, limit=1000)
    bids, asks = (np.array(book[side], dtype=float) for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 1000
    assert (np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all() and bids[0, 0] < asks[0, 0]
    assert (bids[:, 1] > 0).all() and (asks[:, 1] > 0).all()
    assert len(ask(exchange, "depth", **BTC)["bids"]) == 500
    top = ask(exchange, "ticker/bookTicker", **BTC)
    assert [top["bidPrice"], top["bidQty"]] == book["bids"][0]
    assert [top["askPrice"], top["askQty"]] == book["asks"][0]


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("klines", {"interval": "1h"}, -1102),
        ("klines", {"symbol": "", "interval": "1h"}, -1105),
        ("klines", {"symbol": "BTC/USDT", "interval": "1h"}, -1100),
        ("klines", {"symbol": "DOGEUSDT", "interval": "1h"}, -1121),
        ("klines", BTC, -1102),
        ("klines", BTC | {"interval": "7h"}, -1120),
        ("klines", BTC | {"interval": "15m"}, -1120),
        ("klines", KLINES | {"limit": "ten"}, -1100),
        ("klines", KLINES | {"limit": 1501}, -1130),
        ("klines", KLINES | {"limit": 0}, -1130),
        ("klines", KLINES | {"startTime": "1e9"}, -1100),
        ("klines", KLINES | {"startTime": 99_999_999_999_999_999_999}, -1130),
        ("klines", KLINES | {"startTime": 2, "endTime": 1}, -1023),
        ("markPriceKlines", BTC | {"interval": "1s"}, -1120),
        ("fundingRate", BTC | {"limit": 1001}, -1130),
        ("fundingRate", {"symbol": "DOGEUSDT"}, -1121),
        ("premiumIndex", {"symbol": "DOGEUSDT"}, -1121),
        ("depth", BTC | {"limit": 7}, -4021),
        ("ticker/bookTicker", {"symbol": "DOGEUSDT"}, -1121),
        ("aggTrades", {}, -1102),
        ("aggTrades", BTC | {"limit": 1001}, -1130),
        ("aggTrades", BTC | {"startTime": 0, "endTime": HOUR + 1}, -1127),
    ],
)
def test_refusals_carry_binances_code(exchange, name, values, code):
    assert refused(exchange, name, **values) == code


def test_weights_follow_the_documented_table(exchange):
    assert [weigh(exchange, "klines", **KLINES, limit=n) for n in (99, 100, 499, 500, 1000, 1001)] == [1, 2, 2, 5, 5, 10]
    assert [weigh(exchange, "depth", **BTC, limit=n) for n in (5, 50, 100, 500, 1000)] == [2, 2, 5, 10, 20]
    assert (weigh(exchange, "premiumIndex"), weigh(exchange, "premiumIndex", **BTC)) == (10, 1)
    assert weigh(exchange, "aggTrades", **BTC) == 20


def test_over_the_wire_errors_are_json_and_weights_add_up(tape):
    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session:

            async def get(path, method="GET"):
                async with session.request(method, path) as response:
                    return response.status, await response.json(), int(response.headers["X-MBX-USED-WEIGHT-1M"])

            return [
                await get("/fapi/v1/ping"),
                await get("/fapi/v1/time"),
                await get("/fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit=1500"),
                await get("/fapi/v1/klines?symbol=NOPE&interval=1h"),
                await get("/fapi/v1/klines?symbol=BTCUSDT&symbol=ETHUSDT&interval=1h"),
                await get("/fapi/v1/nothing"),
                await get("/fapi/v1/time", method="POST"),
            ]

    answers = play(tape, scenario, wall=Wall())
    assert [status for status, *_ in answers] == [200, 200, 200, 400, 400, 404, 404]
    assert [weight for *_, weight in answers] == [1, 2, 12, 13, 14, 15, 16]
    assert answers[1][1] == {"serverTime": tape.opening}
    assert answers[3][1] == {"code": -1121, "msg": "Invalid symbol."}
    assert answers[4][1]["code"] == -1101
    assert answers[5][1] == {"code": -5000, "msg": "Path /fapi/v1/nothing, Method GET is invalid"}


def test_exchange_info_filters_agree_with_prices_served(exchange):
    facts = {entry["symbol"]: entry for entry in ask(exchange, "exchangeInfo")["symbols"]}
    assert {limit["rateLimitType"] for limit in ask(exchange, "exchangeInfo")["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}
    for symbol, tick in (("BTCUSDT", "0.1"), ("ETHUSDT", "0.01")):
        filters = {entry["filterType"]: entry for entry in facts[symbol]["filters"]}
        assert filters["PRICE_FILTER"]["tickSize"] == tick
        assert filters["LOT_SIZE"]["stepSize"] == "0.001"
        for row in ask(exchange, "klines", symbol=symbol, interval="1d", limit=20):
            assert all(len(price.partition(".")[2]) == facts[symbol]["pricePrecision"] for price in row[1:5])
    assert facts["BTCUSDT"]["liquidationFee"] == "0.012500"


QUESTIONS = [
    *[("klines", BTC | {"interval": interval, "limit": 20}) for interval in INTERVALS if INTERVALS[interval] >= HOUR],
    *[("markPriceKlines", BTC | {"interval": interval, "limit": 20}) for interval in ("1h", "1d", "1M")],
    ("klines", KLINES | {"endTime": 9_999_999_999_999}),
    ("fundingRate", BTC),
    ("premiumIndex", {}),
    ("depth", BTC | {"limit": 1000}),
    ("ticker/bookTicker", {}),
    ("aggTrades", BTC | {"limit": 300}),
    ("exchangeInfo", {}),
]


@settings(max_examples=12, deadline=None)
@given(elapsed=st.integers(0, 2_300 * HOUR))
def test_no_answer_depends_on_later_bars(frames, tape, elapsed):
    now = tape.start + elapsed
    here, elsewhere = still(tape, now), still(changed_after(frames, now), now)
    for name, values in QUESTIONS:
        assert ask(here, name, **values) == ask(elsewhere, name, **values), name


def test_at_its_open_a_bar_shows_its_open_alone(frames, tape):
    now = int(frames["BTCUSDT"].index.asi8[1_700])
    here, elsewhere = still(tape, now), still(changed_after(frames, now, opening_bar_too=True), now)
    row = ask(here, "klines", **KLINES, limit=1)[0]
    assert row[0] == now and row[1] == row[2] == row[3] == row[4]
    assert ask(elsewhere, "klines", **KLINES, limit=1)[0][:5] == row[:5]
    for name, values in (("premiumIndex", BTC), ("ticker/bookTicker", BTC), ("depth", BTC), ("fundingRate", BTC)):
        assert ask(here, name, **values) == ask(elsewhere, name, **values), name


def test_the_open_bar_grows_into_the_recorded_one(frames, tape):
    bars = frames["BTCUSDT"]
    begin = int(bars.index.asi8[1_700])
    grown = [ask(still(tape, begin + at), "klines", **KLINES, limit=1)[0] for at in range(0, HOUR, HOUR // 50)]
    highs, lows, volumes = ([float(row[column]) for row in grown] for column in (2, 3, 5))
    assert highs == sorted(highs) and lows == sorted(lows, reverse=True) and volumes == sorted(volumes)
    assert {row[1] for row in grown} == {grown[0][1]}
    final = ask(still(tape, begin + HOUR), "klines", **KLINES, endTime=begin, limit=1)[0]
    wanted = bars.iloc[1_700]
    got = [float(final[column]) for column in (1, 2, 3, 4, 5, 7, 9)]
    assert got == wanted[["open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"]].tolist()
    assert final[8] == wanted["trades"]
