"""What a pipeline remembers, in `data/pipeline/NAME`; every write is whole or absent, whenever the process is killed.

state/STAGE.json        the last good result: key, parts, hashes of the outputs
notebooks/STAGE.ipynb   the notebook as executed
failed/STAGE.ipynb|json the notebook as it failed, until the stage succeeds
scratch/STAGE/          where a running stage writes; removing it stops the worker
hashes.json tracked.json

`data/pipeline/.lock` is held while a driver works: one at a time, whatever its pipeline, as two may write the same files.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantalpha.errors import UsageError
from quantalpha.files import sync, write_atomic

RECORDS = {
    "state": {"key": str, "parts": dict, "outputs": dict, "seconds": float, "finished": str},
    "failed": {"error": str, "finished": str},
}


class Folder:
    """Paths and atomic writes of one pipeline's folder."""

    def __init__(self, root: Path, pipeline: str):
        self.root = root
        self.pipeline = pipeline
        self.path = root / "data" / "pipeline" / pipeline
        self.scratch = self.path / "scratch"

    def notebook(self, stage: str, *, failed: bool = False) -> Path:
        return self.path / ("failed" if failed else "notebooks") / f"{stage}.ipynb"

    def read(self, kind: str, stage: str) -> dict | None:
        """The record of a stage: kind is "state" or "failed"."""
        return self.read_json(f"{kind}/{stage}.json", RECORDS[kind])

    def read_json(self, name: str, fields: dict[str, type]) -> dict | None:
        """A JSON object with these fields; None where there is none, or one that was cut or damaged: it is made anew."""
        try:
            value = json.loads((self.path / name).read_text())
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(value, dict) and all(key in value and isinstance(value[key], kind) for key, kind in fields.items())
        return value if whole else None

    def write_json(self, name: str, value: Any) -> None:
        write_atomic(self.path / name, json.dumps(value, indent=1))

    def place(self, source: Path, target: Path) -> None:
        """Moves a finished file or folder from scratch to where it belongs; across file systems too."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.partial")
        _remove(temporary)
        shutil.move(source, temporary)
        _settle(temporary, target)

    def forget_failure(self, stage: str) -> None:
        for path in (self.path / "failed" / f"{stage}.json", self.notebook(stage, failed=True)):
            path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes what attempts left behind. The rename takes their scratch away at once: a worker still running notices and stops."""
        if self.scratch.exists():
            self.scratch.rename(self.path / f"dead-{time.time_ns()}")
        for dead in self.path.glob("dead-*"):
            shutil.rmtree(dead, ignore_errors=True)  # what a dying worker still writes here goes at the next start
        for left in self.path.rglob(".*.tmp"):
            left.unlink()

    def running(self) -> set[str]:
        """Stages that a live driver is executing now."""
        if self._holder() != self.pipeline:
            return set()
        return {path.parent.name for path in self.scratch.glob("*/*")}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One driver at a time. Raises UsageError when another one is at work; a dead one's hold ends with it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("a+") as file:
            if not any(_try_lock(file, fcntl.LOCK_EX) for _ in range(5)):  # five times: a `status` holds it for a moment
                holder = self._lock_file.read_text()
                raise UsageError(f"pipeline {self.pipeline}: another run is under way here (pipeline {holder}); wait for it, or stop it")
            file.truncate(0)
            file.write(self.pipeline)
            file.flush()
            yield

    @property
    def _lock_file(self) -> Path:
        return self.path.parent / ".lock"

    def _holder(self) -> str | None:
        """The pipeline whose driver is at work; None: no driver is."""
        if not self._lock_file.is_file():
            return None
        with self._lock_file.open() as file:
            return None if _try_lock(file, fcntl.LOCK_SH) else file.read()


def _try_lock(file, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.02)
        return False
    return True


def _settle(temporary: Path, target: Path) -> None:
    """Flushes to disk, then renames: readers see the old content or the new."""
    for path in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
        sync(path)
    if temporary.is_dir() or target.is_dir():
        _remove(target)  # a folder cannot be replaced in one step; killed here, it is missing, and its stage runs again
    temporary.rename(target)
    sync(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
