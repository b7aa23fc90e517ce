"""The backtest's exchange fed with other bars: orders fill at the next open by the same ledger, funding, stops and liquidation included.

An order that was walked through the displayed book (`runner.walk`) fills there at the price it paid; all else stays as it is.
"""

import math
from collections.abc import Iterable, Sequence

from quantalpha import perp
from quantalpha.perp.portfolio import Portfolio
from quantalpha.runner.events import (
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    ValidatedOrderEvent,
    WalkedEvent,
)
from quantalpha.runner.views import AccountView, Position

Bar = MarketOpenEvent | MarketCloseEvent


class _Fictitious:
    """What every account on paper shares: nothing is sent, and fills carry the name of the order that waited for them."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = tuple(symbols)
        self._last: dict[str, MarketCloseEvent] = {}
        self._waiting: dict[str, str] = {}  # symbol -> name of the order that waits for its fill
        self.unpriced: dict[str, ValidatedOrderEvent] = {}  # symbol -> that order, until it has been walked
        self._walked: dict[str, WalkedEvent] = {}

    def heard(self, event: Event) -> Iterable[Event]:
        """An order that was walked has reached the market: reviews measure its delay and its slippage from there."""
        if type(event) is not WalkedEvent or event.client_id != self._waiting.get(event.symbol):
            return []
        self.unpriced.pop(event.symbol, None)
        self._walked[event.symbol] = event
        told = {"client_id": event.client_id, "parent": event.client_id, "action": "place", "kind": "market", "price": None}
        told |= {"quantity": event.quantity, "reduce_only": False, "reference": event.mid}
        return [InstructionEvent(**_stamp(event), **told)]

    def send(self, instruction: InstructionEvent) -> None:
        """Paper has nobody to send it to."""

    def passed(self, bar: MarketCloseEvent) -> None:
        """History is from before the first bar."""

    def flatten(self) -> Iterable[Event]:
        """Everything is closed at the next open."""
        self._decide(dict.fromkeys([symbol for symbol in self.symbols if symbol in self._last], 0.0))
        return []

    def release(self) -> None:
        """`flatten` left no target standing."""

    def flat(self) -> bool:
        return all(position.quantity == 0.0 for position in self.account().positions.values())

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        self._waiting[order.symbol] = order.client_id
        self._decide({order.symbol: order.target})
        if order.quantity != 0.0:
            self.unpriced[order.symbol] = order
        return []

    def _decide(self, targets: dict[str, float]) -> None:
        """What was decided before and has not traded is decided anew."""
        for symbol in targets:
            self._forget(symbol)
        self._aim(targets)

    def _forget(self, symbol: str) -> None:
        self.unpriced.pop(symbol, None)
        self._walked.pop(symbol, None)

    def _slippage(self, bar: MarketOpenEvent) -> float | None:
        """By which the walked price differs from the open, + against us; None: as the costs have it."""
        walked = self._walked.get(bar.symbol)
        return None if walked is None else math.copysign(1.0, walked.quantity) * (walked.price / bar.open - 1.0)

    def _aim(self, targets: dict[str, float]) -> None:
        raise NotImplementedError

    def _named(self, bar: Bar, happened: Iterable[perp.Event]) -> list[Event]:
        events = []
        for what in happened:
            ordered = isinstance(what, perp.Fill) and what.reason in ("order", "limit")
            events.append(_event(bar, what, self._waiting.pop(bar.symbol, None) if ordered else None))
            if ordered:
                self._forget(bar.symbol)
        return events


class PaperBroker(_Fictitious):
    """One account in one perpetual."""

    def __init__(self, symbol: str, account: perp.Account, costs: perp.Costs, stops: perp.Stops | None = None):
        super().__init__((symbol,))
        self.ledger = perp.Ledger(account, costs, stops)
        self._mark: float | None = None  # at the close of the previous bar that was traded

    def account(self) -> AccountView:
        state = self.ledger.now
        return AccountView(self.ledger.equity, {self.symbols[0]: _held(state)}, state.cash, pending={self.symbols[0]: state.order})

    def opened(self, bars: Sequence[MarketOpenEvent]) -> Iterable[Event]:
        (bar,) = bars
        paid = self._slippage(bar)
        slippage = None if paid is None else (paid, 0.0)
        return self._named(bar, self.ledger.open_bar(bar.bar, bar.open, self._mark, bar.funding_rate, slippage))

    def closed(self, bars: Sequence[MarketCloseEvent]) -> Iterable[Event]:
        (bar,) = bars
        happened = self.ledger.inside_bar(bar.bar, bar.open, bar.high, bar.low)
        equity = self.ledger.close_bar(bar.close, bar.mark)
        self._last[bar.symbol], self._mark = bar, bar.mark
        marked = EquityEvent(
            event_time=bar.event_time, recv_time=bar.recv_time, symbol=bar.symbol, bar=bar.bar, equity=equity, cash=self.ledger.cash,
            quantity=self.ledger.quantity, price=bar.close,
        )  # fmt: skip
        return [*self._named(bar, happened), marked] if happened else [marked]

    def order_quantity(self, symbol: str, target: float) -> float | None:
        return self.ledger.foresee(target, self._last[symbol].close, self._last[symbol].mark)

    def _aim(self, targets: dict[str, float]) -> None:
        for symbol, target in targets.items():
            self.ledger.decide(target, self._last[symbol].close, self._last[symbol].mark)


class PaperPortfolio(_Fictitious):
    """One account in several perpetuals, all of them on one wallet."""

    def __init__(self, symbols: Sequence[str], account: perp.Account, costs: perp.Costs, stops: perp.Stops | None = None):
        super().__init__(symbols)
        self.portfolio = Portfolio(self.symbols, account, costs, stops)
        self._moment = -1  # open time of the last bars that closed

    def account(self) -> AccountView:
        states = {symbol: self.portfolio.state(symbol) for symbol in self.symbols}
        positions = {symbol: _held(state) for symbol, state in states.items()}
        pending = {symbol: state.order for symbol, state in states.items()}
        return AccountView(self.portfolio.equity, positions, states[self.symbols[0]].cash, pending=pending)

    def opened(self, bars: Sequence[MarketOpenEvent]) -> Iterable[Event]:
        last = [self._last[bar.symbol] for bar in bars if bar.symbol in self._last]
        marks = {bar.symbol: bar.mark for bar in last if bar.bar == self._moment}  # an older one tells nothing
        opens, rates = {bar.symbol: bar.open for bar in bars}, {bar.symbol: bar.funding_rate for bar in bars}
        slippage = _known({bar.symbol: self._slippage(bar) for bar in bars})
        return self._told(bars, self.portfolio.open_bar(bars[0].bar, opens, _known(marks), rates, slippage))

    def closed(self, bars: Sequence[MarketCloseEvent]) -> Iterable[Event]:
        time, prices = bars[0].bar, [{bar.symbol: getattr(bar, name) for bar in bars} for name in ("open", "high", "low")]
        happened = self._told(bars, self.portfolio.inside_bar(time, *prices))
        closes, marks = {bar.symbol: bar.close for bar in bars}, _known({bar.symbol: bar.mark for bar in bars})
        happened += self._told(bars, self.portfolio.close_bar(time, closes, marks))
        self._last |= {bar.symbol: bar for bar in bars}
        self._moment = time
        return happened + [self._equity(bar) for bar in bars]

    def order_quantity(self, symbol: str, target: float) -> float | None:
        return self.portfolio.foresee(symbol, target, self._last[symbol].close)

    def _aim(self, targets: dict[str, float]) -> None:
        self.portfolio.decide(targets, {symbol: self._last[symbol].close for symbol in targets})

    def _equity(self, bar: MarketCloseEvent) -> EquityEvent:
        state = self.portfolio.state(bar.symbol)
        values = {"equity": self.portfolio.equity, "cash": state.cash, "quantity": state.quantity, "price": bar.close}
        return EquityEvent(**_stamp(bar), **values)

    def _told(self, bars: Sequence[Bar], happened: Iterable[tuple[str, perp.Event]]) -> list[Event]:
        by_symbol = {bar.symbol: bar for bar in bars}
        return [event for symbol, what in happened for event in self._named(by_symbol[symbol], [what])]


def _held(state) -> Position:
    return Position(state.quantity, state.entry_price, state.mark, state.liquidation_price)


def _known(marks: dict[str, float | None]) -> dict[str, float]:
    return {symbol: mark for symbol, mark in marks.items() if mark is not None}


def _event(bar: Bar, what: perp.Event, client_id: str | None) -> Event:
    if isinstance(what, perp.FundingPayment):
        return FundingEvent(**_stamp(bar), amount=what.amount, rate=what.rate, mark=what.mark, quantity=what.quantity)
    values = {"quantity": what.quantity, "price": what.price, "fee": what.fee, "realised": what.realised, "reason": what.reason}
    return FillEvent(**_stamp(bar), client_id=client_id, **values)


def _stamp(bar: Bar | WalkedEvent) -> dict:
    """Happened with this bar, learned with this bar."""
    return {"event_time": bar.event_time, "recv_time": bar.recv_time, "symbol": bar.symbol, "bar": bar.bar}
