"""The desks of one venue, by API key: an account is one key's on one venue."""

from decimal import Decimal

from quantalpha.perp import fees_for
from quantalpha.practice.account import Account
from quantalpha.practice.desk import Desk
from quantalpha.practice.exchange import Exchange


class Desks:
    """venue: "binance" or "bybit", for its fees."""

    def __init__(self, exchange: Exchange, venue: str):
        fees = tuple(Decimal(repr(fee)) for fee in fees_for(venue))
        asset = next(iter(exchange.tape.instruments.values())).quote
        self.asset = asset
        self._desks = {key: Desk(exchange, Account(Decimal(repr(each.deposit)), fees, asset)) for key, each in exchange.keys.items()}

    def __getitem__(self, key: str) -> Desk:
        """The desk of a key, brought up to the exchange's present."""
        desk = self._desks[key]
        desk.advance(desk.exchange.now())
        return desk
