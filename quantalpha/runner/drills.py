"""The record of a drill of the kill switches, data/accounts/NAME/drill.json: what was tripped, how it went, and when.

It is sealed with the sha256 of its content: one that was altered, torn or made by another version of this code counts as none.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from quantalpha import __version__
from quantalpha.errors import GateRefused
from quantalpha.files import write_atomic
from quantalpha.runner.accounts import AccountFolder

FILE = "drill.json"
DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Line:
    """One switch. trip, flat: seconds from the provocation to the trip, and from there to an account that is flat by the venue's word; None
    where it never came to that. latched: what the latch said; refused: a new session ended with exit 7; again: after the reset, which asked
    for a reason, the account traded; trouble: what went wrong."""

    switch: str
    provoked: str
    trip: float | None = None
    flat: float | None = None
    latched: str = ""
    refused: bool = False
    again: bool = False
    trouble: str = ""

    @property
    def passed(self) -> bool:
        reached = self.trip is not None and self.flat is not None
        return reached and self.latched == self.switch and self.refused and self.again and not self.trouble

    def row(self) -> dict:
        """For people."""
        told = {"switch": self.switch, "provoked by": self.provoked, "s to trip": _seconds(self.trip), "s to flat": _seconds(self.flat)}
        told |= {"latched": self.latched or "no", "refused": _said(self.refused), "trades again": _said(self.again)}
        return told | {"verdict": "passed" if self.passed else f"FAILED {self.trouble}".strip()}

    def __str__(self) -> str:
        told = self.row()
        return f"{self.switch:20} trip {told['s to trip']:>5} s  flat {told['s to flat']:>5} s  {told['verdict']}"


@dataclass(frozen=True)
class Report:
    """time: ISO, UTC; bundle: what was at work; folder: the workspace in which the sessions lie."""

    time: str
    code_version: str
    bundle: str
    folder: str
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, bundle: str, lines: Sequence[Line], folder: str) -> "Report":
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), __version__, bundle, folder, tuple(lines))

    @property
    def passed(self) -> bool:
        return bool(self.lines) and all(line.passed for line in self.lines)

    def to_dict(self) -> dict:
        return {"passed": self.passed} | asdict(self)

    def write(self, account: AccountFolder) -> None:
        content = self.to_dict()
        write_atomic(account.path / FILE, json.dumps(content | {"sha256": _seal(content)}, indent=1) + "\n")

    def require(self) -> None:
        """GateRefused (exit 3) naming every switch that failed."""
        failed = [f"{line.switch} ({line.trouble or 'see the table'})" for line in self.lines if not line.passed]
        if not self.passed:
            raise GateRefused(f"drill: {len(failed)} of {len(self.lines)} switches failed: {', '.join(failed) or 'none was tried'}")


def days_since(account: AccountFolder) -> float | None:
    """Since the last complete drill, if that passed and nobody has touched its record; None else."""
    try:
        content = json.loads((account.path / FILE).read_bytes())
        sound = content.pop("sha256") == _seal(content) and content["passed"] is True and content["code_version"] == __version__
        return (time.time() - datetime.fromisoformat(content["time"]).timestamp()) / DAY if sound else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _seal(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _said(answer: bool) -> str:
    return "yes" if answer else "NO"
