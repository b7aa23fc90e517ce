"""What venues say about their limits reaches every process of the machine."""

import asyncio
import time
from email.utils import formatdate

import ccxt.async_support
import pytest
from collecting import minutes, venue
from hypothesis import example, given
from hypothesis import strategies as st

from quantalpha import config
from quantalpha.errors import ExchangeError
from quantalpha.market.budget import LONGEST_STOP, Budget, Limit, Stopped
from quantalpha.market.connect import WEIGHT, NoAnswer, _inspect, build, rate_limits
from quantalpha.market.exchange import Client, Retry
from quantalpha.market.limits_told import BYBIT_BAN, FIRST_BAN, shut_out
from quantalpha.practice import Faults
from quantalpha.practice.background import played

ADDRESS = {"source": "practice", "rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1", "timeout": 1.0, "budget": 0.8}


def exchange(name, folder):
    folder.mkdir(exist_ok=True)
    venue = config.Venue(name=name, **ADDRESS)
    plain = build(venue, ccxt.async_support, Budget(folder, {}))
    made = build(venue, ccxt.async_support, Budget(folder, rate_limits(plain), patience=1.0))
    made.inspect = _inspect
    return made


async def spend(budget) -> None:
    async with budget.spend({WEIGHT: 1.0}):
        pass


def date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


def banned(seconds: float) -> str:
    return f'{{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until {int((time.time() + seconds) * 1000)}. Please"}}'


@pytest.mark.parametrize(
    ("name", "status", "headers", "text", "seconds"),
    [
        ("binanceusdm", 429, {"Retry-After": "30"}, "{}", 30),
        ("binanceusdm", 418, {"retry-after": "7200"}, "{}", 7200),
        ("binanceusdm", 418, {"Retry-After": 7200}, "{}", 7200),
        ("binanceusdm", 418, {}, 3600, 3600),
        ("binanceusdm", 418, {"Retry-After": "0"}, 3600, 3600),
        ("binanceusdm", 418, {}, "{}", FIRST_BAN),
        ("binanceusdm", 418, {"Retry-After": -60}, -60, FIRST_BAN),
        ("binanceusdm", 429, {}, "{}", 60),
        ("binanceusdm", 429, {"Retry-After": "nan"}, "{}", 60),
        ("binanceusdm", 429, {"Retry-After": "-5"}, "{}", 60),
        ("binanceusdm", 429, {"Retry-After": "1700000000"}, "{}", LONGEST_STOP),
        ("binanceusdm", 429, {"Retry-After": "inf"}, "{}", LONGEST_STOP),
        ("binanceusdm", 418, {}, '{"msg":"banned until 9999999999999"}', LONGEST_STOP),
        ("bybit", 429, {}, "{}", 10),
        ("bybit", 403, {}, "{}", BYBIT_BAN),
    ],
    ids=lambda value: value if value in ("binanceusdm", "bybit") else type(value).__name__,  # moments differ between workers
)
def test_who_is_shut_out_stops_all(name, status, headers, text, seconds, tmp_path):
    """A number stands for that moment from now on: as a date in the header, in Binance's words in the text."""
    headers = {key: date(told) if isinstance(told, int) else told for key, told in headers.items()}
    text = banned(text) if isinstance(text, int) else text
    asked, other = exchange(name, tmp_path), exchange(name, tmp_path)
    with pytest.raises(NoAnswer) as refused:
        asked.on_rest_response(status, "", "", "GET", headers, text, None)
    assert refused.value.wait == pytest.approx(seconds, abs=2)
    with pytest.raises(Stopped) as stopped:
        asyncio.run(spend(other.budget))
    assert stopped.value.wait == pytest.approx(seconds, abs=2)


@given(st.text() | st.from_regex(r"[+-]?[0-9]{1,400}(\.[0-9]+)?(e[0-9]{1,4})?"), st.text())
@example("Wed, 21 Oct 99999 07:28:00 GMT", "")
@example("1e999", "banned until 0000000000000")
@example("Fri, 31 Dec 9999 23:59:59 -2359", "")
def test_whatever_is_told_no_stop_is_for_ever(told, text):
    found = shut_out("binanceusdm", 418, {"Retry-After": told}, text)
    assert 0 < found <= LONGEST_STOP


@pytest.mark.parametrize("fault", ["http_429", "http_418"])
def test_a_refusal_that_says_not_how_long_stops_all_clients(fault, tmp_path):
    """Eight at once: those under way when the first refusal comes are the last, however often each would ask again."""
    faults, tape = Faults(plan=dict.fromkeys(range(12, 500), fault), told=False), minutes(1000)

    async def nothing(_):
        pass

    async def ask(server, number):
        budget = Budget(tmp_path, {WEIGHT: Limit(2400, 60.0)}, patience=1.0)
        client = Client(venue(server), Retry(attempts=6, sleep=nothing), budget=budget)
        try:
            for _ in range(20):
                await client.server_time()
        finally:
            await client.exchange.close()

    async def crowd(server):
        return await asyncio.gather(*(ask(server, number) for number in range(8)), return_exceptions=True)

    with played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        ends = asyncio.run(crowd(server))
    assert all(isinstance(end, ExchangeError) and "left alone" in str(end) for end in ends), ends
    assert 1 <= faults.met[fault] <= 8


def test_limits_told_that_make_no_sense_are_not_learnt(tmp_path):
    asked = exchange("binanceusdm", tmp_path)
    for most, count in ((0, 1), (100, 0), (-5, 1), ("NaN", 1), ("1e999", 1)):
        rule = f'{{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":{count},"limit":"{most}"}}'
        asked.on_rest_response(200, "", "", "GET", {}, f'{{"rateLimits":[{rule}]}}', None)
    asyncio.run(spend(asked.budget))


def test_a_403_of_binance_is_a_refusal_and_no_ban(tmp_path):
    asked = exchange("binanceusdm", tmp_path)
    with pytest.raises(NoAnswer, match="403"):
        asked.on_rest_response(403, "", "", "GET", {}, "{}", None)
    asyncio.run(spend(asked.budget))


def test_bybit_may_be_asked_as_often_as_it_says(tmp_path):
    """600 requests in 5 seconds, each of them 5 in ccxt's table."""
    bybit = exchange("bybit", tmp_path)
    cost = bybit.describe()["api"]["public"]["get"]["v5/market/kline"]["cost"]
    limit = bybit.budget.limits[WEIGHT]
    assert limit.most / cost / limit.seconds == 120 and rate_limits(bybit) == bybit.budget.limits
