"""The venue's time between two moments at which it was asked for."""

SHORTEST = 500.0  # ms between the two readings from which a pace is learnt


class VenueClock:
    """All in ms since 1970 UTC; `machine`: this machine's clock, `venue`: what the venue said then.

    played: a practice exchange plays a tape, at its own date and pace. Both are learnt from the first readings, and our clock is ahead by
    what they do not explain. Elsewhere time passes as it does here, and ahead is what this machine's clock is.
    """

    def __init__(self, played: bool):
        self._machine = self._venue = 0.0
        self._pace = None if played else 1.0
        self._played = played

    def at(self, machine: float) -> int:
        """The venue's time; before the first reading the machine's."""
        return round(self._venue + (machine - self._machine) * (1.0 if self._pace is None else self._pace))

    def told(self, machine: float, venue: float) -> float:
        """Takes a reading; by how many ms our clock was ahead of it."""
        ahead = machine - venue
        if self._played:
            ahead = 0.0 if self._pace is None else (self.at(machine) - venue) / max(self._pace, 1.0)
            if self._pace is None and venue == self._venue:
                return 0.0  # it waits for its first listener: no pace yet
            if self._pace is None and self._venue and machine - self._machine >= SHORTEST:
                self._pace = (venue - self._venue) / (machine - self._machine)
            elif self._pace is None and self._venue:
                return 0.0  # too soon to learn a pace from
        self._machine, self._venue = machine, venue
        return ahead
