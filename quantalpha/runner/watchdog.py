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
import json
import math
import re
import time
from collections.abc import Callable

from quantalpha import config
from quantalpha.errors import DataError
from quantalpha.files import sole
from quantalpha.runner import carried
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.emergency import TROUBLE, desk_of, flatten
from quantalpha.runner.judge import Around, Judge, Seen
from quantalpha.runner.switches import Trip

TAKEOVERS = 15  # looks at whether the watchdog before it has left
LOOK = 1.0  # seconds between two looks at the venue; where it asks about many symbols, longer
MANY = 2
ANSWER = 10.0  # seconds within which a look must be answered
ATTEMPT = 30.0  # seconds of one attempt at flattening, before it is said that it goes on
AGAIN = 300.0  # seconds after which a trouble that lasts is told again
FRESH = 0.5  # of runner.dead_man: an older heartbeat no longer renews the venue's timer
Say = Callable[[str, str], None]  # (title, text) to a person


class Pulse:
    """Age of a session's heartbeat by our own clock, whatever the file's clock says: it is fresh when it has changed."""

    def __init__(self, folder: AccountFolder):
        self.folder = folder
        self._last, self._changed = None, math.nan

    def age(self, now: float) -> float | None:
        """Seconds; None where there is no heartbeat, since no session runs or its last one ended in order."""
        beaten = self.folder.beaten()
        if beaten is None or beaten != self._last:
            self._last, self._changed = beaten, now
        return None if beaten is None else now - self._changed


class Watchdog:
    """say: (title, text) tells a person; it must neither raise nor wait."""

    def __init__(self, folder: AccountFolder, say: Say):
        self.folder, self.say = folder, say
        self.card = folder.card()
        params = self.card["params"]
        self.limits = config.Switches.model_validate(params["switches"])
        self.dead_man = float(params["runner"]["dead_man"])
        capital = float(self.card.get("capital", math.inf))
        self.pulse, self.judge = Pulse(folder), Judge(self.limits, self.dead_man, time.monotonic(), capital)
        self._begun = False  # a session was seen to beat
        self._carried = False  # it is known what the account had lost before
        self._renewed = -math.inf
        self._said: dict[str, float] = {}  # when each kind of trouble was told last

    async def watch(self) -> tuple[str, Trip] | None:
        """Until the session has ended in order (None), or something trips: then latched and verified flat on return."""
        tripped, over = None, False
        while not over:
            try:
                async with desk_of(self.card, watchdog=True) as desk:
                    tripped = tripped or await self._stand(desk)
                    if tripped is not None:
                        await self._stop(desk, *tripped)
                    return tripped
            except Exception as error:  # a watchdog with a bug is no reason to leave the account alone: without an answer it trips
                self._trouble(error)
            tripped, over = tripped or self._alone(), self._ended()
            if tripped is not None:
                self._latch(*tripped)
            await asyncio.sleep(LOOK)
        return None

    async def _stand(self, desk) -> tuple[str, Trip] | None:
        """Looks once a second; what trips, or None once the session has ended."""
        while True:
            seen = await self._look(desk)
            if self._ended() or self._done(seen):
                await self._timer(desk, 0.0)
                return None
            self._carry(seen)
            now = time.monotonic()
            age = self.pulse.age(now)
            found = self.judge.see(now, self._around(age), seen)
            if found is not None:
                return found
            if age is not None and age <= FRESH * self.dead_man and now - self._renewed >= self.dead_man / 4:
                await self._timer(desk, self.dead_man)
            await asyncio.sleep(LOOK * max(1.0, len(self.card["symbols"]) / MANY))

    def _carry(self, seen: Seen | None) -> None:
        """With the first word of the venue."""
        if seen is None or self._carried:
            return
        before = carried.before(self.folder, seen.time)
        if before is not None:
            self.judge.carry(seen, before)
        self._carried = True

    def _ended(self) -> bool:
        """A session was seen to beat, and has taken its heartbeat away; or another one trades the account, with a watchdog of its own."""
        beats = self.folder.beaten() is not None
        self._begun = self._begun or beats
        return (self._begun and not beats) or self._succeeded()

    def _succeeded(self) -> bool:
        """A card that cannot be read says nothing."""
        try:
            return self.folder.card() != self.card
        except DataError:
            return False

    def _done(self, seen: Seen | None) -> bool:
        """Latched, flat by the venue's word, and nobody trades the account any more: a session that a kill switch has ended."""
        latched = seen is not None and seen.flat and self.folder.latch.standing() is not None
        return latched and not self.folder.running()

    async def _look(self, desk) -> Seen | None:
        try:
            async with asyncio.timeout(ANSWER):
                account, orders = await asyncio.gather(desk.account(), desk.open_orders(self.card["symbols"]))
            return Seen(desk.now(), account, orders)
        except TROUBLE as error:
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
        self._latch(name, trip)
        while True:
            done = await flatten(desk, ATTEMPT)
            self.say(f"watchdog {self.folder.name}: {'flat' if done.flat else 'NOT FLAT'}", str(done))
            if done.flat:
                return

    def _alone(self) -> tuple[str, Trip] | None:
        """What trips while the venue lets nobody in."""
        now = time.monotonic()
        return self.judge.see(now, self._around(self.pulse.age(now)), None)

    def _around(self, age: float | None) -> Around:
        return Around(age, self.folder.latch.standing() is not None)

    def _latch(self, name: str, trip: Trip) -> None:
        """On a disk that is full too the account is made flat."""
        if self.folder.latch.standing() is not None and name != "latched":
            return
        self.say(f"watchdog {self.folder.name}: {name}", f"{trip.reason} {json.dumps(trip.values)}")
        try:
            self.folder.latch.set(f"watchdog:{name}", trip.reason, trip.values)
        except OSError as error:
            self._trouble(error)

    def _trouble(self, error: BaseException) -> None:
        """Told once in a while: numbers, such as the time in a venue's words, make no other trouble of it."""
        text, now = config.mask(f"{type(error).__name__}: {error}")[:300], time.monotonic()
        kind = re.sub(r"\d+", "", text)
        if now - self._said.get(kind, -math.inf) >= AGAIN:
            self._said[kind] = now
            self.say(f"watchdog {self.folder.name}: trouble", text)


def run(folder: AccountFolder, say: Say) -> tuple[str, Trip] | None:
    """Watches until there is nothing more to watch; what tripped, or None. An account has one watchdog: a second one takes over from the
    first, which leaves when another session trades the account, or leaves itself where the first one stays."""
    for _ in range(TAKEOVERS):
        with sole(folder.path / "watchdog.lock") as alone:
            if alone:
                return asyncio.run(Watchdog(folder, say).watch())
        time.sleep(LOOK)
    return None
