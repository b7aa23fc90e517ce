"""Weights, refusals and bans as Binance counts them, over the wire and by the clock."""

import asyncio
import hashlib
import hmac
from urllib.parse import urlencode

import aiohttp
import pytest

from quantalpha.practice import Limits, Tape
from quantalpha.practice.background import played
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.limits import LONGEST_BAN, PATIENCE
from quantalpha.practice.query import KEY, SECRET, Query, Refusal, Signature

from .support import HOUR, Wall, play


def limits(wall, **changes) -> Limits:
    return Limits(**({"limit": 10, "interval": 60, "ban": 120.0, "wall": wall} | changes))


def refusal(rules, weight=1, client="here") -> Refusal | None:
    try:
        rules.charge(client, weight)
    except Refusal as refused:
        return refused
    return None


def test_weight_is_counted_in_windows_of_the_wall_clock(wall):
    rules = limits(wall)
    wall.seconds = 1_200.0
    assert refusal(rules, 10) is None
    refused = refusal(rules, 1)
    assert (refused.status, refused.code, refused.retry_after) == (429, -1003, 60)
    assert "current limit of IP(here) is 10 requests per minute" in refused.message
    assert refusal(rules, 1, "elsewhere") is None, "by address"
    wall.seconds += 59
    assert refusal(rules, 1).retry_after == 1
    wall.seconds += 1
    assert refusal(rules, 10) is None and rules.used("here") == 10


def test_a_request_that_would_exceed_the_limit_is_refused_and_not_counted(wall):
    rules = limits(wall)
    assert refusal(rules, 8) is None and refusal(rules, 5).status == 429
    assert rules.used("here") == 8 and refusal(rules, 2) is None


def test_who_goes_on_is_banned_and_each_ban_lasts_twice_as_long(wall):
    rules, lasted = limits(wall), []
    for _ in range(14):
        wall.seconds += 60 - wall.seconds % 60
        refusal(rules, 10)
        answers = [refusal(rules, 1) for _ in range(PATIENCE + 1)]
        assert [answer.status for answer in answers] == [429] * PATIENCE + [418]
        assert f"banned until {int((wall.seconds + answers[-1].retry_after) * 1000)}" in answers[-1].message
        lasted.append(answers[-1].retry_after)
        wall.seconds += answers[-1].retry_after - 1
        assert refusal(rules, 0).status == 418, "even what weighs nothing"
        wall.seconds += 1
    assert lasted[:3] == [120, 240, 480] and lasted[-1] == LONGEST_BAN
    assert rules.refused[429] == 14 * PATIENCE


@pytest.mark.parametrize(("interval", "label", "unit"), [(60, "1M", ("MINUTE", 1)), (120, "2M", ("MINUTE", 2)), (2, "2S", ("SECOND", 2))])
def test_limits_are_announced_and_used_weight_is_told(tape, interval, label, unit):
    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session, session.get("/fapi/v1/exchangeInfo") as response:
            return (await response.json())["rateLimits"][0], response.headers[f"X-MBX-USED-WEIGHT-{label}"]

    rule, used = play(tape, scenario, limits=Limits(limit=77, interval=interval))
    assert rule == {"rateLimitType": "REQUEST_WEIGHT", "interval": unit[0], "intervalNum": unit[1], "limit": 77} and used == "1"


def test_over_the_wire_the_refusals_carry_retry_after(tape):
    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session:
            found = []
            for _ in range(4 + PATIENCE):
                async with session.get("/fapi/v1/ping") as response:
                    found.append((response.status, response.headers.get("Retry-After"), (await response.json()).get("code")))
            return found

    wall = Wall()
    found = play(tape, scenario, limits=Limits(limit=3, interval=60, ban=7.0, wall=wall))
    assert found == [(200, None, None)] * 3 + [(429, "20", -1003)] * PATIENCE + [(418, "7", -1003)]


def signed(exchange, secret=SECRET, key=KEY, **values):
    sent = urlencode({"timestamp": exchange.now()} | values)
    signature = hmac.new(secret.encode(), sent.encode(), hashlib.sha256).hexdigest()
    values = dict(pair.split("=") for pair in sent.split("&")) | {"signature": signature}
    return Query(values, exchange, Signature(key, f"{sent}&signature={signature}"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": None}, -2014),
        ({"key": "another"}, -2015),
        ({"secret": "another"}, -1022),
        ({"timestamp": 1}, -1021),
        ({"timestamp": 9_999_999_999_999}, -1021),
        ({"recvWindow": 60_001}, -1131),
    ],
)
def test_signed_requests_are_checked(tape, wall, changes, code):
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 0.0, wall))
    signed(exchange).check_signed()
    with pytest.raises(Refusal) as refused:
        signed(exchange, **changes).check_signed()
    assert refused.value.code == code


def test_a_late_request_is_refused_by_its_own_window(tape, wall):
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 0.0, wall))
    signed(exchange, timestamp=exchange.now() - 4_000).check_signed()
    with pytest.raises(Refusal, match="outside of the recvWindow"):
        signed(exchange, timestamp=exchange.now() - 4_000, recvWindow=3_000).check_signed()


def test_a_contract_whose_bars_end_is_settled_then_delisted(frames):
    short = frames["ETHUSDT"].iloc[:2_000]
    tape = Tape({"BTCUSDT": frames["BTCUSDT"], "ETHUSDT": short})
    end = tape.instruments["ETHUSDT"].end

    def at(now):
        exchange = Exchange(tape, Clock(now, tape.end, 0.0, Wall()))
        return {symbol: exchange.trades(each) for symbol, each in exchange.listed().items()}

    assert at(end - HOUR) == {"BTCUSDT": True, "ETHUSDT": True}
    assert at(end + HOUR) == {"BTCUSDT": True, "ETHUSDT": False}
    assert at(end + 25 * HOUR) == {"BTCUSDT": True} and at(tape.end) == {"BTCUSDT": True}


def test_open_interest_goes_back_thirty_days_and_no_further(exchange):
    from .test_rest import ask, refused

    now = exchange.now()
    values = {"symbol": "BTCUSDT", "period": "1h", "limit": 500}
    rows = ask(exchange, "openInterest", symbol="BTCUSDT"), _history(exchange, **values, startTime=now - 30 * 24 * HOUR)
    assert float(rows[0]["openInterest"]) > 0
    assert [row["timestamp"] for row in rows[1]] == list(range(now - 30 * 24 * HOUR, now - 30 * 24 * HOUR + 500 * HOUR, HOUR))
    assert len(_history(exchange, symbol="BTCUSDT", period="5m")) == 30
    for wrong in ({"startTime": now - 31 * 24 * HOUR}, {"period": "1m"}, {"limit": 501}):
        with pytest.raises(Refusal):
            _history(exchange, **(values | wrong))
    assert refused(exchange, "openInterest", symbol="NOPE") == -1121


def _history(exchange, **values):
    from quantalpha.practice.binance import open_interest_history

    return open_interest_history(exchange, Query({key: str(value) for key, value in values.items()}, exchange))[0]


def test_an_exchange_in_a_thread_answers_and_ends(tape):
    async def ask(url):
        async with aiohttp.ClientSession(url) as session, session.get("/fapi/v1/ping") as response:
            return response.status

    with played(tape) as server:
        assert asyncio.run(ask(server.url)) == 200
    with pytest.raises(aiohttp.ClientConnectionError):
        asyncio.run(ask(server.url))
