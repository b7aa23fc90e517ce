"""One websocket connection, whatever the dialect: live subscriptions, and the pump that sends what is due."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from socket import SHUT_RDWR

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from quantalpha.practice.exchange import Exchange
from quantalpha.practice.stream_faults import Cut, Expired
from quantalpha.practice.streams import Stream

PUMP_SECONDS = 0.02
BURST = 500  # messages of one stream at a time


class Connection:
    """A dialect answers requests (`answer`), names the field of its messages' time, and may wrap them (`envelope`)."""

    time_field: str

    def __init__(self, exchange: Exchange, socket: web.WebSocketResponse):
        self.exchange, self.socket = exchange, socket
        self.streams: dict[str, Stream | None] = {}  # None: a name that is accepted and never served

    def answer(self, text: str | bytes) -> dict:
        """The reply to one request."""
        raise NotImplementedError

    def envelope(self, name: str, message: dict) -> dict:
        """A message of the stream `name` as it is sent."""
        return message

    async def run(self) -> None:
        """Serve until the client leaves."""
        pump = asyncio.create_task(self._pump())
        try:
            async for message in self.socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self.socket.send_str(orjson.dumps(self.answer(message.data)).decode())
        except ConnectionResetError:
            pass  # the client left while it was being answered: nothing remains to be done for it
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError, ConnectionResetError):
                await pump

    def due(self) -> Iterable[str]:
        """Everything there is to send now. Cut or Expired where the connection is to end."""
        return [text for _, text in self.messages()]

    def messages(self) -> list[tuple[str, str]]:
        """(stream, message) of everything that has come to the streams, in order of event time."""
        now, wall = self.exchange.now(), self.exchange.clock.wall()
        found = []
        for name, stream in self.streams.items():
            if stream is not None:
                found += [(message[self.time_field], name, message) for message in islice(stream.due(now, wall), BURST)]
        found.sort(key=lambda entry: entry[0])
        return [(name, orjson.dumps(self.envelope(name, message)).decode()) for _, name, message in found]

    async def _pump(self) -> None:
        try:
            while not self.exchange.conditions.holds("maintenance"):
                for message in self.due():
                    await self.socket.send_str(message)
                await asyncio.sleep(PUMP_SECONDS)
        except Expired:
            pass  # it ends with a close
        except Cut:
            self.socket.get_extra_info("socket").shutdown(SHUT_RDWR)
        finally:
            await self.socket.close(code=WSCloseCode.INTERNAL_ERROR)  # no-op where the client or the server has closed it before
