"""The practice exchange as a server on this machine: REST and websocket on one port, loopback unless told otherwise."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

import orjson
import pandas as pd
from aiohttp import WSCloseCode, web

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.practice import binance_rest, binance_socket, bybit_private, bybit_private_socket, bybit_socket
from quantalpha.practice.binance_rest import Request
from quantalpha.practice.binance_venue import Binance
from quantalpha.practice.bybit import Bybit
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_private import Private, Sent
from quantalpha.practice.clock import Clock
from quantalpha.practice.conditions import Conditions
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.faults import Faults
from quantalpha.practice.keys import ApiKey
from quantalpha.practice.limits import Limits
from quantalpha.practice.query import Refusal
from quantalpha.practice.socket import Connection
from quantalpha.practice.tape import Tape, load
from quantalpha.practice.trading_faults import Answer, reply

PING_SECONDS = 180.0  # between ping frames; a client that does not answer within half of it is cut off
PARENT_POLL = 1.0  # seconds between looks at whether the parent is alive
LISTEN_KEY = "/fapi/v1/listenKey"
PREFIXES = ("", "/market", "/public", "/private")  # where Binance serves websockets
EXCHANGE = web.AppKey("exchange", Exchange)
BINANCE = web.AppKey("binance", Binance)
BYBIT = web.AppKey("bybit", Bybit)
BYBIT_PRIVATE = web.AppKey("bybit_private", Private)
SOCKETS = web.AppKey("sockets", WeakSet)
SCHEDULE = web.AppKey("faults", Faults)


@dataclass(frozen=True)
class Server:
    """A running exchange. `clock` may be set to another speed, `faults` and `conditions` changed, and `limits` watched, while it runs."""

    runner: web.AppRunner
    host: str
    port: int
    clock: Clock
    limits: Limits
    faults: Faults
    conditions: Conditions
    binance: Binance
    bybit: Private

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
    bybit_funding: float = 0.0,
) -> Server:
    """Start the exchange and return; port 0 takes a free one. `now`: where on the tape its clock starts, milliseconds since 1970 UTC.
    `wait`: the clock stands still until the first websocket client connects. limits, address_limit None: Binance's, Bybit's own; faults
    None: none. keys: who may trade. bybit_funding: what longs pay on Bybit's side beyond the tape's rate, a fraction.

    UsageError if the port is taken, the host is not this machine's or `now` lies off the tape.
    """
    start = tape.opening if now is None else now
    if not tape.start <= start <= tape.end:
        first, last, found = (pd.to_datetime(each, unit="ms") for each in (tape.start, tape.end, start))
        raise UsageError(f"exchange.now: expected a time on the tape, {first} to {last}, found {found}")
    clock = Clock(start, tape.end, speed, wall, waiting=wait)
    faults = Faults() if faults is None else faults
    exchange = Exchange(tape, clock, limits, keys, faults.sizes)
    venue = Binance(exchange)
    bybit = Bybit(exchange.with_funding(bybit_funding), AddressLimit(wall=wall) if address_limit is None else address_limit)
    private = Private(bybit.exchange, bybit.limit)
    runner = web.AppRunner(_application(venue, bybit, private, faults), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    return Server(runner, host, await _bind(runner, host, port), clock, exchange.limits, faults, exchange.conditions, venue, private)


def _application(venue: Binance, bybit: Bybit, private: Private, faults: Faults) -> web.Application:
    app = web.Application(middlewares=[_worded])
    app[EXCHANGE], app[BINANCE], app[BYBIT], app[SCHEDULE], app[SOCKETS] = venue.exchange, venue, bybit, faults, WeakSet()
    app[BYBIT_PRIVATE] = private
    app.on_shutdown.append(_hang_up)
    for prefix in PREFIXES:
        app.router.add_get(prefix + "/ws", _websocket)
        app.router.add_get(prefix + "/ws/{names:.*}", _websocket)
        app.router.add_get(prefix + "/stream", _websocket)
    app.router.add_get("/v5/public/linear", _bybit_websocket)
    app.router.add_get("/v5/private", _bybit_private_websocket)
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
    if (request.method, request.path) in binance_rest.ROUTES:
        return await _private(request, _binance_answer)
    return await _disturbed(request, _binance_answer)


async def _bybit_rest(request: web.Request) -> web.Response:
    if request.path in bybit_private.ENDPOINTS:
        return await _private(request, _bybit_private_answer)
    return await _disturbed(request, _bybit_answer)


async def _private(request: web.Request, answer: Answer) -> web.Response:
    """The answer to a request on an account, or what the schedules of faults put in its place."""
    faults = request.app[SCHEDULE]
    changes = request.method != "GET" and request.path != LISTEN_KEY
    schedule = faults.trading if changes else faults.account
    return await schedule.perform(request, answer, request.app[EXCHANGE].conditions)


async def _disturbed(request: web.Request, answer: Answer) -> web.Response:
    """The answer, spoilt or kept back where the schedule of faults says so."""
    faults = request.app[SCHEDULE]
    if request.app[EXCHANGE].conditions.holds("maintenance"):
        return reply("maintenance", request)
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


async def _bybit_private_answer(request: web.Request) -> web.Response:
    sent = Sent(request.method, request.path, request.headers, request.rel_url.raw_query_string, await request.read(), request.remote)
    status, payload, headers = request.app[BYBIT_PRIVATE].answer(sent)
    return web.Response(body=orjson.dumps(payload), status=status, headers=headers, content_type="application/json")


async def _websocket(request: web.Request) -> web.StreamResponse:
    combined = request.path.endswith("/stream")
    names = request.query.get("streams", "") if combined else request.match_info.get("names", "")
    asked, keys = [*names.split("/"), request.query.get("listenKey", "")], request.app[BINANCE].listen_keys
    faults = request.app[SCHEDULE].stream
    return await _converse(request, lambda socket: binance_socket.Connection(keys, faults, socket, asked, combined))


async def _bybit_websocket(request: web.Request) -> web.StreamResponse:
    bybit = request.app[BYBIT]
    return await _converse(request, lambda socket: bybit_socket.Connection(bybit.topics, bybit.exchange, socket))


async def _bybit_private_websocket(request: web.Request) -> web.StreamResponse:
    private, stream = request.app[BYBIT_PRIVATE], request.app[SCHEDULE].stream
    return await _converse(request, lambda socket: bybit_private_socket.Connection(private, socket, stream))


async def _converse(request: web.Request, connect: Callable[[web.WebSocketResponse], Connection]) -> web.StreamResponse:
    if request.app[EXCHANGE].conditions.holds("maintenance"):
        return reply("maintenance", request)
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
    rules |= {"keys": [ApiKey(deposit=settings.deposit)], "bybit_funding": settings.bybit_funding}
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
