"""MLflow's web page of the store, served on this machine until interrupted."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.tracking import store
from quantalpha.tracking.record import CANDIDATE_STAGE, RANKED_BY

SERVER_GRACE = 5.0  # seconds the page's processes have to end by themselves
BANNER = "[MLflow] Security middleware enabled"  # how the page greets; not worth a line


def serve(port: int, host: str = "127.0.0.1") -> int:
    """Serves the store's web page until SIGINT, SIGTERM or SIGHUP; returns its exit code, 0 when so ended. Prints where it is.

    Raises UsageError where the port is taken, or where the store is a server's, which has a page of its own.
    """
    if store.is_remote():
        raise UsageError(f"ui: runs are kept by the server MLFLOW_TRACKING_URI names; open {store.store_name()} in a browser")
    _check_port(host, port)
    base = f"http://{host}:{port}"
    link = candidates_link(base, store.experiment_id())
    print(f"MLflow at {base} in some seconds (stop with Ctrl-C)\ncandidates, best Sharpe ratio first: {link}", flush=True)
    return _serve(host, port)


def candidates_link(base: str, experiment: str) -> str:
    """The page of all candidates as a table of runs, best Sharpe ratio first."""
    wanted = quote(f"tags.stage = '{CANDIDATE_STAGE}' AND tags.kind = 'stage'", safe="")
    order = f"orderByKey=metrics.%60{RANKED_BY}%60&orderByAsc=false"
    return f"{base}/#/experiments/{experiment}/runs?searchFilter={wanted}&{order}&workflowType=machine_learning"


@contextmanager
def as_interrupt(*numbers: signal.Signals) -> Iterator[None]:
    """These signals, as a service manager or a closing terminal sends them, end what is inside as Ctrl-C does (unless they are ignored)."""
    previous = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"--port: {host}:{port} cannot be used ({error.strerror}); choose another") from None


def _serve(host: str, port: int) -> int:
    """A group of processes of its own, so that Ctrl-C is this process's to handle; what it warns of is shown while it serves."""
    options = ["--workers", "1", "--host", host, "--port", str(port), "--uvicorn-opts", "--log-level warning"]
    environment = os.environ | store.server_environment() | {"PYTHONWARNINGS": "ignore"}
    stopping = threading.Event()
    with as_interrupt(signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env=environment,
            process_group=0,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            threading.Thread(target=_relay, args=(process.stderr, stopping), daemon=True).start()
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            stopping.set()
            _end_group(process)


def _relay(lines: Iterator[str], stopping: threading.Event) -> None:
    """The server's complaints, masked; not those about being stopped."""
    for line in lines:
        if not stopping.is_set() and not line.startswith(BANNER):
            print(config.mask(line), end="", file=sys.stderr, flush=True)


def _end_group(process: subprocess.Popen) -> None:
    """Ends a process that leads a group, and whatever it started."""
    with suppress(ProcessLookupError):  # all are gone
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(SERVER_GRACE)
        except subprocess.TimeoutExpired:
            print("MLflow's page did not end when asked; it is killed", file=sys.stderr)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
