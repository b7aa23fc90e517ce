"""Our own REST client reads Bybit's side of the practice exchange as it reads Binance's."""

import asyncio

import ccxt.pro
import numpy as np
import pytest

from quantalpha import config, schema
from quantalpha.errors import UsageError
from quantalpha.market.exchange import Client, build
from quantalpha.practice import serve

from .support import HOUR


def venue_at(name, rest_url, ws_url) -> config.Venue:
    return config.Venue(name=name, source="practice", rest_url=rest_url, ws_url=ws_url, timeout=5, budget=1.0)


def fetch(tape, question, *, now, name="bybit"):
    """What `question(client)` answers."""

    async def main():
        server = await serve(tape, speed=0.0, now=now)
        try:
            async with Client(venue_at(name, server.url, server.ws_url)) as client:
                return await asyncio.wait_for(question(client), 30)
        finally:
            await server.close()

    return asyncio.run(main())


def leaves(urls):
    return [leaf for value in urls.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


def test_every_url_points_at_the_venue_though_bybits_leave_the_host_open():
    exchange = build(venue_at("bybit", "http://127.0.0.1:1", "ws://127.0.0.1:2"), ccxt.pro)
    urls = [exchange.implode_hostname(leaf) for leaf in leaves(exchange.urls["api"])]
    assert len(urls) > 10 and all(url.startswith(("http://127.0.0.1:1", "ws://127.0.0.1:2")) for url in urls)
    assert exchange.sign("v5/market/time")["url"] == "http://127.0.0.1:1/v5/market/time"
    assert asyncio.run(exchange.get_url_by_market_type(None, False, "watchTicker", {"type": "swap"})) == "ws://127.0.0.1:2/v5/public/linear"


def test_closed_bars_marks_and_funding_equal_the_tape(tape):
    btc, now = tape.instruments["BTCUSDT"], tape.start + 2_300 * HOUR + 1234
    span = tape.start, now + 100 * HOUR

    async def question(client):
        assert await client.server_time() == now
        assert client.unified("BTCUSDT") == "BTC/USDT:USDT"
        assert await client.next_funding("BTCUSDT") == now - now % (8 * HOUR) + 8 * HOUR
        return [
            await client.bars("BTCUSDT", "1h", *span),
            await client.mark("BTCUSDT", "1h", *span),
            await client.funding("BTCUSDT", *span),
        ]

    bars, mark, funding = fetch(tape, question, now=now)
    closed, settled = btc.times + HOUR <= now, btc.funding_times <= now
    assert schema.epoch_ms(bars.index).tolist() == btc.times[closed].tolist()
    assert np.array_equal(bars[[*schema.REQUIRED]].to_numpy(), btc.last.rows[closed, :5])
    assert np.array_equal(mark["close"].to_numpy(), btc.mark.rows[closed, 3])
    assert schema.epoch_ms(funding.index).tolist() == btc.funding_times[settled].tolist()
    assert np.allclose(funding["funding_rate"], btc.funding_rates[settled], rtol=0, atol=5e-9)


def test_both_dialects_give_the_same_tables(tape):
    now = tape.start + 400 * HOUR

    async def question(client):
        span = tape.start, now
        kinds = [client.bars("ETHUSDT", "4h", *span), client.mark("ETHUSDT", "1h", *span), client.funding("ETHUSDT", *span)]
        return [await each for each in kinds]

    for ours, theirs in zip(fetch(tape, question, now=now), fetch(tape, question, now=now, name="binanceusdm")):
        shared = [name for name in ours if name in theirs]
        assert len(ours) > 40 and shared and ours[shared].equals(theirs[shared])


def test_unknown_symbol_names_the_nearest(tape):
    with pytest.raises(UsageError, match="bybit has no linear perpetual 'BTCUSD'; did you mean 'BTCUSDT'"):
        fetch(tape, lambda client: client.bars("BTCUSD", "1h", tape.start, tape.start + HOUR), now=tape.start + HOUR)
