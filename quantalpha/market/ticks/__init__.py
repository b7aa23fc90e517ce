"""Live market data tick by tick: feeds, maintained books, recordings, order flow."""

from quantalpha.market.ticks.book import Book
from quantalpha.market.ticks.feed import Feed, Subscription
from quantalpha.market.ticks.flow import Flow
from quantalpha.market.ticks.messages import Bar, Depth, Mark, Quote, Trade
from quantalpha.market.ticks.publish import publisher
from quantalpha.market.ticks.record import Recorder, depth_messages, read_ticks
from quantalpha.market.ticks.session import Status, record
from quantalpha.market.ticks.trades import flow_bars, trade_spreads

__all__ = [
    "Bar",
    "Book",
    "Depth",
    "Feed",
    "Flow",
    "Mark",
    "Quote",
    "Recorder",
    "Status",
    "Subscription",
    "Trade",
    "depth_messages",
    "flow_bars",
    "publisher",
    "read_ticks",
    "record",
    "trade_spreads",
]
