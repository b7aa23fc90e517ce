"""The broker of one account that lies at two venues: every symbol has a leg at each, and their sum is the position decided on.

Each venue has an `ExchangeBroker` of its own, with its orders, holdings, protection and way out, which knows nothing of the other. Here an
order is shared out (`execution.routing`) once nothing of the one before it can change a leg any more. What each leg gets is an instruction
of action 'route': journalled like those a venue is told, so that a restart shares out as it was, by books that nobody sees again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from quantalpha import perp
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import (
    EquityEvent,
    Event,
    FillEvent,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    TickEvent,
    ValidatedOrderEvent,
)
from quantalpha.runner.execution.router import Offer
from quantalpha.runner.execution.routing import routed
from quantalpha.runner.legs import native, place_of
from quantalpha.runner.orders import child_id
from quantalpha.runner.protection import ENDS
from quantalpha.runner.sizing import Sizing, Standing
from quantalpha.runner.views import AccountView

ROUTE = "route"
USED = 0.95  # of a venue's margin by positions: fees and a move before the order trades need some too


@dataclass(frozen=True)
class Setting:
    """account: as the two together trade it, with the coarser lots; place: what the second's symbols end with; fees: of a taker at each;
    funding: what a long of that leg pays at the next settlement as far as anybody knows, a fraction."""

    account: perp.Account
    symbols: tuple[str, ...]
    place: str
    fees: tuple[float, float]
    funding: Callable[[str], float] = lambda leg: 0.0


@dataclass
class _Symbol:
    """What is decided for both legs. waiting: the order not shared out yet, and the position it leads to, base units."""

    target: float = 0.0
    close: float = float("nan")
    order: ValidatedOrderEvent | None = None
    waiting: float | None = None


class TwoVenues:
    """See `protocols.Broker`. Views have the legs as positions of their own; limits judge them by `legs.together`."""

    def __init__(self, first: ExchangeBroker, second: ExchangeBroker, setting: Setting):
        self.both, self.setting = (first, second), setting
        self._symbols = {symbol: _Symbol() for symbol in setting.symbols}
        self._sizing = {symbol: Sizing(setting.account, symbol, self._most(symbol)) for symbol in setting.symbols}
        self._retelling = first.retelling

    def legs(self, symbol: str) -> tuple[tuple[ExchangeBroker, str], ...]:
        """(broker, leg) of each venue."""
        return tuple(zip(self.both, (symbol, symbol + self.setting.place)))

    def _most(self, symbol: str) -> float:
        """So much one stop can close wherever it lies."""
        return min(broker.setup.markets[leg].terms.most for broker, leg in self.legs(symbol))

    def account(self) -> AccountView:
        first, second = (broker.account() for broker in self.both)
        pending = {**first.pending, **second.pending, **self._pending()}
        money = {"equity": first.equity + second.equity, "cash": first.cash + second.cash}
        venues = tuple(AccountView(each.equity, {native(leg): held for leg, held in each.positions.items()}) for each in (first, second))
        return AccountView(positions={**first.positions, **second.positions}, pending=pending, venues=venues, **money)

    def _pending(self) -> dict[str, float]:
        """Of orders that are not shared out yet, so much as makes the position larger or turns it."""
        waiting = {symbol: known.waiting for symbol, known in self._symbols.items() if known.waiting is not None}
        held = {symbol: self._held(symbol) for symbol in waiting}
        return {
            symbol: wanted - (held[symbol] if held[symbol] * wanted > 0.0 else 0.0)
            for symbol, wanted in waiting.items()
            if held[symbol] * wanted <= 0.0 or abs(wanted) > abs(held[symbol])
        }

    def _held(self, symbol: str) -> float:
        return float(sum(broker.holdings[leg].exact for broker, leg in self.legs(symbol)))

    def opened(self, bars: Sequence[MarketOpenEvent]) -> Iterable[Event]:
        return []

    def closed(self, bars: Sequence[MarketCloseEvent]) -> Iterable[Event]:
        """Both legs live on the first venue's bars; in between the second's marks are what it tells of the account."""
        for bar in bars:
            self._symbols[bar.symbol].close = bar.close
        told = [*self.both[0].closed(bars), *self.both[1].closed([replace(bar, symbol=bar.symbol + self.setting.place) for bar in bars])]
        view = self.account()
        return [*(each for each in told if not isinstance(each, EquityEvent)), *(self._equity(bar, view) for bar in bars)]

    def passed(self, bar: MarketCloseEvent) -> None:
        for broker, leg in self.legs(bar.symbol):
            broker.passed(replace(bar, symbol=leg))

    def _equity(self, bar: MarketCloseEvent, view: AccountView) -> EquityEvent:
        times = {"event_time": bar.event_time, "recv_time": bar.recv_time, "symbol": bar.symbol, "bar": bar.bar}
        return EquityEvent(**times, equity=view.equity, cash=view.cash, quantity=self._held(bar.symbol), price=bar.close)

    def order_quantity(self, symbol: str, target: float) -> float | None:
        """The legs as one position at its mark, their profit beside the cash."""
        known, view = self._symbols[symbol], self.account()
        mark = view.position(symbol).mark
        under_way = [broker.known(leg).execution for broker, leg in self.legs(symbol)]
        order = sum(each.remaining for each in under_way if each is not None)
        standing = Standing(view.equity, 0.0, self._held(symbol), mark, known.target, order)
        return self._sizing[symbol].order(standing, target, known.close, mark)

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        known = self._symbols[order.symbol]
        known.target, known.order = order.target, order
        known.waiting = self._held(order.symbol) + order.quantity
        overtaken = [each for broker, leg in self.legs(order.symbol) for each in broker.overtake(leg)]
        return [*overtaken, *self._share_out()]

    def heard(self, event: Event) -> Iterable[Event]:
        if isinstance(event, InstructionEvent) and event.action == ROUTE:
            return self._routed(event)
        told = [each for broker in self._whose(event) for each in broker.heard(event)]
        if isinstance(event, FillEvent) and event.reason in ENDS:
            told += self._given_up(native(event.symbol))
        return [*told, *self._share_out()]

    def _whose(self, event: Event) -> Sequence[ExchangeBroker]:
        return self.both if isinstance(event, TickEvent) else (self.both[place_of(event.symbol) == self.setting.place],)

    def _given_up(self, symbol: str) -> list[Event]:
        """A leg was stopped out: what was under way for both counted on it."""
        if symbol not in self._symbols:
            return []
        self._symbols[symbol].waiting = None
        return [each for broker, leg in self.legs(symbol) for each in broker.overtake(leg)]

    def _share_out(self) -> list[InstructionEvent]:
        """What can be shared out now: nothing of the order before works, and somewhere there is a book, or nothing to be opened."""
        ready = [] if self._retelling else [symbol for symbol, known in self._symbols.items() if known.waiting is not None]
        return list(chain.from_iterable(map(self._shared, ready)))

    def _shared(self, symbol: str) -> Iterable[InstructionEvent]:
        known, legs = self._symbols[symbol], self.legs(symbol)
        offers = tuple(self._offer(broker, leg, fee) for (broker, leg), fee in zip(legs, self.setting.fees))
        seen = any(offer.book.sound for offer in offers) or known.waiting == 0.0
        if not seen or not all(broker.idle(leg) for broker, leg in legs):
            return
        change, known.waiting = known.waiting - self._held(symbol), None
        for (broker, leg), part in zip(legs, routed(change, offers, self.setting.account.instrument(symbol).lot)):
            if part != 0.0:
                yield self._route(known.order, broker, leg, part)

    def _offer(self, broker: ExchangeBroker, leg: str, fee: float) -> Offer:
        known, account = broker.known(leg), self.setting.account
        margin = 0.0 if broker.told is None else broker.told.equity
        most = USED * account.leverage * margin / known.book.mid if known.book.sound else 0.0
        least = broker.setup.markets[leg].terms.min_notional
        return Offer(known.book, fee, self.setting.funding(leg), broker.holdings.quantity(leg), max(most, 0.0), least)

    def _route(self, order: ValidatedOrderEvent, broker: ExchangeBroker, leg: str, part: float) -> InstructionEvent:
        book, times = broker.known(leg).book, {"event_time": broker.venue_time, "recv_time": broker.time, "bar": order.bar}
        named = {"symbol": leg, "client_id": child_id(order.client_id, leg, 0), "parent": order.client_id}
        told = {"action": ROUTE, "kind": "market", "quantity": part, "price": None, "reduce_only": False}
        return InstructionEvent(**times, **named, **told, reference=book.mid if book.sound else None)

    def _routed(self, event: InstructionEvent) -> Iterable[Event]:
        """One leg's part goes its way, within the time of the order it serves."""
        known = self._symbols[native(event.symbol)]
        known.waiting = None
        own = {"symbol": event.symbol, "client_id": event.client_id, "quantity": event.quantity}
        (broker,) = self._whose(event)
        return broker.submit(replace(known.order, **own))

    def send(self, instruction: InstructionEvent) -> None:
        if instruction.action != ROUTE:
            self._whose(instruction)[0].send(instruction)

    def flatten(self) -> Iterable[Event]:
        self._forget()
        return [each for broker in self.both for each in broker.flatten()]

    def release(self) -> None:
        for known in self._symbols.values():
            known.target = 0.0
        for broker in self.both:
            broker.release()

    def flat(self) -> bool:
        return all(broker.flat() for broker in self.both)

    def resume(self) -> None:
        self._retelling = False
        for broker in self.both:
            broker.resume()

    def give_up(self) -> None:
        self._forget()
        for broker in self.both:
            broker.give_up()

    def at_rest(self) -> bool:
        return all(broker.at_rest() for broker in self.both)

    def _forget(self) -> None:
        for known in self._symbols.values():
            known.waiting = None
