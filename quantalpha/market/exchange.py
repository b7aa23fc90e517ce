"""A venue's market data over REST as tables: closed bars, mark and index price bars, settled funding rates, open interest; and what it says
about its instruments.

    async with Client(params.venue) as client:
        bars = await client.bars("BTCUSDT", "1h", start_ms, end_ms)

Every request is tried again, with growing pauses, while the venue is silent, overloaded or answers nonsense; then ExchangeError says what
was asked and what came back. Nothing is guessed: an answer that is not what the endpoint documents counts as no answer, and so does one
that leaves out what was given before; a list that is empty where the contract was traded is believed when it has come three times.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import ExchangeError, UsageError, did_you_mean
from quantalpha.market.budget import Budget
from quantalpha.market.connect import BINANCE, LONGEST_WAIT, NoAnswer, Retry, Stopped, body, build, check_name, rest_client, short
from quantalpha.market.kinds import FUNDING, INDEX, INTEREST, MARK, bar_length, bar_of, columns

DEFAULT_PAGE = 100  # rows every venue gives at once
BINANCE_PAGES = {"bars": 499, FUNDING: 1000, INTEREST: 500}  # of bars 499 weigh 2, 1000 weigh 5
PAGES = dict.fromkeys(BINANCE, BINANCE_PAGES) | {"bybit": {FUNDING: 200, INTEREST: 200}}  # other bars: ccxt's own table of limits
FUNDING_SPACING = 8 * timeframe.UNITS["h"]  # first guess; a full page is asked again in smaller pieces
SHORTEST_SPACING = timeframe.UNITS["h"]
OVERLAP = 3  # rows asked for again with the next ones: an answer without them is none
SURE = 3
BINANCE_MORE = {"quote_volume": 7, "trades": 8, "taker_buy_volume": 9}  # where a venue's own row of a bar tells more than ccxt gives
MORE = dict.fromkeys(BINANCE, BINANCE_MORE) | {"bybit": {"quote_volume": 6}}
METHODS = {MARK: "fetchMarkOHLCV", INDEX: "fetchIndexOHLCV", INTEREST: "fetchOpenInterestHistory", FUNDING: "fetchFundingRateHistory"}

__all__ = ["Client", "Retry", "build", "check_name"]


class Client:
    """One venue's public REST data, by venue symbol ids such as 'BTCUSDT'. Times are int milliseconds, spans half-open.

    wide: pages of bars have every column the venue tells (quote_volume, trades, taker_buy_volume), not only those all venues do.
    """

    def __init__(self, venue: config.Venue, retry: Retry | None = None, *, wide: bool = False, budget: Budget | None = None):
        self.venue = venue
        self.retry = Retry() if retry is None else retry
        self.exchange, self._faults, self._crowded = rest_client(venue, budget)
        self.more = MORE.get(venue.name, {}) if wide else {}
        if self.more:
            self.exchange.parse_ohlcv = self._parse_wide
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
        markets = await self.ask("its list of markets", self._markets)
        self._symbols = {m["id"]: m["symbol"] for m in markets.values() if m["swap"] and m["linear"]}

    async def _markets(self) -> dict:
        markets = await self.exchange.load_markets(True)
        if not any(m["swap"] and m["linear"] for m in markets.values()):
            raise NoAnswer(f"no linear perpetual among {len(markets)} markets")
        return markets

    def lists(self, symbol: str) -> bool:
        """Whether the venue has such a linear perpetual now."""
        return symbol in self._symbols

    def unified(self, symbol: str) -> str:
        """ccxt's name of a venue symbol: 'BTCUSDT' -> 'BTC/USDT:USDT'."""
        if symbol not in self._symbols:
            from difflib import get_close_matches

            near = get_close_matches(symbol, self._symbols, n=1, cutoff=0.5) or sorted(self._symbols)[:8]
            raise UsageError(f"symbol: {self.venue.name} has no linear perpetual {symbol!r}; {did_you_mean(symbol, near)}")
        return self._symbols[symbol]

    def market(self, symbol: str) -> dict:
        """What ccxt knows of the contract; `info` is the venue's own entry."""
        return self.exchange.markets[self.unified(symbol)]

    def has(self, kind: str) -> bool:
        """Whether the venue publishes a history of this kind."""
        return bool(self.exchange.has[METHODS.get(_prefix(kind), "fetchOHLCV")])

    async def server_time(self) -> int:
        """The venue's clock, milliseconds."""
        return await self.ask("the time", self._time)

    async def _time(self) -> int:
        now = await self.exchange.fetch_time()
        if not isinstance(now, int):
            raise NoAnswer(f"time {now!r}")
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
        return await self.rows(symbol, kind, start_ms, end)

    async def funding(self, symbol: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """Rates settled in [start, end), at the venue's own settlement times: funding_rate, positive where longs pay."""
        return await self.rows(symbol, FUNDING, start_ms, end_ms)

    async def rows(self, symbol: str, kind: str, start_ms: int, end_ms: int) -> pd.DataFrame:
        """All rows in [start, end), none where there are none. The caller sees to it that the span has passed."""
        parts = [rows async for rows, _ in self.pages(symbol, kind, start_ms, end_ms)]
        return pd.concat(parts) if parts else self._frame(np.empty((0, self._width(kind))), kind)

    async def pages(
        self, symbol: str, kind: str, start_ms: int, end_ms: int, known: Iterable[int] | None = None
    ) -> AsyncIterator[tuple[pd.DataFrame, int]]:
        """(rows, until) in time order: all rows before `until` have been given. The caller sees to it that [start, end) has passed.

        known: times before `start` of rows that the venue has given before; they, and the last rows of each page, are asked for and given
        again, so that a row which has changed since is seen. None: no row is given twice.
        """
        at, width, given = await self._first(symbol, kind, start_ms, end_ms), self._page_width(kind), tuple(known or ())
        while at < end_ms:
            until = min(at + width, end_ms)
            given = tuple(time for time in given if until - time <= self._reach(kind))
            rows = await self._sure_page(symbol, kind, (min(given, default=at), until), given)
            if kind == FUNDING and len(rows) >= self.page_rows(kind) and width > SHORTEST_SPACING:
                width //= 2
                continue
            times = schema.epoch_ms(rows.index)
            yield (rows[times >= at] if known is None else rows), until
            at, given = until, tuple(times[-OVERLAP:].tolist()) or given

    async def _first(self, symbol: str, kind: str, start_ms: int, end_ms: int) -> int:
        """Where to begin: at the listing where nothing was traded before it (a few contracts were), else at the start."""
        created, step = self.market(symbol)["created"], bar_length(kind)
        if step is None or created is None or min(created, end_ms) - start_ms <= self._page_width(kind):
            return start_ms
        listed = min(end_ms, created - created % step)
        for _ in range(SURE):
            if len(await self.page(symbol, kind, start_ms, listed)):
                return start_ms
        return listed

    async def _sure_page(self, symbol: str, kind: str, span: tuple[int, int], given: tuple[int, ...]) -> pd.DataFrame:
        """One page; an empty one of a time at which the contract was traded is asked for again before it is believed."""
        created, spacing = self.market(symbol)["created"], bar_length(kind) or FUNDING_SPACING
        traded = created is not None and span[1] - max(span[0], created) >= 2 * spacing
        for _ in range(SURE if traded else 1):
            rows = await self.page(symbol, kind, *span, given)
            if len(rows):
                break
        return rows

    def page_rows(self, kind: str) -> int:
        """Most rows one request may ask for."""
        table, prefix = PAGES.get(self.venue.name, {}), _prefix(kind)
        of = prefix if prefix in (FUNDING, INTEREST) else "bars"
        if of in table or of != "bars":
            return table.get(of, DEFAULT_PAGE)
        limits = self.exchange.features["swap"]["linear"]["fetchOHLCV"] or {}
        known = [limits[name] for name in ("limit", "mark", "index") if name in limits]
        return min(known or [DEFAULT_PAGE])

    def _reach(self, kind: str) -> int:
        return self.page_rows(kind) * (bar_length(kind) or FUNDING_SPACING)

    def _page_width(self, kind: str) -> int:
        return (self.page_rows(kind) - OVERLAP) * (bar_length(kind) or FUNDING_SPACING)

    async def page(self, symbol: str, kind: str, start_ms: int, end_ms: int, given: tuple[int, ...] = ()) -> pd.DataFrame:
        """One request for the rows in [start, end), the bar still open included; at most `page_rows(kind)` of them.

        given: times of which the answer must hold at least one.
        """
        name = self.unified(symbol)
        what = f"{symbol} {kind} from {pd.Timestamp(start_ms, unit='ms')} to {pd.Timestamp(end_ms, unit='ms')}"
        return await self.ask(what, lambda: self._page(name, kind, (start_ms, end_ms), given))

    async def _page(self, name: str, kind: str, span: tuple[int, int], given: tuple[int, ...]) -> pd.DataFrame:
        rows = await self._rows(name, kind, *span)
        if not rows and "[]" not in body.get().replace(" ", ""):
            raise NoAnswer(f"no list: {short(body.get())}")
        width = self._width(kind)
        values = np.array([row[:width] for row in rows], float).reshape(len(rows), width)
        if not np.isfinite(values).all():
            raise NoAnswer(f"numbers missing: {short(body.get())}")
        if len(rows) >= self._count(kind, *span) and len(np.unique(values, axis=0)) < len(rows):
            raise NoAnswer(f"rows twice, so that others may have been cut off: {short(body.get())}")
        values = np.unique(values[(values[:, 0] >= span[0]) & (values[:, 0] < span[1])], axis=0)
        times = values[:, 0].astype("int64")
        if np.unique(times).size < times.size:
            raise NoAnswer(f"two rows for one time: {short(body.get())}")
        if given and not np.isin(given, times).any():
            raise NoAnswer(f"{len(times)} rows, without those given before, such as {schema.iso(given[-1])}")
        return self._frame(values, kind)

    async def _rows(self, name: str, kind: str, start_ms: int, end_ms: int) -> list[list]:
        """The venue's rows: [time, values...]."""
        prefix, until = _prefix(kind), {"until": end_ms - 1}
        if prefix == FUNDING:
            found = await self.exchange.fetch_funding_rate_history(name, start_ms, self.page_rows(kind), until)
            return [[record["timestamp"], record["fundingRate"]] for record in found]
        if prefix == INTEREST:
            found = await self.exchange.fetch_open_interest_history(name, bar_of(kind), start_ms, self.page_rows(kind), until)
            return [[record["timestamp"], record["openInterestAmount"]] for record in found]
        fetch = {MARK: self.exchange.fetch_mark_ohlcv, INDEX: self.exchange.fetch_index_ohlcv}.get(prefix, self.exchange.fetch_ohlcv)
        return await fetch(name, bar_of(kind), start_ms, self._count(kind, start_ms, end_ms), until)

    def _count(self, kind: str, start_ms: int, end_ms: int) -> int:
        """Most rows that are asked for; ccxt drops what an answer holds beyond."""
        most, step = self.page_rows(kind), bar_length(kind)
        return most if step is None or kind.startswith(INTEREST) else min(most, -(-(end_ms - start_ms) // step))

    async def next_funding(self, symbol: str) -> int | None:
        """When the venue will next settle funding, milliseconds; None where it does not say."""
        name = self.unified(symbol)
        answer = await self.ask(f"{symbol} next funding time", lambda: self.exchange.fetch_funding_rate(name))
        return answer["fundingTimestamp"]

    async def ask(self, what: str, call: Callable[[], Awaitable]):
        """What `call` answers, asked again while it does not; then ExchangeError."""
        for attempt in range(1, self.retry.attempts + 1):
            try:
                return await call()
            except self._faults as error:
                wait = getattr(error, "wait", None)
                final = attempt == self.retry.attempts or getattr(error, "final", False) or (wait or 0) > LONGEST_WAIT
                if final:
                    raise self._gave_up(what, attempt, error, wait) from None
                pause = self.retry.pause(attempt - 1) if wait is None else wait
                if isinstance(error, self._crowded):
                    self.exchange.budget.stop(pause)
            await self.retry.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _gave_up(self, what: str, tries: int, error: Exception, wait: float | None) -> ExchangeError:
        host = urlsplit(self.exchange.last_request_url or self.venue.rest_url or "").netloc
        remedy = "check the network and venue.rest_url, then run again: what is stored stays valid"
        if host.startswith(("127.0.0.1", "localhost")):
            remedy = "start the practice exchange (`quantalpha exchange`) or set venue.rest_url, then run again"
        if wait is not None and wait > LONGEST_WAIT:
            remedy = f"it asks to be left alone for {wait:g} s; run again after that"
        last = str(error) if isinstance(error, NoAnswer | Stopped) else f"{type(error).__name__} {short(str(error))}"
        return ExchangeError(f"{self.venue.name} at {host}: no usable answer for {what} after {tries} tries; last: {last}; {remedy}")

    def _parse_wide(self, row: list, market=None) -> list:
        """ccxt's columns of a bar, then `more`; NaN where the row is shorter (mark and index prices)."""
        more = [float(row[at]) if isinstance(row, list) and at < len(row) else np.nan for at in self.more.values()]
        return [*type(self.exchange).parse_ohlcv(self.exchange, row, market), *more]

    def _columns(self, kind: str) -> list[str]:
        return [*columns(kind), *(self.more if _prefix(kind) == "" else ())]

    def _width(self, kind: str) -> int:
        return 1 + len(self._columns(kind))

    def _frame(self, values: np.ndarray, kind: str) -> pd.DataFrame:
        """Rows [time ms, values...] in time order as a table."""
        return pd.DataFrame(values[:, 1:], columns=self._columns(kind), index=schema.from_epoch_ms(values[:, 0]))


def _prefix(kind: str) -> str:
    """'mark-', 'index-', 'interest-', 'funding', or '' for bars."""
    return next((prefix for prefix in METHODS if kind.startswith(prefix)), "")
