"""What the gate answers: a line for each question, and all of them for one candidate; and how a person overrides a failed one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from quantalpha import audit, verdict
from quantalpha.errors import DataError, GateRefused, UsageError, did_you_mean


@dataclass(frozen=True)
class GateLine:
    """One question. value and threshold: None where undefined; override: who let it stand though it failed, when and why."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    reason: str
    override: dict[str, str] | None = None

    @property
    def stands(self) -> bool:
        return verdict.stands(self.to_dict())

    def to_dict(self) -> dict:
        """For gate.json, where an override is seen because it is rare."""
        return {name: value for name, value in asdict(self).items() if name != "override" or value is not None}


@dataclass(frozen=True)
class GateReport:
    """All answers for one candidate; evidence: the metrics and baselines the gate computed itself, as JSON."""

    candidate: str
    lines: list[GateLine]
    evidence: dict

    @property
    def passed(self) -> bool:
        """Every line passed or was overridden."""
        return bool(self.lines) and all(line.stands for line in self.lines)

    @property
    def outcome(self) -> str:
        """passed, overridden or refused."""
        if not self.passed:
            return "refused"
        return "overridden" if any(line.override for line in self.lines) else "passed"

    def overridden(self, names: Sequence[str], reason: str) -> "GateReport":
        """This report with the failed lines of these names overridden by whoever runs this; they stay failed.

        UsageError as `check_override`, and for a name that no line has or one that passed.
        """
        known = {line.name: line for line in self.lines}
        check_override(names, reason, list(known))
        for name in names:
            if known[name].passed:
                raise UsageError(f"--override {name}: that line passed, there is nothing to override; leave it out")
        word = audit.stamp(reason) if names else None
        return replace(self, lines=[replace(line, override=word) if line.name in names else line for line in self.lines])

    def refuse(self) -> None:
        """Raise GateRefused naming every failed line with its numbers; nothing when all passed or were overridden."""
        failed = [line for line in self.lines if not line.stands]
        if not self.passed:
            reasons = "; ".join(f"{line.name}: {line.reason}" for line in failed) or "nothing was judged"
            raise GateRefused(f"{self.candidate}: refused by {len(failed)} of {len(self.lines)} gate lines: {reasons}")

    def to_dict(self) -> dict:
        """For gate.json."""
        lines = [line.to_dict() for line in self.lines]
        return {"candidate": self.candidate, "passed": self.passed, "lines": lines, "evidence": self.evidence}

    def __str__(self) -> str:
        rows = [("", "line", "value", "threshold", "reason")]
        rows += [(_mark(line), line.name, _short(line.value), _short(line.threshold), _told(line)) for line in self.lines]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows)


def check_override(names: Sequence[str], reason: str, known: Sequence[str]) -> None:
    """UsageError where an override lacks its reason, a reason its override, or a line is none of `known` or one nobody may override."""
    if names:
        audit.stamp(reason, f"{' and '.join(names)} may fail")
    elif reason.strip():
        raise UsageError("--reason: there is nothing to give a reason for; it goes with --override LINE")
    for name in names:
        if name in verdict.INTEGRITY:
            raise UsageError(f"--override {name}: nobody may override this line: {verdict.INTEGRITY[name]}")
        if name not in known:
            raise UsageError(f"--override {name}: the gate has no such line; {did_you_mean(name, known)}")


def guarded(name: str, judge: Callable[[], GateLine]) -> GateLine:
    """A line whose evidence turns out damaged, or too little to judge by, is a failed line; so is one that cannot cope with it."""
    try:
        return judge()
    except (DataError, UsageError) as error:
        return GateLine(name, False, None, None, str(error))
    except (ArithmeticError, LookupError, ValueError) as error:
        return GateLine(name, False, None, None, f"could not be judged: {type(error).__name__}: {error}")


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


def _mark(line: GateLine) -> str:
    if line.override is not None:
        return "OV"
    return "ok" if line.passed else "NO"


def _told(line: GateLine) -> str:
    if line.override is None:
        return line.reason
    return "{}; OVERRIDDEN by {who} at {time}: {reason}".format(line.reason, **line.override)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
