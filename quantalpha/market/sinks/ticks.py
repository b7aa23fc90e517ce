"""Live ticks as Redis streams, one a `venue:symbol:kind`, each kept to about `length` entries.

    ticks = RedisTicks(secret("QUANTALPHA_REDIS_URL"))
    ticks.publish("binanceusdm:BTCUSDT:trades", {"price": 42000.5, "time": 1704067200000})   # never waits, never raises
    ticks.close()

`publish` only puts the entry into a bounded buffer, so that it may be called from an event loop; a thread sends the buffer in pipelined
batches. While Redis is away the buffer fills, then the oldest entries give way: `dropped` counts them, and `tell` hears of it.

Each entry's id is given here, ever increasing (milliseconds of the clock - counter, as Redis counts). A batch whose answer was lost is sent
again with the same ids, and Redis refuses those that it has: nothing comes twice and nothing that was sent is lost. One publisher a stream.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import redis

from quantalpha.errors import QuantalphaError
from quantalpha.market.sinks.redis import open_client, told

BATCH = 1_000
PAUSE = 0.5  # seconds between two tries while Redis is away
TIMEOUT = 2.0  # seconds for one answer
THERE_ALREADY = "equal or smaller"

Fields = Mapping[str, str | bytes | int | float]


class RedisTicks:
    """The one publisher of its streams. length: entries kept a stream; capacity: entries that wait while Redis is away."""

    def __init__(self, url: str, *, length: int = 100_000, capacity: int = 100_000, tell: Callable[[str], None] | None = None):
        self.sent = self.dropped = 0
        self._client = open_client(url, TIMEOUT)
        self._length, self._tell = length, tell or (lambda text: print(text, file=sys.stderr))
        self._buffer: deque[tuple[str, Fields]] = deque()
        self._capacity = capacity
        self._batch: list[tuple[str, str, Fields]] = []  # taken from the buffer, with their ids, until Redis has answered
        self._last: dict[str, tuple[int, int]] = {}
        self._lock, self._wake, self._closing = threading.Lock(), threading.Event(), threading.Event()
        self._away, self._told_drops = False, 0
        self._thread = threading.Thread(target=self._run, name="redis ticks", daemon=True)
        self._thread.start()

    def publish(self, stream: str, fields: Fields) -> None:
        """Put one entry on its way. At least one field; floats arrive exactly, all as text."""
        with self._lock:
            if len(self._buffer) >= self._capacity:
                self._buffer.popleft()
                self.dropped += 1
            self._buffer.append((stream, fields))
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Entries that Redis has not acknowledged."""
        return len(self._buffer) + len(self._batch)

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits, for at most `timeout` seconds; what is left then is dropped and told."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        left = self.waiting
        if left:
            self.dropped += left
            self._tell(f"redis ticks: closed with {left} entries unsent; {self.dropped} dropped in all")
        self._client.close()

    def _run(self) -> None:
        while not (self._closing.is_set() and not self.waiting):
            if not self.waiting:
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._send()
            except QuantalphaError as error:
                self._trouble(error)
                time.sleep(PAUSE)

    def _send(self) -> None:
        """One batch. It is kept until each of its entries is answered."""
        if not self._batch:
            self._take()
        with told(), self._client.pipeline(transaction=False) as pipe:
            for stream, name, fields in self._batch:
                pipe.xadd(stream, fields, id=name, maxlen=self._length, approximate=True)
            answers = pipe.execute(raise_on_error=False)
        refused = [answer for answer in answers if isinstance(answer, redis.RedisError) and THERE_ALREADY not in str(answer)]
        self.sent, self.dropped = self.sent + len(answers) - len(refused), self.dropped + len(refused)
        self._batch = []
        if refused:
            self._tell(f"redis ticks: {len(refused)} entries refused and dropped: {refused[0]}")
        self._recovered()

    def _take(self) -> None:
        with self._lock:
            taken = [self._buffer[n] for n in range(min(BATCH, len(self._buffer)))]
        tops = {stream: self._top(stream) for stream, _ in taken if stream not in self._last}  # may raise: then nothing is taken
        self._last |= tops
        with self._lock:
            taken = [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer))) if self._buffer[0][0] in self._last]
            sendable = [(stream, fields) for stream, fields in taken if _sendable(fields)]
            self._batch = [(stream, self._next(stream), fields) for stream, fields in sendable]
        if len(sendable) < len(taken):
            self.dropped += len(taken) - len(sendable)
            self._tell(f"redis ticks: {len(taken) - len(sendable)} entries dropped: an entry has one field at least, each text or a number")

    def _top(self, stream: str) -> tuple[int, int]:
        """The last id of a stream that an earlier run may have left."""
        return tuple(map(int, _last_id(self._client, stream).split("-")))

    def _next(self, stream: str) -> str:
        milliseconds, counter = self._last[stream]
        now = time.time_ns() // 1_000_000
        self._last[stream] = (now, 0) if now > milliseconds else (milliseconds, counter + 1)
        return "{}-{}".format(*self._last[stream])

    def _trouble(self, error: QuantalphaError) -> None:
        if not self._away:
            self._tell(f"redis ticks: {error}; up to {self._capacity} entries wait, then the oldest are dropped")
        self._away = True

    def _recovered(self) -> None:
        if self._away or self.dropped > self._told_drops:
            self._tell(f"redis ticks: sending; {self.dropped} entries dropped in all")
        self._away, self._told_drops = False, self.dropped


def _sendable(fields: Fields) -> bool:
    return len(fields) > 0 and all(isinstance(value, (str, bytes, int, float)) and not isinstance(value, bool) for value in fields.values())


def read_ticks(url: str, after: Mapping[str, str], *, wait: float | None = None) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(stream, id, fields) of the entries after an id of each stream: '0' from the first kept, '$' from now on, or where a reader stopped.

    wait: seconds without an entry after which it ends; None: never. ExchangeError where Redis is away: go on from the last id.
    """
    client = open_client(url, None)
    position = {stream: _last_id(client, stream) if name == "$" else name for stream, name in after.items()}
    until = None if wait is None else time.monotonic() + wait
    try:
        while until is None or time.monotonic() < until:
            for stream, name, fields in _read(client, position, 0.5 if until is None else min(0.5, max(0.001, until - time.monotonic()))):
                position[stream] = name
                yield stream, name, fields
                until = None if wait is None else time.monotonic() + wait
    finally:
        client.close()


def _last_id(client: redis.Redis, stream: str) -> str:
    with told():
        return client.xinfo_stream(stream)["last-generated-id"].decode() if client.exists(stream) else "0-0"


def _read(client: redis.Redis, position: dict[str, str], wait: float) -> list[tuple[str, str, dict[str, str]]]:
    with told():
        found = client.xread(position, count=BATCH, block=max(1, round(wait * 1000)))
    entries = [(stream.decode(), name.decode(), fields) for stream, several in found for name, fields in several]
    return [(stream, name, {key.decode(): value.decode() for key, value in fields.items()}) for stream, name, fields in entries]
