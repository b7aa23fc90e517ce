"""What an account's positions and open orders tie up, at the marks of a moment.

Binance's one-way rule: of a symbol's open orders the worse side counts, |position + buys| or |position - sells|, divided by its leverage.
Source: binance.com/en/support/faq, "How to Calculate Cost Required to Open a Position", "Cross margin vs isolated margin".
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from quantalpha.practice import account as accounts
from quantalpha.practice.account import Account, Position, money
from quantalpha.practice.orders import BUY, ZERO, Order


class Margins:
    """mark: symbol -> mark price now; time: now; orders: the account's open orders. Computed afresh at every question."""

    def __init__(self, account: Account, orders: Iterable[Order], mark: Callable[[str], Decimal], time: int):
        self.account, self.mark, self.time = account, mark, time
        self.orders = [order for order in orders if order.resting and not order.reduce_only]

    def notional(self, symbol: str) -> Decimal:
        """Of the position, signed; at its entry price where its margin is isolated, for that is fixed."""
        position = self.account.position(symbol)
        return position.cost if self.account.isolated(symbol) else position.quantity * self.mark(symbol)

    def position_margin(self, symbol: str) -> Decimal:
        """Initial margin of the position."""
        return money(abs(self.notional(symbol)) / self.account.setting(symbol).leverage)

    def order_margin(self, symbol: str, orders: Iterable[Order] | None = None) -> Decimal:
        """Initial margin of the open orders, beyond the position's."""
        return money(self.exposure(symbol, orders) / self.account.setting(symbol).leverage) - self.position_margin(symbol)

    def exposure(self, symbol: str, orders: Iterable[Order] | None = None) -> Decimal:
        """Largest notional that position and orders can come to, unsigned."""
        orders, held = self.orders if orders is None else orders, self.notional(symbol)
        sides = {BUY: ZERO, -BUY: ZERO}
        for order in orders:
            if order.symbol == symbol:
                sides[order.side] += order.left * (self.mark(symbol) if order.price is None else order.price)
        return max(abs(held), abs(held + sides[BUY]), abs(held - sides[-BUY]))

    def maintenance(self, symbol: str) -> Decimal:
        return accounts.needed(abs(self.account.position(symbol).quantity) * self.mark(symbol), accounts.table(symbol, self.time))

    def unrealised(self, symbol: str) -> Decimal:
        return self.account.position(symbol).unrealised(self.mark(symbol))

    @property
    def cross(self) -> list[Position]:
        return [position for position in self.account.held() if not self.account.isolated(position.symbol)]

    @property
    def cross_equity(self) -> Decimal:
        return self.account.cross_wallet + sum(self.unrealised(each.symbol) for each in self.cross)

    @property
    def equity(self) -> Decimal:
        """Wallet and all unrealised profit."""
        return self.account.wallet + sum(self.unrealised(each.symbol) for each in self.account.held())

    @property
    def short(self) -> bool:
        """Whether the cross positions no longer have what they must keep."""
        return bool(self.cross) and self.cross_equity <= sum(self.maintenance(each.symbol) for each in self.cross)

    @property
    def available(self) -> Decimal:
        """For new orders: not below zero."""
        return max(self.spare, ZERO)

    @property
    def spare(self) -> Decimal:
        """What the cross positions and open orders leave of the cross equity."""
        tied = sum(self.position_margin(each.symbol) for each in self.cross)
        tied += sum(self.order_margin(symbol) for symbol in {order.symbol for order in self.orders})
        return self.cross_equity - tied

    def alone(self, symbol: str) -> bool:
        """Whether the position's end depends on its own mark only."""
        return self.account.isolated(symbol) or len(self.cross) == 1

    def backing(self, symbol: str) -> Decimal:
        """All that the position can lose: isolated its margin, cross the wallet and what other cross positions can spare."""
        if self.account.isolated(symbol):
            return self.account.isolated_margin(symbol)
        others = [each.symbol for each in self.cross if each.symbol != symbol]
        return self.account.cross_wallet + sum(self.unrealised(other) - self.maintenance(other) for other in others)

    def liquidation_price(self, symbol: str) -> Decimal:
        """0 where there is none."""
        return self._price(symbol, accounts.liquidation_price)

    def call_price(self, symbol: str) -> Decimal:
        """Mark at which the owner is warned; 0 where there is none."""
        return self._price(symbol, accounts.call_price)

    def _price(self, symbol, price) -> Decimal:
        position = self.account.position(symbol)
        if not position.quantity:
            return ZERO
        setting, brackets = self.account.setting(symbol), accounts.table(symbol, self.time)
        return price(position.quantity, position.cost, self.backing(symbol), setting, brackets)

    def cost(self, order: Order, price: Decimal) -> Decimal:
        """What a new order that may trade at `price` asks of the available balance: margin, what it loses at once, and its fee; 0 where it
        only makes the position smaller."""
        mark = self.mark(order.symbol)
        opens = order.left - self.account.position(order.symbol).closable(order.side)
        more = self.order_margin(order.symbol, [*self.orders, order]) - self.order_margin(order.symbol)
        if order.reduce_only or (opens <= 0 and more <= 0):
            return ZERO
        lost = max(order.side * (price - mark), ZERO) * max(opens, ZERO)
        return more + money(lost + self.account.fees[1] * order.left * price)

    def most_leverage(self, symbol: str) -> int:
        """What the smallest position may have."""
        return _leverage(accounts.table(symbol, self.time)[0].rate)

    def largest(self, symbol: str, leverage: int) -> Decimal:
        """Notional that a position of this leverage may have: initial margin covers maintenance twice over, as in the venue's tables."""
        brackets = accounts.table(symbol, self.time)
        beyond = [bracket.floor for bracket in brackets if _leverage(bracket.rate) < leverage]
        return Decimal(beyond[0]) if beyond else Decimal("Infinity")


def _leverage(rate: float) -> int:
    """That a bracket of this maintenance rate allows."""
    return max(1, int(0.5 / rate))
