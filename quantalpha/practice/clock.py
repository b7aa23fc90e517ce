"""The exchange's time: it runs along the tape at `speed` tape seconds a wall second and stops at the tape's end."""

import time
from collections.abc import Callable

MISREAD = 1000.0  # ms of the wall's time by which a client may misread the clock; at speed 1 venues allow the same


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
        self._offsets = [start - self._since * 1000]  # this clock less the wall's, wherever its speed has changed

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
            self._offsets.append(self._offset(self._since))

    def change_speed(self, speed: float) -> None:
        """Go on from the present moment at another speed."""
        self._from, self._since, self.speed = self.now(), self.wall(), speed
        self._offsets.append(self._offset(self._since))

    def drift(self) -> tuple[float, float]:
        """By how many milliseconds somebody may be (behind, ahead) who learnt the time once since the start and went on at the wall's pace.

        Both 0 at speed 1. It is the most that a client's timestamps can be off without any fault of its own. One that has learnt the pace
        as well may be ahead by what it misread the time.
        """
        now = self._offset(self.wall())
        known = [*self._offsets, now, *self._at_the_end()]
        return now - min(known), max(known) - now + MISREAD * max(self.speed - 1.0, 0.0)

    def _offset(self, wall: float) -> float:
        return self.at(wall) - wall * 1000

    def _at_the_end(self) -> list[float]:
        """The offset at the moment when the tape ran out, if it has."""
        if self._waiting or self.speed == 0.0 or self.now() < self.end:
            return []
        return [self._offset(self._since + (self.end - self._from) / 1000 / self.speed)]
