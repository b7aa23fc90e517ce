"""What an order for Bybit says, read against the contract's filters: the terms of a new order, and new terms for a standing one.

Source: bybit-exchange.github.io/docs/v5/order/create-order, /docs/v5/order/amend-order, /docs/v5/error.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from quantalpha.practice.bybit_payloads import LEAST_NOTIONAL, MOST_LIMIT, MOST_MARKET
from quantalpha.practice.bybit_query import WRONG_PARAMETER, Query, Refusal
from quantalpha.practice.orders import BUY, SELL, ZERO, Order, Trigger, lot_of, tick_of
from quantalpha.practice.tape import Instrument

SIDES = {"Buy": BUY, "Sell": SELL}
IN_FORCE = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTX"}
TRIGGERS = {"LastPrice": "last", "MarkPrice": "mark"}
DIRECTIONS = {"1": 1, "2": -1}
LINK = r"[A-Za-z0-9_-]{0,36}"
SMALL_ORDER = 110094
YES = ("true", "True", "1")


def wrong(name: str, expected: str) -> Refusal:
    return Refusal(f"params error: {name} invalid, expected {expected}", WRONG_PARAMETER)


@dataclass(frozen=True)
class Terms:
    """The parameters of one order request."""

    query: Query

    def order(self) -> Order:
        """The order that is asked for. Refusal where a term is missing, wrong or off the contract's grid."""
        each, at_market = self.query.instrument(), self._choice("orderType", {"Limit": False, "Market": True})
        if self.query.text("positionIdx") not in (None, "0"):
            raise Refusal("position idx not match position mode")
        order = Order(
            each.symbol,
            self._choice("side", SIDES),
            self.quantity(each, MOST_MARKET if at_market else MOST_LIMIT),
            price=None if at_market else self.price(each),
            time_in_force="IOC" if at_market else self._choice("timeInForce", IN_FORCE, "GTC"),
            reduce_only=self._flag("reduceOnly") or self._flag("closeOnTrigger"),
            trigger=self.trigger(each),
            client_id=self._link(),
            told=self._stops(each),
        )
        value = order.quantity * (order.price or ZERO)
        if order.price is not None and not order.reduce_only and value < LEAST_NOTIONAL:
            raise Refusal(f"Order does not meet minimum order value {LEAST_NOTIONAL}{each.quote}", SMALL_ORDER)
        return order

    def quantity(self, each: Instrument, most: int) -> Decimal:
        found, lot = self.decimal("qty"), lot_of(each)
        if found is None or not lot <= found <= most or found % lot:
            raise wrong("qty", f"a multiple of {lot} up to {most}")
        return found

    def price(self, each: Instrument, name: str = "price") -> Decimal:
        found, tick = self.decimal(name), tick_of(each)
        if found is None or found < tick or found % tick:
            raise wrong(name, f"a multiple of {tick}")
        return found

    def trigger(self, each: Instrument) -> Trigger | None:
        """None where the order is not conditional."""
        if self.query.text("triggerPrice") is None:
            return None
        direction = self._choice("triggerDirection", DIRECTIONS)
        return Trigger(self.price(each, "triggerPrice"), direction, self.by("triggerBy"))

    def by(self, name: str) -> str:
        """Which price triggers: the last one unless told otherwise. IndexPrice is not played."""
        return self._choice(name, TRIGGERS, "LastPrice")

    def decimal(self, name: str) -> Decimal | None:
        """A plain number, None where it is absent or empty."""
        value = self.query.text(name)
        if value is None:
            return None
        try:
            found = Decimal(value)
        except InvalidOperation:
            raise wrong(name, "a number") from None
        if not found.is_finite() or found < ZERO:
            raise wrong(name, "a number of at least 0")
        return found

    def _choice(self, name, choices, default=None):
        value = self.query.text(name) or default
        if value not in choices:
            raise wrong(name, f"one of {', '.join(choices)}")
        return choices[value]

    def _flag(self, name) -> bool:
        return self.query.text(name) in YES

    def _link(self) -> str:
        link = self.query.text("orderLinkId") or ""
        if not re.fullmatch(LINK, link):
            raise wrong("orderLinkId", "at most 36 letters, digits, - and _")
        return link

    def _stops(self, each) -> dict[str, str]:
        """takeProfit and stopLoss that are to be the position's once the order fills."""
        found = {}
        for name, by in (("takeProfit", "tpTriggerBy"), ("stopLoss", "slTriggerBy")):
            if self.decimal(name):
                found |= {name: str(self.price(each, name)), f"{name}By": self.by(by)}
        if found and self.query.text("tpslMode") == "Partial":
            raise Refusal("tpslMode Partial is not played here: expected Full")
        return found
