"""Accounts at venues over ccxt: orders, positions and money of Binance USD-M and Bybit linear, whatever their dialects."""

from collections.abc import Callable

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.market.trading.binance import Binance
from quantalpha.market.trading.binance_stream import BinanceStream
from quantalpha.market.trading.bybit import Bybit
from quantalpha.market.trading.bybit_stream import BybitStream
from quantalpha.market.trading.client import RECV_WINDOW, Trading, patiently
from quantalpha.market.trading.elsewhere import Elsewhere
from quantalpha.market.trading.stream import News, UserStream
from quantalpha.market.trading.words import (
    CONDITIONAL,
    AccountReport,
    Held,
    InDoubt,
    Keys,
    NotSent,
    OrderReport,
    Paid,
    Payment,
    Permissions,
    Refused,
    Rules,
    Settings,
    Trade,
)

STREAMS: dict[type[Trading], type[UserStream]] = {Binance: BinanceStream, Bybit: BybitStream}
VENUES: dict[str, type[Trading]] = {"binanceusdm": Binance, "bybit": Bybit}

__all__ = [
    "CONDITIONAL", "AccountReport", "Elsewhere", "Held", "InDoubt", "Keys", "News", "NotSent", "OrderReport", "Paid", "Payment",
    "Permissions", "RECV_WINDOW", "Refused", "Rules", "Settings", "Trade", "Trading", "UserStream", "open_trading", "patiently",
    "user_stream",
]  # fmt: skip


def open_trading(venue: config.Venue, keys: Keys, *, demo: bool = False) -> Trading:
    """The client of the account behind `keys`, to be used as `async with`. demo: the venue's demo trading."""
    if venue.name not in VENUES:
        raise UsageError(f"venue.name: orders go to {' or '.join(VENUES)}, found {venue.name!r}")
    return VENUES[venue.name](venue, keys, demo)


def user_stream(trading: Trading | Elsewhere, on_news: Callable[[News], None]) -> UserStream:
    """The account's own news; `run` it as a task."""
    if isinstance(trading, Elsewhere):
        return user_stream(trading.trading, lambda news: on_news(trading.named(news)))
    return STREAMS[type(trading)](trading, on_news)
