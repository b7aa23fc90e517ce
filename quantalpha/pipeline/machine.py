"""On what a run was made: the last digits of a model may depend on it."""

import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def machine(libraries: Iterable[str]) -> dict:
    """python, system, cpu (the model's name) and libraries: of each that is named, the version installed (None: it is not)."""
    system = f"{platform.system()} {platform.machine()}"
    return {"python": platform.python_version(), "system": system, "cpu": _cpu(), "libraries": {n: _installed(n) for n in libraries}}


def locked_libraries(lock: Path) -> list[str]:
    """The packages that requirements.lock names; none where there is no such file."""
    return re.findall(r"^([A-Za-z0-9._-]+)", lock.read_text(), re.MULTILINE) if lock.is_file() else []


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1].strip() if found else platform.processor() or "unknown"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
