"""Where a user's work lies: the folder with `params.yaml`, `notebooks/`, `data/` and `mlruns/`."""

import os
from functools import cache
from pathlib import Path

from quantalpha.errors import UsageError


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
