"""Bybit's private websocket: `auth`, then the topics order, execution, position and wallet (also order.linear ...), and dcp.future.

Every change of the account is told at once, in order, as one message a topic; the stream's faults are played on what leaves.
Source: bybit-exchange.github.io/docs/v5/websocket/private, /docs/v5/ws/connect.
"""

from collections.abc import Callable, Iterator
from uuid import uuid4

import orjson
from aiohttp import web

from quantalpha.practice import bybit_socket
from quantalpha.practice.bybit_private import Private
from quantalpha.practice.bybit_rows import execution_row, funding_row, order_row, position_row, wallet_row
from quantalpha.practice.bybit_socket import RequestError
from quantalpha.practice.orders import Change
from quantalpha.practice.stream_faults import Courier, StreamFaults

Rows = Callable[["Connection", Change], list[dict]]
DEAD_MAN = "dcp"


class Connection(bybit_socket.Connection):
    def __init__(self, private: Private, socket: web.WebSocketResponse, faults: StreamFaults):
        super().__init__(None, private.exchange, socket)
        self.private, self.key, self.member = private, None, None
        self._told = 0  # changes of the account
        self._courier = Courier(faults, private.exchange.clock.wall)

    async def run(self) -> None:
        self.private.streams.append(self)
        try:
            await super().run()
        finally:
            self.private.streams.remove(self)
            if self.member is not None:
                self.member.disconnect(self)

    def due(self) -> Iterator[str]:
        if self.key is not None:
            self.private.member(self.key)  # time goes on, and changes come
        return self._courier.carry(self._messages())

    def _messages(self) -> Iterator[str]:
        changes = [] if self.member is None else self.member.desk.records.changes
        while self._told < len(changes):
            change = changes[self._told]
            self._told += 1
            for topic in self.streams:
                rows = TOPICS[topic.split(".")[0]](self, change)
                if rows:
                    message = {"id": str(uuid4()), "topic": topic, "creationTime": change.time, "data": rows}
                    yield orjson.dumps(message).decode()

    def _perform(self, operation: str, args) -> str:
        if operation == "auth":
            self._authenticate(args)
            return ""
        if operation == "subscribe" and self.key is None:
            raise RequestError("Request not authorized")
        return super()._perform(operation, args)

    def _authenticate(self, args) -> None:
        key = self.private.authority.key_of_socket(args)
        if key is None:
            raise RequestError("error:USVC1111")
        if self.key is None:
            self.key, self.member = key, self.private.member(key)
            self._told = len(self.member.desk.records.changes)

    def _subscribe(self, topics: list[str]) -> None:
        for topic in topics:
            kind, _, category = topic.partition(".")
            if kind not in TOPICS or category not in ("", "future" if kind == DEAD_MAN else "linear"):
                raise RequestError(f"error:handler not found,topic:{topic}")
            if topic in self.streams:
                raise RequestError(f"error:already subscribed,topic:{topic}")
        self.streams |= dict.fromkeys(topics)
        if any(topic.startswith(DEAD_MAN) for topic in topics):
            self.member.connect(self)

    def told(self, request: dict, message: str, success: bool) -> dict:
        if message == "pong":
            return {"req_id": request.get("req_id", ""), "op": "pong", "args": [str(self.exchange.now())], "conn_id": self.id}
        return super().told(request, message, success)


def _orders(connection: Connection, change: Change) -> list[dict]:
    return [] if change.order is None else [order_row(connection.member, change.order)]


def _executions(connection: Connection, change: Change) -> list[dict]:
    if change.reason == "FUNDING_FEE":
        return [funding_row(change)]
    return [] if change.fill is None else [execution_row(connection.member, change.order, change.fill)]


def _positions(connection: Connection, change: Change) -> list[dict]:
    return [position_row(connection.member, position) for position in change.positions]


def _wallet(connection: Connection, change: Change) -> list[dict]:
    return [wallet_row(connection.member.desk, change.wallet)] if change.kind == "account" else []


TOPICS: dict[str, Rows] = {
    "order": _orders,
    "execution": _executions,
    "position": _positions,
    "wallet": _wallet,
    DEAD_MAN: lambda connection, change: [],
}
