"""A venue's market data over REST as tables: closed bars, mark-price bars, settled funding rates. The one door to ccxt's REST client.

    async with Client(params.venue) as client:
        bars = await client.bars("BTCUSDT", "1h", start_ms, end_ms)

Every request is tried again, with growing pauses, while the venue is silent, overloaded or answers nonsense; then ExchangeError says what
was asked and what came back. Nothing is guessed: an answer that is not what the endpoint documents counts as no answer.
"""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.config import IMPORT
from quantalpha.errors import ExchangeError, UsageError, did_you_mean
from quantalpha.market.kinds import FUNDING, MARK, bar_length

DEFAULT_PAGE = 100  # rows every venue gives at once
BARS_PER_PAGE = {"binance": 1000, "binanceusdm": 1000}  # the most ccxt asks for; for other venues ccxt's own table of limits holds
FUNDING_PER_PAGE = {"binance": 1000, "binanceusdm": 1000, "bybit": 200}
FUNDING_SPACING = 8 * timeframe.UNITS["h"]  # first guess; a full page is asked again in smaller pieces
SHORTEST_SPACING = timeframe.UNITS["h"]
LONGEST_WAIT = 120.0  # seconds; a venue that asks for more has banned us
FAULTS = (TypeError, KeyError, IndexError, ValueError, AttributeError)  # what parsing a nonsensical answer raises


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


class _NoAnswer(Exception):
    """The venue's reply cannot be used. `wait`: seconds it asked us to stay away. `final`: asking again cannot help."""

    def __init__(self, found: str, wait: float | None = None, final: bool = False):
        super().__init__(found)
        self.wait, self.final = wait, final


_body: ContextVar[str] = ContextVar("body", default="")  # the last reply within one request


class Client:
    """One venue's public REST data, by venue symbol ids such as 'BTCUSDT'. Times are int milliseconds, spans half-open."""

    def __init__(self, venue: config.Venue, retry: Retry | None = None):
        import ccxt.async_support

        self.venue = venue
        self.retry = Retry() if retry is None else retry
        self.exchange = build(venue, ccxt.async_support)
        self.exchange.on_rest_response = _inspect
        self._faults = (_NoAnswer, ccxt.BaseError, *FAULTS)
        self._symbols: dict[str, str] = {}

    async def __aenter__(self):
        try:
            await self.load()
        except BaseException:
            await self.exchange.close()
            raise
        return self

    async def __aexit__(self, *_):
        await self.exchange.close()

    async def load(self) -> None:
        """Learn the venue's linear perpetuals."""
        markets = await self._ask("its list of markets", self._markets)
        self._symbols = {m["id"]: m["symbol"] for m in markets.values() if m["swap"] and m["linear"]}

    async def _markets(self) -> dict:
        markets = await self.exchange.load_markets(True)
        if not any(m["swap"] and m["linear"] for m in markets.values()):
            raise _NoAnswer(f"no linear perpetual among {len(markets)} markets")
        return markets

    def unified(self, symbol: str) -> str:
        """ccxt's name of a venue symbol: 'BTCUSDT' -> 'BTC/USDT:USDT'."""
        if symbol not in self._symbols:
            from difflib import get_close_matches

            near = get_close_matches(symbol, self._symbols, n=1, cutoff=0.5) or sorted(self._symbols)[:8]
            raise UsageError(f"symbol: {self.venue.name} has no linear perpetual {symbol!r}; {did_you_mean(symbol, near)}")
        return self._symbols[symbol]

    def has(self, kind: str) -> bool:
        """Whether the venue publishes a history of this kind."""
        if kind == FUNDING:
            return bool(self.exchange.has["fetchFundingRateHistory"])
        return bool(self.exchange.has["fetchMarkOHLCV" if kind.startswith(MARK) else "fetchOHLCV"])

    async def server_time(self) -> int:
        """The venue's clock, milliseconds."""
        return await self._ask("the time", self._time)

    async def _time(self) -> int:
        now = await self.exchange.fetch_time()
        if not isinstance(now, int):
            raise _NoAnswer(f"time {now!r}")
        return now

    async def bars(self, symbol: str, bar: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """Closed bars that open in [start, end): open high low close volume (base units)."""
        return await self._closed(symbol, bar, start_ms, end_ms)

    async def mark(self, symbol: str, bar: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """Closed mark-price bars: open high low close."""
        return await self._closed(symbol, MARK + bar, start_ms, end_ms)

    async def _closed(self, symbol, kind, start_ms, end_ms) -> pd.DataFrame:
        step = bar_length(kind)
        now = await self.server_time()
        end = min(end_ms, now - now % step)
        return await self._concat(symbol, kind, start_ms, end)

    async def funding(self, symbol: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """Rates settled in [start, end), at the venue's own settlement times: funding_rate, positive where longs pay."""
        return await self._concat(symbol, FUNDING, start_ms, end_ms)

    async def _concat(self, symbol, kind, start_ms, end_ms) -> pd.DataFrame:
        parts = [rows async for rows, _ in self.pages(symbol, kind, start_ms, end_ms)]
        return pd.concat(parts) if parts else _frame(np.empty((0, len(_columns(kind)) + 1)), kind)

    async def pages(self, symbol: str, kind: str, start_ms: int, end_ms: int) -> AsyncIterator[tuple[pd.DataFrame, int]]:
        """(rows, until) in time order: all rows before `until` have been given. The caller sees to it that [start, end) has passed."""
        at, width = start_ms, self._page_width(kind)
        while at < end_ms:
            until = min(at + width, end_ms)
            rows = await self.page(symbol, kind, at, until)
            if kind == FUNDING and len(rows) >= self.page_rows(kind) and width > SHORTEST_SPACING:
                width //= 2
                continue
            yield rows, until
            at = until

    def page_rows(self, kind: str) -> int:
        """Most rows one request may ask for."""
        table = FUNDING_PER_PAGE if kind == FUNDING else BARS_PER_PAGE
        if self.venue.name in table:
            return table[self.venue.name]
        if kind == FUNDING:
            return DEFAULT_PAGE
        limits = self.exchange.features["swap"]["linear"]["fetchOHLCV"] or {}
        known = [limits[name] for name in ("limit", "mark") if name in limits]
        return min(known or [DEFAULT_PAGE])

    def _page_width(self, kind: str) -> int:
        spacing = bar_length(kind)
        return (self.page_rows(kind) - 1) * (FUNDING_SPACING if spacing is None else spacing)

    async def page(self, symbol: str, kind: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """One request for the rows in [start, end), the bar still open included; at most `page_rows(kind)` of them."""
        name = self.unified(symbol)
        what = f"{symbol} {kind} from {pd.Timestamp(start_ms, unit='ms')} to {pd.Timestamp(end_ms, unit='ms')}"
        return await self._ask(what, lambda: self._page(name, kind, start_ms, end_ms))

    async def _page(self, name, kind, start_ms, end_ms) -> pd.DataFrame:
        until = {"until": end_ms - 1}
        if kind == FUNDING:
            found = await self.exchange.fetch_funding_rate_history(name, start_ms, self.page_rows(kind), until)
            rows = [[record["timestamp"], record["fundingRate"]] for record in found]
        else:
            fetch = self.exchange.fetch_mark_ohlcv if kind.startswith(MARK) else self.exchange.fetch_ohlcv
            count = -(-(end_ms - start_ms) // bar_length(kind))
            rows = await fetch(name, kind.removeprefix(MARK), start_ms, count, until)
        if not rows and "[]" not in _body.get().replace(" ", ""):
            raise _NoAnswer(f"no list: {_short(_body.get())}")
        width = len(_columns(kind)) + 1
        values = np.array([row[:width] for row in rows], float).reshape(len(rows), width)
        if not np.isfinite(values).all():
            raise _NoAnswer(f"numbers missing: {_short(_body.get())}")
        inside = (values[:, 0] >= start_ms) & (values[:, 0] < end_ms)
        return _frame(values[inside], kind)

    async def next_funding(self, symbol: str) -> int | None:
        """When the venue will next settle funding, milliseconds; None where it does not say."""
        name = self.unified(symbol)
        answer = await self._ask(f"{symbol} next funding time", lambda: self.exchange.fetch_funding_rate(name))
        return answer["fundingTimestamp"]

    async def _ask(self, what: str, call: Callable[[], Awaitable]):
        """What `call` answers, asked again while it does not."""
        for attempt in range(1, self.retry.attempts + 1):
            try:
                return await call()
            except self._faults as error:
                wait = getattr(error, "wait", None)
                final = attempt == self.retry.attempts or getattr(error, "final", False) or (wait or 0) > LONGEST_WAIT
                if final:
                    raise self._gave_up(what, attempt, error, wait) from None
            await self.retry.sleep(self.retry.pause(attempt - 1) if wait is None else wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _gave_up(self, what: str, tries: int, error: Exception, wait: float | None) -> ExchangeError:
        host = urlsplit(self.exchange.last_request_url or self.venue.rest_url or "").netloc
        remedy = "check the network and venue.rest_url, then run again: what is stored stays valid"
        if host.startswith(("127.0.0.1", "localhost")):
            remedy = "start the practice exchange (`quantalpha exchange`) or set venue.rest_url, then run again"
        if wait is not None and wait > LONGEST_WAIT:
            remedy = f"it asks to be left alone for {wait:g} s; run again after that"
        last = str(error) if isinstance(error, _NoAnswer) else f"{type(error).__name__} {_short(str(error))}"
        return ExchangeError(f"{self.venue.name} at {host}: no usable answer for {what} after {tries} tries; last: {last}; {remedy}")


def check_name(venue: config.Venue) -> None:
    """UsageError unless ccxt knows `venue.name`."""
    import ccxt

    if venue.name == IMPORT:
        raise UsageError("venue.name: 'import' means your own files, with no exchange behind them; name a ccxt venue such as 'binanceusdm'")
    if venue.name not in ccxt.exchanges:
        raise UsageError(f"venue.name: ccxt knows no venue {venue.name!r}; {did_you_mean(venue.name, ccxt.exchanges)}")


def build(venue: config.Venue, library):
    """A ccxt exchange (`library`: ccxt.async_support or ccxt.pro) whose every URL points at the venue's parameters."""
    check_name(venue)
    local = venue.rest_url is not None and urlsplit(venue.rest_url).hostname in ("127.0.0.1", "localhost", "::1")
    options = {"timeout": math.ceil(venue.timeout * 1000), "enableRateLimit": not local, "aiohttp_trust_env": not local}
    exchange = getattr(library, venue.name)(options)
    if local:
        exchange.timeout_on_exit = 0
    exchange.urls["api"] = _point(exchange.urls["api"], venue)
    return exchange


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


def _inspect(status, reason, url, method, headers, body, *_):
    """ccxt's hook on every HTTP reply: refuses all but JSON with a good status."""
    _body.set(body)
    if status >= 400:
        wait = headers.get("Retry-After", "")
        retry = status >= 500 or status in (408, 418, 425, 429)
        raise _NoAnswer(f"HTTP {status} {_short(body)}", float(wait) if wait.isdigit() else None, final=not retry)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict | list):
        raise _NoAnswer(f"HTTP {status}, not JSON: {_short(body)}")
    return body


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _columns(kind: str) -> list[str]:
    return ["funding_rate"] if kind == FUNDING else [*schema.REQUIRED[: 4 if kind.startswith(MARK) else 5]]


def _frame(values: np.ndarray, kind: str) -> pd.DataFrame:
    """Rows [time ms, values...] as a table in time order."""
    values = values[np.argsort(values[:, 0], kind="stable")]
    return pd.DataFrame(values[:, 1:], columns=_columns(kind), index=schema.from_epoch_ms(values[:, 0]))
