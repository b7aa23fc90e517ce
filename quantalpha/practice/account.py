"""One account of the exchange: wallet, positions, settings, and a record of everything that ever changed the wallet.

Positions are one-way. The wallet is the deposit plus the sum of the incomes, to the last digit. What must be kept and where a position is
liquidated is `quantalpha.perp`'s to say. Money in quote currency with 8 decimals.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

import pandas as pd

from quantalpha import perp
from quantalpha.perp.brackets import Bracket, maintenance_margin
from quantalpha.practice.orders import CENT, ZERO, Fill, Order

LEVERAGE = 20  # of a symbol nobody has set, as on Binance
LIQUIDATION_FEE = Decimal("0.0125")  # of the notional; exchangeInfo's liquidationFee
CALLED_AT = 0.8  # share of the margin that maintenance takes when the owner is warned
HALF_HOUR = 1_800_000  # maintenance tables begin at half hours


@dataclass(frozen=True)
class Income:
    """A change of the wallet: REALIZED_PNL, COMMISSION, FUNDING_FEE or INSURANCE_CLEAR (fee of a liquidation, or a loss taken over)."""

    id: int
    time: int
    kind: str
    symbol: str
    amount: Decimal  # + received
    trade_id: int | None = None


@dataclass(frozen=True)
class Position:
    symbol: str
    quantity: Decimal = ZERO  # + long, - short
    cost: Decimal = ZERO  # quantity * entry price, signed as the quantity
    realised: Decimal = ZERO  # since the account began, before fees
    updated: int = 0
    opened: int = 0  # when it was last flat or on the other side

    @property
    def side(self) -> int:
        return (self.quantity > 0) - (self.quantity < 0)

    @property
    def entry_price(self) -> Decimal:
        return self.cost / self.quantity if self.quantity else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return money(self.quantity * mark - self.cost)

    def closable(self, side: int) -> Decimal:
        """How much an order of `side` can take from it."""
        return abs(self.quantity) if self.side == -side else ZERO


@dataclass(frozen=True)
class Setting:
    leverage: int = LEVERAGE
    margin_mode: str = "cross"  # cross | isolated


class Account:
    """deposit: where the wallet begins; fees: (maker, taker) as fractions of notional; asset: what money is counted in."""

    def __init__(self, deposit: Decimal, fees: tuple[Decimal, Decimal], asset: str = "USDT"):
        self.deposit = self.wallet = money(deposit)
        self.fees, self.asset = fees, asset
        self.incomes: list[Income] = []
        self.positions: dict[str, Position] = {}
        self.settings: dict[str, Setting] = {}

    def position(self, symbol: str) -> Position:
        return self.positions.get(symbol, Position(symbol))

    def held(self) -> list[Position]:
        return [position for position in self.positions.values() if position.quantity]

    def setting(self, symbol: str) -> Setting:
        return self.settings.get(symbol, Setting())

    def isolated(self, symbol: str) -> bool:
        return self.setting(symbol).margin_mode == "isolated"

    def isolated_margin(self, symbol: str) -> Decimal:
        """What an isolated position can lose: its initial margin at its entry price, as far as the wallet has it. 0 for a cross one."""
        if not self.isolated(symbol):
            return ZERO
        return min(money(abs(self.position(symbol).cost) / self.setting(symbol).leverage), max(self.wallet, ZERO))

    @property
    def cross_wallet(self) -> Decimal:
        """The wallet without what isolated positions have set apart."""
        return self.wallet - sum(self.isolated_margin(each.symbol) for each in self.held())

    def earn(self, time: int, kind: str, symbol: str, amount: Decimal, trade_id: int | None = None) -> None:
        """Change the wallet; nothing else does."""
        if amount:
            self.wallet += amount
            self.incomes.append(Income(len(self.incomes) + 1, time, kind, symbol, amount, trade_id))

    def trade(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool, time: int, id: int) -> Fill:
        """Average cost on the way in, realised profit on the way out; what is beyond the position opens the other side."""
        position = self.position(order.symbol)
        closed = min(position.closable(order.side), quantity)
        share = money(position.cost * closed / abs(position.quantity)) if closed else ZERO
        realised = money(-order.side * closed * price) - share if closed else ZERO
        fee = money(self.fees[0 if maker else 1] * quantity * price)
        self.positions[order.symbol] = replace(
            position,
            opened=time if position.side != order.side and quantity > closed else position.opened,
            quantity=position.quantity + order.side * quantity,
            cost=position.cost - share + money(order.side * (quantity - closed) * price),
            realised=position.realised + realised,
            updated=time,
        )
        self.earn(time, "REALIZED_PNL", order.symbol, realised, id)
        self.earn(time, "COMMISSION", order.symbol, -fee, id)
        self._insure(time, order.symbol)
        return Fill(id, order.id, order.symbol, order.side, price, quantity, fee, realised, maker, time)

    def liquidate(self, order: Order, price: Decimal, *, time: int, id: int, backing: Decimal) -> Fill:
        """Close all of a position at `price`: the fee is taken from what is left of its margin `backing`, a loss beyond it taken over."""
        position = self.position(order.symbol)
        realised, quantity = position.unrealised(price), abs(position.quantity)
        left = backing + realised
        fee = min(money(LIQUIDATION_FEE * quantity * price), max(left, ZERO))
        self.positions[order.symbol] = Position(order.symbol, realised=position.realised + realised, updated=time)
        self.earn(time, "REALIZED_PNL", order.symbol, realised, id)
        self.earn(time, "INSURANCE_CLEAR", order.symbol, -fee if left >= 0 else -left, id)
        self._insure(time, order.symbol)
        return Fill(id, order.id, order.symbol, order.side, price, quantity, ZERO, realised, False, time)

    def fund(self, symbol: str, rate: Decimal, mark: Decimal, time: int) -> Decimal:
        """Pay (negative: receive) funding on the position held; returns by how much the wallet changed."""
        amount = money(-self.position(symbol).quantity * mark * rate)
        self.earn(time, "FUNDING_FEE", symbol, amount)
        return amount

    def _insure(self, time: int, symbol: str) -> None:
        """Nobody owes the exchange anything once nothing is held."""
        if self.wallet < 0 and not self.held():
            self.earn(time, "INSURANCE_CLEAR", symbol, -self.wallet)


def money(value: Decimal) -> Decimal:
    """To 8 decimals, half to even."""
    return Decimal(value).quantize(CENT)


def table(symbol: str, time: int) -> tuple[Bracket, ...]:
    """The maintenance margin brackets in force."""
    return _table(symbol, time - time % HALF_HOUR)


@lru_cache(maxsize=256)
def _table(symbol, time):
    return perp.brackets_for(symbol, pd.Timestamp(time, unit="ms"))


@lru_cache(maxsize=1024)
def needed(notional: Decimal, brackets: tuple[Bracket, ...]) -> Decimal:
    """Maintenance margin of a position of that (unsigned) notional."""
    return money(Decimal(maintenance_margin(float(notional), brackets)))


@lru_cache(maxsize=1024)
def liquidation_price(quantity: Decimal, cost: Decimal, cash: Decimal, setting: Setting, brackets: tuple[Bracket, ...]) -> Decimal:
    """`perp.liquidation_price`; cash: what stands behind the position (isolated: the wallet, of which its initial margin counts).

    0 where there is none.
    """
    entry = float(cost / quantity)
    return money(Decimal(perp.liquidation_price(float(quantity), entry, float(cash), _terms(setting, brackets))))


def call_price(quantity: Decimal, cost: Decimal, cash: Decimal, setting: Setting, brackets: tuple[Bracket, ...]) -> Decimal:
    """Where maintenance takes so much of the margin that the owner is warned."""
    strict = tuple(Bracket(floor, rate / CALLED_AT) for floor, rate in brackets)
    return liquidation_price(quantity, cost, cash, setting, strict)


@lru_cache(maxsize=256)
def _terms(setting, brackets):
    return perp.Account(1.0, leverage=float(setting.leverage), margin_mode=setting.margin_mode, brackets=brackets)
