"""A process of its own that watches an account at its venue and makes it flat when nobody else does.

It reads equity, positions and orders by its own client (its own keys, if given) and looks at one file of the session, its heartbeat: it
works while the session hangs, its database is locked or its disk is full. What it judges: daily loss, drawdown, liquidation distance, a
position without its stop, a session that no longer beats, a latch that nobody acts on, and a venue that gives no sound answer. A trip
latches the account, alerts, and flattens until the venue says that nothing is left. What it cannot reach it cannot flatten; then it says so
and goes on trying.

The venue's dead man's timer (Binance: countdownCancelAll) is renewed only while the session beats. It is the last line, for the case that
this machine is gone, and must not take the stops that protect a position: it is used only where the venue keeps those apart from the orders
it cancels (`dead_man_spares_stops`). Binance's conditional orders live at another service with a cancel-all of its own. Bybit's timer
cancels all orders and hangs on the session's private line, so that the session itself decides about it.
"""

import asyncio
import contextlib
import json
import math
import re
import signal
import time
from collections.abc import Callable

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.files import sole
from quantalpha.runner import carried
from quantalpha.runner.accounts import WATCHED, AccountFolder
from quantalpha.runner.duty import Duty, Pulse
from quantalpha.runner.emergency import TROUBLE, desk_of, flatten
from quantalpha.runner.judge import Around, Judge, Seen
from quantalpha.runner.switches import Trip

TAKEOVERS = 15  # looks at whether the watchdog before it has left
GLANCE = 0.2  # seconds between two looks at whether it is still needed
LOOK = 1.0  # seconds between two looks at the venue; where it asks about many symbols, longer
MANY = 2
ANSWER = 10.0  # seconds within which a look must be answered
ATTEMPT = 30.0  # seconds of one attempt at flattening, before it is said that it goes on
AGAIN = 300.0  # seconds after which a trouble that lasts is told again
FRESH = 0.5  # of runner.dead_man: an older heartbeat no longer renews the venue's timer
Say = Callable[[str, str], None]  # (title, text) to a person


class Watchdog:
    """say: (title, text) tells a person; it must neither raise nor wait."""

    def __init__(self, folder: AccountFolder, say: Say):
        self.folder, self.say, self.duty = folder, say, Duty(folder)
        self.card = self.duty.card
        params = self.card["params"]
        self.limits = config.Switches.model_validate(params["switches"])
        self.dead_man = float(params["runner"]["dead_man"])
        capital = float(self.card.get("capital", math.inf))
        self.pulse, self.judge = Pulse(folder), Judge(self.limits, self.dead_man, time.monotonic(), capital)
        self.tripped: tuple[str, Trip] | None = None
        self._carried = False  # it is known what the account had lost before
        self._unheard = False  # the last look got no answer
        self._renewed = -math.inf
        self._said: dict[str, float] = {}  # when each kind of trouble was told last

    async def watch(self) -> tuple[str, Trip] | None:
        """Until nobody needs it any more (None, see `Duty`), or something trips: then latched and verified flat on return."""
        self._note("watches")
        work = asyncio.ensure_future(self._work())
        while not (work.done() or self._relieved()):
            await asyncio.wait([work], timeout=GLANCE)
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if self.tripped is not None:
            self.say(f"watchdog {self.folder.name}: leaves", "not seen flat: its latch was reset, or another session trades the account")
        return None

    def _relieved(self) -> bool:
        return self.duty.over() if self.tripped is None else self.duty.lifted()

    async def _work(self) -> tuple[str, Trip] | None:
        while True:
            try:
                async with desk_of(self.card, watchdog=True) as desk:
                    found = self.tripped or await self._stand(desk)
                    if found is not None:
                        await self._stop(desk, *found)
                    return found
            except Exception as error:  # a watchdog with a bug is no reason to leave the account alone: without an answer it trips
                self._trouble(error)
            found = self.tripped or self._alone()
            if found is not None:
                self._trip(*found)
            await asyncio.sleep(LOOK)

    def _carry(self, seen: Seen | None) -> None:
        """With the first word of the venue."""
        if seen is None or self._carried:
            return
        before = carried.before(self.folder, seen.time)
        if before is not None:
            self.judge.carry(seen, before)
        self._carried = True

    async def _stand(self, desk) -> tuple[str, Trip] | None:
        """Looks once a second; what trips, or None where nothing is left to watch."""
        found = None
        try:
            while found is None and not self._done(seen := await self._look(desk)):
                self._carry(seen)
                now = time.monotonic()
                age = self.pulse.age(now)
                found = self.judge.see(now, self._around(age), seen)
                if found is None:
                    await self._renew(desk, now, age)
                    await asyncio.sleep(LOOK * max(1.0, len(self.card["symbols"]) / MANY))
            return found
        finally:
            if found is None:
                await self._timer(desk, 0.0)

    async def _renew(self, desk, now: float, age: float | None) -> None:
        if age is not None and age <= FRESH * self.dead_man and now - self._renewed >= self.dead_man / 4:
            await self._timer(desk, self.dead_man)

    def _done(self, seen: Seen | None) -> bool:
        """Latched, flat by the venue's word, and nobody trades the account any more: a session that a kill switch has ended."""
        latched = seen is not None and seen.flat and self.folder.latch.standing() is not None
        return latched and not self.folder.running()

    async def _look(self, desk) -> Seen | None:
        try:
            async with asyncio.timeout(ANSWER):
                if self._unheard:
                    await desk.synchronise()  # the venue may have been asked at a wrong time
                account, orders = await asyncio.gather(desk.account(), desk.open_orders(self.card["symbols"]))
            self._unheard = False
            return Seen(desk.now(), account, orders)
        except TROUBLE as error:
            self._unheard = True
            self._trouble(error)
            return None

    async def _timer(self, desk, seconds: float) -> None:
        if not desk.dead_man_spares_stops:
            return
        try:
            async with asyncio.timeout(ANSWER):
                await desk.dead_man(seconds, self.card["symbols"])
            self._renewed = time.monotonic()
        except TROUBLE as error:
            self._trouble(error)

    async def _stop(self, desk, name: str, trip: Trip) -> None:
        """Latched, then flat: for as long as it takes."""
        self._trip(name, trip)
        while True:
            done = await flatten(desk, ATTEMPT)
            self.say(f"watchdog {self.folder.name}: {'flat' if done.flat else 'NOT FLAT'}", str(done))
            self._note(str(done))
            if done.flat:
                return

    def _alone(self) -> tuple[str, Trip] | None:
        """What trips while the venue lets nobody in."""
        now = time.monotonic()
        return self.judge.see(now, self._around(self.pulse.age(now)), None)

    def _around(self, age: float | None) -> Around:
        return Around(age, self.folder.latch.standing() is not None)

    def _trip(self, name: str, trip: Trip) -> None:
        """Latched, unless a person has reset that meanwhile. On a disk that is full too the account is made flat."""
        first, self.tripped, standing = self.tripped is None, (name, trip), self.folder.latch.standing()
        self._note(f"NOT FLAT yet: {name}")
        if first and (standing is None or name == "latched"):
            self.say(f"watchdog {self.folder.name}: {name}", f"{trip.reason} {json.dumps(trip.values)}")
        try:
            if standing is None and not self.duty.lifted():
                self.folder.latch.set(f"watchdog:{name}", trip.reason, trip.values)
        except OSError as error:
            self._trouble(error)

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.folder.note(text)

    def _trouble(self, error: BaseException) -> None:
        """Told once in a while: numbers, such as the time in a venue's words, make no other trouble of it."""
        text, now = config.mask(f"{type(error).__name__}: {error}")[:300], time.monotonic()
        kind = re.sub(r"\d+", "", text)
        if now - self._said.get(kind, -math.inf) >= AGAIN:
            self._said[kind] = now
            self.say(f"watchdog {self.folder.name}: trouble", text)


def run(folder: AccountFolder, say: Say) -> tuple[str, Trip] | None:
    """Watches until there is nothing more to watch; what tripped, or None. An account has one watchdog: a second one takes over from the
    first, which leaves when another session trades the account. UsageError where the first one stays."""
    for _ in range(TAKEOVERS):
        with sole(folder.path / WATCHED) as alone:
            if alone:
                return asyncio.run(_watch(Watchdog(folder, say)))
        time.sleep(LOOK)
    raise UsageError(f"account {folder.name}: it has a watchdog ({folder.watched()}), which stays")


async def _watch(dog: Watchdog) -> tuple[str, Trip] | None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dog.duty.dismiss)
    return await dog.watch()
