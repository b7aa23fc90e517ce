"""Binance's websocket requests: live subscriptions, raw or combined messages.

Source: developers.binance.com, USD-M futures, live subscribing and unsubscribing to streams.
"""

from collections.abc import Iterator

import orjson
from aiohttp import web

from quantalpha.practice import socket, streams
from quantalpha.practice.binance_user import ListenKeys
from quantalpha.practice.stream_faults import Courier, Expired, StreamFaults

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class RequestError(Exception):
    """Binance's error reply on a websocket: {"error": {"code", "msg"}, "id"}."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code, self.message = code, message


class Connection(socket.Connection):
    time_field = "E"

    def __init__(self, keys: ListenKeys, faults: StreamFaults, socket: web.WebSocketResponse, names: list[str], combined: bool):
        super().__init__(keys.exchange, socket)
        self.combined, self.keys = combined, keys
        self._courier = Courier(faults, keys.exchange.clock.wall)
        known = [name for name in names if "@" in name or keys.stream(name) is not None]  # clients append tokens of their own: /ws/0
        self._subscribe(known)

    def answer(self, text: str | bytes) -> dict:
        """The reply to one request."""
        request = None
        try:
            request = _parse(text)
            return {"result": self._perform(request), "id": request["id"]}
        except RequestError as error:
            known = {"id": request["id"]} if request is not None else {}
            return {"error": {"code": error.code, "msg": error.message}} | known

    def due(self) -> Iterator[str]:
        """Faults are played on what an account is told. Where its session expires so does its listen key, and the connection stays."""
        messages = self.messages()
        yield from (text for name, text in messages if "@" in name)
        try:
            yield from self._courier.carry(text for name, text in messages if "@" not in name)
        except Expired:
            for name in self.streams:
                self.keys.expire(name)

    def envelope(self, name: str, message: dict) -> dict:
        return {"stream": name, "data": message} if self.combined else message

    def _subscribe(self, names: list[str]) -> None:
        for name in names:
            if name not in self.streams:
                self.streams[name] = streams.subscribe(self.exchange, name) if "@" in name else self.keys.stream(name)

    def _perform(self, request: dict):
        params = request.get("params", [])
        match request["method"]:
            case "SUBSCRIBE":
                return self._subscribe(params)
            case "UNSUBSCRIBE":
                for name in params:
                    self.streams.pop(name, None)
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(self.streams)
            case _:
                return self._property(request["method"], params)

    def _property(self, method, params):
        if not params or not isinstance(params[0], str):
            raise RequestError(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise RequestError(0, "Unknown property")
        if len(params) != (1 if method == "GET_PROPERTY" else 2):
            raise RequestError(2, "Invalid request: too many parameters")
        if method == "GET_PROPERTY":
            return self.combined
        if not isinstance(params[1], bool):
            raise RequestError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None


def _parse(text) -> dict:
    """A request whose method, id and params are of the right kind."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(3, f"Invalid JSON: {error}") from None
    if not isinstance(request, dict) or "method" not in request:
        raise RequestError(2, "Invalid request: missing field `method` at line 1 column 1")
    if request["method"] not in METHODS:
        known = ", ".join(f"`{name}`" for name in METHODS)
        raise RequestError(2, f"Invalid request: unknown variant `{request['method']}`, expected one of {known} at line 1 column 1")
    if type(request.get("id")) is not int or request["id"] < 0:
        raise RequestError(2, "Invalid request: request ID must be an unsigned integer")
    params = request.get("params", [])
    if not isinstance(params, list) or (request["method"] in METHODS[:2] and not all(isinstance(name, str) for name in params)):
        raise RequestError(2, "Invalid request: params must be a list of stream names")
    return request
