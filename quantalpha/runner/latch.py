"""The latch: a file that says why an account must not trade. While it is there no session of the account starts, and a running one stops.

    latch.json       {time, who, name, reason, values}: the first cause stands
    latches.jsonl    what was reset: the latch as it was, who reset it, when and why; each line with the hash of the one before

Written whole or not at all; one that cannot be read latches as well. Engine, watchdog and `quantalpha kill` write it, only a reset ends it.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from quantalpha import audit
from quantalpha.errors import Halted, UsageError
from quantalpha.files import locked, sync, write_atomic
from quantalpha.secrets import mask

FILE, HISTORY = "latch.json", "latches.jsonl"
PATIENCE = 1.0  # seconds for which a latch waits for who hangs in a reset
KEYS = ("time", "who", "name", "reason", "values")


class Latch:
    """Of the account whose folder it is."""

    def __init__(self, folder: Path):
        self.folder = folder

    def standing(self) -> dict | None:
        """What latched the account; None where nothing did. Cheap enough for every tick: one look for a file that is hardly ever there."""
        try:
            text = (self.folder / FILE).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return _unreadable(error.strerror or type(error).__name__)
        try:
            found = json.loads(text)
            return {key: found[key] for key in KEYS}
        except (ValueError, KeyError, TypeError):
            return _unreadable("damaged")

    def set(self, name: str, reason: str, values: Mapping[str, float] | None = None) -> dict:
        """Latches, durably on return; what stands already stands. name: the switch that tripped, 'kill' where a person did."""
        entry = audit.stamp(reason) | {"name": name, "values": dict(values or {})}
        with locked(self.folder, PATIENCE):  # a reset under way is over first
            before = self.standing()
            if before is None:
                write_atomic(self.folder / FILE, mask(json.dumps(entry)) + "\n")
            return before or self.standing() or _unreadable("it vanished while it was written")

    def require_open(self) -> None:
        """Halted while it stands."""
        found = self.standing()
        if found is not None:
            raise Halted(
                f"account {self.folder.name}: latched by {found['name']} since {found['time']}: {found['reason']}; "
                f"look into it, then `quantalpha reset --account {self.folder.name} --reason TEXT`"
            )

    def require_reason(self, reason: str) -> tuple[dict, dict]:
        """(time, who and reason of a reset; what stands). UsageError without a reason, or where nothing stands."""
        stamp, standing = audit.stamp(reason, of="the account may trade again"), self.standing()
        if standing is None:
            raise UsageError(f"reset: account {self.folder.name} is not latched")
        return stamp, standing

    def reset(self, reason: str) -> dict:
        """Ends it, with a line in the history first. UsageError as `require_reason`; DataError where the history was altered."""
        stamp, standing = self.require_reason(reason)
        noted = stamp | {"account": self.folder.name, "latch": _strict(standing)}
        return audit.append(self.folder / HISTORY, lambda _: noted, self._remove)

    def _remove(self) -> None:
        (self.folder / FILE).unlink(missing_ok=True)
        sync(self.folder)

    def history(self) -> list[dict]:
        """Every reset, oldest first."""
        return audit.read(self.folder / HISTORY)


def _unreadable(found: str) -> dict:
    return {"time": "unknown", "who": "unknown", "name": "latch", "reason": f"{FILE} cannot be read ({found})", "values": {}}


def _strict(latch: dict) -> dict:
    """Numbers that JSON does not know as text."""
    return latch | {"values": {name: value if value == value else "nan" for name, value in dict(latch["values"]).items()}}
