"""The venue's time between two moments at which it was asked for."""

import math

SHORTEST, LONGEST = 500.0, 5_000.0  # ms between the two readings from which a pace is learnt
PRECISE = 25.0  # so many times as long as the readings took must lie between them, unless that would be LONGEST


class VenueClock:
    """All in ms since 1970 UTC; `machine`: this machine's clock, `venue`: what the venue said then.

    played: a practice exchange plays a tape, at its own date and pace. Both are learnt from the first readings, and our clock is ahead by
    what they do not explain. It may wait for its first listener: a pace is learnt from readings of a clock that is known to run. Elsewhere
    time passes as it does here, and ahead is what this machine's clock is.
    """

    def __init__(self, played: bool):
        self._machine = self._venue = 0.0
        self._pace = None if played else 1.0
        self._played, self._runs = played, not played
        self._travel = self._ahead = 0.0  # of the reading that counts

    def at(self, machine: float) -> int:
        """The venue's time; before the first reading the machine's."""
        return round(self._venue + (machine - self._machine) * (1.0 if self._pace is None else self._pace))

    def told(self, machine: float, venue: float, travel: float = 0.0) -> float:
        """Takes a reading; by how many ms our clock was ahead of it. travel: ms that question and answer took, in the middle of which
        `machine` lies; what they alone explain changes nothing, or a busy machine would misread the time."""
        if self._venue and self._pace is not None:
            off = self.at(machine) - venue
            explained = self._pace * travel / 2
            if abs(off) <= explained:
                return self._ahead
            venue += math.copysign(explained, off)
        self._ahead = self._taken(machine, venue, travel)
        return self._ahead

    @property
    def waits(self) -> bool:
        """No two readings have differed yet."""
        return not self._runs

    def _taken(self, machine: float, venue: float, travel: float) -> float:
        ahead = machine - venue
        if self._played:
            ahead = 0.0 if self._pace is None else (self.at(machine) - venue) / max(self._pace, 1.0)
            if self._pace is None and not self._learnt(machine, venue, travel):
                return 0.0
        self._machine, self._venue, self._travel = machine, venue, travel
        return ahead

    def _learnt(self, machine: float, venue: float, travel: float) -> bool:
        """Whether this is the reading that counts from now on; not where it is too soon after the last to learn a pace from."""
        if not self._runs:  # the last one may have been taken before it began to run
            self._runs = self._venue not in (0.0, venue)
            return True
        apart = min(max(SHORTEST, PRECISE * (self._travel + travel)), LONGEST)
        if machine - self._machine < apart:
            return False
        self._pace = (venue - self._venue) / (machine - self._machine)
        return True
