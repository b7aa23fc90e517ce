"""The one event loop of replay, paper and live: market -> signal -> order -> risk -> broker -> fill, over a FIFO queue.

Modes differ only in feed, broker and clock. Every event is journalled, then takes effect; what an effect brings about joins the end of the
queue, so the chain of one market event is finished before the next begins. Synchronous: on return from `feed` all consequences are done.
An error ends the engine: what was under way is dropped, and nothing but the session's last word is taken after it.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from quantalpha.errors import DataError, Halted
from quantalpha.runner.events import (
    Event,
    MarketCloseEvent,
    MarketOpenEvent,
    OrderEvent,
    SessionEvent,
    SignalEvent,
    ValidatedOrderEvent,
    kind_of,
)  # fmt: skip
from quantalpha.runner.risk import Risk
from quantalpha.runner.views import AccountView


class Log(Protocol):
    """Where events are kept: `runner.journal.Journal`."""

    def append(self, event: Event) -> None: ...


class Decider(Protocol):
    """Forecast and policy on the trailing window: `runner.decide.Decider`."""

    def observe(self, bar: MarketCloseEvent) -> None: ...

    def decide(self, previous: float) -> tuple[float, float]:
        """(edge, target) at the close of the last bar observed; `previous`: the target held."""


class Broker(Protocol):
    """Who executes: `runner.broker_paper.PaperBroker`. What happened comes back as events."""

    def account(self) -> AccountView: ...

    def opened(self, bar: MarketOpenEvent) -> Iterable[Event]: ...

    def closed(self, bar: MarketCloseEvent) -> Iterable[Event]: ...

    def order_quantity(self, target: float) -> float | None:
        """Signed quantity that would bring the position to `target` x equity, at the last close; None: nothing is to be decided, since
        the target stands or lies within the account's rebalance band. Changes nothing."""

    def submit(self, order: ValidatedOrderEvent) -> None:
        """Takes the order for the next open and holds its target; a quantity of 0 is a new target with nothing to trade."""


@dataclass(frozen=True)
class Strategy:
    """Whose decisions these are, and on what."""

    bundle_id: str
    symbol: str
    decider: Decider


def client_id(bundle_id: str, symbol: str, decision_time: int, leg: int) -> str:
    """The order's name, at most 36 characters of [a-z0-9-]: the same decision always gives the same name, so sending twice is harmless."""
    return "qa-" + hashlib.sha256(f"{bundle_id}|{symbol}|{decision_time}|{leg}".encode()).hexdigest()[:32]


class Engine:
    """Carries one strategy on one symbol; `last` and `counts` tell the last event of each kind and how many there were."""

    def __init__(self, strategy: Strategy, broker: Broker, risk: Risk, journal: Log, clock: Callable[[], int]):
        self.strategy, self.broker, self.risk, self.journal, self.clock = strategy, broker, risk, journal, clock
        self.target = 0.0
        self.last: dict[str, Event] = {}
        self.counts: Counter[str] = Counter()
        self._opened = self._closed = -1  # open times of the last bar opened and closed
        self._queue: deque[Event] = deque()
        self._dead = False
        self._effects: dict[type[Event], Callable[[Event], Iterable[Event]]] = {
            MarketOpenEvent: self._open,
            MarketCloseEvent: self._close,
            SignalEvent: self._order,
            OrderEvent: self._judge,
            ValidatedOrderEvent: self._submit,
        }

    def feed(self, event: Event) -> None:
        """Takes one event from outside and everything that follows from it. Raises DataError when a bar arrives out of turn, and Halted
        when an earlier event has failed, unless this is the session's stop."""
        if self._dead and not (isinstance(event, SessionEvent) and event.phase == "stop"):
            raise Halted(f"engine: stopped by an earlier error, takes no {kind_of(event)}; start a new session")
        try:
            self._take(event)
        except BaseException:
            self._dead = True
            self._queue.clear()
            raise

    def _take(self, event: Event) -> None:
        if isinstance(event, MarketCloseEvent) and not event.warm_up and self._opened <= self._closed < event.bar:
            self._take(implied_open(event))
        self._check_turn(event)
        self._queue.append(event)
        while self._queue:
            self._run(self._queue.popleft())

    def _run(self, event: Event) -> None:
        self.journal.append(event)
        kind = kind_of(event)
        self.counts[kind] += 1
        self.last[kind] = event
        effect = self._effects.get(type(event))
        if effect is not None:
            self._queue.extend(effect(event))

    def _check_turn(self, event: Event) -> None:
        if isinstance(event, MarketOpenEvent):
            in_turn = event.bar > self._closed >= self._opened
        elif isinstance(event, MarketCloseEvent):
            in_turn = event.bar > self._closed and (event.warm_up or event.bar == self._opened)
        else:
            return
        if not in_turn:
            known = f"last opened {self._opened}, last closed {self._closed}"
            raise DataError(f"{event.symbol}: {kind_of(event)} of bar {event.bar} is out of turn ({known}); bars open, then close")

    def _open(self, event: MarketOpenEvent) -> Iterable[Event]:
        self._opened = event.bar
        return self.broker.opened(event)

    def _close(self, event: MarketCloseEvent) -> Iterable[Event]:
        self._closed = event.bar
        self.strategy.decider.observe(event)
        if event.warm_up:
            return []
        happened = list(self.broker.closed(event))
        edge, target = self.strategy.decider.decide(self.target)
        return [*happened, SignalEvent(**self._stamp(event), bar=event.bar, edge=edge, previous=self.target, target=target)]

    def _order(self, event: SignalEvent) -> Iterable[Event]:
        quantity, price = self.broker.order_quantity(event.target), self.last["MarketClose"].close
        if quantity is None:
            self.target = event.target
            return []
        name = client_id(self.strategy.bundle_id, event.symbol, event.event_time, 0)
        return [OrderEvent(**self._stamp(event), bar=event.bar, client_id=name, quantity=quantity, target=event.target, price=price)]

    def _judge(self, event: OrderEvent) -> Iterable[Event]:
        return [self.risk.judge(event, self.broker.account())]

    def _submit(self, event: ValidatedOrderEvent) -> Iterable[Event]:
        self.broker.submit(event)
        self.target = event.target
        return []

    def _stamp(self, event: Event) -> dict:
        return {"event_time": event.event_time, "recv_time": self.clock(), "symbol": event.symbol}


def implied_open(bar: MarketCloseEvent) -> MarketOpenEvent:
    """The opening of a bar whose close is the first that was heard of it."""
    times = {"event_time": bar.bar, "recv_time": bar.recv_time, "bar": bar.bar}
    return MarketOpenEvent(**times, symbol=bar.symbol, open=bar.open, funding_rate=bar.funding_rate)


@dataclass(frozen=True)
class Status:
    """Where a session stands; `edge` is None before the first decision."""

    time: int
    price: float | None
    position: float
    equity: float | None
    edge: float | None
    decisions: int
    fills: int

    def __str__(self) -> str:
        edge = "-" if self.edge is None else f"{self.edge:+.3f}"
        return (
            f"{datetime.fromtimestamp(self.time / 1000, UTC):%Y-%m-%d %H:%M} UTC  price {self.price:,.2f}  position {self.position:+.3f}  "
            f"equity {self.equity:,.2f}  edge {edge}  decisions {self.decisions}  fills {self.fills}"
        )


def status(engine: Engine) -> Status:
    close, equity, signal = (engine.last.get(kind) for kind in ("MarketClose", "Equity", "Signal"))
    return Status(
        time=0 if close is None else close.event_time,
        price=None if close is None else close.close,
        position=engine.broker.account().quantity(engine.strategy.symbol),
        equity=None if equity is None else equity.equity,
        edge=None if signal is None else signal.edge,
        decisions=engine.counts["Signal"],
        fills=engine.counts["Fill"],
    )
