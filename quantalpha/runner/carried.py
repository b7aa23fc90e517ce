"""What the sessions of an account have lost, in its folder: a new session, and a watchdog, count on from there and not from nothing.

    losses.json    {session, resets, carried}: who wrote it, how often the account had been reset by then, and a `CarriedEvent`

It is written behind the journal, a moment after what it tells of is durable. A reset needs no word here: those that came later stand in the
latch's history. Sessions on paper are accounts of their own, so that nothing is carried between them.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantalpha.errors import DataError, Halted
from quantalpha.files import read_json, write_atomic
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.events import (
    NAMES,
    CarriedEvent,
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    SessionEvent,
    SwitchEvent,
    from_json,
    to_json,
)  # fmt: skip
from quantalpha.runner.switches import DAILY_LOSS, outlasts

if TYPE_CHECKING:
    from quantalpha.runner.engine import Engine

FILE = "losses.json"
COUNTED = (SessionEvent, CarriedEvent, EquityEvent, FillEvent, FundingEvent, SwitchEvent)


class Losses:
    """Those of one session, written for each of its accounts."""

    def __init__(self, accounts: Sequence[AccountFolder], session: str, engine: "Engine"):
        self.accounts, self.session, self.engine = accounts, session, engine
        self.resets = {each.name: len(each.latch.history()) for each in accounts}  # none comes while the session runs
        self._new = True
        engine.observers.append(self._see)

    def earlier(self, now: int) -> list[CarriedEvent]:
        """What other sessions of these accounts have lost; its own journal tells of this one. Raises as `before`."""
        found = [before(each, now, but=self.session) for each in self.accounts]
        return [each for each in found if each is not None]

    def keep(self) -> None:
        """To be called often: writes what is new, unless it is not known what is lost, which latches. Halted where it cannot be."""
        if not self._new:
            return
        view = self.engine.view()
        times = {"event_time": view.time, "recv_time": self.engine.clock(), "symbol": ""}
        event = CarriedEvent(**times, equity=view.equity, cash=view.cash, **self.engine.gates.switches.carry())
        for each in self.accounts if known(event) else ():
            _write(each.path / FILE, {"session": self.session, "resets": self.resets[each.name], "carried": json.loads(to_json(event))})
        self._new = False

    def _see(self, event: Event) -> None:
        self._new = self._new or isinstance(event, COUNTED)


def before(account: AccountFolder, now: int, *, but: str | None = None) -> CarriedEvent | None:
    """What sessions of the account (other than the one called `but`) have lost, less what a person has reset; None where there was none.

    now: ms since 1970 UTC, the venue's: a rehearsal's tape that is earlier than the record plays on another exchange, for other money.
    Raises DataError where record or resets are damaged.
    """
    path = account.path / FILE
    if not path.exists():
        return None
    found, event = _read(path)
    other_tape = account.mode == "rehearse" and event.event_time > now
    if found["session"] == but or other_tape:
        return None
    for reset in account.latch.history()[found["resets"] :]:
        day = {} if DAILY_LOSS in outlasts(reset["latch"]["name"]) else {"day": -1}
        event = replace(event, peak=0.0, losses=0, **day)
    return event


def known(event: CarriedEvent) -> bool:
    """Whether every number is one."""
    return all(math.isfinite(each) for each in (event.equity, event.cash, event.day, event.base, event.peak, event.losses))


def _read(path: Path) -> tuple[dict, CarriedEvent]:
    found = read_json(path, "session", "resets", "carried")
    try:
        event = from_json(NAMES[CarriedEvent], json.dumps(found["carried"]))
        sound = known(event) and found["resets"] >= 0
    except (DataError, TypeError):
        sound = False
    if not sound:
        raise DataError(f"{path.parent.name}/{path.name}: damaged: nobody knows what the account has lost; restore it, or take it away")
    return found, event


def _write(path: Path, record: dict) -> None:
    try:
        write_atomic(path, json.dumps(record) + "\n")
    except OSError as error:
        raise Halted(f"{path.parent.name}/{path.name}: what was lost cannot be kept: {error.strerror}; make room, then resume") from None
