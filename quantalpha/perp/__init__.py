"""The money: position, margin, funding, fees, liquidation of one account in linear perpetuals."""

from quantalpha.perp.account import Account, Liquidation, bankruptcy_price, liquidation_price
from quantalpha.perp.brackets import Bracket, bracket_schedule, brackets_for, maintenance_margin
from quantalpha.perp.costs import Costs, Slippage, Stops
from quantalpha.perp.fees import fees_for
from quantalpha.perp.ledger import Event, Fill, FundingPayment, Ledger
from quantalpha.perp.rounding import Instrument, in_parts, meets_minimum, round_price, round_quantity, to_venue

__all__ = [
    "Account", "Bracket", "Costs", "Event", "Fill", "FundingPayment", "Instrument", "Ledger", "Liquidation", "Slippage",
    "Stops", "bankruptcy_price", "bracket_schedule", "brackets_for", "fees_for", "in_parts", "liquidation_price", "maintenance_margin",
    "meets_minimum", "round_price", "round_quantity", "to_venue",
]  # fmt: skip
