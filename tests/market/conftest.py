"""The practice exchange on a free port, reached through a gate that counts requests and misbehaves when told to."""

from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from quantalpha import config
from quantalpha.market.exchange import Retry
from quantalpha.practice.server import serve
from quantalpha.practice.tape import Tape

HOUR = 3_600_000


class Gate:
    """Forwards REST requests to `target`, unless `fault(request)` gives (or awaits) a response of its own."""

    def __init__(self, target: str):
        self.target, self.asked, self.fault = target, [], None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.query)))
        answer = None if self.fault is None else await self.fault(request)
        if answer is not None:
            return answer
        async with aiohttp.ClientSession() as session, session.get(self.target + request.path_qs) as reply:
            return web.Response(body=await reply.read(), status=reply.status, content_type="application/json")

    def count(self, ending: str) -> int:
        return sum(path.endswith(ending) for path, _ in self.asked)


@asynccontextmanager
async def practice_exchange(tape: Tape, *, now: int, speed: float = 0.0, timeout: float = 5.0):
    """(venue, gate, server): REST through the gate, websockets straight to the server."""
    server = await serve(tape, speed=speed, now=now)
    gate = Gate(server.url)
    app = web.Application()
    app.router.add_get("/{path:.*}", gate.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield (
            config.Venue(name="binanceusdm", source="practice", rest_url=url, ws_url=server.ws_url, timeout=timeout, budget=0.8),
            gate,
            server,
        )
    finally:
        await runner.cleanup()
        await server.close()


@pytest.fixture(scope="session")
def practice():
    return practice_exchange


@pytest.fixture(scope="session")
def tape() -> Tape:
    """Four months of synthetic hours from 2021-01-01, two symbols, with gaps."""
    params = config.Synthetic(seed=11, start="2021-01-01", bars=3000, timeframe="1h", edge={"BTCUSDT": 0.0, "ETHUSDT": 0.0})
    return Tape.synthetic(params)


@pytest.fixture
def impatient():
    """A Retry that never really sleeps, and the pauses it was asked for."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    return Retry(attempts=3, sleep=sleep, random=lambda: 1.0), pauses
