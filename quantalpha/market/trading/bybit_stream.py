"""Bybit's private stream (bybit-exchange.github.io/docs/v5, websocket, private): signed in once, kept open by a ping. The topic `dcp`
makes the venue watch this line, for its disconnection protection."""

import asyncio
import hashlib
import hmac
import json
from urllib.parse import urlsplit, urlunsplit

from quantalpha.market.trading.bybit import report, trade
from quantalpha.market.trading.stream import Expired, News, UserStream
from quantalpha.market.trading.words import Paid

HOST, DEMO_HOST = "wss://stream.bybit.com", "wss://stream-demo.bybit.com"
TOPICS = ["order", "execution"]
VALID = 10_000  # ms for which a signature may be under way
PATIENCE = 10.0  # seconds for the answer to it


class BybitStream(UserStream):
    renewal = 20.0

    async def address(self) -> str:
        base = self.trading.venue.ws_url or (DEMO_HOST if self.trading.demo else HOST)
        return urlunsplit(urlsplit(base)._replace(path="/v5/private"))

    async def greet(self, socket) -> None:
        exchange, expires = self.trading.exchange, self.trading.now() + VALID
        signature = hmac.new(exchange.secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        await socket.send_json({"op": "auth", "args": [exchange.apiKey, expires, signature]})
        await self._signed_in(socket)
        await socket.send_json({"op": "subscribe", "args": TOPICS})
        await socket.send_json({"op": "subscribe", "args": ["dcp.linear"]})

    async def _signed_in(self, socket) -> None:
        """Until then the line tells nothing, and counts for none."""
        async with asyncio.timeout(PATIENCE):
            answer = await socket.receive_json()
            while answer.get("op") != "auth":
                answer = await socket.receive_json()
        if answer.get("success") is not True:
            raise Expired(f"refused: {answer.get('ret_msg')}")

    async def renew(self, socket) -> None:
        await socket.send_str(json.dumps({"op": "ping"}))

    def understand(self, message: dict) -> list[News]:
        if message.get("op") in ("auth", "subscribe") and not message.get("success", True):
            if "dcp" in str(message.get("ret_msg", "")) + str(message.get("req_id", "")):
                return []
            raise Expired(f"refused: {message.get('ret_msg')}")
        topic, rows = message.get("topic", ""), [row for row in message.get("data") or () if row.get("category", "linear") == "linear"]
        if topic.startswith("order"):
            return [report(row) for row in rows]
        if topic.startswith("execution"):
            return [Paid(row["symbol"]) if row["execType"] == "Funding" else trade(row) for row in rows]
        return []
