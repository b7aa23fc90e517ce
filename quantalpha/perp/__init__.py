"""The money: position, margin, funding, fees, liquidation of one account in a linear perpetual."""

from quantalpha.perp.account import Account, liquidation_price
from quantalpha.perp.brackets import Bracket, brackets_for, maintenance_margin
from quantalpha.perp.costs import Costs, Stops
from quantalpha.perp.ledger import Event, Fill, FundingPayment, Ledger
from quantalpha.perp.rounding import round_quantity

__all__ = [
    "Account", "Bracket", "Costs", "Event", "Fill", "FundingPayment", "Ledger", "Stops",
    "brackets_for", "liquidation_price", "maintenance_margin", "round_quantity",
]  # fmt: skip
