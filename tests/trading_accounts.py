"""Accounts at a practice exchange, for tests: either venue's face, with one key."""

from contextlib import contextmanager
from dataclasses import dataclass

from quantalpha import config
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.market.trading import Keys
from quantalpha.practice import Tape
from quantalpha.practice.background import played
from quantalpha.practice.keys import KEY, SECRET

NAMES = ("binanceusdm", "bybit")
KEYS = Keys(KEY, SECRET)


def tape() -> Tape:
    given = {"seed": 3, "start": "2024-01-01", "bars": 2_500, "timeframe": "1h", "edge": {"BTCUSDT": 0.0, "ETHUSDT": 0.01}}
    params = config.Synthetic.model_validate(given)
    return Tape({symbol: synthetic_bars(symbol, params) for symbol in params.edge})


def venue_at(server, name: str, **changes) -> config.Venue:
    told = {"name": name, "source": "practice", "rest_url": server.url, "ws_url": server.ws_url, "timeout": 3.0, "budget": 0.8}
    return config.Venue(**(told | changes))


@contextmanager
def account_at(name: str, **options):
    """(server, venue) of a practice exchange on a small tape."""
    with played(tape(), **options) as server:
        yield server, venue_at(server, name)


@dataclass(frozen=True)
class Told:
    """An instruction, as the clients read it."""

    symbol: str
    client_id: str
    kind: str
    quantity: float
    price: float | None = None
    reduce_only: bool = False
