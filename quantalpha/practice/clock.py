"""The exchange's time: it runs along the tape at `speed` tape seconds a wall second and stops at the tape's end."""

import time
from collections.abc import Callable


class Clock:
    """`now()` = start + wall time since construction * speed, never beyond `end`; milliseconds since 1970 UTC. Speed 0 stands still."""

    def __init__(self, start: int, end: int, speed: float, wall: Callable[[], float] = time.monotonic):
        self.end = end
        self.speed = speed
        self.wall = wall
        self._from, self._since = start, wall()

    def now(self) -> int:
        return min(self.end, self._from + int((self.wall() - self._since) * 1000 * self.speed))

    def change_speed(self, speed: float) -> None:
        """Go on from the present moment at another speed."""
        self._from, self._since, self.speed = self.now(), self.wall(), speed
