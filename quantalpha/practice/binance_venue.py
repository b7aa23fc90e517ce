"""Binance's side of a running exchange: what its trading endpoints share, and the way a request takes to its account.

Endpoints here: (venue, query) -> payload. A refusal of the core becomes Binance's code and words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quantalpha.practice.binance_orders import REFUSALS
from quantalpha.practice.binance_user import ListenKeys
from quantalpha.practice.desk import Desk
from quantalpha.practice.desks import Desks
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.order_counts import OrderCounts
from quantalpha.practice.orders import Rejected
from quantalpha.practice.query import Query, Refusal


class Binance:
    """Accounts, listen keys and order counts."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange
        self.desks = Desks(exchange, "binance")
        self.listen_keys = ListenKeys(exchange, self.desks)
        self.counts = OrderCounts(exchange.clock.wall)

    @property
    def asset(self) -> str:
        """What accounts are kept in."""
        return self.desks.asset

    def desk(self, query: Query) -> Desk:
        """The desk of the key that signed the query, brought up to the present."""
        return self.desks[query.check_signed().key]


@dataclass(frozen=True)
class Route:
    """weight: what it costs the address, with no symbol named `weight_of_all`; orders: how many orders a request counts as."""

    handle: Callable[[Binance, Query], Any]
    weight: int
    weight_of_all: int | None = None
    orders: int = 0

    def cost(self, query: Query) -> int:
        return self.weight if self.weight_of_all is None or query.has("symbol") else self.weight_of_all

    def answer(self, venue: Binance, query: Query) -> Any:
        """The payload of a request that was charged for already."""
        if self.orders:
            venue.counts.count(query.check_signed().key, self.orders)
        try:
            return self.handle(venue, query)
        except Rejected as rejected:
            raise refusal_of(rejected) from None


def refusal_of(rejected: Rejected) -> Refusal:
    return Refusal(*REFUSALS[rejected.reason])
