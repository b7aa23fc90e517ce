"""How well the streams are doing: counts per symbol and kind, the venue's clock against ours, and how late messages arrive."""

from dataclasses import dataclass, field
from math import log

FINEST_MS = 0.01  # latencies below it, and those that a wrong clock makes negative, share the first bin
BINS_PER_E = 20  # 5 % a bin
BINS = 400  # up to FINEST_MS e^20: 80 minutes
CLOCK_SAMPLES = 20


class Histogram:
    """Counts of durations in milliseconds, in bins 5 % wide: constant memory, quantiles right to 5 %."""

    def __init__(self):
        self.counts = [0] * BINS
        self.total, self.largest = 0, 0.0

    def add(self, ms: float) -> None:
        place = int(log(ms / FINEST_MS) * BINS_PER_E) + 1 if ms > FINEST_MS else 0
        self.counts[min(place, BINS - 1)] += 1
        self.total += 1
        self.largest = max(self.largest, ms)

    def quantile(self, q: float) -> float:
        """Milliseconds that a share `q` of the durations does not exceed: the upper edge of its bin; NaN of nothing."""
        from itertools import accumulate

        if not self.total:
            return float("nan")
        place = next(i for i, below in enumerate(accumulate(self.counts)) if below >= q * self.total)
        return min(FINEST_MS * 2.718281828459045 ** (place / BINS_PER_E), self.largest) if place else FINEST_MS


class Clock:
    """The venue's clock less ours, ms: asked over REST, each answer right to half its round trip; the quickest of the last 20 counts."""

    def __init__(self):
        self._samples: list[tuple[float, float]] = []

    def sample(self, asked_ms: float, venue_ms: float, answered_ms: float) -> None:
        """The venue said `venue_ms` to a question asked and answered at these times of our clock."""
        trip = answered_ms - asked_ms
        self._samples = [*self._samples[1 - CLOCK_SAMPLES :], (trip, venue_ms - (asked_ms + answered_ms) / 2)]

    @property
    def skew(self) -> float:
        """Milliseconds by which the venue's clock is ahead of ours; 0.0 before the first sample."""
        return min(self._samples)[1] if self._samples else 0.0

    @property
    def error(self) -> float:
        """The skew is right to this many milliseconds; NaN before the first sample."""
        return min(self._samples)[0] / 2 if self._samples else float("nan")


@dataclass
class Channel:
    """Counts of one symbol's stream of one kind."""

    messages: int = 0
    duplicates: int = 0  # seen before: dropped
    old: int = 0  # older than what came before it: dropped
    gaps: int = 0  # holes seen in the numbering, or between bars
    resyncs: int = 0  # books built anew from a snapshot
    backfilled: int = 0  # trades or bars fetched by REST
    lost: int = 0  # trades or bars known to be missing still
    received_ns: int = 0  # our clock at the last message
    latency: Histogram = field(default_factory=Histogram)


class Health:
    """All channels of one feed; `stale` seconds of silence make a channel stale."""

    def __init__(self, stale: float):
        self.stale = stale
        self.clock = Clock()
        self.channels: dict[tuple[str, str], Channel] = {}
        self.malformed = self.overflows = self.reconnects = self.stalls = 0

    def channel(self, symbol: str, kind: str) -> Channel:
        found = self.channels.get((symbol, kind))
        if found is None:
            found = self.channels[symbol, kind] = Channel()
        return found

    def received(self, channel: Channel, event_ms: int, received_ns: int) -> None:
        """One message more, sent at `event_ms` of the venue's clock."""
        channel.messages += 1
        channel.received_ns = received_ns
        channel.latency.add(received_ns / 1e6 + self.clock.skew - event_ms)

    def rows(self, now_ns: int, seconds: float) -> list[dict]:
        """The health table: a row per symbol and kind. Latencies in ms from the venue's sending to our receiving, by the venue's clock."""
        rows = []
        for (symbol, kind), c in sorted(self.channels.items()):
            age = (now_ns - c.received_ns) / 1e9 if c.received_ns else float("inf")
            counts = {name: getattr(c, name) for name in ("messages", "duplicates", "old", "gaps", "resyncs", "backfilled", "lost")}
            times = {"p50_ms": c.latency.quantile(0.5), "p99_ms": c.latency.quantile(0.99), "age_s": age, "stale": age > self.stale}
            rows.append({"symbol": symbol, "kind": kind, "rate": c.messages / max(seconds, 1e-9)} | counts | times)
        return rows

    def totals(self) -> dict:
        """What concerns the feed as a whole."""
        counts = {name: getattr(self, name) for name in ("reconnects", "stalls", "overflows", "malformed")}
        return counts | {"skew_ms": self.clock.skew, "skew_error_ms": self.clock.error}
