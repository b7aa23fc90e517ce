import asyncio

import numpy as np
import pytest
from aiohttp import web

from quantalpha import config, schema
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.exchange import Client, Retry, build

HOUR = 3_600_000
VENUE = config.Venue(name="binanceusdm", source=None, rest_url=None, ws_url=None, timeout=5, budget=0.8)


def leaves(urls):
    return [leaf for value in urls.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


def test_every_url_points_at_the_venue_of_the_parameters():
    import ccxt.pro

    there = VENUE.model_copy(update={"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:2"})
    before, after = leaves(build(VENUE, ccxt.pro).urls["api"]), leaves(build(there, ccxt.pro).urls["api"])
    assert len(before) == len(after) > 10
    assert {leaf.split("/")[2] for leaf in after} == {"127.0.0.1:1", "127.0.0.1:2"}
    assert [leaf.split("/")[3:] for leaf in before] == [leaf.split("/")[3:] for leaf in after]
    assert all(leaf.startswith(("http://127.0.0.1:1/", "ws://127.0.0.1:2/")) for leaf in after)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "binanceusd"}, "did you mean 'binanceusdm'"),
        ({"name": "import"}, "your own files"),
        ({"rest_url": "127.0.0.1:8899"}, "venue.rest_url: expected a URL"),
        ({"ws_url": "http://127.0.0.1:8899"}, "venue.ws_url: expected a URL"),
    ],
)
def test_wrong_venue_is_a_usage_error(change, says):
    import ccxt.pro

    with pytest.raises(UsageError, match=says):
        build(VENUE.model_copy(update=change), ccxt.pro)


def test_closed_bars_marks_and_funding_equal_the_tape(practice, tape):
    btc = tape.instruments["BTCUSDT"]
    now = tape.start + 2500 * HOUR + 1234

    async def fetch():
        async with practice(tape, now=now) as (venue, gate, _), Client(venue) as client:
            assert await client.server_time() == now
            span = (tape.start, now + 100 * HOUR)
            bars, mark = await client.bars("BTCUSDT", "1h", *span), await client.mark("BTCUSDT", "1h", *span)
            return bars, mark, await client.funding("BTCUSDT", *span), gate.count("/klines")

    bars, mark, funding, requests = asyncio.run(fetch())
    closed = btc.times + HOUR <= now
    assert requests == 6  # 2500 bars, 499 at a time of which 3 are those before
    assert schema.epoch_ms(bars.index).tolist() == btc.times[closed].tolist()
    assert np.array_equal(bars.to_numpy(), btc.last.rows[closed, :5])
    assert np.array_equal(mark["close"].to_numpy(), btc.mark.rows[closed, 3])
    assert list(bars.columns) == list(schema.REQUIRED) and list(mark.columns) == ["open", "high", "low", "close"]
    settled = btc.funding_times <= now
    assert schema.epoch_ms(funding.index).tolist() == btc.funding_times[settled].tolist()
    assert np.allclose(funding["funding_rate"], btc.funding_rates[settled], rtol=0, atol=5e-9)


def test_full_funding_pages_are_asked_again_in_smaller_pieces(practice, tape, monkeypatch):
    from quantalpha.market import exchange

    now = tape.start + 1000 * HOUR

    async def fetch():
        async with practice(tape, now=now) as (venue, _, _), Client(venue) as client:
            whole = await client.funding("BTCUSDT", tape.start, now)
            monkeypatch.setitem(exchange.PAGES, "binanceusdm", exchange.BINANCE_PAGES | {"funding": 8})
            return whole, await client.funding("BTCUSDT", tape.start, now)

    whole, pieces = asyncio.run(fetch())
    assert len(whole) == 125 and pieces.equals(whole)


def test_unknown_symbol_names_the_nearest(practice, tape):
    async def ask():
        async with practice(tape, now=tape.start + 10 * HOUR) as (venue, _, _), Client(venue) as client:
            await client.bars("BTCUSD", "1h", tape.start, tape.start + HOUR)

    with pytest.raises(UsageError, match="no linear perpetual 'BTCUSD'; did you mean 'BTCUSDT'"):
        asyncio.run(ask())


def text(body, status=200, **headers):
    async def fault(request):
        if request.path.endswith("/klines"):
            return web.Response(text=body, status=status, headers=headers, content_type="application/json")
        return None

    return fault


async def silent(request):
    if request.path.endswith("/klines"):
        await asyncio.sleep(30)


async def cut_off(request):
    if request.path.endswith("/klines"):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"[[1,")
        request.transport.close()
        return response
    return None


FAULTS = {
    "429": (text('{"code":-1003,"msg":"Too many requests"}', 429, **{"Retry-After": "0.01"}), "HTTP 429"),
    "418": (text('{"code":-1003,"msg":"Way too many requests"}', 418, **{"Retry-After": "0.01"}), "HTTP 418"),
    "500": (text("oops", 500), "HTTP 500 'oops'"),
    "503": (text("<html>busy</html>", 503), "HTTP 503"),
    "garbage": (text("<html>login here</html>"), "not JSON"),
    "half an answer": (text("[[1610000000000,"), "not JSON"),
    "nothing": (text(""), "not JSON: ''"),
    "another shape": (text('{"ok":true}'), "ok"),
    "rows too short": (text("[[1610000000000, 1]]"), "last"),
    "no numbers": (text('[[1609459200000,"1","2","x","1","5",1,"1",1,"1","1","0"]]'), "numbers missing"),
    "hangs": (silent, "RequestTimeout"),
    "cut off": (cut_off, "Payload|ExchangeError|NotAvailable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_venue_that_misbehaves_is_asked_again_then_named(practice, tape, impatient, fault):
    retry, pauses = impatient
    answer, says = FAULTS[fault]

    async def ask():
        async with practice(tape, now=tape.start + 100 * HOUR, timeout=0.3) as (venue, gate, _), Client(venue, retry) as client:
            gate.fault = answer
            with pytest.raises(ExchangeError, match=says) as caught:
                await client.bars("BTCUSDT", "1h", tape.start, tape.start + 50 * HOUR)
            return venue.rest_url.removeprefix("http://"), gate.count("/klines"), str(caught.value)

    host, asked, message = asyncio.run(ask())
    assert asked == retry.attempts == 3 and len(pauses) == 2
    assert host in message and "BTCUSDT 1h from" in message and "after 3 tries" in message and "\n" not in message
    assert ExchangeError.exit_code == 5


def test_a_passing_fault_leaves_no_trace_and_retry_after_is_honoured(practice, tape, impatient):
    retry, pauses = impatient

    async def ask():
        async with practice(tape, now=tape.start + 100 * HOUR) as (venue, gate, _), Client(venue, retry) as client:
            clean = await client.bars("BTCUSDT", "1h", tape.start, tape.start + 50 * HOUR)
            busy = [text("busy", 429, **{"Retry-After": "1"}), text("oops", 500)]

            async def fault(request):
                return await busy.pop(0)(request) if busy and request.path.endswith("/klines") else None

            gate.fault = fault
            return clean, await client.bars("BTCUSDT", "1h", tape.start, tape.start + 50 * HOUR)

    clean, again = asyncio.run(ask())
    assert again.equals(clean) and len(again) > 40
    assert pauses == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (text("banned", 418, **{"Retry-After": "3600"}), "left alone for 3600 s"),
        (text('{"code":-1120,"msg":"Invalid interval."}', 400), "Invalid"),
    ],
)
def test_what_waiting_cannot_help_is_not_asked_again(practice, tape, impatient, answer, says):
    retry, pauses = impatient

    async def ask():
        async with practice(tape, now=tape.start + 100 * HOUR) as (venue, gate, _), Client(venue, retry) as client:
            gate.fault = answer
            with pytest.raises(ExchangeError, match=says):
                await client.bars("BTCUSDT", "1h", tape.start, tape.start + HOUR)
            return gate.count("/klines")

    assert asyncio.run(ask()) == 1 and pauses == []


def test_an_empty_list_is_an_answer(practice, tape):
    async def ask():
        async with practice(tape, now=tape.start + 100 * HOUR) as (venue, _, _), Client(venue) as client:
            return await client.bars("BTCUSDT", "1h", tape.start - 50 * HOUR, tape.start)

    assert asyncio.run(ask()).empty


def test_nobody_there_is_an_exchange_error(impatient):
    venue = VENUE.model_copy(update={"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"})

    async def ask():
        async with Client(venue, impatient[0]):
            pass

    with pytest.raises(ExchangeError, match=r"127\.0\.0\.1:1: no usable answer for its list of markets after 3 tries"):
        asyncio.run(ask())


def test_pauses_grow_to_a_bound():
    low, high = Retry(random=lambda: 0.0), Retry(random=lambda: 1.0)
    assert [high.pause(n) for n in (0, 1, 2)] == [0.5, 1.0, 2.0] and high.pause(50) == 30.0
    assert all(low.pause(n) == high.pause(n) / 2 for n in range(10))


def test_a_budget_that_cannot_be_kept_is_a_usage_error(monkeypatch):
    monkeypatch.setenv("QUANTALPHA_CACHE", "/dev/null/here")
    with pytest.raises(UsageError, match="name a folder in QUANTALPHA_CACHE"):
        Client(VENUE)
