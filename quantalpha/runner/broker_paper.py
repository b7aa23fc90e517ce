"""The backtest's exchange fed with other bars: orders fill at the next open by the same ledger, funding, stops and liquidation included."""

from collections.abc import Iterable

from quantalpha import perp
from quantalpha.runner.events import EquityEvent, Event, FillEvent, FundingEvent, MarketCloseEvent, MarketOpenEvent, ValidatedOrderEvent
from quantalpha.runner.views import AccountView, Position


class PaperBroker:
    """One account in one perpetual."""

    def __init__(self, symbol: str, account: perp.Account, costs: perp.Costs, stops: perp.Stops | None = None):
        self.symbol = symbol
        self.ledger = perp.Ledger(account, costs, stops)
        self._close: MarketCloseEvent | None = None
        self._mark: float | None = None  # at the close of the previous bar that was traded
        self._order: str | None = None  # name of the order that waits for its fill

    def account(self) -> AccountView:
        ledger, mark = self.ledger, self._mark if self._mark is not None else self._close.close if self._close is not None else 0.0
        held = Position(ledger.quantity, ledger.entry_price, mark, ledger.liquidation_price)
        return AccountView(ledger.equity, {self.symbol: held}, ledger.cash)

    def opened(self, bar: MarketOpenEvent) -> Iterable[Event]:
        return self._named(bar, self.ledger.open_bar(bar.bar, bar.open, self._mark, bar.funding_rate))

    def closed(self, bar: MarketCloseEvent) -> Iterable[Event]:
        happened = self.ledger.inside_bar(bar.bar, bar.open, bar.high, bar.low)
        equity = self.ledger.close_bar(bar.close, bar.mark)
        self._close, self._mark = bar, bar.mark
        values = {"equity": equity, "cash": self.ledger.cash, "quantity": self.ledger.quantity, "price": bar.close}
        return [*self._named(bar, happened), EquityEvent(**_stamp(bar), **values)]

    def order_quantity(self, target: float) -> float | None:
        return self.ledger.foresee(target, self._close.close, self._close.mark)

    def submit(self, order: ValidatedOrderEvent) -> None:
        self._order = order.client_id
        self.ledger.decide(order.target, self._close.close, self._close.mark)

    def _named(self, bar: MarketOpenEvent | MarketCloseEvent, happened: Iterable[perp.Event]) -> list[Event]:
        """The fill of the order carries its name; funding, stops and liquidations have none."""
        events = []
        for what in happened:
            ordered = isinstance(what, perp.Fill) and what.reason in ("order", "limit")
            events.append(_event(bar, what, self._order if ordered else None))
            self._order = None if ordered else self._order
        return events


def _event(bar: MarketOpenEvent | MarketCloseEvent, what: perp.Event, client_id: str | None) -> Event:
    if isinstance(what, perp.FundingPayment):
        return FundingEvent(**_stamp(bar), amount=what.amount, rate=what.rate, mark=what.mark, quantity=what.quantity)
    values = {"quantity": what.quantity, "price": what.price, "fee": what.fee, "realised": what.realised, "reason": what.reason}
    return FillEvent(**_stamp(bar), client_id=client_id, **values)


def _stamp(bar: MarketOpenEvent | MarketCloseEvent) -> dict:
    """Happened with this bar, learned with this bar."""
    return {"event_time": bar.event_time, "recv_time": bar.recv_time, "symbol": bar.symbol, "bar": bar.bar}
