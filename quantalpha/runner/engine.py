"""The one event loop of replay, paper and live: market -> signal -> order -> risk -> broker -> fill, over a FIFO queue.

Modes differ only in feed, broker and clock. Every event is journalled, then takes effect; what an effect brings about joins the end of the
queue, so the chain of one event from outside is finished before the next begins. At its end the journal is forced to the disk, and only
then is anything said to a venue. Synchronous: on return from `feed` all consequences are done.

When a slice of bars is complete (`slices`), all strategies decide on the same equity, and the targets of a symbol become one order
(`targets`).
An error ends the engine: what was under way is dropped, and nothing but the session's last word is taken after it.
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from quantalpha.errors import Halted
from quantalpha.runner.approval import Decision, Gate
from quantalpha.runner.events import (
    NAMES,
    PASSING,
    REPORTS,
    AccountEvent,
    ApprovalEvent,
    EquityEvent,
    Event,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    OrderEvent,
    RejectedOrderEvent,
    SessionEvent,
    SignalEvent,
    SwitchEvent,
    TickEvent,
    ValidatedOrderEvent,
    as_kind,
)  # fmt: skip
from quantalpha.runner.journal import Cut
from quantalpha.runner.past import Past
from quantalpha.runner.protocols import Broker, Log, Switches
from quantalpha.runner.risk import Risk, enters
from quantalpha.runner.slices import Slices
from quantalpha.runner.targets import Strategy, Targets
from quantalpha.runner.views import AccountView


@dataclass(frozen=True)
class Gates:
    """What an order must pass, and what stops everything; switches None: a replay, which must equal its backtest."""

    risk: Risk
    switches: Switches | None = None
    approval: Gate | None = None  # None: nobody is asked


class Engine:
    """Carries the strategies of one account; `last` and `counts` tell the last event of each kind and how many there were."""

    def __init__(self, strategies: Sequence[Strategy], broker: Broker, gates: Gates, journal: Log, clock: Callable[[], int]):
        self.broker, self.gates, self.journal, self.clock = broker, gates, journal, clock
        self._wanted = Targets(strategies)
        self.strategies, self.symbols = self._wanted.strategies, self._wanted.symbols
        self.halted: SwitchEvent | None = None
        self.observers: list[Callable[[Event], None]] = []
        self.last: dict[str, Event] = {}
        self.counts: Counter[str] = Counter()
        self._slices, self._past = Slices(self.symbols), Past(self.symbols)
        self._queue: deque[Event] = deque()
        self._done: list[Event] = []  # of the chain under way
        self._dead = self._recovering = False
        self._effects: dict[type[Event], Callable[[Event], Iterable[Event]]] = dict.fromkeys((*REPORTS, *PASSING), self._heard) | {
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

    @property
    def targets(self) -> dict[str, float]:
        """What each strategy holds, by its name."""
        return self._wanted.held

    def view(self, time: int = 0) -> AccountView:
        """The account and its markets as of the last event, or of `time` (ms) if that is later."""
        return self._past.view(self.broker.account(), time)

    def closed(self, symbol: str) -> int | None:
        """Open time (ms) of the last closed bar seen of a symbol; None before the first."""
        return None if self._slices.closed[symbol] < 0 else self._slices.closed[symbol]

    def opened(self, symbol: str) -> int:
        """Open time (ms) of the last bar whose opening was seen; -1 before the first."""
        return self._slices.opened[symbol]

    def prices(self) -> dict[str, float]:
        """The last close of each symbol that has one."""
        return self._past.prices()

    def _take(self, event: Event) -> None:
        if type(event) in (MarketOpenEvent, MarketCloseEvent):
            implied = self._slices.implied(event)
            if implied is not None:
                self._take(implied)
            self._slices.require_turn(event)
            for bars in self._slices.overtaken(event):
                self._spread(self._closed_all(bars) if type(bars[0]) is MarketCloseEvent else self.broker.opened(bars))
        self._queue.append(event)
        while self._queue:
            if self._recovering:
                self._retell()
            self._run(self._queue.popleft())

    def _retell(self) -> None:
        """On recovery instructions take effect where the record has them, since nobody makes them again."""
        while type(event := self.journal.head) is InstructionEvent and event is not self._queue[0]:
            self._run(event)

    def _run(self, event: Event) -> None:
        kind = type(event)
        name, effect = NAMES.get(kind), self._effects.get(kind)
        if name is not None:
            event = self._noted(event, name)
        told = () if effect is None else effect(event)
        if told:
            self._spread(told)
        if self.gates.switches is not None:
            self._watch(event)

    def _noted(self, event: Event, name: str) -> Event:
        event = self.journal.append(event)
        self.counts[name] += 1
        self.last[name] = event
        self._done.append(event)
        self._past.heard(event)
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
        for event in done if self.observers else ():
            for observe in self.observers:
                observe(event)

    def _open(self, event: MarketOpenEvent) -> Iterable[Event]:
        self._slices.opened[event.symbol] = event.bar
        bars = self._slices.completed(event)
        return self.broker.opened(bars) if bars else []

    def _close(self, event: MarketCloseEvent) -> Iterable[Event]:
        self._slices.closed[event.symbol] = event.bar
        self._past.closed(event)
        for strategy in self._wanted.sharing[event.symbol]:
            strategy.decider.observe(event)
        if event.warm_up:
            self.broker.passed(event)
            return []
        bars = self._slices.completed(event)
        return self._closed_all(bars) if bars else []

    def _closed_all(self, bars: list[MarketCloseEvent]) -> Iterable[Event]:
        """All symbols of a moment have closed: the account is marked, then everybody decides."""
        happened = list(self.broker.closed(bars))
        for strategy, bar in self._wanted.ask(bars if self.halted is None else []):
            happened.append(self._decided(strategy, bar))
        return happened

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
        return self._wanted.orders(event, self.broker, self._past.price)

    def _judge(self, event: OrderEvent) -> Iterable[Event]:
        view = self.view()
        if self.halted is not None and enters(event.quantity, view.quantity(event.symbol)):
            return [as_kind(event, RejectedOrderEvent, reason="halted", values={})]
        return [self.gates.risk.judge(event, view)]

    def _submit(self, event: ValidatedOrderEvent) -> Iterable[Event]:
        return self._place(event) if self.gates.approval is None else self._passed(self.gates.approval.decide(event))

    def _answered(self, event: ApprovalEvent) -> Iterable[Event]:
        """A person said yes to an order of another moment: it is judged again, with the account as it is now."""
        if self.gates.approval is None:
            return []
        decision = self.gates.approval.answer(event)
        verdicts = [] if decision.order is None else self._judge(as_kind(decision.order, OrderEvent))
        refused = [verdict for verdict in verdicts if type(verdict) is RejectedOrderEvent]
        return refused or self._passed(decision)

    def _passed(self, decision: Decision) -> Iterable[Event]:
        """What a person's word, or the lack of one, makes of an order."""
        return [*decision.refused, *(self._place(decision.order) if decision.order is not None else [])]

    def _place(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        instructions = self.broker.submit(order)
        self._wanted.hold(order.symbol)
        return instructions

    def _instruct(self, event: InstructionEvent) -> Iterable[Event]:
        self._past.instructed(event)
        return self.broker.heard(event)

    def _heard(self, event: Event) -> Iterable[Event]:
        return self.broker.heard(event)

    def _watch(self, event: Event) -> None:
        """Halts where a switch trips; once halted, asks for a flat account until it is one."""
        kind, switches = type(event), self.gates.switches
        trip = switches.see(self.view(self._past.of_market(event)), event) if kind in switches.heeds else None
        if trip is not None and self.halted is None:
            self._spread([trip])
        elif self.halted is not None and self.halted.phase == "tripped" and kind in (TickEvent, AccountEvent, EquityEvent):
            self._spread(self._flattened())

    def _switch(self, event: SwitchEvent) -> Iterable[Event]:
        """The first trip stands, until the account is flat and a person has reset it."""
        if event.phase == "reset":
            self.halted = None
            self._wanted.release()
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
        now = {"event_time": self._past.time, "recv_time": self.clock(), "symbol": ""}
        return [SwitchEvent(**now, name=self.halted.name, phase="flat", reason="position and orders verified gone")]
