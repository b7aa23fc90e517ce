"""What may be wrong with the whole venue for a while: maintenance, a clock that is off, a halted symbol, a thin book, a gap in the price.

maintenance   every request is answered 503, every socket is closed
clock_skew    the server's clock is `skew` seconds ahead of the tape's: what is signed by the true time is too old
halted        no order is taken, of one symbol or of all
partial       of what an order could trade at once it trades only the part `share`
price_gap     trades are made, and marks stand, at (1 + `gap`) times the tape's price; closed klines stay as recorded
"""

import math
from dataclasses import dataclass, field

from quantalpha.config import CONDITIONS
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.practice.clock import Clock


@dataclass(frozen=True)
class Sizes:
    """skew: seconds; gap: signed fraction of the price; share: fraction of an order, above 0."""

    skew: float = 10.0
    gap: float = -0.1
    share: float = 0.5


@dataclass
class Conditions:
    """`sizes` may be replaced at any time. Conditions last by the wall clock, but a gap by the tape's: its first trade is the next one, and
    its last one `seconds` later at the speed of its beginning, so that a price, once told, never changes."""

    clock: Clock
    sizes: Sizes = Sizes()
    gaps: list[tuple[int, int, float, str | None]] = field(default_factory=list)
    _until: dict[tuple[str, str | None], float] = field(default_factory=dict)

    def begin(self, name: str, seconds: float, symbol: str | None = None) -> None:
        """Let `name` hold from now on for `seconds`; symbol: the one that is halted or gaps, None all of them."""
        if name not in CONDITIONS:
            raise UsageError(f"exchange.faults: no condition {name!r}; {did_you_mean(name, CONDITIONS)}")
        if name == "price_gap":
            now = self.clock.now()
            self.gaps.append((now + 1, now + math.ceil(seconds * 1000 * max(self.clock.speed, 1.0)), 1 + self.sizes.gap, symbol))
        self._until[name, symbol] = self.clock.wall() + seconds

    def end(self, name: str) -> None:
        """Let `name` hold no more. A gap goes on to its end."""
        self._until = {key: until for key, until in self._until.items() if key[0] != name}

    def holds(self, name: str, symbol: str | None = None) -> bool:
        """Whether it does now, for `symbol` or for all."""
        now = self.clock.wall()
        return any(self._until.get((name, each), now) > now for each in (None, symbol))

    def server_time(self) -> int:
        """What the server's clock shows, milliseconds: if skewed, by `skew` more than the tape's pace puts a client's off."""
        if not self.holds("clock_skew") or not self.sizes.skew:
            return self.clock.now()
        behind, ahead = self.clock.drift()
        return self.clock.now() + round(self.sizes.skew * 1000 + (behind if self.sizes.skew > 0 else -ahead))

    def taken(self) -> float:
        """The part that an order trades at once of what it could."""
        return self.sizes.share if self.holds("partial") else 1.0
