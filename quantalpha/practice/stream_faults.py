"""What a venue does wrong with the messages of an account's stream.

duplicate   the message comes twice
reorder     it comes after the next one (a fill before its NEW), or after `seconds` where none follows
drop        it never comes
delay       it and all behind it come `seconds` later
disconnect  it never comes, and the connection is cut
expire      it never comes, and the session ends: Binance's listen key expires, Bybit closes
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from zlib import crc32

from quantalpha.config import STREAM_FAULTS
from quantalpha.practice.schedule import Schedule


class Cut(Exception):
    """The connection is to be dropped without a word."""


class Expired(Exception):
    """The session of the stream is over."""


ENDINGS = {"disconnect": Cut, "expire": Expired}


class StreamFaults(Schedule):
    """seconds: how long a message is kept back. Messages to all accounts' connections are counted, in the order of their sending."""

    def __init__(
        self,
        chance: Mapping[str, float] | None = None,
        *,
        plan: Mapping[int, str] | None = None,
        seed: int = 0,
        seconds: float = 1.0,
    ):
        super().__init__(STREAM_FAULTS, chance, plan=plan, seed=(seed, crc32(b"stream")), where="exchange.faults.stream")
        self.seconds = seconds


class Courier:
    """Carries the messages of one connection. wall: seconds."""

    def __init__(self, faults: StreamFaults, wall: Callable[[], float]):
        self._faults, self._wall = faults, wall
        self._waiting: deque[tuple[float, str | type[Exception]]] = deque()  # when it may leave
        self._held: tuple[float, str] | None = None  # until the next one has left, or this moment

    def carry(self, messages: Iterable[str]) -> Iterator[str]:
        """What is to be sent now. Raises Cut or Expired at its place: what still waits behind it is lost."""
        now = self._wall()
        for message in messages:
            self._take(message, self._faults.draw(), now)
        if self._held is not None and self._held[0] <= now:
            self._release(now)
        while self._waiting and self._waiting[0][0] <= now:
            leaving = self._waiting.popleft()[1]
            if not isinstance(leaving, str):
                self._waiting.clear()
                self._held = None
                raise leaving
            yield leaving

    def _take(self, message, fault, now) -> None:
        if fault == "drop":
            return
        if fault == "reorder" and self._held is None:
            self._held = now + self._faults.seconds, message
            return
        self._queue(ENDINGS.get(fault, message), now + self._faults.seconds if fault == "delay" else now)
        if fault == "duplicate":
            self._queue(message, now)
        self._release(now)

    def _queue(self, message, earliest) -> None:
        """Behind what waits already."""
        self._waiting.append((max(earliest, self._waiting[-1][0]) if self._waiting else earliest, message))

    def _release(self, now) -> None:
        if self._held is not None:
            held, self._held = self._held[1], None
            self._queue(held, now)
