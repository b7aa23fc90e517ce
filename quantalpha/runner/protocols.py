"""What the engine asks of its parts; each is a plain class somewhere in this folder."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from quantalpha.runner.events import Event, InstructionEvent, MarketCloseEvent, MarketOpenEvent, SwitchEvent, ValidatedOrderEvent
from quantalpha.runner.views import AccountView


class Log(Protocol):
    """Where events are kept: `runner.journal.Journal`."""

    def append(self, event: Event) -> Event:
        """Takes the event before it takes effect; returns the one that is to take effect (on recovery: as it was recorded)."""

    def commit(self) -> None:
        """What was appended is durable on return."""


class Decider(Protocol):
    """Forecast and policy on the trailing window: `runner.decide.Decider`.

    fingerprint: of the features the last decision was made on, "" where it was made on none; novelty: the share of them beyond what the
    model was trained on, NaN where nobody knows.
    """

    fingerprint: str
    novelty: float

    def observe(self, bar: MarketCloseEvent) -> None: ...

    def decide(self, previous: float) -> tuple[float, float]:
        """(edge, target) at the close of the last bar observed; `previous`: the target held."""


class Broker(Protocol):
    """Who executes: `broker_paper.PaperBroker`, `broker_exchange.ExchangeBroker`. No I/O; what happened comes back as events."""

    def account(self) -> AccountView: ...

    def opened(self, bars: Sequence[MarketOpenEvent]) -> Iterable[Event]: ...

    def closed(self, bars: Sequence[MarketCloseEvent]) -> Iterable[Event]: ...

    def passed(self, bar: MarketCloseEvent) -> None:
        """A bar of the past, not to be traded on: what a position holds since its entry, such as a time stop, counts it all the same."""

    def order_quantity(self, symbol: str, target: float) -> float | None:
        """Signed quantity that would bring the position to `target` x equity, at the last close; None: nothing is to be decided, since
        the target stands or lies within the account's rebalance band. Changes nothing."""

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        """Takes the order and holds its target; a quantity of 0 is a new target with nothing to trade."""

    def heard(self, event: Event) -> Iterable[Event]:
        """An instruction is journalled; the venue, a quote or the clock has something to say."""

    def send(self, instruction: InstructionEvent) -> None:
        """It is durable: out with it."""

    def flatten(self) -> Iterable[Event]:
        """What closes everything; asked again until `flat`."""

    def flat(self) -> bool: ...

    def release(self) -> None:
        """A person has reset what stopped the account: it may trade again, and no target stands."""


class Switches(Protocol):
    """Kill switches: `runner.switches`. heeds: the kinds of events after which one of them may trip, or has something to remember."""

    heeds: frozenset[type[Event]]

    def see(self, view: AccountView, event: Event) -> SwitchEvent | None: ...

    def carry(self) -> dict[str, float]: ...
