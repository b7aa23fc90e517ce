"""What the gate answers: a line for each question, and all of them for one candidate."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from quantalpha.errors import DataError, GateRefused, UsageError


@dataclass(frozen=True)
class GateLine:
    """One question. value and threshold: None where undefined."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    reason: str


@dataclass(frozen=True)
class GateReport:
    """All answers for one candidate; evidence: the metrics and baselines the gate computed itself, as JSON."""

    candidate: str
    lines: list[GateLine]
    evidence: dict

    @property
    def passed(self) -> bool:
        return bool(self.lines) and all(line.passed for line in self.lines)

    def refuse(self) -> None:
        """Raise GateRefused naming every failed line with its numbers; nothing when all passed."""
        failed = [line for line in self.lines if not line.passed]
        if not self.passed:
            reasons = "; ".join(f"{line.name}: {line.reason}" for line in failed) or "nothing was judged"
            raise GateRefused(f"{self.candidate}: refused by {len(failed)} of {len(self.lines)} gate lines: {reasons}")

    def to_dict(self) -> dict:
        """For gate.json."""
        lines = [asdict(line) for line in self.lines]
        return {"candidate": self.candidate, "passed": self.passed, "lines": lines, "evidence": self.evidence}

    def __str__(self) -> str:
        rows = [("", "line", "value", "threshold", "reason")]
        rows += [("ok" if x.passed else "NO", x.name, _short(x.value), _short(x.threshold), x.reason) for x in self.lines]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows)


def guarded(name: str, judge: Callable[[], GateLine]) -> GateLine:
    """A line whose evidence turns out damaged, or too little to judge by, is a failed line."""
    try:
        return judge()
    except (DataError, UsageError) as error:
        return GateLine(name, False, None, None, str(error))


def gap(found, expected) -> float:
    """Largest relative difference (absolute below 1); infinite where a number came or went."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return math.inf
    both = ~np.isnan(found)
    difference = np.abs(found - expected)[both] / np.maximum(np.abs(expected[both]), 1.0)
    return float(difference.max()) if difference.size else 0.0


def number(value: float) -> float | None:
    """For JSON: None where undefined or infinite."""
    return float(value) if math.isfinite(value) else None


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
