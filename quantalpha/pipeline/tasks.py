"""Many small tasks of one stage at a time: over processes of this machine, or over the workers of the Dask cluster."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from quantalpha.config import Pipeline
from quantalpha.pipeline.execute import WATCH_SECONDS, executor


@contextmanager
def task_map(settings: Pipeline) -> Iterator[Callable]:
    """A function like `map` that runs its calls at the same time and gives their results in order: as many as `pipeline.workers` here, or
    as the cluster has threads. What is called must be a function of a module, or a `partial` of one."""
    if settings.executor == "dask":
        with executor(settings) as pool:
            yield pool.map
    elif settings.workers == 1:
        yield map
    else:  # spawned: a fork would copy the threads' locks of libraries loaded here
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(settings.workers, context, _end_with_parent, (os.getpid(),)) as pool:
            yield pool.map


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed ends too: nobody would tell it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
