"""The one event loop of replay, paper and live: market -> signal -> order -> risk -> broker -> fill, over a FIFO queue.

Modes differ only in feed, broker and clock. Every event is journalled, then takes effect; what an effect brings about joins the end of the
queue, so the chain of one event from outside is finished before the next begins. At its end the journal is forced to the disk, and only
then is anything said to a venue. Synchronous: on return from `feed` all consequences are done.

Symbols of one account move together: openings and closes of one moment are a slice, which is complete when every symbol has its bar or a
later moment is heard of; then all strategies decide on the same equity.
An error ends the engine: what was under way is dropped, and nothing but the session's last word is taken after it.
"""

import gc
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np

from quantalpha.errors import DataError, Halted, UsageError
from quantalpha.runner.approval import Decision, Gate
from quantalpha.runner.events import (
    NAMES,
    PASSING,
    AccountEvent,
    ApprovalEvent,
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    HealthEvent,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    OrderEvent,
    OrderUpdateEvent,
    QuoteEvent,
    RejectedOrderEvent,
    SessionEvent,
    SignalEvent,
    SwitchEvent,
    TickEvent,
    ValidatedOrderEvent,
    WalkedEvent,
    as_kind,
    kind_of,
)  # fmt: skip
from quantalpha.runner.journal import Cut
from quantalpha.runner.protocols import Broker, Decider, Log, Switches
from quantalpha.runner.risk import Risk, enters
from quantalpha.runner.views import AccountView

HISTORY = 1024  # closed bars kept of each symbol for what looks back
MINUTE = 60_000
REPORTS = (OrderUpdateEvent, FillEvent, FundingEvent, AccountEvent, HealthEvent, WalkedEvent)  # what becomes of orders outside


@dataclass(frozen=True)
class Strategy:
    """Whose decisions these are, on what, and for which share of the account's equity."""

    bundle_id: str
    symbol: str
    decider: Decider
    share: float = 1.0

    @property
    def name(self) -> str:
        return self.bundle_id


@dataclass(frozen=True)
class Gates:
    """What an order must pass, and what stops everything; switches None: a replay, which must equal its backtest."""

    risk: Risk
    switches: Switches | None = None
    approval: Gate | None = None  # None: nobody is asked


def client_id(bundle_id: str, symbol: str, decision_time: int, leg: int | str) -> str:
    """The order's name, at most 36 characters of [a-z0-9-]: the same decision always gives the same name, so sending twice is harmless."""
    return "qa-" + hashlib.sha256(f"{bundle_id}|{symbol}|{decision_time}|{leg}".encode()).hexdigest()[:32]


class Engine:
    """Carries the strategies of one account; `last` and `counts` tell the last event of each kind and how many there were."""

    def __init__(self, strategies: Sequence[Strategy], broker: Broker, gates: Gates, journal: Log, clock: Callable[[], int]):
        self.strategies, self.broker, self.gates, self.journal, self.clock = tuple(strategies), broker, gates, journal, clock
        self.symbols = tuple(dict.fromkeys(each.symbol for each in self.strategies))
        if len({each.name for each in self.strategies}) < len(self.strategies):
            raise UsageError("engine: two strategies of one account are the same bundle; give each its own")
        self._sharing = {symbol: [each for each in self.strategies if each.symbol == symbol] for symbol in self.symbols}
        self.targets = dict.fromkeys((each.name for each in self.strategies), 0.0)
        self.halted: SwitchEvent | None = None
        self.observers: list[Callable[[Event], None]] = []
        self.last: dict[str, Event] = {}
        self.counts: Counter[str] = Counter()
        self._closes = {symbol: deque(maxlen=HISTORY + 1) for symbol in self.symbols}
        self._returns: dict[str, np.ndarray | None] = dict.fromkeys(self.symbols)  # of these closes; None: to be worked out
        self._slices = {MarketOpenEvent: {}, MarketCloseEvent: {}}  # symbol -> its bar of the moment that is not complete
        self._opened, self._closed = dict.fromkeys(self.symbols, -1), dict.fromkeys(self.symbols, -1)  # open times of the last bars
        self._wishes: dict[str, float] = {}  # of the slice that is being decided, in which so many are asked
        self._asked = 0
        self._time = self._step = 0  # ms
        self._sent: deque[int] = deque(maxlen=HISTORY)  # times of the last instructions to place or amend
        self._queue: deque[Event] = deque()
        self._done: list[Event] = []  # of the chain under way
        self._dead = self._recovering = False
        self._effects: dict[type[Event], Callable[[Event], Iterable[Event]]] = {
            MarketOpenEvent: self._open,
            MarketCloseEvent: self._close,
            SignalEvent: self._signal,
            OrderEvent: self._judge,
            ValidatedOrderEvent: self._submit,
            InstructionEvent: self._instruct,
            SwitchEvent: self._switch,
            ApprovalEvent: self._answered,
        }

    def feed(self, event: Event) -> None:
        """Takes one event from outside and everything that follows from it. Raises DataError when a bar arrives out of turn, and Halted
        when an earlier event has failed, unless this is the session's stop."""
        if self._dead and not (isinstance(event, SessionEvent) and event.phase == "stop"):
            raise Halted(f"engine: stopped by an earlier error, takes no {type(event).__name__}; start a new session")
        try:
            self._take(event)
            self._finish()
        except BaseException:
            self._dead = True
            self._queue.clear()
            self._done.clear()
            with suppress(Halted):  # the journal itself may be what failed
                self.journal.commit()
            raise

    def recover(self) -> None:
        """Brings a fresh engine to where the record in front of its journal (`journal.Retold`) ends. Nothing is sent and nobody is told:
        what was under way is in doubt until the venue has been asked. Raises ReconcileError where the record is not what happens again."""
        self._recovering = True
        while (event := self.journal.cause) is not None:
            try:
                self.feed(event)
            except Cut:  # an error ended the chain there, and the session
                self._dead = False
        self._recovering = False

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Before the first live bar: what is loaded or compiled at its first use is so now, and what stands in memory by then is not
        looked through for garbage, which takes tenths of a second."""
        for strategy in self.strategies:
            strategy.decider.decide(0.0)
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            gc.unfreeze()

    def view(self, time: int = 0) -> AccountView:
        """The account and its markets as of the last event, or of `time` (ms) if that is later."""
        time = max(self._time, time)
        for symbol, closes in self._closes.items():
            self._returns[symbol] = _returns(np.array(closes)) if self._returns[symbol] is None else self._returns[symbol]
        sent = tuple(moment for moment in self._sent if moment > time - MINUTE)
        return replace(self.broker.account(), time=time, step=self._step, returns=dict(self._returns), sent=sent)

    def closed(self, symbol: str) -> int | None:
        """Open time (ms) of the last closed bar seen of a symbol; None before the first."""
        return None if self._closed[symbol] < 0 else self._closed[symbol]

    def opened(self, symbol: str) -> int:
        """Open time (ms) of the last bar whose opening was seen; -1 before the first."""
        return self._opened[symbol]

    def prices(self) -> dict[str, float]:
        """The last close of each symbol that has one."""
        return {symbol: closes[-1] for symbol, closes in self._closes.items() if closes}

    def _take(self, event: Event) -> None:
        kind = type(event)
        if kind is MarketCloseEvent and not event.warm_up and self._opened[event.symbol] <= self._closed[event.symbol] < event.bar:
            self._take(implied_open(event))
        if kind in (MarketOpenEvent, MarketCloseEvent):
            self._check_turn(event)
            self._spread(self._earlier(event))
        self._queue.append(event)
        while self._queue:
            self._retell()
            self._run(self._queue.popleft())

    def _retell(self) -> None:
        """On recovery instructions take effect where the record has them, since nobody makes them again."""
        while self._recovering and type(event := self.journal.head) is InstructionEvent and event is not self._queue[0]:
            self._run(event)

    def _run(self, event: Event) -> None:
        kind = type(event)
        passing = kind in PASSING
        if not passing:
            event = self._noted(event, NAMES[kind])
        effect = self._effects.get(kind)
        if effect is not None:
            self._spread(effect(event))
        elif passing or kind in REPORTS:
            self._spread(self.broker.heard(event))
        if self.gates.switches is not None and kind is not QuoteEvent:
            self._watch(event)

    def _noted(self, event: Event, name: str) -> Event:
        event = self.journal.append(event)
        self.counts[name] += 1
        self.last[name] = event
        self._done.append(event)
        if event.event_time > self._time and name != "Session":  # whose time is ours, not the market's
            self._time = event.event_time
        return event

    def _spread(self, events: Iterable[Event]) -> None:
        """To the end of the queue; on recovery without instructions, which come as they were recorded."""
        self._queue.extend(events if not self._recovering else [event for event in events if type(event) is not InstructionEvent])

    def _finish(self) -> None:
        """The chain is over: make it durable, then let the world know."""
        if not self._done:
            return
        self.journal.commit()
        done, self._done = self._done, []
        if self._recovering:
            return
        for event in done:
            if type(event) is InstructionEvent:
                self.broker.send(event)
            for observe in self.observers:
                observe(event)

    def _check_turn(self, event: MarketOpenEvent | MarketCloseEvent) -> None:
        if event.symbol not in self.symbols:
            raise DataError(f"{event.symbol}: not traded here, only {', '.join(self.symbols)}")
        opened, closed = self._opened[event.symbol], self._closed[event.symbol]
        if type(event) is MarketOpenEvent:
            in_turn = event.bar > closed >= opened
        else:
            in_turn = event.bar > closed and (event.warm_up or event.bar == opened)
        if not in_turn:
            known = f"last opened {opened}, last closed {closed}"
            raise DataError(f"{event.symbol}: {kind_of(event)} of bar {event.bar} is out of turn ({known}); bars open, then close")

    def _earlier(self, event: MarketOpenEvent | MarketCloseEvent) -> Iterable[Event]:
        """What follows from slices that a later moment has overtaken: who has no bar there is not waited for."""
        happened = []
        for kind, finish in ((MarketOpenEvent, self._opened_all), (MarketCloseEvent, self._closed_all)):
            if self._slices[kind] and any(_before(each, event) for each in self._slices[kind].values()):
                happened += finish(self._taken(kind))
        return happened

    def _open(self, event: MarketOpenEvent) -> Iterable[Event]:
        self._opened[event.symbol] = event.bar
        return self._opened_all(self._completed(event))

    def _close(self, event: MarketCloseEvent) -> Iterable[Event]:
        self._closed[event.symbol], self._step = event.bar, event.event_time - event.bar
        self._closes[event.symbol].append(event.close)
        self._returns[event.symbol] = None
        for strategy in self._sharing[event.symbol]:
            strategy.decider.observe(event)
        if event.warm_up:
            self.broker.passed(event)
            return []
        return self._closed_all(self._completed(event))

    def _completed(self, event: MarketOpenEvent | MarketCloseEvent) -> list:
        """The bars of the moment that this one completes; [] while others are waited for. Who comes when others wait at a later moment is
        not waited for any more, and alone."""
        waiting = self._slices[type(event)]
        if any(_before(event, each) for each in waiting.values()):
            return [event]
        waiting[event.symbol] = event
        return self._taken(type(event)) if len(waiting) == len(self.symbols) else []

    def _opened_all(self, bars: list[MarketOpenEvent]) -> Iterable[Event]:
        return self.broker.opened(bars) if bars else []

    def _closed_all(self, bars: list[MarketCloseEvent]) -> Iterable[Event]:
        """All symbols of a moment have closed: the account is marked, then everybody decides."""
        if not bars:
            return []
        happened = list(self.broker.closed(bars))
        self._wishes.clear()
        if self.halted is not None:
            return happened
        by_symbol = {bar.symbol: bar for bar in bars}
        asked = [each for each in self.strategies if each.symbol in by_symbol]
        self._asked = len(asked)
        return happened + [self._decided(each, by_symbol[each.symbol]) for each in asked]

    def _taken(self, kind: type[Event]) -> list:
        held, self._slices[kind] = self._slices[kind], {}
        return [held[symbol] for symbol in self.symbols if symbol in held]

    def _decided(self, strategy: Strategy, bar: MarketCloseEvent) -> SignalEvent:
        previous = self.targets[strategy.name]
        recorded = self.journal.decided(strategy.name) if self._recovering else None
        if recorded is not None:
            return recorded
        edge, target = strategy.decider.decide(previous)
        return SignalEvent(
            event_time=bar.event_time, recv_time=self.clock(), symbol=bar.symbol, bar=bar.bar, edge=edge, previous=previous, target=target,
            strategy=strategy.name, features=strategy.decider.fingerprint, novelty=strategy.decider.novelty,
        )  # fmt: skip

    def _signal(self, event: SignalEvent) -> Iterable[Event]:
        """Once everybody has spoken, the targets of a symbol are one; what gets smaller comes first, to make room for what grows."""
        self._wishes[event.strategy] = event.target
        if len(self._wishes) < self._asked:
            return []
        orders = [order for symbol in self.symbols for order in self._order(symbol, event)]
        return orders and sorted(orders, key=lambda order: enters(order.quantity, self.broker.account().quantity(order.symbol)))

    def _order(self, symbol: str, event: SignalEvent) -> Iterable[Event]:
        """What brings a symbol to the targets of its strategies; those that were not asked want what they held."""
        sharing = self._sharing[symbol]
        if not any(each.name in self._wishes for each in sharing):
            return []
        target = sum(each.share * self._wishes.get(each.name, self.targets[each.name]) for each in sharing)
        quantity = self.broker.order_quantity(symbol, target)
        if quantity is None:
            self._hold(symbol)
            return []
        name = client_id("|".join(each.bundle_id for each in sharing), symbol, event.event_time, 0)
        values = {"client_id": name, "quantity": quantity, "target": target, "price": self._closes[symbol][-1]}
        return [OrderEvent(**self._stamp(event) | {"symbol": symbol}, bar=event.bar, **values)]

    def _hold(self, symbol: str) -> None:
        """What the strategies of a symbol wished for is what they hold from now on."""
        for each in self._sharing.get(symbol, ()):  # an order may come from outside, as a pair does
            self.targets[each.name] = self._wishes.get(each.name, self.targets[each.name])

    def _judge(self, event: OrderEvent) -> Iterable[Event]:
        view = self.view()
        if self.halted is not None and enters(event.quantity, view.quantity(event.symbol)):
            return [as_kind(event, RejectedOrderEvent, reason="halted", values={})]
        return [self.gates.risk.judge(event, view)]

    def _submit(self, event: ValidatedOrderEvent) -> Iterable[Event]:
        return self._place(event) if self.gates.approval is None else self._passed(self.gates.approval.decide(event))

    def _answered(self, event: ApprovalEvent) -> Iterable[Event]:
        return [] if self.gates.approval is None else self._passed(self.gates.approval.answer(event))

    def _passed(self, decision: Decision) -> Iterable[Event]:
        """What a person's word, or the lack of one, makes of an order."""
        return [*decision.refused, *(self._place(decision.order) if decision.order is not None else [])]

    def _place(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        instructions = self.broker.submit(order)
        self._hold(order.symbol)
        return instructions

    def _instruct(self, event: InstructionEvent) -> Iterable[Event]:
        if event.action != "cancel":
            self._sent.append(event.event_time)
        return self.broker.heard(event)

    def _watch(self, event: Event) -> None:
        """Halts where a switch trips; once halted, asks for a flat account until it is one."""
        trip = self.gates.switches.see(self.view(event.event_time), event)
        if trip is not None and self.halted is None:
            self._spread([trip])
        elif self.halted is not None and self.halted.phase == "tripped" and type(event) in (TickEvent, AccountEvent, EquityEvent):
            self._spread(self._flattened())

    def _switch(self, event: SwitchEvent) -> Iterable[Event]:
        """The first trip stands, until the account is flat and a person has reset it."""
        if event.phase == "reset":
            self.halted, self.targets = None, dict.fromkeys(self.targets, 0.0)
            self.broker.release()
            return []
        self.halted = event if self.halted is None or event.phase == "flat" else self.halted
        if self.halted.phase != "tripped":
            return []
        waiting = [] if self.gates.approval is None else self.gates.approval.withdraw(event, "halted")
        return [*waiting, *self._flattened()]

    def _flattened(self) -> Iterable[Event]:
        """Asked even of a broker that is flat: an order may still wait for its moment there."""
        told = list(self.broker.flatten())
        if told or not self.broker.flat():
            return told
        now = {"event_time": self._time, "recv_time": self.clock(), "symbol": ""}
        return [SwitchEvent(**now, name=self.halted.name, phase="flat", reason="position and orders verified gone")]

    def _stamp(self, event: Event) -> dict:
        return {"event_time": event.event_time, "recv_time": self.clock(), "symbol": event.symbol}


def _returns(closes: np.ndarray) -> np.ndarray:
    return closes[1:] / closes[:-1] - 1.0


def _before(earlier: Event, event: Event) -> bool:
    """Closes of a moment come before its openings."""
    turn = type(earlier) is MarketCloseEvent and type(event) is MarketOpenEvent
    return earlier.event_time < event.event_time or turn and earlier.event_time == event.event_time


def implied_open(bar: MarketCloseEvent) -> MarketOpenEvent:
    """The opening of a bar whose close is the first that was heard of it."""
    times = {"event_time": bar.bar, "recv_time": bar.recv_time, "bar": bar.bar}
    return MarketOpenEvent(**times, symbol=bar.symbol, open=bar.open, funding_rate=bar.funding_rate)
