"""Waiting until something ends: the process is asked to stop, enough is done, or a task is over."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator


async def first(seconds: float, events: Iterable[asyncio.Event], tasks: Iterable[asyncio.Task]) -> None:
    """Waits so long, or until one of them has happened or ended."""
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    await asyncio.wait([*waits, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set while inside; where this is not the main thread, nothing can."""
    loop, stop, signals = asyncio.get_running_loop(), asyncio.Event(), (signal.SIGINT, signal.SIGTERM)
    listening = threading.current_thread() is threading.main_thread()
    for number in signals if listening else ():
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals if listening else ():
            loop.remove_signal_handler(number)
