"""The account a strategy trades with."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.perp.brackets import ALTCOIN, Bracket, check_brackets, rates_and_amounts
from quantalpha.perp.costs import Costs, Stops, check

if TYPE_CHECKING:
    from quantalpha.perp.clock import Terms, Tiers

MARGIN_MODES = ("cross", "isolated")


@dataclass(frozen=True)
class Account:
    """One account in one linear perpetual, kept in quote currency."""

    initial_cash: float
    leverage: float = 1.0  # largest |target|; isolated: the position's initial margin is its entry notional / leverage
    margin_mode: str = "cross"  # cross: the whole wallet stands behind the position; isolated: its initial margin only
    brackets: tuple[Bracket, ...] | None = None  # maintenance margin; None: the strict table of `brackets_for` an unlisted symbol
    lot: float = 0.0  # step of quantity, base currency; 0: any quantity

    def __post_init__(self):
        check("account.initial_cash", self.initial_cash, 0.0, math.inf, inclusive=False)
        check("account.leverage", self.leverage, 1.0, 125.0 + 1e-9)
        check("account.lot", self.lot, 0.0, math.inf)
        if self.margin_mode not in MARGIN_MODES:
            raise UsageError(f"account.margin_mode: found {self.margin_mode!r}; {did_you_mean(self.margin_mode, MARGIN_MODES)}")
        object.__setattr__(self, "brackets", check_brackets(ALTCOIN if self.brackets is None else self.brackets))


def terms(account: Account, costs: Costs, stops: Stops | None = None) -> "Terms":
    """The numbers the compiled clock works with."""
    from quantalpha.perp import clock

    stops = Stops() if stops is None else stops
    return clock.Terms(
        maker=float(costs.maker),
        taker=float(costs.taker),
        slippage=float(costs.slippage),
        liquidation=float(costs.liquidation),
        stop_loss=math.inf if stops.stop_loss is None else float(stops.stop_loss),
        take_profit=math.inf if stops.take_profit is None else float(stops.take_profit),
        leverage=float(account.leverage),
        isolated=account.margin_mode == "isolated",
        lot=float(account.lot),
    )


def tiers(account: Account) -> "Tiers":
    """The account's maintenance brackets as the compiled clock takes them."""
    from quantalpha.perp import clock

    return clock.Tiers(*rates_and_amounts(account.brackets))


def liquidation_price(quantity: float, entry_price: float, cash: float, account: Account) -> float:
    """Price at which the venue closes a position of signed `quantity`; 0.0 where none does (flat, or a long covered down to zero).

    Let Q = |quantity|, s its sign, E the entry price, W the margin (cross: the wallet `cash`; isolated: Q E / leverage, at most the
    wallet), r and a the rate and amount of a bracket. Equity meets the maintenance margin where  W + s Q (P - E) = r Q P - a,  so
    P = (s Q E - W - a) / (Q (s - r)).  Maintenance is the largest of the brackets' lines, so the price met first is the largest P over the
    brackets for a long and the smallest for a short; that P lies in its own bracket, by the notional at P.
    """
    from quantalpha.perp import clock

    fixed = terms(account, Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0))
    margin = clock.margin_at_risk(float(cash), float(quantity), float(entry_price), fixed)
    return clock.liquidation_price(float(quantity), float(entry_price), margin, tiers(account))
