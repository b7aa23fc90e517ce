"""The same work in a process that remembers nothing of what this one does later."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def fresh_process(work: Callable[[], np.ndarray]) -> Iterator[Callable[[float], np.ndarray | None]]:
    """Forks this process as it is now and lets the copy do the work beside it. Gives a function of the seconds to wait for the answer:
    None where it does not come in time, the work failed, or the system cannot fork. The copy is gone when the block ends."""
    with tempfile.TemporaryFile() as file:
        process = os.fork() if hasattr(os, "fork") else None
        if process == 0:
            try:
                np.save(file, work())
                file.flush()
            finally:
                os._exit(0)  # none of the clean-up that belongs to the parent; an empty file tells of an error
        child = _Child(process)
        try:
            yield lambda patience: _array(file) if child.ended(patience) else None
        finally:
            child.kill()


class _Child:
    def __init__(self, process: int | None):
        self.process = process  # None: none, or waited for

    def ended(self, patience: float) -> bool:
        """Whether it ended by itself within so many seconds."""
        if self.process is None:
            return False
        until = time.monotonic() + patience
        while os.waitpid(self.process, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        self.process = None
        return True

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process, 9)
            os.waitpid(self.process, 0)
            self.process = None


def _array(file) -> np.ndarray | None:
    if file.seek(0, os.SEEK_END) == 0:
        return None
    file.seek(0)
    try:
        return np.load(file)
    except (ValueError, EOFError):  # it was killed while it wrote
        return None
