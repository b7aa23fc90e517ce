"""Messages on their way to one channel: a bounded queue that never makes the sender wait, and a ration of what a person is sent.

What is lost for lack of room is decided by rule and said: equal messages become one with a count, ordinary ones are refused when it is
full, an urgent one takes the place of the oldest ordinary one (and is refused only where urgent ones alone fill it).
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable

from quantalpha.ops.words import Message

CAPACITY = 1000  # messages; more than a person reads
MINUTE = 60.0


class Mailbox:
    """Between the engine's thread and a channel's. `put` takes the lock for a few dictionary operations, never for I/O."""

    def __init__(self, capacity: int = CAPACITY):
        self.capacity, self.dropped = capacity, Counter()
        self._pending: dict[Hashable, tuple[Message, int]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, message: Message) -> None:
        with self._changed:
            _, times = self._pending.get(message.key, (message, 0))
            if times or self._room(message):
                self._pending[message.key] = (message, times + 1)
                self._changed.notify()

    def _room(self, message: Message) -> bool:
        if len(self._pending) < self.capacity:
            return True
        ordinary = next((key for key, (waiting, _) in self._pending.items() if not waiting.urgent), None)
        refused = message if ordinary is None or not message.urgent else self._pending.pop(ordinary)[0]
        self.dropped[refused.topic] += 1
        return refused is not message

    def take(self, timeout: float | None) -> tuple[Message, int] | None:
        """The next message and how often it was put; None when there is none within `timeout` seconds, or ever: see `finished`."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self.dropped or self._closed, timeout)
            if self.dropped and not any(waiting.urgent for waiting, _ in self._pending.values()):
                lost, self.dropped = self.dropped, Counter()
                return Message("error", ("dropped",), f"not told, the queue was full: {listed(lost)}", urgent=True), 1
            first = next((key for key, (waiting, _) in self._pending.items() if waiting.urgent), next(iter(self._pending), None))
            return None if first is None else self._pending.pop(first)

    def close(self) -> None:
        """Nothing more will be put; what is there can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def discard(self) -> int:
        """Gives up what waits: how many messages that were."""
        with self._changed:
            waiting = sum(times for _, times in self._pending.values()) + self.dropped.total()
            self._pending, self.dropped = {}, Counter()
            return waiting

    @property
    def finished(self) -> bool:
        with self._changed:
            return self._closed and not self._pending and not self.dropped

    def pause(self, seconds: float) -> None:
        """Waits, but not once the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)


class Ration:
    """Which messages a person is sent: the same thing once in `repeat_after` seconds, `per_minute` of them unless urgent. What was held
    back is summed up in one later message. clock: monotonic seconds."""

    def __init__(self, repeat_after: float, per_minute: int, clock: Callable[[], float]):
        self.repeat_after, self.per_minute, self.clock = repeat_after, per_minute, clock
        self.held: Counter[str] = Counter()
        self._told: dict[Hashable, float] = {}
        self._recent: deque[float] = deque()
        self._summed = -MINUTE + clock()

    def admit(self, message: Message, times: int = 1) -> bool:
        """Whether it is to be sent now. times: how often it happened; all but one are counted as held back."""
        now = self._now()
        repeated = message.key in self._told
        if repeated or not (message.urgent or self._has_room()):
            self.held[_again(message) if repeated else message.topic] += times
            return False
        if times > 1:
            self.held[_again(message)] += times - 1
        self._told[message.key] = now
        self._recent.append(now)
        return True

    def summary(self, last: bool = False) -> Message | None:
        """What was held back, once the minute has room for it again, and at most once a minute. last: now or never."""
        now = self._now()
        if not self.held or not (last or (self._has_room() and now - self._summed >= MINUTE)):
            return None
        held, self.held = self.held, Counter()
        self._summed = now
        self._recent.append(now)
        return Message("session", ("held", now), f"held back: {listed(held)}")

    def _has_room(self) -> bool:
        return len(self._recent) < self.per_minute

    def _now(self) -> float:
        """The time, at which what was told long ago is forgotten."""
        now = self.clock()
        while self._recent and now - self._recent[0] >= MINUTE:
            self._recent.popleft()
        for key in [key for key, told in self._told.items() if now - told >= self.repeat_after]:
            del self._told[key]
        return now


def listed(counts: Counter, shown: int = 10) -> str:
    """'fill x 12, veto x 3'."""
    names = [f"{name} x {count}" for name, count in counts.most_common(shown)]
    return ", ".join([*names, *([f"and {len(counts) - shown} more kinds"] if len(counts) > shown else [])])


def _again(message: Message) -> str:
    return f"again: {message.text[:80]}"
