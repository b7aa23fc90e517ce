"""Bybit's websocket requests: subscribe, unsubscribe, ping. One topic that does not exist refuses the whole request.

Source: bybit-exchange.github.io/docs/v5/ws/connect; the words of its refusals as the venue has been seen to answer.
"""

from uuid import uuid4

import orjson
from aiohttp import web

from quantalpha.practice import socket
from quantalpha.practice.bybit_streams import Topics
from quantalpha.practice.exchange import Exchange


class RequestError(Exception):
    """Bybit's reply {"success": false, "ret_msg"}."""


class Connection(socket.Connection):
    time_field = "ts"

    def __init__(self, topics: Topics | None, exchange: Exchange, socket: web.WebSocketResponse):
        super().__init__(exchange, socket)
        self.topics, self.id = topics, str(uuid4())

    def answer(self, text: str | bytes) -> dict:
        request = {}
        try:
            request = _parse(text)
            message, success = self._perform(request["op"], request.get("args")), True
        except RequestError as error:
            message, success = str(error), False
        return self.told(request, message, success)

    def told(self, request: dict, message: str, success: bool) -> dict:
        """The reply to `request`."""
        told = {"success": success, "ret_msg": message, "conn_id": self.id}
        return told | {"req_id": request.get("req_id", ""), "op": request.get("op", "")}

    def _perform(self, operation: str, args) -> str:
        if operation == "ping":
            return "pong"
        if operation not in ("subscribe", "unsubscribe"):
            raise RequestError("error:invalid op")
        if not isinstance(args, list) or not args or not all(isinstance(topic, str) for topic in args):
            raise RequestError("error:invalid args")
        if operation == "subscribe":
            self._subscribe(args)
        else:
            for topic in args:
                self.streams.pop(topic, None)
        return ""

    def _subscribe(self, topics: list[str]) -> None:
        streams = {topic: self.topics.subscribe(topic) for topic in topics}
        for topic, stream in streams.items():
            if topic in self.streams:
                raise RequestError(f"error:already subscribed,topic:{topic}")
            if stream is None:
                raise RequestError(f"error:handler not found,topic:{topic}")
        self.streams |= streams


def _parse(text) -> dict:
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"Failed to decode incoming data:{error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise RequestError("error:invalid op")
    return request
