"""A live session's bars: the websocket says that something happened, REST says what. The one door to ccxt.pro.

A kline of a newer bar on the websocket means that the bar before it has closed. The values then come from REST, read once REST itself shows
the newer bar, so that they are final and equal a later download bit for bit. Coalesced, doubled, disordered or lost websocket messages,
reconnects and holes therefore change nothing but the moment at which a bar is learned of.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import DataError, ExchangeError
from quantalpha.market.clean import align_funding, mark_close, settlement_times
from quantalpha.market.exchange import Client, Retry, build
from quantalpha.market.kinds import FUNDING, mark_kind

PAUSES = tuple(min(1.0, 0.02 * 1.5**n) for n in range(30))  # seconds between looks at a REST that lags behind; 20 s in all
MARK_PAUSES = 12  # of them, how many a late mark price is worth: 3 s
FUNDING_HISTORY = 3 * timeframe.UNITS["d"]  # enough to see the spacing of settlements
SPARE = 1.02  # backfill asks for so many times the bars needed, to make up for missing ones


@dataclass(frozen=True)
class BarOpen:
    """The bar that opens at `time` (ms): its first price, and the funding rate settled at that moment (0.0 where none is due)."""

    time: int
    open: float
    funding_rate: float


@dataclass(frozen=True)
class BarClose:
    """A closed bar, named by its open `time` (ms).

    mark: mark price at its close, NaN where the venue gives none. received: wall clock ms when the bar was learned of.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    mark: float
    funding_rate: float
    received: int


def wall_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


async def stream_bars(
    venue: config.Venue, symbol: str, bar: str, since_ms: int, *, retries: int, clock: Callable[[], int] = wall_ms
) -> AsyncIterator[BarOpen | BarClose]:
    """BarClose of the first bar that opens at or after `since_ms`, then BarOpen and BarClose of every further one, in order, without end.

    Bars already closed come at once. A bar the venue never made is skipped. Raises ExchangeError when the venue stays unreachable for more
    than `retries` tries in a row. Leave it by `contextlib.aclosing`.
    """
    async with Client(venue, Retry(attempts=retries + 1)) as client:
        bars = _Bars(client, symbol, bar, since_ms, clock)
        watch = _Watch(venue, client, symbol, bar, retries)
        newest = None
        try:
            while True:
                for message in await bars.advance(newest):
                    yield message
                newest = await watch.newer_than(bars.open_time)
        finally:
            await watch.close()


async def backfill(venue: config.Venue, symbol: str, bar: str, bars_needed: int) -> pd.DataFrame:
    """The last `bars_needed` closed bars: open high low close volume mark funding_rate, as `clean_bars` gives them.

    The column `mark` is always there: NaN throughout at a venue without mark prices.
    """
    step = timeframe.milliseconds(bar)
    async with Client(venue) as client:
        end = timeframe.floor(await client.server_time(), bar)
        bars = await _between(client, symbol, bar, end - (int(bars_needed * SPARE) + 10) * step, end)
    if len(bars) <= bars_needed:
        raise DataError(f"{symbol} {bar}: expected {bars_needed} closed bars, {venue.name} has {len(bars)}; wait, or use shorter windows")
    return schema.check_bars(bars.iloc[-bars_needed:], f"{symbol} {bar} backfill")


async def bars_between(venue: config.Venue, symbol: str, bar: str, start: int, end: int) -> pd.DataFrame:
    """The bars that open in [start, end), ms, as `backfill` gives them."""
    async with Client(venue) as client:
        return schema.check_bars(await _between(client, symbol, bar, start, end), f"{symbol} {bar}")


async def _between(client: Client, symbol: str, bar: str, start: int, end: int) -> pd.DataFrame:
    rows, funding, mark = await asyncio.gather(
        client.bars(symbol, bar, start, end), _funding(client, symbol, start, end), _marks(client, symbol, bar, start, end)
    )
    return rows.assign(mark=mark_close(mark, rows.index), funding_rate=align_funding(funding, rows.index, bar))


class _Bars:
    """What REST says about the bars from `open_time` on, each of them once."""

    def __init__(self, client: Client, symbol: str, bar: str, since_ms: int, clock: Callable[[], int]):
        self.client, self.symbol, self.bar, self.clock = client, symbol, bar, clock
        self.step = timeframe.milliseconds(bar)
        self.open_time = since_ms
        self.rate: float | None = None  # funding of the bar now open; None before the first
        self.settlements = _Settlements(client, symbol)

    async def advance(self, newest: int | None) -> list[BarOpen | BarClose]:
        """Messages for all bars that have closed; `newest`: a bar known to have opened, which REST must show."""
        rows, mark = await self._page(newest)
        if len(rows) < 2:
            return []
        closed = rows.iloc[:-1]
        if self.rate is not None and schema.epoch_ms(rows.index)[0] != self.open_time:
            raise ExchangeError(f"{self.symbol}: the bar opened at {_utc(self.open_time)} has gone from REST; run again to backfill")
        fault = schema.impossible(closed)
        if fault.any():
            raise DataError(f"{self.symbol}: impossible bar at {closed.index[fault][0]}; stopped rather than trade on it; run again later")
        marks = mark_close(mark, closed.index)
        rates = await self._rates(rows.index)
        self.open_time, self.rate = int(schema.epoch_ms(rows.index)[-1]), rates[-1]
        return self._messages(rows, marks.tolist(), rates)

    def _messages(self, rows: pd.DataFrame, marks: list[float], rates: list[float]) -> list[BarOpen | BarClose]:
        times, opens = schema.epoch_ms(rows.index).tolist(), rows["open"].tolist()
        values = rows[list(schema.REQUIRED)].to_numpy().tolist()
        messages = []
        for i, mark in enumerate(marks):
            messages.append(BarClose(times[i], *values[i], mark=mark, funding_rate=rates[i], received=self.clock()))
            messages.append(BarOpen(times[i + 1], opens[i + 1], rates[i + 1]))
        return messages

    async def _page(self, newest: int | None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Bars from the open one on, the last of them still open, and their marks; waits while REST lags behind `newest`."""
        client, symbol, since = self.client, self.symbol, self.open_time
        until = since + (client.page_rows(self.bar) - 1) * self.step
        if newest is not None:
            until = min(until, newest + 2 * self.step)
        for n, pause in enumerate(PAUSES):
            rows, mark = await asyncio.gather(client.page(symbol, self.bar, since, until), _marks(client, symbol, self.bar, since, until))
            shown = newest is None or (len(rows) and schema.epoch_ms(rows.index)[-1] >= min(newest, until - self.step))
            marked = mark is None or n >= MARK_PAUSES or len(rows) < 2 or (len(mark) and mark.index[-1] >= rows.index[-1])
            if shown and marked:
                return rows, mark
            await asyncio.sleep(pause)
        raise ExchangeError(f"{symbol} {self.bar}: the websocket shows the bar of {_utc(newest)}, REST does not; run again to backfill")

    async def _rates(self, index: pd.DatetimeIndex) -> list[float]:
        """Funding of each bar; the first is already known unless it is the session's first."""
        upto = int(schema.epoch_ms(index)[-1])
        records = await self.settlements.until(upto, self.open_time)
        rates = [0.0] * len(index) if records is None else align_funding(records, index, self.bar).tolist()
        return rates if self.rate is None else [self.rate, *rates[1:]]


class _Settlements:
    """Funding records, asked for only when the venue has announced that one is due."""

    def __init__(self, client: Client, symbol: str):
        self.client, self.symbol = client, symbol
        self.due: int | None = None  # the settlement after those given; None before the first look
        self.last: int | None = None  # the newest given

    async def until(self, upto: int, since: int) -> pd.DataFrame | None:
        """Records around (since, upto], the one due at `upto` included, waiting while it is unpublished; None where none is due."""
        if not self.client.has(FUNDING) or (self.due is not None and upto < self.due):
            return None
        start = min(since, upto) - FUNDING_HISTORY
        for pause in PAUSES:
            announced = await self.client.next_funding(self.symbol)
            until = upto if announced is None else max(upto, announced)
            records = await _funding(self.client, self.symbol, start, until + timeframe.UNITS["m"] // 2)
            times = settlement_times(records)
            if _up_to_date(times, announced, upto):
                break
            await asyncio.sleep(pause)
        self._check(times, since)
        given = times[times <= upto]
        self.due = int(min([*times[times > upto], upto + 1 if announced is None else announced]))
        self.last = int(given[-1]) if given.size else self.last
        return records

    def _check(self, times: np.ndarray, since: int) -> None:
        if self.due is not None and not (times >= self.due).any():
            raise ExchangeError(f"{self.symbol}: funding due at {_utc(self.due)} is not published; check the venue, then run again")
        if self.last is not None and ((times > self.last) & (times <= since)).any():
            raise ExchangeError(f"{self.symbol}: funding was settled outside the announced schedule; run again to backfill")


def _up_to_date(times: np.ndarray, announced: int | None, upto: int) -> bool:
    """Whether no settlement up to `upto` can be missing from `times`: the next one announced lies ahead, one spacing after the last."""
    if announced is None:
        return True
    return announced > upto and (times.size < 2 or announced - times[-1] <= times[-1] - times[-2])


async def _funding(client: Client, symbol: str, start: int, end: int) -> pd.DataFrame:
    if client.has(FUNDING):
        return await client.funding(symbol, start, end)
    return pd.DataFrame({"funding_rate": np.empty(0)}, index=schema.from_epoch_ms([]))


async def _marks(client: Client, symbol: str, bar: str, start: int, end: int) -> pd.DataFrame | None:
    kind = mark_kind(bar)
    if not client.has(kind):
        return None
    parts = [rows async for rows, _ in client.pages(symbol, kind, start, end)]
    return pd.concat(parts)


class _Watch:
    """Waits for the websocket's word of a newer bar; reconnects when the line breaks or falls silent."""

    def __init__(self, venue: config.Venue, client: Client, symbol: str, bar: str, retries: int):
        self.venue, self.bar, self.symbol, self.retries = venue, bar, symbol, retries
        self.name, self.client = client.unified(symbol), client
        self.exchange = None
        self.failures = 0

    async def newer_than(self, open_time: int) -> int | None:
        """Open time of the newest bar seen, once after `open_time`; None after a silence or a broken line, when REST is to be asked."""
        import ccxt

        newest = self._newest()
        while newest <= open_time:
            try:
                async with asyncio.timeout(self.venue.timeout):  # `wait_for` would swallow a cancellation that meets a message
                    await self._line().watch_ohlcv(self.name, self.bar)
            except TimeoutError:
                await self.close()
                return None
            except (ccxt.BaseError, OSError) as error:
                await self._broken(error)
                return None
            self.failures = 0
            newest = self._newest()
        return newest

    def _newest(self) -> int:
        rows = self._line().ohlcvs.get(self.name, {}).get(self.bar, ())
        return max((row[0] for row in rows), default=-1)

    def _line(self):
        """The websocket client, built anew after each break; it knows the markets already."""
        if self.exchange is None:
            import ccxt.pro

            self.exchange = build(self.venue, ccxt.pro)
            self.exchange.set_markets(list(self.client.exchange.markets.values()))
        return self.exchange

    async def _broken(self, error: Exception) -> None:
        await self.close()
        self.failures += 1
        if self.failures > self.retries:
            where = self.venue.ws_url or "its own websocket"
            raise ExchangeError(
                f"{self.venue.name} at {where}: {self.symbol} {self.bar} bars broke off {self.failures} times in a row; "
                f"last: {type(error).__name__} {error}; check the network and venue.ws_url, then run again"
            ) from None
        await asyncio.sleep(Retry().pause(self.failures - 1))

    async def close(self) -> None:
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            await exchange.close()


def _utc(ms: int) -> pd.Timestamp:
    return pd.Timestamp(ms, unit="ms", tz="UTC")
