"""The venue of one schedule in a process of its own, and what was true there: every order and fill, the wallet, when a stop was missing."""

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from quantalpha.practice import ApiKey, Faults, Limits, Server, StreamFaults, Tape, TradingFaults, serve
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_rows import order_id
from quantalpha.practice.conditions import Sizes
from quantalpha.practice.desk import Desk
from quantalpha.practice.keys import KEY
from quantalpha.practice.orders import UNTRIGGERED
from survival.schedule import LONGEST_CONDITION, Schedule

LOOK = 0.05  # seconds between looks at the account
DEPOSIT = 10_000.0
PATIENT = 10**9  # how much may be asked: what is proved here is not the rate budget


@dataclass(frozen=True)
class VenueOrder:
    id: int
    client_id: str
    symbol: str
    quantity: float  # signed
    filled: float  # signed
    status: str
    stop: bool  # a stop or take-profit that waits
    side: int


@dataclass(frozen=True)
class VenueFill:
    trade: str  # as a client is told it
    symbol: str
    client_id: str
    quantity: float  # signed


@dataclass(frozen=True)
class Bare:
    """A stretch of monotonic seconds in which a position had no stop."""

    symbol: str
    begin: float
    end: float


@dataclass
class Books:
    """All of it at the end. earned: by what the wallet has changed; moved_at: monotonic seconds at which fills and funding happened."""

    orders: list[VenueOrder] = field(default_factory=list)
    fills: list[VenueFill] = field(default_factory=list)
    positions: dict[str, float] = field(default_factory=dict)
    earned: float = 0.0
    bare: list[Bare] = field(default_factory=list)
    moved_at: list[float] = field(default_factory=list)
    funded: int = 0
    met: dict[str, int] = field(default_factory=dict)


class Watch:
    """Looks at one account all the time."""

    def __init__(self, desk: Callable[[], Desk], venue: str):
        self.desk, self.venue = desk, venue
        self.moved_at: list[float] = []
        self.bare: list[Bare] = []
        self._since: dict[str, float] = {}
        desk().records.watchers.append(self._heard)

    def look(self) -> None:
        now, desk = time.monotonic(), self.desk()
        held = {each.symbol for each in desk.account.held()}
        for symbol in held | self._since.keys():
            if symbol in held and not covered(desk, symbol):
                self._since.setdefault(symbol, now)
            elif symbol in self._since:
                self.bare.append(Bare(symbol, self._since.pop(symbol), now))

    def quiet(self) -> bool:
        """Nothing works but stops, and every position has one."""
        desk = self.desk()
        return not any(order.resting for order in desk.records.working.values()) and all(
            covered(desk, each.symbol) for each in desk.account.held()
        )

    def books(self, met: dict[str, int]) -> Books:
        self.look()
        desk, now = self.desk(), time.monotonic()
        clients = {each.id: each.client_id for each in desk.records.orders.values()}
        return Books(
            orders=[_order(each) for each in desk.records.orders.values()],
            fills=[
                VenueFill(self._name(each.id), each.symbol, clients[each.order_id], float(each.side * each.quantity))
                for each in desk.records.fills
            ],
            positions={each.symbol: float(each.quantity) for each in desk.account.held()},
            earned=float(desk.account.wallet - desk.account.deposit),
            bare=[*self.bare, *(Bare(symbol, since, now) for symbol, since in self._since.items())],
            moved_at=self.moved_at,
            funded=sum(each.kind == "FUNDING_FEE" for each in desk.account.incomes),
            met=met,
        )

    def _heard(self, change) -> None:
        if change.fill is not None or change.reason == "FUNDING_FEE":
            self.moved_at.append(time.monotonic())

    def _name(self, id: int) -> str:
        return order_id(id) if self.venue == "bybit" else str(id)


def covered(desk: Desk, symbol: str) -> bool:
    """Whether stops wait that together close all of the position."""
    position = desk.account.position(symbol)
    stops = [
        each for each in desk.records.open_orders(symbol)
        if each.status == UNTRIGGERED and each.trigger.name == "stop" and each.side == -position.side
    ]  # fmt: skip
    return any(each.close_position for each in stops) or sum(each.quantity for each in stops) >= abs(position.quantity)


def _order(each) -> VenueOrder:
    signed = float(each.side * each.quantity), float(each.side * each.filled)
    return VenueOrder(each.id, each.client_id, each.symbol, *signed, each.status, each.trigger is not None, each.side)


def run(tape: Tape, schedule: Schedule, control: Connection, log: Path) -> None:
    """Until told "end": says its addresses, then does what `control` says: calm, quiet, books. log: takes its troubles."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with log.open("w", buffering=1) as sys.stderr:
        try:
            asyncio.run(_run(tape, schedule, control))
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


async def _run(tape: Tape, schedule: Schedule, control: Connection) -> None:
    middle = (tape.start + tape.end) // 2 // 28_800_000 * 28_800_000  # a funding settlement
    server = await serve(
        tape, speed=schedule.speed, now=middle - 5 * 60_000 + schedule.start, faults=_faults(schedule), keys=[ApiKey(deposit=DEPOSIT)],
        limits=Limits(limit=PATIENT), address_limit=AddressLimit(limit=PATIENT),
    )  # fmt: skip
    faces = {"bybit": lambda: server.bybit.member(KEY).desk, "binanceusdm": lambda: server.binance.desks[KEY]}
    watch = Watch(faces[schedule.venue], schedule.venue)
    control.send((server.url, server.ws_url))
    parent = os.getppid()
    while os.getppid() == parent:
        watch.look()
        if control.poll():
            word = control.recv()
            if word == "end":
                break
            control.send(_obey(word, server, watch))
        await asyncio.sleep(LOOK)
    await server.close()


def _obey(word: str, server: Server, watch: Watch) -> object:
    if word == "calm":
        for schedule in _schedules(server.faults):
            schedule.chance = {}
        for name in ("maintenance", "clock_skew", "halted", "partial", "price_gap"):
            server.conditions.end(name)
    elif word == "quiet":
        return watch.quiet()
    elif word == "books":
        return watch.books({name: count for each in _schedules(server.faults) for name, count in each.met.items()})
    return None


def _schedules(faults: Faults) -> tuple:
    return faults, faults.trading, faults.account, faults.stream


def _faults(schedule: Schedule) -> Faults:
    chances, timed = schedule.chances, {"seed": schedule.seed, "seconds": LONGEST_CONDITION}
    return Faults(
        chances["market"], **timed, sizes=Sizes(gap=-0.01 if schedule.seed % 2 else 0.01),
        trading=TradingFaults(chances["trading"], **timed),
        account=TradingFaults(chances["account"], **timed, where="account"),
        stream=StreamFaults(chances["stream"], **timed),
    )  # fmt: skip
