"""An exchange whose wall clock the test turns by hand, and the unmodified ccxt client pointed at it."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.practice import Tape, serve

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
async def client(server):
    """ccxt.pro's binanceusdm as it comes, but for the hosts in its URLs."""
    import ccxt.pro

    exchange = ccxt.pro.binanceusdm()
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
