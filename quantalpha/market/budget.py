"""How often a venue may be asked, kept once for all processes of this machine: each request waits until there is room for it.

    budget = Budget(folder, {"weight": Limit(2400, 60)}, share=0.8)
    async with budget.spend({"weight": 5}):
        ...  # the request

A venue counts in windows of its own clock, wherever they begin, when a request reaches it. Here a request counts from before it is sent
until a window's length after its answer was there, so that no window of the venue can hold more than the limit, however long requests
travel: when the last request of a window is sent, every other one of that window still counts.

The state is a small file under a lock that ends with its process. Of a process killed in between, the request counts until it can no
longer be under way. Times are those of a clock that all processes share and a reboot sets back; a state from before that is void.
"""

import asyncio
import math
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from quantalpha.errors import UsageError
from quantalpha.files import locked

GRAINS = 600  # of a window: finished requests are counted together by the end of the grain in which their answer came
PROMPT = 1.0  # seconds within which a request must be sent once there is room, well below what a lifetime has over a timeout
LONGEST_STOP = 3 * 86_400.0  # seconds; Binance bans for no longer, and a venue that says so errs
LARGEST = 1e12  # no time, weight or limit of a sound state is
LARGEST_STATE = 2**20  # bytes
LONGEST_LOCK = 0.5  # seconds; the lock is held for less than a millisecond
POLL = 0.05  # seconds between looks while only requests under way stand before one
Weights = dict[str, float]  # by the name of the limit


class Limit(NamedTuple):
    """`most`, or so much used, within any `seconds`."""

    most: float
    seconds: float


class Stopped(Exception):
    """The venue asked to be left alone for `wait` more seconds, and that is longer than anybody here will wait."""

    def __init__(self, wait: float):
        super().__init__(f"it asked to be left alone for {wait:.0f} s more")
        self.wait = wait


def default_folder() -> Path:
    """Where budgets lie: QUANTALPHA_CACHE, or the user's cache folder."""
    named = os.environ.get("QUANTALPHA_CACHE")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(named) if named else Path(cache) / "quantalpha") / "budget"


class Budget:
    """The limits of one venue, of which all processes together use `share`.

    folder: of this venue alone. limits: by name; what the venue says itself (`learn`) takes their place, for all processes. lifetime:
    seconds after which a request cannot be under way any more. patience: the longest stop anybody waits for, seconds.
    """

    def __init__(
        self,
        folder: Path,
        limits: dict[str, Limit],
        *,
        share: float = 1.0,
        lifetime: float = 60.0,
        patience: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable] = asyncio.sleep,
    ):
        self.folder, self.limits, self.share = folder, limits, share
        self.lifetime, self.patience, self.clock, self.sleep = lifetime, patience, clock, sleep
        self._ahead: tuple[str, Weights, float] | None = None  # ticket, weights and time of what is reserved for a request still to come

    @asynccontextmanager
    async def spend(self, weights: Weights) -> AsyncIterator[None]:
        """The block is a request of these weights; waits until it fits. Raises Stopped where the venue wants more than `patience`."""
        ticket = self._taken(weights)
        if ticket is None:
            ticket = _name()
            await self._reserve(ticket, weights)
        try:
            yield
        finally:
            self._change(lambda state: state.finish(ticket))

    async def _reserve(self, ticket: str, weights: Weights) -> None:
        """Waits for room; again, where this process was itself stopped since, for then others may have taken the room."""
        while True:
            wait, at = self._change(lambda state: (state.reserve(ticket, weights, self), state.now))
            if wait <= 0 and self.clock() - at < min(PROMPT, self.lifetime):
                return
            await self.sleep(wait * (1 + 0.05 * random.random()))  # not all at once

    def ahead(self, weights: Weights) -> None:
        """Reserves room for a request that may soon be sent: the next one of these weights takes it within PROMPT, and looks at no file.
        Where there is no room, nothing is reserved. To be said again and again while it is expected; said twice it is one request's."""
        ticket = _name() if self._ahead is None else self._ahead[0]
        if self._ahead is not None and self.clock() - self._ahead[2] < PROMPT / 2:
            return
        self._ahead = None
        with suppress(Stopped):
            wait, at = self._change(lambda state: (state.reserve(ticket, weights, self), state.now))
            self._ahead = (ticket, weights, at) if wait <= 0 else None

    def _taken(self, weights: Weights) -> str | None:
        """The ticket of what was reserved ahead, once, and only as long as a request may wait that has found room."""
        if self._ahead is None or self._ahead[1] != weights:
            return None
        (ticket, _, at), self._ahead = self._ahead, None
        return ticket if self.clock() - at < min(PROMPT, self.lifetime) else None

    def learn(self, limits: dict[str, Limit]) -> None:
        """What the venue itself says about its limits."""
        self._change(lambda state: state.learn(limits))

    def correct(self, name: str, used: Limit) -> None:
        """What the venue says was used in its present window: above what is counted here, others use this address too."""
        self._change(lambda state: state.correct(name, used))

    def stop(self, seconds: float) -> None:
        """No process asks for so long, LONGEST_STOP at most. UsageError for what is no time to wait."""
        if not seconds >= 0:
            raise UsageError(f"stop: expected seconds, found {seconds}")
        self._ahead = None
        self._change(lambda state: state.stop(seconds))

    def used(self, name: str) -> float:
        """What counts now."""
        return self._change(lambda state: state.used(name))

    def _change(self, act: Callable[["_State"], object]):
        """Who closes a position does not wait for a process that hangs with the lock, nor for room on a full disk: what cannot be written
        down then counts for nobody, and the venue's own word (`correct`) makes up for it."""
        path = self.folder / "state.json"
        with locked(self.folder, LONGEST_LOCK):
            state = _State(_read(path), self.clock(), self.limits)
            outcome = act(state)
            if state.changed:
                with suppress(OSError):
                    _write(path, state.told())
        return outcome


def _name() -> str:
    return uuid.uuid4().hex[:12]


class _State:
    """What the file holds, brought up to `now`.

    done: by limit, [time until which it happened, weight] in order; open: ticket -> [when it must be over, weights].
    """

    def __init__(self, told: dict | None, now: float, limits: dict[str, Limit]):
        self.now, self.changed = now, False
        void = not told or told["at"] > now
        self.limits = limits | ({} if void else {name: Limit(*limit) for name, limit in told["limits"].items()})
        self.until: float = 0.0 if void else min(told["until"], told["at"] + LONGEST_STOP)
        self.done: dict[str, list] = {} if void else told["done"]
        self.open: dict[str, list] = {} if void else told["open"]
        if told == {}:
            self._assume_spent()
        self._age()

    def told(self) -> dict:
        return {"at": self.now, "until": self.until, "limits": self.limits, "done": self.done, "open": self.open}

    def reserve(self, ticket: str, weights: Weights, budget: Budget) -> float:
        """Seconds to wait before asking again; 0.0 where `weights` are reserved for `ticket`."""
        rest = self.until - self.now
        if rest > budget.patience:
            raise Stopped(rest)
        self.open.pop(ticket, None)  # reserved before, and not sent
        wait = max([rest, *(self._wait(name, weight, budget.share) for name, weight in weights.items())])
        if wait > 0:
            return wait
        self.open[ticket] = [self.now + budget.lifetime, weights]
        self.changed = True
        return 0.0

    def finish(self, ticket: str) -> None:
        entry = self.open.pop(ticket, None)
        if entry is not None:
            self._add(entry[1], self.now)

    def learn(self, limits: dict[str, Limit]) -> None:
        self.changed |= any(self.limits.get(name) != limit for name, limit in limits.items())
        self.limits = self.limits | limits

    def correct(self, name: str, used: Limit) -> None:
        unknown = used.most - self.used(name)
        if unknown > 0 and name in self.limits and self.limits[name].seconds == used.seconds:
            self._add({name: unknown}, self.now)

    def stop(self, seconds: float) -> None:
        self.until, self.changed = max(self.until, self.now + min(seconds, LONGEST_STOP)), True

    def used(self, name: str) -> float:
        return sum(weight for _, weight in self.done.get(name, ())) + sum(weights.get(name, 0.0) for _, weights in self.open.values())

    def _wait(self, name: str, weight: float, share: float) -> float:
        """Seconds until `weight` more fits; 0.0 where it does now."""
        limit = self.limits[name]
        if weight > limit.most:
            raise UsageError(
                f"venue.budget: one request weighs {weight:g}, and the venue allows {limit.most:g} {name} in {limit.seconds:g} s"
            )
        excess = self.used(name) + weight - max(limit.most * share, weight)  # one that is heavier than the share goes alone
        if excess <= 1e-9:
            return 0.0
        for end, freed in self.done.get(name, ()):
            excess -= freed
            if excess <= 1e-9:
                return max(end + limit.seconds - self.now, POLL)
        return POLL

    def _age(self) -> None:
        """Forget what no window holds any more; count as over what cannot be under way."""
        for ticket, (over, weights) in list(self.open.items()):
            if over <= self.now:
                del self.open[ticket]
                self._add(weights, over)
        for name, spent in self.done.items():
            self.done[name] = [each for each in spent if each[0] + self.limits[name].seconds > self.now]

    def _add(self, weights: Weights, at: float) -> None:
        self.changed = True
        for name, weight in weights.items():
            grain = self.limits[name].seconds / GRAINS
            end, spent = math.ceil(at / grain) * grain, self.done.setdefault(name, [])
            if spent and spent[-1][0] == end:
                spent[-1][1] += weight
            elif weight:
                spent.append([end, weight])
                spent.sort()

    def _assume_spent(self) -> None:
        """Nobody knows what was used: as if all of it was, just now."""
        for name, limit in self.limits.items():
            self._add({name: limit.most}, self.now)


def _read(path: Path) -> dict | None:
    """The state; None where there is none, {} where it cannot be read or makes no sense (lost in a crash of the machine)."""
    try:
        told = orjson.loads(_bytes(path))
        return told if _is_state(told) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}


def _bytes(path: Path) -> bytes:
    """By three calls of the system, of which Python's own way takes seven; there are limits of a few names, so that it is never longer."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, LARGEST_STATE)
    finally:
        os.close(handle)


def _is_state(told) -> bool:
    """Whether it has the shape that `_State.told` gives it."""
    try:
        names, weights = told["limits"].keys(), [weights for _, weights in told["open"].values()]
        spent = [entry for entries in told["done"].values() for entry in entries]
        times = [*(at for at, _ in spent), *(over for over, _ in told["open"].values())]
        amounts = [*(weight for _, weight in spent), *(weight for each in weights for weight in each.values())]
        positive = [number for most, seconds in told["limits"].values() for number in (most, seconds)]
        known = told["done"].keys() <= names and all(each.keys() <= names for each in weights)
    except (AttributeError, TypeError, KeyError, ValueError):
        return False
    at, until = told.get("at"), told.get("until")
    if not known or not all(type(each) in (int, float) and abs(each) < LARGEST for each in (at, until, *times, *amounts, *positive)):
        return False
    return min(amounts, default=0) >= 0 and min(positive, default=1) > 0 and max(times, default=at) <= at + LONGEST_STOP


def _write(path: Path, told: dict) -> None:
    """In one write over what was there, filled up with blanks, so that a process killed anywhere leaves the old state or the new one. Not
    forced onto the disk, as a rename forces it on some file systems: that would cost more than the request."""
    text = orjson.dumps(told, default=tuple)  # a Limit
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(handle, text.ljust(os.fstat(handle).st_size), 0)
    finally:
        os.close(handle)
