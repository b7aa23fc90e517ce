"""The exchange's time: it runs along the tape at `speed` tape seconds a wall second and stops at the tape's end."""

import time
from collections.abc import Callable


class Clock:
    """`now()` = start + wall time since construction * speed, never beyond `end`; milliseconds since 1970 UTC. Speed 0 stands still.

    waiting: it stands still until `start`, so that whoever starts it knows its first moment.
    """

    def __init__(self, start: int, end: int, speed: float, wall: Callable[[], float] = time.monotonic, *, waiting: bool = False):
        self.end = end
        self.speed = speed
        self.wall = wall
        self._waiting = waiting
        self._from, self._since = start, wall()

    def now(self) -> int:
        return self.at(self.wall())

    def at(self, wall: float) -> int:
        """The time when the wall clock said `wall`, a moment since the last change of speed."""
        if self._waiting:
            return self._from
        return min(self.end, self._from + int(max(wall - self._since, 0.0) * 1000 * self.speed))

    def start(self) -> None:
        """End the waiting; later calls do nothing."""
        if self._waiting:
            self._waiting, self._since = False, self.wall()

    def change_speed(self, speed: float) -> None:
        """Go on from the present moment at another speed."""
        self._from, self._since, self.speed = self.now(), self.wall(), speed
