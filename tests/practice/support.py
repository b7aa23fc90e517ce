"""An exchange whose wall clock the test turns by hand, and the unmodified ccxt client pointed at it."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.practice import Tape, serve
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange

HOUR = 3_600_000


class Wall:
    """Wall time in seconds that stands until the test moves it."""

    def __init__(self):
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def play(tape: Tape, scenario, **options):
    """Run `scenario(server)` against a served tape; speed 0 unless told otherwise."""

    async def main():
        server = await serve(tape, **({"speed": 0.0} | options))
        try:
            return await asyncio.wait_for(scenario(server), 30)
        finally:
            await server.close()

    return asyncio.run(main())


@asynccontextmanager
async def client(server, name="binanceusdm"):
    """ccxt.pro's exchange of that name as it comes, but for the hosts in its URLs."""
    import ccxt.pro

    exchange = getattr(ccxt.pro, name)()
    exchange.urls["api"] = _repointed(exchange.urls["api"], server)
    try:
        yield exchange
    finally:
        await exchange.close()


def _repointed(urls, server):
    if isinstance(urls, dict):
        return {key: _repointed(value, server) for key, value in urls.items()}
    parts = urlsplit(urls)
    return (server.ws_url if parts.scheme == "wss" else server.url) + parts.path


def recorded(bars: pd.DataFrame, columns=("open", "high", "low", "close", "volume")) -> list[list[float]]:
    """The rows ccxt should return for these bars."""
    return [[int(time), *values] for time, values in zip(schema.epoch_ms(bars.index), bars[list(columns)].to_numpy().tolist())]


def closed_before(bars: pd.DataFrame, now: int) -> pd.DataFrame:
    return bars[np.asarray(schema.epoch_ms(bars.index)) + HOUR <= now]


def changed_after(frames, now, opening_bar_too=False):
    """The same tape up to `now`, another one after; the bar open at `now` keeps at least its open."""
    others = {}
    for symbol, bars in frames.items():
        other, opens = bars.copy(), bars.index.asi8
        other.loc[opens > now] *= 2
        if opening_bar_too:
            other.loc[opens == now, ["high", "close", "mark", "volume", "quote_volume", "trades", "taker_buy_volume"]] *= 2
        others[symbol] = other
    return Tape(others)


def still(tape, now):
    return Exchange(tape, Clock(now, tape.end, 0.0, Wall()))
