"""What a venue tells of an account, as events, each once: whoever tells it first, before a restart or after it."""

from collections.abc import Callable
from math import nan

from quantalpha.market.trading import InDoubt, OrderReport, Payment, Trade
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import Event, FillEvent, FundingEvent, OrderUpdateEvent
from quantalpha.runner.holdings import funding_terms
from quantalpha.runner.orders import FINAL, IN_DOUBT

DAY = 86_400_000  # ms


class Reports:
    """feed: takes every event, in the loop's thread. clock: ours, ms; now: the venue's; step: ms of a bar."""

    def __init__(
        self, broker: ExchangeBroker, feed: Callable[[Event], None], clock: Callable[[], int], now: Callable[[], int], step: int
    ):  # fmt: skip
        self.broker, self.feed, self.clock, self.now, self.step = broker, feed, clock, now, step

    def order(self, report: OrderReport) -> None:
        """An order as the venue has it."""
        if not self.broker.knows(report.client_id):
            return
        known = self.broker.orders[report.client_id]
        overtaken = known.final and report.status not in FINAL and abs(report.filled) <= abs(known.reported)  # by the stream
        if overtaken or report.status == known.status and report.filled == known.reported and known.venue_id is not None:
            return
        told = {"client_id": report.client_id, "venue_id": report.venue_id, "status": report.status, "filled": report.filled}
        self.feed(OrderUpdateEvent(**self.times(report.time), symbol=report.symbol, **told, average=report.average, reason=report.reason))

    def trade(self, trade: Trade) -> None:
        """A fill."""
        if (trade.symbol, trade.id) in self.broker.trades:
            return
        ours = self.broker.knows(trade.client_id)
        reason = "liquidation" if trade.liquidation else self.broker.reason(trade.client_id)
        realised = self.broker.holdings[trade.symbol].profit(trade.quantity, trade.price)
        told = {"client_id": trade.client_id if ours else None, "quantity": trade.quantity, "price": trade.price, "fee": trade.fee}
        told |= {"realised": realised, "reason": reason, "trade": trade.id, "maker": trade.maker}
        self.feed(FillEvent(**self.times(trade.time), symbol=trade.symbol, bar=trade.time - trade.time % self.step, **told))

    def pay(self, payment: Payment, settled: tuple[float, float | None] = (nan, None)) -> None:
        """Funding, with the rate and mark it was settled at; what a liquidation cost beyond its trades is the fee of a fill of nothing."""
        if self.paid(payment):
            return
        told = {**self.times(payment.time), "symbol": payment.symbol, "bar": payment.time - payment.time % self.step}
        if payment.kind == "funding":
            terms = funding_terms(payment.amount, *settled, self.broker.holdings.quantity(payment.symbol))
            self.feed(FundingEvent(**told, amount=payment.amount, **terms, payment=payment.id))
            return
        cost = {"quantity": 0.0, "price": 0.0, "fee": -payment.amount, "realised": 0.0, "reason": "liquidation", "trade": payment.id}
        self.feed(FillEvent(**told, client_id=None, **cost))

    def paid(self, payment: Payment) -> bool:
        """It is counted already."""
        return bool({(payment.symbol, payment.id), (payment.symbol, payment.time)} & (self.broker.trades | self.broker.settlements))

    def say(self, client_id: str, status: str, reason: str) -> None:
        """Our own word on an order that the venue has none on: where it has one, that stands."""
        known = self.broker.orders[client_id]
        if known.final or known.acknowledged and status == IN_DOUBT:
            return
        told = {"client_id": client_id, "venue_id": None, "status": status, "filled": known.reported, "reason": reason}
        self.feed(OrderUpdateEvent(**self.times(self.now()), symbol=known.instruction.symbol, **told))

    def times(self, event_time: int) -> dict[str, int]:
        """InDoubt of what cannot have happened yet: everything after it would be taken for the past, and not asked for any more."""
        if not event_time <= self.now() + DAY:
            raise InDoubt(f"an answer that makes no sense: something happened at {event_time} ms since 1970")
        return {"event_time": event_time, "recv_time": self.clock()}
