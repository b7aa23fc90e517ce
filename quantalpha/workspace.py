"""Where a user's work lies: the folder with `params.yaml`, `notebooks/`, `data/` and `mlruns/`."""

import os
from functools import cache
from pathlib import Path

from quantalpha.errors import DataError, UsageError
from quantalpha.files import sha256

LOCK = "requirements.lock"


@cache
def root() -> Path:
    """QUANTALPHA_ROOT, or the nearest folder from the current one up that holds `params.yaml`."""
    named = os.environ.get("QUANTALPHA_ROOT")
    if named:
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise UsageError(f"no params.yaml in {here} or above it; run inside a quantalpha workspace or set QUANTALPHA_ROOT")


def path(text: str) -> Path:
    """A path of the workspace: relative ones start at its root, whatever the current folder (a notebook's is notebooks/)."""
    return root() / text


def lock_sha256() -> str:
    """Hash of requirements.lock, which names the exact libraries in use. DataError where there is none."""
    lock = root() / LOCK
    if not lock.is_file():
        raise DataError(f"{LOCK} is missing in {root().name}; a model must name the exact libraries it was made with")
    return sha256(lock)


def require_same_libraries(lock: str, name: str) -> None:
    """DataError unless `lock`, the hash under which the model `name` was made, is that of this workspace: the few bars by which a bundle
    checks itself do not show what another version of a library makes of the next one."""
    here = lock_sha256()
    if lock != here:
        found = f"made under another {LOCK} ({lock[:12]}, here it is {here[:12]})"
        raise DataError(
            f"{name}: {found}: other libraries may decide otherwise; install that lock, or run the pipeline and promote its new run"
        )
