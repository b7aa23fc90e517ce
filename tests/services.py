#!/usr/bin/env python3
"""PostgreSQL, Redis and InfluxDB of the distribution's packages, on free loopback ports, in a folder that is thrown away.

    python3 tests/services.py install        apt-get, where a server is absent and this is root; its output goes to build/services.log
    python3 tests/services.py run            start them, print their URLs as environment lines, stop them at Ctrl-C (`make services`)

Standard library alone: `.ci/run` installs before there is a .venv. Tests share one set of servers, see `shared`.
"""

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server", "influxd": "influxdb"}
LOG = Path(__file__).resolve().parents[1] / "build" / "services.log"
PASSWORD = secrets.token_hex(12)  # of servers that live as long as this process


class Absent(Exception):
    """A server is not installed; the message names it and what to do."""


class Broken(Exception):
    """A server is installed and does not start; the message ends with its log."""


def binary(name: str) -> Path | None:
    """A server's program; Debian keeps PostgreSQL's out of the PATH, one folder a version."""
    found = shutil.which(name) or max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), default=None)
    return None if found is None else Path(found)


def absent() -> list[str]:
    """Packages whose server is not here."""
    return [package for name, package in PACKAGES.items() if binary(name) is None]


def install() -> None:
    """Install what is absent. No server of the system is started or enabled. Raises Absent where that cannot be done."""
    wanted = absent()
    if not wanted:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Absent(f"{', '.join(wanted)}: not installed, and only root can, with apt-get")
    LOG.parent.mkdir(exist_ok=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # in runlevel 1 invoke-rc.d starts nothing
    get = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2"]
    steps = [[*get, "install", "-y", "--no-install-recommends", *wanted], [*get, "update"]]
    with LOG.open("w") as log:
        for step in (steps[0], steps[1], steps[0]):  # the lists may be absent or old
            subprocess.run(step, env=quiet, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
            if not absent():
                return
    raise Absent(f"{', '.join(absent())}: apt-get did not install it; see build/{LOG.name}")


@dataclass(frozen=True)
class Server:
    """One server: how it starts (in `folder`, which it owns), what tells that it answers, where it is."""

    name: str
    prepare: Callable[[Path, int], None]
    command: Callable[[Path, int], list[str]]
    answers: Callable[[int], bool]
    url: str  # with {port} and {password}


def _postgres_prepare(folder: Path, port: int) -> None:
    (folder / "password").write_text(PASSWORD)
    _own(folder)
    initdb = [str(binary("postgres").resolve().with_name("initdb")), "-D", str(folder / "data"), "-U", "quantalpha", "-A", "scram-sha-256"]
    initdb += ["--pwfile", str(folder / "password"), "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(_unprivileged(initdb), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"initdb: {done.stderr.strip()[-600:]}")


def _postgres_command(folder: Path, port: int) -> list[str]:
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_wal_size": "2GB", "max_connections": 40}
    return [str(binary("postgres")), "-D", str(folder / "data"), *(word for k, v in settings.items() for word in ("-c", f"{k}={v}"))]


def _postgres_answers(port: int) -> bool:
    ready = binary("postgres").resolve().with_name("pg_isready")
    return subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode == 0


def _redis_command(folder: Path, port: int) -> list[str]:
    settings = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder, "requirepass": PASSWORD}
    return [str(binary("redis-server")), *(word for k, v in settings.items() for word in (f"--{k}", str(v)))]


def _redis_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1) as peer:
        peer.sendall(f"AUTH {PASSWORD}\r\n".encode())
        return peer.recv(64).startswith(b"+OK")


def _influx_prepare(folder: Path, port: int) -> None:
    (folder / "influx.conf").write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = true
""")
    _own(folder)


def _influx_command(folder: Path, port: int) -> list[str]:
    return [str(binary("influxd")), "-config", str(folder / "influx.conf")]


def _influx_answers(port: int) -> bool:
    """The first user of a server that asks for passwords may be made without one."""
    first = f"http://127.0.0.1:{port}/query?q=CREATE+USER+quantalpha+WITH+PASSWORD+%27{PASSWORD}%27+WITH+ALL+PRIVILEGES"
    with urllib.request.urlopen(urllib.request.Request(first, method="POST"), timeout=5) as reply:
        return reply.status == 200


SERVERS = (
    Server(
        "POSTGRES", _postgres_prepare, _postgres_command, _postgres_answers, "postgresql://quantalpha:{password}@127.0.0.1:{port}/postgres"
    ),
    Server("REDIS", lambda folder, port: _own(folder), _redis_command, _redis_answers, "redis://:{password}@127.0.0.1:{port}/0"),
    Server("INFLUX", _influx_prepare, _influx_command, _influx_answers, "http://quantalpha:{password}@127.0.0.1:{port}/quantalpha"),
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _user() -> str | None:
    """Whom the servers run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _own(folder: Path) -> None:
    if _user():
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, _user(), pwd.getpwnam(_user()).pw_gid)


def _unprivileged(command: list[str]) -> list[str]:
    """`command` without root's rights, ended by the kernel when the process that started it is gone."""
    if shutil.which("setpriv") is None:  # not Linux
        return command
    rights = [] if _user() is None else [f"--reuid={_user()}", f"--regid={pwd.getpwnam(_user()).pw_gid}", "--clear-groups"]
    return ["setpriv", *rights, "--pdeathsig", "TERM", "--", *command]


def _start(server: Server, folder: Path) -> tuple[subprocess.Popen, str]:
    """A running server and its URL. The port was free a moment ago: where it is not any more, another is tried."""
    folder.mkdir()
    port = free_port()
    server.prepare(folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _unprivileged(server.command(folder, port)), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            if server.answers(port):
                return process, server.url.format(port=port, password=PASSWORD)
    _stop(process)
    raise Broken(f"{server.name.lower()} does not start: {(folder / 'log').read_text(errors='replace')[-600:]}")


def _stop(process: subprocess.Popen) -> None:
    """End one server by its process id: SIGINT is PostgreSQL's fast shutdown, and ends the others as well."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running() -> Iterator[dict[str, str]]:
    """{variable: URL} of all three servers, which end with the block. Raises Absent, or Broken."""
    if absent():
        raise Absent(f"{', '.join(absent())}: not installed; `sudo python3 tests/services.py install`")
    with tempfile.TemporaryDirectory(prefix="quantalpha-services-") as name, contextlib.ExitStack() as stack:
        os.chmod(name, 0o755)  # the servers run as somebody else, each in a folder of its own
        urls = {}
        for server in SERVERS:
            for attempt in range(3):
                try:
                    process, url = _start(server, Path(name) / f"{server.name.lower()}-{attempt}")
                    break
                except Broken:
                    if attempt == 2:
                        raise
            stack.callback(_stop, process)
            urls[f"QUANTALPHA_{server.name}_URL"] = url
        yield urls


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[dict[str, str]]:
    """`running` for all processes that name the same `folder`: the first starts them, the last one's end ends them, however it ends.

    Each user holds a shared lock on `folder`/users, and a keeper process waits for that lock alone: it gets it when the last user has
    left or was killed, for the kernel gives a dead process's locks back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users, (folder / "starting").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a keeper that had no user left is still stopping
        told = folder / "services.json"
        if not told.exists():
            _keeper(folder)
        fcntl.flock(starting, fcntl.LOCK_UN)
        answer = json.loads(told.read_text())
        if "absent" in answer:
            raise Absent(answer["absent"])
        yield answer


def _keeper(folder: Path) -> None:
    """Start the process that keeps the servers, and wait until it has told where they are."""
    command = [sys.executable, __file__, "keep", str(folder)]
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while not (folder / "services.json").exists():
        if keeper.poll() is not None:
            raise Broken((folder / "keeper.log").read_text()[-800:])
        time.sleep(0.02)


def keep(folder: Path) -> None:
    """The servers run until nobody holds `folder`/users."""
    told = folder / "services.json"
    with (folder / "users").open("a") as users, contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(running())
        except Absent as error:
            answer = {"absent": str(error)}
        _tell(told, answer)
        fcntl.flock(users, fcntl.LOCK_EX)
        told.unlink()
        stack.close()  # before the lock is given back: who comes now waits until the servers are gone


def _tell(path: Path, value: dict) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.touch(0o600)
    fresh.write_text(json.dumps(value))
    fresh.rename(path)


def run() -> None:
    """In the foreground, until Ctrl-C or TERM."""
    ends = (signal.SIGINT, signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running() as urls:
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # heard below and nowhere else: a second Ctrl-C leaves no server behind
        print("\n".join(f"{name}={url}" for name, url in urls.items()), flush=True)
        signal.sigwait(ends)


def main() -> None:
    verbs = {"install": install, "run": run, "keep": lambda: keep(Path(sys.argv[2]))}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    try:
        verbs[sys.argv[1]]()
    except (Absent, Broken) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
