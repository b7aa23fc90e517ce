"""The one door to ccxt: a client of any venue it knows, at the address of the parameters, whose every request is paid for from the shared
budget; and how often something is asked again when the venue gives no usable answer.
"""

import asyncio
import json
import math
import random
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit, urlunsplit

from quantalpha import config, lazy
from quantalpha.config import IMPORT
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.market.budget import Budget, Limit, Stopped, default_folder
from quantalpha.market.limits_told import PARSING, SHORTEST_STOP, USED_WEIGHT, WEIGHT, limits_told, retry_after, seconds, shut_out

LONGEST_WAIT = 120.0  # seconds; a venue that asks for more has banned us
PATIENCE = 2.0  # seconds an order waits where the venue asks to be left alone; then it is not sent
MARGIN = 5.0  # seconds after its timeout in which a request of a killed process may still reach the venue
BINANCE = ("binance", "binanceusdm")
BYBIT_REQUEST = 5.0  # ccxt's cost of a market data request
DOCUMENTED = {  # where ccxt's own pace is far below what the venue allows (bybit-exchange.github.io, v5, rate limit: 600 in 5 s)
    "bybit": Limit(600 * BYBIT_REQUEST, 5.0),
}
SEPARATE = {  # Binance counts these apart, in requests per address (developers.binance.com, USD-M futures, market data)
    "fundingRate": ("funding", Limit(500, 300)),
    "openInterestHist": ("statistics", Limit(1000, 300)),
}


@dataclass(frozen=True)
class Retry:
    """How often to ask, and how long to pause: base * 2^n seconds up to `cap`, times a random factor in [0.5, 1]."""

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    sleep: Callable[[float], Awaitable] = asyncio.sleep
    random: Callable[[], float] = random.random

    def pause(self, attempt: int) -> float:
        return min(self.cap, self.base * 2**attempt) * (0.5 + 0.5 * self.random())


class NoAnswer(Exception):
    """The venue's reply cannot be used. `wait`: seconds it asked us to stay away. `final`: asking again cannot help."""

    def __init__(self, found: str, wait: float | None = None, final: bool = False):
        super().__init__(found)
        self.wait, self.final = wait, final


class Late(Exception):
    """A request waited longer than its `deadline` for the shared budget, and was not sent."""


body: ContextVar[str] = ContextVar("body", default="")  # the last reply within one request
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # the loop's time after which a request is not sent any more
written: ContextVar[Callable[[], None] | None] = ContextVar("written", default=None)  # told as a request's body goes to the socket


class _Paid:
    """What is put before a ccxt exchange: requests wait for the shared budget, and what their answers say about limits is passed on."""

    budget: Budget
    inspect: Callable[[int, str, float | None], None] | None = None  # raises unless a reply (status, text, wait asked for) is sound

    async def throttle(self, cost=None):
        """ccxt's own pace, which knows nothing of other processes."""

    async def fetch2(self, path, api="public", method="GET", params={}, config={}):  # noqa: B006
        """ccxt's every request, with ccxt's own signature."""
        cost = self.calculate_rate_limiter_cost(api, method, path, params, config)
        async with AsyncExitStack() as request:
            await _in_time(request.enter_async_context(self.budget.spend(_weights(self.id, path, cost))))
            return await super().fetch2(path, api, method, params, config)

    def expect(self, api: str, path: str) -> None:
        """A POST there may soon be sent: room is reserved for it, and the way of its signature walked."""
        self.budget.ahead(_weights(self.id, path, self.api[api]["post"][path]["cost"]))
        self.sign(path, [api], "POST", {"symbol": "", "side": "", "quantity": ""})

    def open(self, lazy=False):
        """ccxt's session, in whose requests `written` is told."""
        fresh = self.session is None
        self.ssl_context = self.ssl_context or _trusted(self.cafile)
        super().open(lazy)
        if fresh and self.session is not None:
            self.session.trace_configs.append(_told_when_written())

    def on_rest_response(self, status, reason, url, method, headers, text, *sent):
        """ccxt's hook on every HTTP reply."""
        wait = self._heed(status, headers, text)
        if self.inspect is not None:
            self.inspect(status, text, retry_after(headers) if wait is None else wait)
        if status == 200 and '"rateLimits"' in text:
            self.budget.learn(limits_told(text))
        return text

    def _heed(self, status: int, headers, text: str) -> float | None:
        """Passes on what was used, and stops everybody where the address is shut out: for so many seconds."""
        for name, used in headers.items():
            period = USED_WEIGHT.fullmatch(name)
            if period and used.isdigit():
                self.budget.correct(WEIGHT, Limit(int(used), seconds(*period.groups())))
        wait = shut_out(self.id, status, headers, text)
        if wait is None and status == 429:
            wait = max(SHORTEST_STOP, self.budget.limits[WEIGHT].seconds)  # a window, wherever it began
        if wait is not None:
            self.budget.stop(wait)
        return wait


def check_name(venue: config.Venue) -> None:
    """UsageError unless ccxt knows `venue.name`."""
    import ccxt

    if venue.name == IMPORT:
        raise UsageError("venue.name: 'import' means your own files, with no exchange behind them; name a ccxt venue such as 'binanceusdm'")
    if venue.name not in ccxt.exchanges:
        raise UsageError(f"venue.name: ccxt knows no venue {venue.name!r}; {did_you_mean(venue.name, ccxt.exchanges)}")


def is_local(venue: config.Venue) -> bool:
    """Whether it is a practice exchange on this machine, websockets too."""
    given = [address for address in (venue.rest_url, venue.ws_url) if address is not None]
    return venue.rest_url is not None and all(urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1") for address in given)


def build(venue: config.Venue, library, budget: Budget | None = None, *, demo: bool = False):
    """A ccxt exchange (`library`: ccxt.async_support or ccxt.pro) whose every URL points at the venue's parameters.

    budget: what its requests are paid from; None: the one that all processes of this machine share for that address.
    demo: the venue's demo trading, with money that is none.
    """
    check_name(venue)
    local = is_local(venue)
    options = {"timeout": math.ceil(venue.timeout * 1000), "enableRateLimit": not local, "aiohttp_trust_env": not local}
    known = getattr(library, venue.name)
    exchange = type(known.__name__, (_Paid, known), {})(options)
    if local:
        exchange.timeout_on_exit = 0
    if demo:
        exchange.enable_demo_trading(True)
    exchange.urls["api"] = _point(exchange.urls["api"], venue)
    exchange.budget = _shared_budget(venue, exchange) if budget is None else budget
    return exchange


def rest_client(venue: config.Venue, budget: Budget | None = None):
    """(ccxt exchange that refuses all but sound JSON, what asking it may raise, what of that says that it was asked too often)."""
    with lazy.loading("ccxt"):
        import ccxt.async_support
    exchange = build(venue, ccxt.async_support, budget)
    exchange.inspect = _inspect
    return exchange, (NoAnswer, Stopped, ccxt.BaseError, *PARSING), (ccxt.RateLimitExceeded, ccxt.DDoSProtection)


def trading_client(venue: config.Venue, keys: tuple[str, str], judge: Callable[[int, str, float | None], None], demo: bool = False):
    """(ccxt exchange that signs with (key, secret) and whose replies `judge` reads, what else asking it may raise).

    It may use the whole of the venue's limit, of which downloads leave 1 - venue.budget, and does not wait out a stop.
    """
    with lazy.loading("ccxt"):
        import ccxt.async_support
    exchange = build(venue, ccxt.async_support, demo=demo)
    exchange.apiKey, exchange.secret = keys
    exchange.budget.share, exchange.budget.patience = 1.0, PATIENCE
    exchange.inspect = judge
    return exchange, (NoAnswer, ccxt.BaseError, *PARSING)


@cache
def _trusted(authorities: str) -> ssl.SSLContext:
    """One for all clients of a process: to read the authorities' certificates takes longer than a request."""
    return ssl.create_default_context(cafile=authorities)


async def _in_time(wait: Awaitable) -> None:
    """Late where what must be waited for takes longer than the deadline of whoever asks."""
    latest = deadline.get()
    try:
        async with asyncio.timeout_at(latest):
            await wait
    except TimeoutError:
        raise Late("the budget of requests had no room for it in time") from None
    if latest is not None and asyncio.get_running_loop().time() > latest:
        raise Late("its time was over before it could leave")


def _told_when_written():
    """aiohttp's word that a body, which goes out in one write with its headers, is the next thing that the socket gets."""
    import aiohttp

    async def on_chunk(*_) -> None:
        tell = written.get()
        if tell is not None:
            tell()

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(on_chunk)
    config.freeze()
    return config


def rate_limits(exchange) -> dict[str, Limit]:
    """What a venue allows as far as ccxt knows: a cost each `rateLimit` milliseconds, in windows of at least ten of these."""
    if exchange.id in DOCUMENTED:
        return {WEIGHT: DOCUMENTED[exchange.id]}
    seconds = 60.0 if exchange.id in BINANCE else max(1.0, exchange.rateLimit / 100)
    separate = dict(SEPARATE.values()) if exchange.id in BINANCE else {}
    return {WEIGHT: Limit(seconds * 1000 / exchange.rateLimit, seconds)} | separate


def _shared_budget(venue: config.Venue, exchange) -> Budget:
    api = exchange.urls["api"]
    address = api.get("fapiPublic") if isinstance(api, dict) else None
    host = urlsplit(venue.rest_url or address or "").netloc or exchange.hostname or venue.name
    folder = default_folder() / re.sub(r"[^a-zA-Z0-9.-]", "_", host)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: the request budget cannot be kept there ({error.strerror}); name a folder in QUANTALPHA_CACHE"
        ) from None
    return Budget(folder, rate_limits(exchange), share=venue.budget, lifetime=venue.timeout + MARGIN, patience=LONGEST_WAIT)


def _weights(venue: str, path: str, cost: float) -> dict[str, float]:
    separate = {SEPARATE[path][0]: 1.0} if venue in BINANCE and path in SEPARATE else {}
    return {WEIGHT: cost} | separate


def _point(urls, venue: config.Venue):
    """Every leaf with the scheme and host of venue.rest_url, or venue.ws_url for websockets."""
    if isinstance(urls, dict):
        return {name: _point(leaf, venue) for name, leaf in urls.items()}
    parts = urlsplit(urls)
    field = "ws_url" if parts.scheme in ("ws", "wss") else "rest_url"
    target = getattr(venue, field)
    if target is None:
        return urls
    base = urlsplit(target)
    schemes = ("ws", "wss") if field == "ws_url" else ("http", "https")
    if base.scheme not in schemes or not base.netloc:
        raise UsageError(f"venue.{field}: expected a URL such as {schemes[0]}://127.0.0.1:8899, found {target!r}")
    return urlunsplit(parts._replace(scheme=base.scheme, netloc=base.netloc))


def _inspect(status: int, text: str, wait: float | None) -> None:
    """NoAnswer unless a reply is JSON with a good status; wait: seconds for which it asks to be left alone."""
    body.set(text)
    if status >= 400:
        retry = status >= 500 or status in (408, 418, 425, 429)
        raise NoAnswer(f"HTTP {status} {short(text)}", wait, final=not retry)
    try:
        answer = json.loads(text)
    except PARSING:
        answer = None
    if not isinstance(answer, dict | list):
        raise NoAnswer(f"HTTP {status}, not JSON: {short(text)}")


def short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 120 else text[:117] + "...")
