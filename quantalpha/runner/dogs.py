"""The watchdogs of a session: one process for each of its accounts, followed by another where it dies."""

import subprocess
import sys
from collections.abc import Iterable

from quantalpha.errors import Halted
from quantalpha.runner.accounts import AccountFolder


class Dogs:
    """None until `spawn`."""

    def __init__(self):
        self._processes: dict[str, subprocess.Popen] = {}

    def spawn(self, accounts: Iterable[str]) -> None:
        self._processes = {account: spawn(account) for account in accounts}

    def require_alive(self) -> None:
        """A watchdog that has died (not left because another one watches, nor tripped) is followed by a new one."""
        for account, dog in self._processes.items():
            if dog.poll() not in (None, 0, Halted.exit_code):
                self._processes[account] = spawn(account)


def spawn(account: str) -> subprocess.Popen:
    """The watchdog as a process of its own, which Ctrl-C at the session's terminal does not reach; its words go to its account's folder."""
    folder = AccountFolder(account)
    with (folder.path / "watchdog.log").open("ab") as log:
        command = [sys.executable, "-m", "quantalpha", "watchdog", "--account", account]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
