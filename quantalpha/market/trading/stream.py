"""An account's own news as the venue sends it: orders and trades, over a websocket that is opened anew whenever it breaks.

News may come late, twice, out of order or not at all; what it says is true, and only sooner than asking. The raw socket is read, not
ccxt.pro: that keeps orders and trades in bounded caches and hands them out by kind, so that what of both happened first is lost, and what
came while nobody waited is joined.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from quantalpha.errors import ExchangeError
from quantalpha.market.connect import PARSING, Retry
from quantalpha.market.trading.client import Trading
from quantalpha.market.trading.words import OrderReport, Paid, Trade

LARGEST_FRAME = 2**24
HEARTBEAT = 15.0  # seconds between pings; without an answer in half of it the line is dead
LAPSE = 10.0  # seconds without a line that are nothing yet
News = OrderReport | Trade | Paid | None  # None: something changed, ask


class Expired(Exception):
    """The venue ends the stream: it must be opened anew."""


class UserStream(ABC):
    """`run` forever; `on_news` is called with everything that is understood, and with None where something must be asked for: after every
    new connection, since nobody knows what was missed."""

    def __init__(self, trading: Trading, on_news: Callable[[News], None], retry: Retry | None = None):
        self.trading, self.on_news = trading, on_news
        self.retry = Retry(base=0.2, cap=10.0) if retry is None else retry
        self.connected, self.connections = False, 0
        self._lost = time.monotonic()
        self.broken = ""  # why the last one ended

    @property
    def steady(self) -> bool:
        """Connected, or not for long: a line that expires daily is opened anew, and what was missed is asked for."""
        return self.connected or time.monotonic() - self._lost < LAPSE

    @abstractmethod
    async def address(self) -> str:
        """Where to connect now."""

    @abstractmethod
    async def greet(self, socket) -> None:
        """What is said first."""

    @property
    @abstractmethod
    def renewal(self) -> float:
        """Seconds between renewals."""

    @abstractmethod
    async def renew(self, socket) -> None: ...

    @abstractmethod
    def understand(self, message: dict) -> list[News]:
        """Raises Expired where the stream is over."""

    async def run(self) -> None:
        import aiohttp

        failures = 0
        while True:
            before, heard = time.monotonic(), self.connections
            try:
                await self._connection()
            except (aiohttp.ClientError, OSError, TimeoutError, ExchangeError, Expired, *PARSING) as error:
                self.broken = f"{type(error).__name__} {error}"
            finally:
                self._lost = time.monotonic() if self.connected else self._lost
                self.connected = False
            lasted = self.connections > heard and time.monotonic() - before > HEARTBEAT
            failures = 0 if lasted else failures + 1
            await self.retry.sleep(self.retry.pause(min(failures, 10)))

    async def _connection(self) -> None:
        import aiohttp

        address = await self.address()
        opened = aiohttp.ClientSession(trust_env=self.trading.exchange.aiohttp_trust_env)
        async with opened as session, session.ws_connect(address, heartbeat=HEARTBEAT, max_msg_size=LARGEST_FRAME) as socket:
            await self.greet(socket)
            self.connected, self.connections = True, self.connections + 1
            self.on_news(None)
            renewing = asyncio.create_task(self._renewing(socket))
            try:
                await self._listen(socket)
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)

    async def _renewing(self, socket) -> None:
        """A renewal that fails closes the line; then a new one is opened."""
        while True:
            await asyncio.sleep(self.renewal)
            try:
                await self.renew(socket)
            except (ExchangeError, OSError):
                await socket.close()
                return

    async def _listen(self, socket) -> None:
        import aiohttp

        async for frame in socket:
            if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                continue
            for news in self._read(frame.data):
                self.on_news(news)
        raise Expired(f"closed by the venue ({socket.close_code})")

    def _read(self, frame: str | bytes) -> list[News]:
        """What makes no sense still says that something happened."""
        try:
            return self.understand(json.loads(frame))
        except PARSING:
            return [None]
