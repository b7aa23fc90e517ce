"""Our own REST client reads Bybit's side of the practice exchange as it reads Binance's."""

import asyncio

import ccxt.pro
import numpy as np
import pandas as pd
import pytest

from quantalpha import config, schema
from quantalpha.errors import UsageError
from quantalpha.market import instruments
from quantalpha.market.budget import Budget, Limit, default_folder
from quantalpha.market.exchange import Client, build
from quantalpha.perp import brackets_for
from quantalpha.practice import serve
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.candles import QUOTE

from .support import HOUR


def venue_at(name, rest_url, ws_url) -> config.Venue:
    return config.Venue(name=name, source="practice", rest_url=rest_url, ws_url=ws_url, timeout=5, budget=1.0)


def fetch(tape, question, *, now, name="bybit", wide=False):
    """What `question(client)` answers."""

    async def main():
        server = await serve(tape, speed=0.0, now=now)
        budget = Budget(default_folder() / "plenty", {"weight": Limit(1e9, 1.0)}) if name == "bybit" else None
        try:
            async with Client(venue_at(name, server.url, server.ws_url), wide=wide, budget=budget) as client:
                return await asyncio.wait_for(question(client), 30)
        finally:
            await server.close()

    return asyncio.run(main())


async def all_of(client, symbol, kind, start, end):
    return pd.concat([rows async for rows, _ in client.pages(symbol, kind, start, end)])


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


def test_index_interest_and_turnover_equal_the_tape(tape):
    btc, now = tape.instruments["BTCUSDT"], tape.start + 700 * HOUR

    async def question(client):
        return [await all_of(client, "BTCUSDT", kind, tape.start, now) for kind in ("1h", "index-1h", "interest-1h")]

    bars, index, interest = fetch(tape, question, now=now, wide=True)
    opened = btc.times < now
    assert np.array_equal(bars["quote_volume"].to_numpy(), btc.last.rows[opened, QUOTE])
    assert np.array_equal(index["close"].to_numpy(), btc.index.rows[opened, 3])
    times = schema.epoch_ms(interest.index).tolist()
    assert times == list(range(tape.start, now, HOUR))
    assert interest["open_interest"].tolist() == [btc.open_interest(time) for time in times]


def test_rules_and_brackets_as_the_venue_tells_them(tape):
    now = tape.start + 700 * HOUR

    async def question(client):
        return instruments.rules(client, "BTCUSDT"), await instruments.brackets(client, ["BTCUSDT"])

    rules, brackets = fetch(tape, question, now=now)
    assert (rules["tick"], rules["lot"], rules["min_notional"], rules["status"], rules["delivery"]) == (0.1, 0.001, 5.0, "Trading", None)
    assert rules["onboard"] == schema.iso(tape.start)
    assert brackets == {"BTCUSDT": [list(row) for row in brackets_for("BTCUSDT", pd.Timestamp(now, unit="ms"))]}


def test_clients_that_share_a_budget_stay_under_bybits_limit(tape, tmp_path):
    limit = AddressLimit(limit=20, seconds=0.5)

    async def work(server):
        shared = Budget(tmp_path, {"weight": Limit(5 * limit.limit, limit.seconds)})  # ccxt's cost of a request is 5
        async with Client(venue_at("bybit", server.url, server.ws_url), budget=shared) as client:
            return await asyncio.gather(*(client.bars("BTCUSDT", "1h", tape.start, tape.start + 9 * HOUR) for _ in range(10)))

    async def main():
        server = await serve(tape, speed=0.0, address_limit=limit)
        try:
            return await asyncio.wait_for(asyncio.gather(*(work(server) for _ in range(3))), 30)
        finally:
            await server.close()

    found = [bars for client in asyncio.run(main()) for bars in client]
    assert len(found) == 30 and all(bars.equals(found[0]) for bars in found)
    assert not limit.refused


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
