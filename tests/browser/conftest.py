"""A real browser without a window, without a network."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--virtual-time-budget=30000",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where it is."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path (Debian: apt-get install chromium)")
    return found


@pytest.fixture
def browse(chromium, tmp_path) -> Callable[..., tuple[str, list[str]]]:
    """browse(path, *flags): the document after its scripts ran, and what the console said."""

    def run(path: Path, *flags: str) -> tuple[str, list[str]]:
        command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run
