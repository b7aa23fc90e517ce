"""What is kept of an account beside its sessions, in data/accounts/NAME: who trades it now, whether he lives, what latched it.

    account.json    the session that traded it last: mode, venue, symbols, parameters in force
    lock            held by the running session, however it ends
    heartbeat       touched by it at every tick; gone after an orderly end, left behind by a crash
    latch.json, latches.jsonl    see `latch`
    losses.json     what its sessions have lost, see `carried`
    watchdog.lock, watchdog.note, watchdog.log    held by the watchdog at work, what it does, and what it has said

NAME is mode-venue, such as live-binanceusdm.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from quantalpha import config
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_json, sole, write_atomic
from quantalpha.runner.latch import Latch

CARD, LOCK, HEARTBEAT = "account.json", "lock", "heartbeat"
LOOKS, MOMENT = 5, 0.02  # seconds between tries to take the lock
WATCHED, NOTE = "watchdog.lock", "watchdog.note"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}"
LISTED = 12  # accounts without a session that a message names
VENUES = ("rehearse", "testnet", "live")  # modes whose orders go to a venue


def name_of(mode: str, venue: config.Venue) -> str:
    """Of the account that sessions of this mode trade at this venue."""
    return f"{mode}-{venue.kept_as}"


class AccountFolder:
    """root: where all accounts lie; None: the workspace's data/accounts."""

    def __init__(self, name: str, root: Path | None = None):
        if not re.fullmatch(NAME, name):
            raise UsageError(f"account: expected a name such as live-binanceusdm, found {name[:120]!r}")
        self.name, self.path = name, (config.path("data/accounts") if root is None else root) / name
        self.latch = Latch(self.path)

    @property
    def mode(self) -> str:
        return self.name.partition("-")[0]

    @contextmanager
    def hold(self, card: dict) -> Iterator[None]:
        """The block is the account's only session, and says so: `alone` and `known_as`."""
        with self.alone(), self.known_as(card):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other session has the account during the block. Halted while it is latched, UsageError while another one has it."""
        self.latch.require_open()
        with self._lock() as alone:
            if not alone:
                raise self._taken()
            yield

    @contextmanager
    def known_as(self, card: dict) -> Iterator[None]:
        """The block is a session that lives. card: JSON of at least mode, venue, symbols, session. An orderly end takes the heartbeat
        away."""
        who = {"account": self.name, "pid": os.getpid(), "started": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomic(self.path / CARD, config.mask(json.dumps(card | who, indent=1)) + "\n")
        write_atomic(self.path / HEARTBEAT, f"{os.getpid()}\n")
        yield
        (self.path / HEARTBEAT).unlink(missing_ok=True)  # not where the block raised: then nobody knows how it was left

    def require_free(self) -> None:
        """Raises what `alone` would, and leaves nothing behind."""
        self.latch.require_open()
        if self.running():
            raise self._taken()

    def _taken(self) -> UsageError:
        return UsageError(f"account {self.name}: another session trades it; stop that one first (`quantalpha accounts`)")

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Whether the block holds the account alone. To look at it (`running`) takes the lock for a moment, which does not count."""
        for _ in range(LOOKS):
            with sole(self.path / LOCK) as alone:
                if alone:
                    yield True
                    return
            time.sleep(MOMENT)
        yield False

    def beat(self) -> None:
        """The session lives: no more than a file's time, so that a full disk or a locked database cannot keep it from saying so."""
        (self.path / HEARTBEAT).touch()

    def beaten(self) -> int | None:
        """When it last did, nanoseconds of the file's own clock; None after an orderly end."""
        try:
            return (self.path / HEARTBEAT).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def running(self) -> bool:
        """Whether a session holds the account."""
        if not (self.path / LOCK).exists():
            return False
        with self._lock() as alone:
            return not alone

    def note(self, text: str) -> None:
        """What its watchdog does."""
        write_atomic(self.path / NOTE, config.mask(text) + "\n")

    def watched(self) -> str:
        """What its watchdog does; '' where none is at work."""
        with sole(self.path / WATCHED) as alone:
            if alone:
                return ""
        try:
            return (self.path / NOTE).read_text().strip()
        except OSError:
            return "watches"

    def card(self) -> dict:
        """What the last session wrote of itself. DataError where there is none."""
        return read_json(self.path / CARD, "mode", "session", "venue", "symbols", "params")

    def said(self) -> dict:
        """The card; empty where there is none yet, or none that can be read."""
        try:
            return self.card()
        except DataError:
            return {}

    def of(self, mode: str, session: str) -> bool:
        """Whether that session was the last to trade it."""
        card = self.said()
        return (card.get("mode"), card.get("session")) == (mode, session)

    def row(self) -> dict:
        """One line of `quantalpha accounts`."""
        card, latched = self.said(), self.latch.standing()
        row = {"account": self.name, "session": card.get("session", "unknown"), "running": "yes" if self.running() else "no"}
        return row | {
            "latched": "" if latched is None else f"{latched['name']}: {latched['reason']}",
            "since": (latched or {}).get("time", ""),
            "watchdog": self.watched(),
        }


def known(root: Path | None = None) -> list[AccountFolder]:
    """Every account there is, by name."""
    folder = config.path("data/accounts") if root is None else root
    return [AccountFolder(each.name, root) for each in sorted(folder.glob("*")) if each.is_dir() and re.fullmatch(NAME, each.name)]


def running(root: Path | None = None) -> list[AccountFolder]:
    """Every account that a session holds now."""
    return [each for each in known(root) if each.running()]


def sessions_running(root: Path | None = None) -> list[str]:
    """The names of the sessions that run now."""
    return list(dict.fromkeys(each.said()["session"] for each in running(root) if each.said()))


def beside(account: AccountFolder) -> list[AccountFolder]:
    """The others that its last session traded: the second venue's, or of that the first's. DataError where its card cannot be read."""
    card, others = account.card(), [each for each in known(account.path.parent) if each.name != account.name]
    return [each for each in others if each.of(card["mode"], card["session"])]


def find(name: str | None, root: Path | None = None) -> AccountFolder:
    """The account of that name; None: the one whose session runs, or the only one. UsageError naming what there is."""
    names = [each.name for each in known(root)]
    if name is not None:
        if name not in names:
            raise UsageError(f"--account: no account {name!r} has ever been traded here; {did_you_mean(name, names)}")
        return AccountFolder(name, root)
    active = [each.name for each in running(root) if not each.said().get("second", False)]  # its session has a first one
    for choice in (active, names):
        if len(choice) == 1:
            return AccountFolder(choice[0], root)
    raise UsageError(f"--account: {_which(active, [each for each in names if each not in active])}")


def _which(active: list[str], idle: list[str]) -> str:
    """What there is to choose from."""
    if not active and not idle:
        return "no account has been traded here yet: there is none to name"
    others = f"{', '.join(idle[:LISTED])}{f' and {len(idle) - LISTED} more' if len(idle) > LISTED else ''}"
    if not active:
        return f"no session runs; name one of the accounts that were traded: {others}"
    return f"sessions run in {', '.join(active)}; name one, or kill them --all{f' (no session runs in {others})' if idle else ''}"
