"""The backtest's exchange fed with other bars: orders fill at the next open by the same ledger, funding, stops and liquidation included."""

from collections.abc import Iterable

from quantalpha import perp
from quantalpha.runner.events import EquityEvent, Event, FillEvent, FundingEvent, MarketCloseEvent, MarketOpenEvent, ValidatedOrderEvent
from quantalpha.runner.risk import AccountView


class PaperBroker:
    """One account in one perpetual. `ledger` judges, `draft` is its copy on which an order is sized before risk has seen it."""

    def __init__(self, account: perp.Account, costs: perp.Costs, stops: perp.Stops | None = None):
        self.ledger, self.draft = (perp.Ledger(account, costs, stops) for _ in range(2))
        self._close: MarketCloseEvent | None = None
        self._mark: float | None = None  # at the close of the previous bar, warm-up included
        self._order: ValidatedOrderEvent | None = None

    def account(self) -> AccountView:
        return AccountView(self.ledger.equity, self.ledger.quantity)

    def opened(self, bar: MarketOpenEvent) -> Iterable[Event]:
        happened = self.ledger.open_bar(bar.bar, bar.open, self._mark, bar.funding_rate)
        name, self._order = None if self._order is None else self._order.client_id, None
        return [_event(bar, what, name) for what in happened]

    def closed(self, bar: MarketCloseEvent) -> Iterable[Event]:
        happened = self.ledger.inside_bar(bar.bar, bar.open, bar.high, bar.low)
        equity = self.ledger.close_bar(bar.close, bar.mark)
        self._close, self._mark = bar, bar.mark
        values = {"equity": equity, "cash": self.ledger.cash, "quantity": self.ledger.quantity, "price": bar.close}
        return [*(_event(bar, what, None) for what in happened), EquityEvent(**_stamp(bar), **values)]

    def order_quantity(self, target: float) -> float:
        self.draft.restore(self.ledger.state())
        return self.draft.decide(target, self._close.close, self._close.mark)

    def submit(self, order: ValidatedOrderEvent) -> None:
        self._order = order
        self.ledger.decide(order.target, self._close.close, self._close.mark)


def _event(bar: MarketOpenEvent | MarketCloseEvent, what: perp.Event, client_id: str | None) -> Event:
    if isinstance(what, perp.FundingPayment):
        return FundingEvent(**_stamp(bar), amount=what.amount, rate=what.rate, mark=what.mark, quantity=what.quantity)
    values = {"quantity": what.quantity, "price": what.price, "fee": what.fee, "realised": what.realised, "reason": what.reason}
    return FillEvent(**_stamp(bar), client_id=client_id, **values)


def _stamp(bar: MarketOpenEvent | MarketCloseEvent) -> dict:
    """Happened with this bar, learned with this bar."""
    return {"event_time": bar.event_time, "recv_time": bar.recv_time, "symbol": bar.symbol, "bar": bar.bar}
