"""What venues say about their limits reaches every process of the machine."""

import asyncio

import ccxt.async_support
import pytest

from quantalpha import config
from quantalpha.market.budget import Budget, Stopped
from quantalpha.market.connect import BYBIT_BAN, WEIGHT, NoAnswer, build, rate_limits

ADDRESS = {"source": "practice", "rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1", "timeout": 1.0, "budget": 0.8}


def exchange(name, folder):
    folder.mkdir(exist_ok=True)
    venue = config.Venue(name=name, **ADDRESS)
    plain = build(venue, ccxt.async_support, Budget(folder, {}))
    made = build(venue, ccxt.async_support, Budget(folder, rate_limits(plain), patience=1.0))
    made.inspected = True
    return made


async def spend(budget) -> None:
    async with budget.spend({WEIGHT: 1.0}):
        pass


@pytest.mark.parametrize(
    ("name", "status", "headers", "seconds"),
    [
        ("binanceusdm", 429, {"Retry-After": "30"}, 30),
        ("binanceusdm", 418, {"retry-after": "7200"}, 7200),
        ("bybit", 403, {}, BYBIT_BAN),
    ],
)
def test_who_is_shut_out_stops_all(name, status, headers, seconds, tmp_path):
    asked, other = exchange(name, tmp_path), exchange(name, tmp_path)
    with pytest.raises(NoAnswer):
        asked.on_rest_response(status, "", "", "GET", headers, "{}", None)
    with pytest.raises(Stopped) as stopped:
        asyncio.run(spend(other.budget))
    assert stopped.value.wait == pytest.approx(seconds, abs=2)


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
