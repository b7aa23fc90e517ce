"""Binance's user data streams: listen keys, and what is told to who listens with one.

Source: developers.binance.com, USD-M futures, user data streams.
"""

import hashlib
from collections.abc import Iterator
from itertools import count

from quantalpha.practice import binance_events as events
from quantalpha.practice.desks import Desks
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.refusal import Refusal

VALID = 3_600.0  # wall seconds after its last renewal


class ListenKeys:
    """One key an account, good for an hour of the wall clock; asking again renews the same one."""

    def __init__(self, exchange: Exchange, desks: Desks):
        self.exchange, self.desks = exchange, desks
        self._until: dict[str, float] = {}  # listen key -> wall second
        self._of: dict[str, str] = {}  # API key -> its listen key
        self._numbers = count()

    def open(self, key: str) -> str:
        """The account's listen key, renewed; a new one where it has none that is valid."""
        listen_key = self._of.get(key)
        if listen_key is None or not self.valid(listen_key):
            listen_key = hashlib.sha256(f"{key}/{next(self._numbers)}".encode()).hexdigest()
            self._of[key] = listen_key
        self._until[listen_key] = self.exchange.clock.wall() + VALID
        return listen_key

    def renew(self, key: str) -> str:
        if not self.valid(self._of.get(key, "")):
            raise Refusal(-1125, "This listenKey does not exist.")
        return self.open(key)

    def close(self, key: str) -> None:
        self.expire(self._of.get(key, ""))

    def expire(self, listen_key: str) -> None:
        """End it now: who listens is told so."""
        self._until.pop(listen_key, None)

    def valid(self, listen_key: str) -> bool:
        return self.exchange.clock.wall() < self._until.get(listen_key, float("-inf"))

    def stream(self, listen_key: str) -> "UserStream | None":
        """None where nobody has that key."""
        owners = [key for key, each in self._of.items() if each == listen_key and self.valid(listen_key)]
        return UserStream(self, listen_key, owners[0]) if owners else None


class UserStream:
    """Every change of one account from now on, each exactly once and in order, until the listen key expires."""

    def __init__(self, keys: ListenKeys, listen_key: str, key: str):
        self.keys, self.listen_key = keys, listen_key
        self.desk = keys.desks[key]
        self.told, self.ended = len(self.desk.records.changes), False

    def due(self, now: int, wall: float) -> Iterator[dict]:
        if self.ended:
            return
        if not self.keys.valid(self.listen_key):
            self.ended = True
            yield {"e": "listenKeyExpired", "E": now, "listenKey": self.listen_key}
            return
        self.desk.advance(now)
        while self.told < len(self.desk.records.changes):
            change = self.desk.records.changes[self.told]
            self.told += 1
            yield from events.messages(self.desk, change)
