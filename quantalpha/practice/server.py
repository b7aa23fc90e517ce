"""The practice exchange as a server on this machine: REST and websocket on one port, loopback unless told otherwise."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

import orjson
import pandas as pd
from aiohttp import WSCloseCode, web

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.practice import binance_rest, binance_socket, bybit_socket
from quantalpha.practice.binance_rest import Request
from quantalpha.practice.binance_venue import Binance
from quantalpha.practice.bybit import Bybit
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.clock import Clock
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.faults import Faults
from quantalpha.practice.keys import ApiKey
from quantalpha.practice.limits import Limits
from quantalpha.practice.query import Refusal
from quantalpha.practice.socket import Connection
from quantalpha.practice.tape import Tape, load

PING_SECONDS = 180.0  # between ping frames; a client that does not answer within half of it is cut off
PARENT_POLL = 1.0  # seconds between looks at whether the parent is alive
PREFIXES = ("", "/market", "/public", "/private")  # where Binance serves websockets
EXCHANGE = web.AppKey("exchange", Exchange)
BINANCE = web.AppKey("binance", Binance)
BYBIT = web.AppKey("bybit", Bybit)
SOCKETS = web.AppKey("sockets", WeakSet)
SCHEDULE = web.AppKey("faults", Faults)


@dataclass(frozen=True)
class Server:
    """A running exchange. `clock` may be set to another speed, and `limits` and `faults` watched, while it runs."""

    runner: web.AppRunner
    host: str
    port: int
    clock: Clock
    limits: Limits
    faults: Faults
    binance: Binance

    @property
    def url(self) -> str:
        """Base of the REST endpoints: venue.rest_url."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Base of the websocket streams: venue.ws_url."""
        return f"ws://{self.host}:{self.port}"

    async def close(self) -> None:
        await self.runner.cleanup()


async def serve(
    tape: Tape,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    now: int | None = None,
    wall: Callable[[], float] = time.monotonic,
    wait: bool = False,
    limits: Limits | None = None,
    address_limit: AddressLimit | None = None,
    faults: Faults | None = None,
    keys: Iterable[ApiKey] = (ApiKey(),),
) -> Server:
    """Start the exchange and return; port 0 takes a free one. `now`: where on the tape its clock starts, milliseconds since 1970 UTC.
    `wait`: the clock stands still until the first websocket client connects. limits, address_limit None: Binance's, Bybit's own; faults
    None: none. keys: who may trade.

    UsageError if the port is taken, the host is not this machine's or `now` lies off the tape.
    """
    start = tape.opening if now is None else now
    if not tape.start <= start <= tape.end:
        first, last, found = (pd.to_datetime(each, unit="ms") for each in (tape.start, tape.end, start))
        raise UsageError(f"exchange.now: expected a time on the tape, {first} to {last}, found {found}")
    clock = Clock(start, tape.end, speed, wall, waiting=wait)
    exchange, faults = Exchange(tape, clock, limits, keys), Faults() if faults is None else faults
    venue = Binance(exchange)
    bybit = Bybit(exchange, AddressLimit(wall=wall) if address_limit is None else address_limit)
    runner = web.AppRunner(_application(venue, bybit, faults), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    return Server(runner, host, await _bind(runner, host, port), clock, exchange.limits, faults, venue)


def _application(venue: Binance, bybit: Bybit, faults: Faults) -> web.Application:
    app = web.Application(middlewares=[_worded])
    app[EXCHANGE], app[BINANCE], app[BYBIT], app[SCHEDULE], app[SOCKETS] = venue.exchange, venue, bybit, faults, WeakSet()
    app.on_shutdown.append(_hang_up)
    for prefix in PREFIXES:
        app.router.add_get(prefix + "/ws", _websocket)
        app.router.add_get(prefix + "/ws/{names:.*}", _websocket)
        app.router.add_get(prefix + "/stream", _websocket)
    app.router.add_get("/v5/public/linear", _bybit_websocket)
    app.router.add_route("*", "/v5/{path:.*}", _bybit_rest)
    app.router.add_route("*", "/{path:.*}", _rest)
    return app


async def _bind(runner, host, port) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
        raise UsageError(f"exchange.port: {host}:{port} {reason}; stop what holds it or choose another (0: any free one)") from None
    return runner.addresses[0][1]


async def _rest(request: web.Request) -> web.Response:
    return await _disturbed(request, _binance_answer)


async def _bybit_rest(request: web.Request) -> web.Response:
    return await _disturbed(request, _bybit_answer)


async def _disturbed(request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]) -> web.Response:
    """The answer, spoilt or kept back where the schedule of faults says so."""
    faults = request.app[SCHEDULE]
    fault = faults.draw()
    instead = await faults.before(fault, request)
    if instead is not None:
        return instead
    response = await answer(request)
    response.body = faults.after(fault, response.body)
    return response


async def _binance_answer(request: web.Request) -> web.Response:
    sent = "" if request.method == "GET" else await request.text()
    payload, headers = binance_rest.answer(request.app[BINANCE], Request.of(request, sent))
    return web.Response(body=orjson.dumps(payload), headers=headers, content_type="application/json")


async def _bybit_answer(request: web.Request) -> web.Response:
    status, payload, headers = request.app[BYBIT].answer(request.method, request.path, request.query, request.remote)
    return web.Response(body=orjson.dumps(payload), status=status, headers=headers, content_type="application/json")


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    combined = request.path.endswith("/stream")
    names = request.query.get("streams", "") if combined else request.match_info.get("names", "")
    asked, user = [*names.split("/"), request.query.get("listenKey", "")], request.app[BINANCE].listen_keys.stream
    return await _converse(request, lambda socket: binance_socket.Connection(request.app[EXCHANGE], socket, asked, combined, user))


async def _bybit_websocket(request: web.Request) -> web.WebSocketResponse:
    return await _converse(request, lambda socket: bybit_socket.Connection(request.app[BYBIT].topics, socket))


async def _converse(request: web.Request, connect: Callable[[web.WebSocketResponse], Connection]) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=PING_SECONDS)
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    request.app[EXCHANGE].clock.start()
    await connect(socket).run()
    return socket


@web.middleware
async def _worded(request: web.Request, handler) -> web.StreamResponse:
    """On Binance's side: refusals as it words them, and the request weight used in this window in a header."""
    if request.path.startswith("/v5/"):
        return await handler(request)
    limits = request.app[EXCHANGE].limits
    try:
        response = await handler(request)
    except Refusal as refusal:
        body = orjson.dumps({"code": refusal.code, "msg": refusal.message})
        headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
        response = web.Response(body=body, status=refusal.status, headers=headers, content_type="application/json")
    if not response.prepared:
        response.headers[f"X-MBX-USED-WEIGHT-{limits.label}"] = str(limits.used(request.remote))
    return response


async def _hang_up(app: web.Application) -> None:
    for socket in set(app[SOCKETS]):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"exchange closed")


def run(params: config.Params, parent: int | None = None) -> None:
    """Play `params.exchange.tape` until SIGINT or SIGTERM, or until process `parent` is gone; prints the URLs once it answers."""
    asyncio.run(_run(params, parent))


async def _run(params: config.Params, parent: int | None) -> None:
    settings = params.exchange
    tape = load(params)
    now = None if settings.now is None else int(settings.now.timestamp() * 1000)
    rules = {"limits": Limits.of(settings), "address_limit": AddressLimit.of(settings), "faults": Faults.of(settings.faults)}
    rules["keys"] = [ApiKey(deposit=settings.deposit)]
    server = await serve(tape, host=settings.host, port=settings.port, speed=settings.speed, now=now, wait=settings.wait, **rules)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(_greeting(tape, server, settings), flush=True)
    while parent is None or os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_POLL)
            break
    await server.close()


def _greeting(tape, server, settings) -> str:
    first, last, now = (f"{pd.to_datetime(each, unit='ms'):%Y-%m-%d %H:%M}" for each in (tape.start, tape.end, server.clock.now()))
    waits = ", from the first websocket client on" if settings.wait else ""
    return (
        f"practice exchange: {', '.join(tape.instruments)}; tape {settings.tape}, {first} to {last} UTC\n"
        f"clock      {now} UTC, {settings.speed:g} tape seconds a second{waits}\n"
        f"REST       {server.url}\nwebsocket  {server.ws_url}\nstop with Ctrl-C"
    )
