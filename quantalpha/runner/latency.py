"""How long something took, as a histogram whose buckets grow with the value: a thousand of them at most, each quantile within 1 %.
A session keeps one: from the frame that closes a bar, as it is read, to the bytes of the order that follows from it.

The idea is HdrHistogram's (hdrhistogram.org, Gil Tene): constant relative error over the whole range, so that histograms of many processes
can be added without loss. Here a bucket is GROWTH times as wide as the one before and stands for its geometric middle.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from quantalpha.errors import DataError
from quantalpha.files import read_json, write_atomic
from quantalpha.runner import steady
from quantalpha.runner.events import InstructionEvent

SHORTEST, LONGEST = 1e-6, 100.0  # seconds; what lies beyond is counted in the outermost bucket
GROWTH = 1.018  # a value is at most sqrt(1.018) - 1 = 0.9 % from the middle of its bucket
LAST = math.ceil(math.log(LONGEST / SHORTEST) / math.log(GROWTH)) - 1
SHOWN = (0.5, 0.9, 0.99, 0.999, 1.0)
EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # Prometheus buckets, s
FILE = "latency.json"
_SCALE = 1.0 / math.log(GROWTH)


class Histogram:
    """Durations in seconds. The least, the greatest and the sum are exact."""

    def __init__(self):
        self.buckets: Counter[int] = Counter()
        self.count, self.total = 0, 0.0
        self.least, self.greatest = math.inf, 0.0

    def record(self, seconds: float) -> None:
        """Raises DataError for what is no duration: below 0, NaN or infinite."""
        if not 0.0 <= seconds < math.inf:
            raise DataError(f"latency: expected seconds of at least 0, found {seconds}; take both times from the same monotonic clock")
        self.buckets[_bucket(seconds)] += 1
        self.count += 1
        self.total += seconds
        self.least, self.greatest = min(self.least, seconds), max(self.greatest, seconds)

    def merge(self, other: "Histogram") -> None:
        """Adds what another has counted: as if its values had been recorded here."""
        self.buckets.update(other.buckets)
        self.count += other.count
        self.total += other.total
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the values does not exceed (the value of rank ceil(share * count)), within 1 % in the histogram's
        range, the greatest exactly; NaN where nothing was recorded."""
        if not 0.0 <= share <= 1.0:
            raise DataError(f"latency: expected a share from 0 to 1, found {share}")
        rank, seen = max(1, math.ceil(share * self.count)), 0
        if rank == self.count:
            return self.greatest
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.least), self.greatest)
        return math.nan

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    def rows(self, shares: Iterable[float] = SHOWN) -> list[dict]:
        """A row for each quantile: its share in percent, and milliseconds."""
        return [{"share": f"{share * 100:g} %", "ms": self.quantile(share) * 1e3} for share in shares]

    def __str__(self) -> str:
        """A table for people, in milliseconds."""
        shown = "  ".join(f"p{share * 100:g} {self.quantile(share) * 1e3:.3f}" for share in SHOWN[:-1])
        return f"{self.count} values, ms: mean {self.mean * 1e3:.3f}  {shown}  max {self.greatest * 1e3:.3f}"

    def to_dict(self) -> dict:
        """JSON that `from_dict` reads back, with the quantiles for whoever only looks."""
        quantiles = {f"p{share * 100:g}": self.quantile(share) for share in SHOWN} if self.count else {}
        exact = {"count": self.count, "total": self.total, "least": self.least if self.count else None, "greatest": self.greatest}
        return {"unit": "seconds", **exact, "quantiles": quantiles, "growth": GROWTH, "buckets": sorted(self.buckets.items())}

    @classmethod
    def from_dict(cls, value: dict) -> "Histogram":
        """DataError where the buckets are those of another scale, or their counts do not add up."""
        made = cls()
        made.buckets = Counter(dict(value["buckets"]))
        made.count, made.total, made.greatest = value["count"], value["total"], value["greatest"]
        made.least = math.inf if value["least"] is None else value["least"]
        if value["growth"] != GROWTH or made.buckets.total() != made.count:
            raise DataError("latency: the histogram is damaged, or was written by another version; measure again")
        return made

    def prometheus(self, name: str) -> str:
        """Text exposition format 0.0.4 (prometheus.io, exposition formats): cumulative buckets in seconds."""
        below = [(edge, sum(n for bucket, n in self.buckets.items() if _middle(bucket) <= edge)) for edge in EDGES]
        lines = [f'{name}_bucket{{le="{edge:g}"}} {n}' for edge, n in [*below, (math.inf, self.count)]]
        lines = [line.replace('"inf"', '"+Inf"') for line in lines]
        return "\n".join([f"# TYPE {name} histogram", *lines, f"{name}_sum {self.total!r}", f"{name}_count {self.count}", ""])

    def write(self, folder: Path) -> Path:
        """As latency.json in a session's folder."""
        return write_atomic(folder / FILE, json.dumps(self.to_dict()) + "\n")


class Stopwatch:
    """Times each symbol's first order after a close. clock: that of `received`, ns."""

    def __init__(self, clock: Callable[[], int] = steady.ns):
        self.clock, self.histogram = clock, Histogram()
        self._bar, self._received = -1, 0
        self._apart = math.inf  # ns between the last two bars
        self._timed: set[str] = set()

    def closed(self, bar: int, received: int) -> None:
        """A bar's last frame was read; of several symbols the last one counts, for which all decisions wait."""
        if bar != self._bar:
            self._timed.clear()
            self._apart = received - self._received if self._received else math.inf
        self._bar, self._received = bar, received

    def left(self) -> float:
        """Seconds until the next close is to be expected: as long after the last one as that came after the one before; negative while it
        is late."""
        return (self._received + self._apart - self.clock()) / 1e9

    def written(self, order: InstructionEvent) -> None:
        """Its bytes go to the socket now. What is told later of the same bar (a child, a stop) is not what its close brought about."""
        if order.bar != self._bar or order.purpose != "order" or order.symbol in self._timed:
            return
        self._timed.add(order.symbol)
        elapsed = self.clock() - self._received
        if elapsed >= 0:  # the machine's clock may have been set meanwhile
            self.histogram.record(elapsed / 1e9)

    def write(self, folder: Path) -> None:
        """Adds what was timed to what a session's folder holds from before a restart; nothing, nothing."""
        if self.histogram.count == 0:
            return
        if (folder / FILE).exists():
            self.histogram.merge(read(folder))
        self.histogram.write(folder)


def read(folder: Path) -> Histogram:
    """What `write` left in a session's folder; DataError where there is none or it is damaged."""
    return Histogram.from_dict(read_json(folder / FILE, "count", "total", "least", "greatest", "growth", "buckets"))


def _bucket(seconds: float) -> int:
    if seconds <= SHORTEST:
        return 0
    return min(int(math.log(seconds / SHORTEST) * _SCALE), LAST)


def _middle(bucket: int) -> float:
    return SHORTEST * GROWTH ** (bucket + 0.5)
