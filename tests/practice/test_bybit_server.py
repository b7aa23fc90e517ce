"""Bybit's side over the wire: the limit of an address, faults, and two dialects on one port."""

import json

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.faults import Faults

from .support import Wall, play

KLINES = {"category": "linear", "symbol": "BTCUSDT", "interval": "60"}


def test_over_the_wire_an_address_has_its_limit_and_a_ban_ends(tape):
    wall = Wall()

    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session:

            async def get(path, method="GET"):
                async with session.request(method, path) as response:
                    headers = {name.removeprefix("X-Bapi-Limit"): value for name, value in response.headers.items() if "X-Bapi" in name}
                    return response.status, (await response.json())["retCode"], headers

            found = [await get("/v5/market/time"), await get("/v5/market/nothing"), await get("/v5/market/time", "POST")]
            wall.seconds += 2.5
            found += [await get("/v5/market/time"), await get("/v5/market/time")]
            wall.seconds += 2.5  # the first three have left the window, the ban has not ended
            found += [await get("/v5/market/time")]
            wall.seconds += 600
            return [*found, await get("/v5/market/time")]

    limit = AddressLimit(limit=4, wall=wall)
    answers = play(tape, scenario, address_limit=limit)
    assert [answer[:2] for answer in answers] == [(200, 0), (404, 10017), (404, 10017), (200, 0), (403, 10018), (403, 10018), (200, 0)]
    assert [int(headers["-Status"]) for *_, headers in answers] == [3, 2, 1, 0, 0, 0, 3]
    resets = [int(headers["-Reset-Timestamp"]) - tape.opening for *_, headers in answers]
    assert resets == [0, 0, 0, 0, 600_000, 597_500, 0] and {headers[""] for *_, headers in answers} == {"4"}
    assert limit.refused == {"127.0.0.1": 2}


@given(gaps=st.lists(st.floats(0, 3), max_size=60), limit=st.integers(1, 5))
def test_no_window_ever_admits_more_than_the_limit(gaps, limit):
    wall, admitted = Wall(), []
    asked = AddressLimit(limit=limit, seconds=5.0, ban=7.0, wall=wall)
    for gap in gaps:
        wall.seconds += gap
        if asked.admit("a"):
            admitted.append(wall.seconds)
    assert all(sum(end - 5.0 < time <= end for time in admitted) <= limit for end in admitted)
    assert asked.admit("b")


def test_both_dialects_answer_on_one_port_with_their_own_refusals(tape):
    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session:

            async def get(path):
                async with session.get(path) as response:
                    return response.status, await response.json(), "X-MBX-USED-WEIGHT-1M" in response.headers

            return [await get(path) for path in ("/fapi/v1/time", "/v5/market/time", "/v5/nothing", "/nothing")]

    binance, bybit, lost, nothing = play(tape, scenario)
    assert binance == (200, {"serverTime": tape.opening}, True)
    assert bybit[0] == 200 and bybit[1]["time"] == tape.opening and not bybit[2]
    assert (lost[0], lost[1]["retCode"]) == (404, 10017)
    assert (nothing[0], nothing[1]["code"]) == (404, -5000)


def test_faults_spoil_bybits_rows_too(tape):
    faults = Faults(plan={0: "empty", 1: "disorder", 2: "duplicates", 3: "truncated", 4: "http_503"})

    async def scenario(server):
        async with aiohttp.ClientSession(server.url) as session:

            async def get():
                async with session.get("/v5/market/kline", params={**KLINES, "limit": 4}) as response:
                    return response.status, await response.text()

            return [await get() for _ in range(6)]

    *spoilt, (_, whole) = play(tape, scenario, faults=faults)
    rows = json.loads(whole)["result"]["list"]
    assert [json.loads(text)["result"]["list"] for _, text in spoilt[:3]] == [[], rows[::-1], rows[:2] + rows[1:]]
    assert spoilt[3] == (200, whole[: len(whole) // 2]) and spoilt[4][0] == 503
