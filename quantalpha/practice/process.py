"""The practice exchange in a process of its own, for whoever needs one just now."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from quantalpha.errors import ExchangeError

PATIENCE = 60.0  # seconds it may take to answer, or to end


@contextmanager
def started(profile: str, overrides: Sequence[str], *options: str) -> Iterator[str]:
    """Its REST address, once it answers; it ends with this block, and with this process however that ends. What keeps it from starting
    is raised with its own exit code. options: of `quantalpha exchange`."""
    settings = [word for each in overrides for word in ("--set", each)]
    command = [sys.executable, "-m", "quantalpha", "exchange", "--profile", profile, "--parent", str(os.getpid()), *options]
    process = subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def answers(url: str) -> bool:
    """Whether anybody listens there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), 1.0):
            return True
    except OSError:
        return False


def _address(process: subprocess.Popen) -> str:
    """Once the exchange has printed it; its own complaint, with its exit code, if it ends instead."""
    told = []
    for line in process.stdout:
        told.append(line.strip())
        if line.startswith("REST"):
            return line.split()[1]
    failure = ExchangeError(f"the practice exchange did not start: {told[-1] if told else 'it said nothing'}")
    failure.exit_code = process.wait(PATIENCE) or ExchangeError.exit_code
    raise failure
