"""Accounts at venues over ccxt: orders, positions and money of Binance USD-M and Bybit linear, whatever their dialects."""

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.market.connect import NoAnswer
from quantalpha.market.trading.binance import Binance
from quantalpha.market.trading.bybit import Bybit
from quantalpha.market.trading.client import RECV_WINDOW, Trading, patiently
from quantalpha.market.trading.words import AccountReport, FundingPaid, Keys, OrderReport, Permissions, Refused, Rules, Settings, Trade

VENUES: dict[str, type[Trading]] = {"binanceusdm": Binance, "bybit": Bybit}

__all__ = [
    "AccountReport", "FundingPaid", "Keys", "NoAnswer", "OrderReport", "Permissions", "RECV_WINDOW", "Refused", "Rules", "Settings",
    "Trade", "Trading", "open_trading", "patiently",
]  # fmt: skip


def open_trading(venue: config.Venue, keys: Keys, *, demo: bool = False) -> Trading:
    """The client of the account behind `keys`, to be used as `async with`. demo: the venue's demo trading."""
    if venue.name not in VENUES:
        raise UsageError(f"venue.name: orders go to {' or '.join(VENUES)}, found {venue.name!r}")
    return VENUES[venue.name](venue, keys, demo)
