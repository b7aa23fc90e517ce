"""The watchdogs of a session: one process for each of its accounts, followed by another where it dies, and dismissed at its end."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from quantalpha.errors import Halted, UsageError
from quantalpha.runner.accounts import AccountFolder

LEAVING = 15.0  # seconds that the watchdog of the session before may take to leave
PARTING = 5.0  # seconds for our own: it may have a last word for the venue
LOOK = 0.05  # seconds


class Dogs:
    """None until `start`. flat: whether the session has seen its account flat."""

    def __init__(self, flat: Callable[[], bool]):
        self._flat = flat
        self._processes: dict[str, subprocess.Popen] = {}
        self._relieved: list[str] = []

    def relieve(self, folder: AccountFolder) -> None:
        """To be said before the account has another card, at whose sight the watchdog of an earlier session leaves: of one that has died
        with a position, perhaps. Where this session ends before it has its own, the account gets one again."""
        if folder.watched():
            self._relieved.append(folder.name)

    async def start(self, folders: Iterable[AccountFolder]) -> None:
        """UsageError where an earlier watchdog stays: two would not know of each other, and no session trades without its own."""
        for folder in folders:
            if not await _until(lambda folder=folder: not folder.watched(), LEAVING):
                raise UsageError(
                    f"account {folder.name}: the watchdog of another session is still at work ({folder.watched()}); it leaves once its "
                    "account is flat or its latch was reset (`quantalpha accounts`); where it hangs, end its process"
                )
            self._processes[folder.name] = spawn(folder.name)

    def require_alive(self) -> None:
        """A watchdog that has died (not left, nor tripped) is followed by a new one."""
        for account, dog in self._processes.items():
            if dog.poll() not in (None, 0, Halted.exit_code):
                self._processes[account] = spawn(account)

    async def part(self, kind, error, trace) -> None:
        """Dismisses them where the session has ended in order or flat, and waits until they have left: what they watch may end with it.
        Whatever else ended the session, they stay, and do what it cannot."""
        if error is None or self._flat():
            for dog in self._processes.values():
                dog.terminate()
            await _until(lambda: all(dog.poll() is not None for dog in self._processes.values()), PARTING)
            return
        for account in self._relieved:
            if account not in self._processes:
                spawn(account)


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether it was so within that time."""
    end = time.monotonic() + seconds
    while not (over := done()) and time.monotonic() < end:
        await asyncio.sleep(LOOK)
    return over


def spawn(account: str) -> subprocess.Popen:
    """The watchdog as a process of its own, which Ctrl-C at the session's terminal does not reach; its words go to its account's folder."""
    folder = AccountFolder(account)
    with (folder.path / "watchdog.log").open("ab") as log:
        command = [sys.executable, "-m", "quantalpha", "watchdog", "--account", account]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
