"""One schedule: a session that is killed, resumed, killed again, and in the end left in peace."""

import multiprocessing
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

from quantalpha import config
from quantalpha.practice import Tape
from quantalpha.runner.accounts import AccountFolder
from survival import exchange, trader
from survival.exchange import Books
from survival.schedule import FEEDS, LONGEST_LIFE, PLACES, SYMBOLS, VENUES, Doom, Schedule, draw

FORK = multiprocessing.get_context("fork")
PATIENCE = 40.0  # seconds for the last life to be ready, and to become quiet
SETTLED = 0.5  # seconds of quiet before the session is asked to stop
HALTED = 7
SPARE_LIVES = 6  # for sessions that a fault ended, a latch, or a stop that was hit while the session left


@dataclass(frozen=True)
class Life:
    """Monotonic seconds. ready: the first tick, None if it never came; code: of its exit, negative: the signal that killed it."""

    begin: float
    end: float
    agreeing: float | None
    ready: float | None
    code: int

    @property
    def recovery(self) -> float | None:
        return None if self.ready is None or self.agreeing is None else self.ready - self.agreeing


@dataclass
class Played:
    schedule: Schedule
    folder: Path
    lives: list[Life] = field(default_factory=list)
    books: Books = field(default_factory=Books)
    resets: int = 0
    trouble: str = ""  # why it could not be played to its end

    @property
    def journal(self) -> Path:
        return self.folder / "sessions" / trader.NAME / "journal.db"


def play(schedule: Schedule, tape: Tape, folder: Path) -> Played:
    """folder: an empty one, left behind with the journal and each life's last words."""
    played = Played(schedule, folder)
    with _venue(tape, schedule, folder) as (venue, params):
        _Player(played, params, venue).play()
    return played


def rehearse(tape: Tape) -> None:
    """A short session on each venue in this very process: what sessions import and compile is there before they are born."""
    for seed, venue in enumerate(VENUES):
        quiet = replace(draw(seed), venue=venue, feed=FEEDS[seed], chances=dict.fromkeys(PLACES, {}), symbols=SYMBOLS)
        with tempfile.TemporaryDirectory() as folder, _venue(tape, quiet, Path(folder)) as (_, params):
            params = params.model_copy(update={"runner": params.runner.model_copy(update={"bars": 6})})
            trader.Trader(quiet, Path(folder), params, 0, None, os.open(os.devnull, os.O_WRONLY)).trade()


@contextmanager
def _venue(tape: Tape, schedule: Schedule, folder: Path) -> Iterator[tuple[Connection, config.Params]]:
    """The exchange's process, and the parameters of those who trade there."""
    ours, theirs = FORK.Pipe()
    os.environ["QUANTALPHA_CACHE"] = str(folder / "cache")
    process = FORK.Process(target=exchange.run, args=(tape, schedule, theirs))
    process.start()
    try:
        yield ours, trader.settings(schedule, *ours.recv())
        ours.send("end")
    finally:
        process.join(5.0)
        process.kill()
        process.join()
        shutil.rmtree(folder / "cache", ignore_errors=True)


class _Player:
    def __init__(self, played: Played, params, venue):
        self.played, self.params, self.venue = played, params, venue
        self.asked_to_stop = float("inf")

    def play(self) -> None:
        schedule = self.played.schedule
        for doom, pause in zip(schedule.dooms, schedule.pauses):
            self._live(doom)
            self._open_latch()
            if self._over:
                break
            time.sleep(pause)
        self._ask("calm")
        if self._flat():
            self.played.books = self._ask("books")
            return
        for _ in range(SPARE_LIVES):
            self._live(None)
            self._open_latch()
            self.played.books = self._ask("books")
            if self._over and not any(at > self.asked_to_stop for at in self.played.books.moved_at):
                return
        self.played.trouble = f"never came to an end: exit codes {[life.code for life in self.played.lives]}"

    @property
    def _over(self) -> bool:
        """It has stopped in peace, or was halted and is flat."""
        return self.played.lives[-1].code == 0 or self._flat()

    def _flat(self) -> bool:
        latched = self.played.lives[-1].code == HALTED
        return latched and "the account is flat" in (self.played.folder / f"life-{len(self.played.lives) - 1}.log").read_text()

    def _open_latch(self) -> None:
        """What a person would do, so that a session that was killed on its way out goes on with it."""
        account = AccountFolder(f"rehearse-{self.params.venue.kept_as}", self.played.folder / "accounts")
        if account.latch.standing() is not None and not self._over:
            account.latch.reset("goes on with its way out")
            self.played.resets += 1

    def _ask(self, word: str):
        self.venue.send(word)
        return self.venue.recv()

    def _live(self, doom: Doom | None) -> None:
        hear, tell = os.pipe()
        one = trader.Trader(self.played.schedule, self.played.folder, self.params, len(self.played.lives), doom, tell)
        child = FORK.Process(target=one.run)
        begin = time.monotonic()
        child.start()
        os.close(tell)
        heard = _Heard(hear, child)
        try:
            self._in_peace(child, heard) if doom is None else _until(child, heard, doom, begin)
        finally:
            child.kill()
            child.join()
            heard.read(0.0)
            os.close(hear)
        life = Life(begin, time.monotonic(), heard.at.get(trader.AGREEING), heard.at.get(trader.READY), child.exitcode)
        self.played.lives.append(life)

    def _in_peace(self, child, heard: "_Heard") -> None:
        """Lets it decide a little, waits until the venue shows that nothing is under way, then asks it to stop."""
        deadline = time.monotonic() + PATIENCE
        while trader.READY not in heard.at and child.is_alive() and time.monotonic() < deadline:
            heard.read(0.1)
        time.sleep(10 * 60 / self.played.schedule.speed / 2)
        quiet_since = None
        while child.is_alive() and time.monotonic() < deadline:
            quiet = self._ask("quiet")
            quiet_since = (quiet_since or time.monotonic()) if quiet else None
            if quiet_since is not None and time.monotonic() - quiet_since > SETTLED:
                break
            heard.read(0.1)
        self.asked_to_stop = time.monotonic()
        if child.is_alive():
            os.kill(child.pid, signal.SIGTERM)
            child.join(PATIENCE)


def _until(child, heard: "_Heard", doom: Doom, begin: float) -> None:
    """Waits for its end, its own or the one it is to meet."""
    longest = begin + (doom.after if doom.kind == "time" else LONGEST_LIFE)
    while child.is_alive() and time.monotonic() < longest and trader.EVENT not in heard.at:
        heard.read(min(0.1, max(longest - time.monotonic(), 0.0)))
    if trader.EVENT in heard.at:
        time.sleep(doom.after)


class _Heard:
    """What a life has said, and when it was."""

    def __init__(self, pipe: int, child):
        self.pipe, self.child, self.at = pipe, child, {}

    def read(self, patience: float) -> None:
        """Waits for a word, or the end, at most so long."""
        ready = select.select([self.pipe, self.child.sentinel], [], [], patience)[0]
        if self.pipe in ready:
            told = os.read(self.pipe, 64 * trader.WORD.size)
            for word, moment in trader.WORD.iter_unpack(told):
                self.at.setdefault(word, moment)
