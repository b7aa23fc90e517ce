"""Who may trade here: API keys, each with an account of its own on each venue."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from quantalpha.perp import fees_for
from quantalpha.practice.account import Account
from quantalpha.practice.desk import Desk
from quantalpha.practice.exchange import Exchange

KEY, SECRET, DEPOSIT = "practice-key", "practice-secret", 10_000.0  # anybody may know them, for there is nothing to steal


@dataclass(frozen=True)
class ApiKey:
    """deposit: where its account begins, quote currency; withdraws: whether the key may also withdraw, which no trading key should."""

    key: str = KEY
    secret: str = SECRET
    deposit: float = DEPOSIT
    withdraws: bool = False


class Desks:
    """The desks of one venue ("binance" or "bybit", for its fees), by API key."""

    def __init__(self, exchange: Exchange, venue: str, keys: Iterable[ApiKey] = (ApiKey(),)):
        self.keys = {each.key: each for each in keys}
        self.fees = tuple(Decimal(repr(fee)) for fee in fees_for(venue))
        asset = next(iter(exchange.tape.instruments.values())).quote
        self.desks = {each.key: Desk(exchange, Account(Decimal(repr(each.deposit)), self.fees, asset)) for each in self.keys.values()}

    def __getitem__(self, key: str) -> Desk:
        """The desk of a key, brought up to the exchange's present."""
        desk = self.desks[key]
        desk.advance(desk.exchange.now())
        return desk
