"""A session: what is put to work on one account until it has decided often enough, is told to stop, or loses its venue.

Everything it did is in its folder: `session.json` says what ran, `journal.db` what happened. A session that was killed goes on where its
journal ends: `Request(name=..., resume=True)`.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from quantalpha import __version__, config, timeframe, verdict
from quantalpha.errors import DataError, Halted, QuantalphaError, ReconcileError, UsageError
from quantalpha.files import read_json
from quantalpha.runner import accounts, folders, steady
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.carried import Losses
from quantalpha.runner.composition import Composition
from quantalpha.runner.console import warn_overridden
from quantalpha.runner.engine import Engine
from quantalpha.runner.events import ON_STOP, AccountEvent, Event, MarketCloseEvent, SessionEvent, SwitchEvent
from quantalpha.runner.gates import gates_of, needed_history
from quantalpha.runner.journal import FILE, Journal, Retold, read
from quantalpha.runner.protocols import Broker
from quantalpha.runner.request import PAPER, REPLAY, Request
from quantalpha.runner.status import status
from quantalpha.runner.summary import Summary
from quantalpha.runner.venue import second_of

IN_FORCE = ["venue", "runner", "risk", "switches", "execution", "route"]  # parameters that a session's card holds
DECIDE_NOTHING = ("venue", "runner.bars")  # of them: where the venue is, how long it lasts
REPLAY_BATCH = 4096  # events held in memory: a tape can be read again


def account_of(mode: str, params: config.Params, session: Path) -> AccountFolder:
    """Where latch and heartbeat of the account lie that the session of this folder trades; on paper every session is one of its own."""
    name = f"{mode}-{session.name}" if mode == PAPER else accounts.name_of(mode, params.venue)
    return AccountFolder(name, session.parent.parent / "accounts")


def accounts_of(mode: str, params: config.Params, session: Path) -> list[AccountFolder]:
    """Of each venue the account that the session of this folder trades there, the first venue's first."""
    first, second = account_of(mode, params, session), second_of(params) if mode in accounts.VENUES else None
    return [first] if second is None else [first, AccountFolder(accounts.name_of(mode, second), first.path.parent)]


@dataclass(frozen=True)
class Setting:
    """What runs, how, and where it is written down."""

    composition: Composition
    request: Request
    folder: Path


class Session:
    """A folder, its journal and the engine that writes it; leaving the context writes the last word and closes the journal."""

    def __init__(self, setting: "Setting", params: config.Params, broker: Broker, journal: Journal | Retold):
        composition, request, self.folder = setting.composition, setting.request, setting.folder
        self.composition, self.request, self.params, self.mode = composition, request, params, request.mode
        self.limit = None if self.mode == REPLAY else params.runner.bars
        self.step = timeframe.milliseconds(composition.timeframe)
        self.reason, self.in_sample = "interrupted", 0
        self.past: list[Event] = []  # of a resumed session
        self.began: dict[str, int] = {}  # by place (see `legs`): ms of a venue's first word on the account
        self.overridden = [line["name"] for each in composition.bundles for line in verdict.overridden(each.gate)]
        self.until = max(composition.until.values(), default=-1)
        self.journal, self.started = journal, time.monotonic()
        self.engine = Engine(composition.strategies(), broker, gates_of(composition, params, self.mode), journal, self.clock)
        self.engine.observers += [self._count, self._latch]
        self._losses: Losses | None = None  # kept once those of earlier sessions are known
        self._stack = ExitStack()

    @classmethod
    def start(cls, composition: Composition, params: config.Params, request: Request, broker: Broker) -> "Session":
        """A new folder with its card. UsageError: the name is none or taken; DataError: a live bar tells a bundle too little, or it was
        made with other libraries."""
        composition.strategies()  # refused before anything is made
        for each in composition.bundles:
            config.require_same_libraries(each.manifest["lock_sha256"], f"bundle {each.id[:12]}")
        folder = folders.create(request.name, request.sessions)
        card = {"session": folder.name, "mode": request.mode, "started": datetime.now(UTC).isoformat(), "code_version": __version__}
        card |= composition.card | {"timeframe": composition.timeframe, "capital": composition.account.initial_cash}
        card |= {"overridden": [line for each in composition.bundles for line in verdict.overridden(each.gate)]}
        card |= {"params": params.sections(IN_FORCE)}  # the rest is sealed
        try:
            journal = Journal(folder / FILE, folder.name, batch=REPLAY_BATCH if request.mode == REPLAY else 1)
            folders.write_card(folder, card)  # last: a session that has its card can be resumed
        except (QuantalphaError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(Setting(composition, request, folder), params, broker, journal)

    @classmethod
    def resume(cls, composition: Composition, params: config.Params, request: Request, broker: Broker) -> "Session":
        """The session of that name, brought to where its journal ends. UsageError: other bundles or another mode; ReconcileError: told
        again it is another story."""
        folder = folders.session_folder(request.name, request.sessions)
        card = read_json(folder / folders.CARD, "bundles", "mode", "capital")
        if card["mode"] != request.mode or not composition.same_as(card):
            was = f"{card['mode']} of {', '.join(each['id'][:12] for each in card['bundles']) or 'a pair'}"
            raise UsageError(f"--resume {folder.name}: was {was}, this is {request.mode} of {composition}")
        if card["capital"] != composition.account.initial_cash:
            raise UsageError(f"--resume {folder.name}: its capital is {card['capital']:g}, not {composition.account.initial_cash:g}")
        events = read(folder / FILE)
        retold = Retold(events, Journal.reopen(folder / FILE, folder.name, len(events)))
        session = cls(Setting(composition, request, folder), params, broker, retold)
        try:
            session.engine.recover()
        except ReconcileError as error:
            raise _set_otherwise(folder.name, card, params) or error from None
        session.past = events
        for event in events:
            session._count(event)
        session.began = {event.symbol: event.event_time for event in reversed(events) if type(event) is AccountEvent}
        return session

    @property
    def account(self) -> AccountFolder:
        """Where latch and heartbeat of its account lie; on paper every session is an account of its own."""
        return account_of(self.mode, self.params, self.folder)

    @cached_property
    def accounts(self) -> list[tuple[AccountFolder, dict]]:
        """Of each venue its folder, and what is told of it there."""
        first, *others = accounts_of(self.mode, self.params, self.folder)
        second = {} if not others else {"venue": second_of(self.params).model_dump(mode="json"), "second": True}
        return [(first, self.card), *((folder, self.card | second) for folder in others)]

    @property
    def card(self) -> dict:
        """What watchdog and `quantalpha kill` are told of it."""
        told = {"mode": self.mode, "session": self.folder.name, "symbols": list(self.composition.symbols)}
        told["capital"] = self.engine.broker.account().cash / (1 if second_of(self.params) is None else 2)
        return told | {"venue": self.params.venue.model_dump(mode="json"), "params": self.params.sections(["runner", "switches"])}

    @property
    def history_bars(self) -> int:
        """Closed bars shown before the first live one; at a venue limits and switches look back too, and refuse where they cannot."""
        lookback = self.composition.lookback
        return needed_history(self.params, lookback) if self.mode in accounts.VENUES else lookback

    @property
    def resumed(self) -> bool:
        return isinstance(self.journal, Retold)

    def clock(self) -> int:
        """Milliseconds since 1970 UTC: the wall's, in a replay the tape's."""
        last = self.engine.last.get("MarketClose") if self.mode == REPLAY else None
        return steady.ms() if last is None else last.event_time

    def feed(self, event: Event) -> bool:
        """Takes one event from outside; true once the session has made its number of decisions."""
        self.engine.feed(event)
        if self.request.on_status is not None and isinstance(event, MarketCloseEvent) and not event.warm_up:
            self.request.on_status(status(self.engine))
        done = self.limit is not None and self.engine.counts["Signal"] >= self.limit
        if done:
            self.reason = f"{self.limit} decisions made"
        return done

    def carry(self, now: int) -> None:
        """Counts on from what earlier sessions of its accounts have lost, and keeps what this one loses. now: ms, the venue's."""
        losses = Losses([folder for folder, _ in self.accounts], self.folder.name, self.engine)
        for event in losses.earlier(now):
            self.feed(replace(event, event_time=now, recv_time=self.clock()))
        self._losses = losses

    def look_at_latch(self) -> None:
        """What stopped an account from outside stops the session; what stopped the session is said there."""
        self.beat()
        if self._losses is not None:
            self._losses.keep()
        found, halted = [folder.latch.standing() for folder, _ in self.accounts], self.engine.halted
        standing = next(filter(None, found), None)
        if halted is not None and None in found:
            self._latch(replace(halted, phase="tripped"))
        elif standing is not None and halted is None:
            now = {"event_time": 0, "recv_time": self.clock(), "symbol": ""}
            self.feed(SwitchEvent(**now, name=standing["name"], phase="tripped", reason=standing["reason"]))

    def _latch(self, event: Event) -> None:
        """A switch latches the account the moment it has tripped; a graceful stop that closes the position is none."""
        if isinstance(event, SwitchEvent) and event.phase == "tripped" and event.name != ON_STOP:
            for folder, _ in self.accounts:
                folder.latch.set(event.name, event.reason, event.values)

    def beat(self) -> None:
        """The session lives, at every venue."""
        for folder, _ in self.accounts:
            folder.beat()

    def _count(self, event: Event) -> None:
        self.in_sample += isinstance(event, MarketCloseEvent) and not event.warm_up and event.bar <= self.until

    def __enter__(self) -> "Session":
        for each in self.composition.bundles:
            warn_overridden(each)
        if self.request.watching is not None:
            self.engine.observers += self._stack.enter_context(self.request.watching(self.folder, self.past))
        what = f"{self.mode} {self.composition.name}"
        self._say("resume" if self.resumed else "start", "; ".join([what, *(f"{name} overridden" for name in self.overridden)]))
        self._begin_anew()
        return self

    def _begin_anew(self) -> None:
        """A session that a switch had halted trades again where a person has reset its account since. Where nobody has, it ended before it
        could latch it: Halted, and latched now."""
        halted = self.engine.halted
        if halted is not None:
            tripped = next(each for each in reversed(self.past) if isinstance(each, SwitchEvent) and each.phase == "tripped")
            if halted.name != ON_STOP and not self._was_reset(tripped.recv_time):
                self._latch(tripped)
                self.account.latch.require_open()
            now = {"event_time": 0, "recv_time": self.clock(), "symbol": ""}
            self.engine.feed(SwitchEvent(**now, name=halted.name, phase="reset", reason="resumed after a reset"))

    def _was_reset(self, since: int) -> bool:
        """Every account, after that time (ms)."""
        histories = [folder.latch.history() for folder, _ in self.accounts]
        return all(any(since // 1000 <= datetime.fromisoformat(each["time"]).timestamp() for each in history) for history in histories)

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, QuantalphaError):
            self.reason = config.mask(f"{kind.__name__}: {error}")
        elif error is not None:
            self.reason = kind.__name__
        try:
            self._say("stop", self.reason)
            if self._losses is not None:
                self._losses.keep()
        finally:
            self._stack.close()
            self.journal.close()

    def at_the_end(self, work: Callable[[], None]) -> None:
        """Done once its last word is said, however it ends."""
        self._stack.callback(work)

    def _say(self, phase: str, reason: str) -> None:
        now = steady.ms()
        symbol = "+".join(self.composition.symbols)
        self.engine.feed(SessionEvent(event_time=now, recv_time=now, symbol=symbol, phase=phase, reason=reason))

    def require_young(self, now: int, limit: str | None) -> None:
        """DataError where a model has learnt nothing for longer than `limit`. now: ms, when the first live bar opens."""
        for each in self.composition.bundles:
            age = now - int(each.until.timestamp() * 1000)
            if limit is not None and age > timeframe.milliseconds(limit):
                days = age / timeframe.UNITS["d"]
                raise DataError(
                    f"bundle {each.id[:12]}: stale: it learnt from bars up to {each.until:%Y-%m-%d %H:%M}, {days:.0f} days before "
                    f"the first live one, and runner.max_model_age is {limit}; run the pipeline and promote its new run, or set "
                    "runner.max_model_age"
                )

    def seen_flat(self) -> bool:
        """Whether a kill switch has tripped, and the account is flat by its venue's word."""
        return self.engine.halted is not None and self.engine.halted.phase == "flat"

    def require_running(self) -> None:
        """Halted once a kill switch has tripped and the account is verified flat."""
        if self.seen_flat():
            raise Halted(
                f"runner: halted by {self.engine.halted.name}; the account is flat; look into it, then `quantalpha reset --reason ...`"
            )

    def summary(self) -> Summary:
        counts, account, composition = self.engine.counts, self.engine.broker.account(), self.composition
        return Summary(
            session=self.folder.name, folder=str(self.folder), bundle=composition.name, mode=self.mode,
            symbol="+".join(composition.symbols), timeframe=composition.timeframe, reason=self.reason, decisions=counts["Signal"],
            orders=counts["Order"], rejected=counts["RejectedOrder"], fills=counts["Fill"], equity=account.equity, cash=account.cash,
            positions={leg: each.quantity for leg, each in account.positions.items()}, in_sample=self.in_sample,
            overridden=self.overridden, seconds=time.monotonic() - self.started,
        )  # fmt: skip


def _set_otherwise(name: str, card: dict, params: config.Params) -> UsageError | None:
    """Why the session does not do again what it did: it ran under other settings; None where these are the same."""
    was, now = _flat(card.get("params", {})), _flat(params.sections(IN_FORCE))
    differ = [key for key, value in was.items() if not key.startswith(DECIDE_NOTHING) and value != now.get(key, value)]
    if not differ:
        return None
    told = ", ".join(f"{key} is {now[key]}, was {was[key]}" for key in differ)
    again = " ".join(f"--set {key}={was[key]}" for key in differ)
    return UsageError(f"--resume {name}: other settings than it ran with, under which it would have traded otherwise: {told}; add {again}")


def _flat(sections: dict) -> dict[str, str]:
    """By section.key, as --set takes it."""
    return {f"{name}.{key}": json.dumps(value).strip('"') for name, section in sections.items() for key, value in section.items()}
