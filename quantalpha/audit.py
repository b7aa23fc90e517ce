"""Records of what people decided: append-only files of JSON lines, each with the sha256 of the line before.

A line altered or taken out from between is noticed. Lines cut off at the end are not: keep a copy elsewhere.
"""

import getpass
import hashlib
import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from quantalpha.errors import DataError, UsageError
from quantalpha.files import locked, write_atomic
from quantalpha.secrets import mask


def stamp(reason: str, of: str | None = None) -> dict[str, str]:
    """{time: ISO, UTC; who: user@host; reason}. of: what must be given a reason, UsageError where it is blank; None: it may be."""
    if of is not None and not reason.strip():
        raise UsageError(f"--reason: expected why {of}, found nothing; it is written down with your name")
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "who": _who(), "reason": mask(reason.strip())}


def append(path: Path, make: Callable[[list[dict]], dict], then: Callable[[], None] = lambda: None) -> dict:
    """Adds what `make` makes of all lines before and returns it. Killed at any moment, it leaves the line whole or not there.

    then: done once the line is durable, before anybody else has the folder (`files.locked`).
    """
    with locked(path.parent):
        lines = _lines(path)
        entry = make(_checked(path, lines)) | {"previous": hashlib.sha256(lines[-1]).hexdigest() if lines else ""}
        write_atomic(path, b"\n".join([*lines, json.dumps(entry, allow_nan=False).encode(), b""]))
        then()
    return entry


def read(path: Path) -> list[dict]:
    """Every line in order; none where there is no file. DataError where one was altered, taken out or cut off."""
    return _checked(path, _lines(path))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


def _checked(path: Path, lines: list[bytes]) -> list[dict]:
    found, previous = [], ""
    for number, line in enumerate(lines, 1):
        try:
            found.append(dict(json.loads(line)))
        except (TypeError, ValueError):
            raise DataError(f"{path.name}: line {number} is cut off or damaged; restore the file from a copy") from None
        if found[-1].get("previous") != previous:
            raise DataError(f"{path.name}: line {number} does not follow the one before: the record was altered; restore it from a copy")
        previous = hashlib.sha256(line).hexdigest()
    return found


def _who() -> str:
    """user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"
