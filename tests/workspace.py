"""A workspace of its own for a test, the command line in it, and an exchange that can misbehave."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from unittest.mock import patch

import aiohttp
from aiohttp import web

from quantalpha import cli, config
from quantalpha.practice.server import serve
from quantalpha.practice.tape import Tape

CHECKOUT = Path(__file__).resolve().parents[1]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON document on stdout; fails where there is none, or more than one."""
        return json.loads(self.out)

    def complains(self, code: int, *says: str) -> None:
        """Asserts this exit code and one clear line on stderr that says all of `says`."""
        assert self.code == code, self
        assert self.err.startswith("error: ") and self.err.count("\n") == 1 and "Traceback" not in self.err, self.err
        assert all(text in self.err for text in says), self.err


@contextlib.contextmanager
def entered(root: Path, **environment: str) -> Iterator[None]:
    """This process works in the workspace at `root`, with these variables besides."""
    caches = (config.root, config.environment)
    with patch.dict(os.environ, {"QUANTALPHA_ROOT": str(root)} | environment):
        for cache in caches:
            cache.cache_clear()
        try:
            yield
        finally:
            for cache in caches:
                cache.cache_clear()


class Workspace:
    """What a clone holds beside the package, copied to `root`."""

    def __init__(self, root: Path):
        self.root = root
        root.mkdir(exist_ok=True)
        for name in ("params.yaml", "requirements.lock"):
            shutil.copy(CHECKOUT / name, root)
        for name in ("notebooks", "pipelines"):
            shutil.copytree(CHECKOUT / name, root / name, ignore=shutil.ignore_patterns(".*"))

    def run(self, *words: str, **environment: str) -> Answer:
        """`quantalpha WORDS` in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "quantalpha", *words], env=os.environ | {"QUANTALPHA_ROOT": str(self.root)} | environment, cwd=self.root,
            text=True, capture_output=True, check=False, timeout=280,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def call(self, *words: str) -> Answer:
        """`quantalpha WORDS` in this process, which is faster; an error that is a bug comes out as itself."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = patch.object(sys, "argv", ["quantalpha", *words])
        with self.entered(), argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
        return Answer(code, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This process works in this workspace."""
        with entered(self.root):
            yield

    def files(self, folder: str = "data") -> list[str]:
        """Every file below `folder`, by its path from the root."""
        return sorted(str(path.relative_to(self.root)) for path in (self.root / folder).rglob("*") if path.is_file())

    def leftovers(self) -> list[str]:
        """Files that a finished or failed command must not leave."""
        return [path for path in self.files() if path.endswith((".tmp", ".partial")) or "/scratch/" in path or "/dead-" in path]


def words(settings: dict[str, object]) -> list[str]:
    """`--set key=value` for each."""
    pairs = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
    return [word for pair in pairs for word in ("--set", pair)]


def at(rest_url: str, ws_url: str | None = None) -> dict[str, object]:
    """Settings of an exchange at this address."""
    return {"venue.rest_url": rest_url, "venue.ws_url": rest_url.replace("http", "ws") if ws_url is None else ws_url}


def free_port() -> int:
    """A free port below those the system hands out by itself, so that nothing takes it before it is wanted."""
    while True:
        port = SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


class Gate:
    """The practice exchange, its clock standing at `now` (ms), behind a door that asks `fault` first; runs in a thread of its own."""

    def __init__(self, tape: Tape, now: int):
        self.fault: Fault | None = None
        self.asked = 0
        self._tape, self._now = tape, now
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Gate":
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, *_) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _open(self) -> None:
        self._server = await serve(self._tape, speed=0.0, now=self._now)
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        answer = None if self.fault is None else await self.fault(request)
        if answer is not None:
            return answer
        async with aiohttp.ClientSession() as session, session.get(self._server.url + request.path_qs) as reply:
            return web.Response(body=await reply.read(), status=reply.status, content_type="application/json")
