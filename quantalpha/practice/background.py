"""A practice exchange in a thread of this process, for tests, benchmarks and notebooks."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from quantalpha.practice.server import Server, serve
from quantalpha.practice.tape import Tape

PATIENCE = 30.0  # seconds to start or end


@contextmanager
def played(tape: Tape, **options) -> Iterator[Server]:
    """The server of `serve(tape, **options)`, running until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(serve(tape, **options), loop).result(PATIENCE)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
