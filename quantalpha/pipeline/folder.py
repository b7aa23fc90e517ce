"""What a pipeline remembers, in `data/pipeline/NAME`; every write is whole or absent, whenever the process is killed.

state/STAGE.json        the last good result: key, parts, hashes of the outputs
notebooks/STAGE.ipynb   the notebook as executed
failed/STAGE.ipynb|json the notebook as it failed, until the stage succeeds
scratch/STAGE/          where a running stage writes; removing it stops the worker
hashes.json tracked.json lock
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantalpha.errors import UsageError


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
        return self.read_json(f"{kind}/{stage}.json")

    def read_json(self, name: str) -> dict | None:
        path = self.path / name
        return json.loads(path.read_text()) if path.is_file() else None

    def write_json(self, name: str, value: Any) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        temporary.write_text(json.dumps(value, indent=1))
        _settle(temporary, path)

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

    def running(self) -> set[str]:
        """Stages that a live driver is executing now."""
        if not self._locked():
            return set()
        return {path.parent.name for path in self.scratch.glob("*/*")}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One driver at a time. Raises UsageError when another one holds the pipeline; a dead one's hold ends with it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as file:
            if not any(_try_lock(file) for _ in range(5)):  # five times: a `status` holds it for a moment
                raise UsageError(f"pipeline {self.pipeline}: another run is under way here; wait for it, or stop it")
            yield

    def _locked(self) -> bool:
        if not (self.path / "lock").is_file():
            return False
        try:
            with self.lock():
                return False
        except UsageError:
            return True


def _try_lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.02)
        return False
    return True


def _settle(temporary: Path, target: Path) -> None:
    """Flushes to disk, then renames: readers see the old content or the new."""
    for path in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
        _flush(path)
    if temporary.is_dir() or target.is_dir():
        _remove(target)  # a folder cannot be replaced in one step; killed here, it is missing, and its stage runs again
    temporary.rename(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
