"""Accounts on paper over a seeded tape: scripted wishes, a journal in memory, the engine around them."""

import math

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.perp import Account, Costs
from quantalpha.runner.broker_paper import PaperBroker, PaperPortfolio
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.risk import standard

HOUR = 3_600_000
ACCOUNT = Account(1000.0, 4.0, lot=0.001)
COSTS = Costs(0.0002, 0.0005, 0.0001, 0.0125)


class Script:
    """Wants what it was given for each bar, by open time."""

    fingerprint, novelty = "", math.nan

    def __init__(self, targets: pd.Series):
        self.targets, self.bar, self.asked = dict(zip(schema.epoch_ms(targets.index).tolist(), targets.tolist())), None, 0

    def observe(self, bar):
        self.bar = bar.bar

    def decide(self, previous):
        self.asked += 1
        return 0.1, self.targets[self.bar]


class Kept(list):
    def append(self, event):
        super().append(event)
        return event

    def commit(self):
        """Everything is kept at once."""


def tape(seed: int, rows: int, missing: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = close * np.exp(rng.normal(0, 0.002, rows))
    prices = {"open": opened, "high": np.maximum(opened, close) * 1.01, "low": np.minimum(opened, close) * 0.99, "close": close}
    index = schema.from_epoch_ms(HOUR * np.arange(rows))
    rates = np.where(np.arange(rows) % 8 == 0, rng.normal(0, 0.0005, rows), 0.0)
    frame = pd.DataFrame({**prices, "volume": 1.0, "mark": close * 1.0001, "funding_rate": rates}, index=index)
    return frame[(rng.random(rows) >= missing) | (np.arange(rows) == rows - 1)]


def wishes(seed: int, index: pd.DatetimeIndex) -> pd.Series:
    rng = np.random.default_rng(seed)
    return pd.Series(np.repeat(rng.choice([-1.5, -0.5, 0.0, 0.7, 1.5], len(index)), 3)[: len(index)], index=index)


def engine_of(tables, targets, journal, account=ACCOUNT):
    strategies = [Strategy(symbol * 3, symbol, Script(targets[symbol])) for symbol in tables]
    broker = PaperPortfolio(list(tables), account, COSTS) if len(tables) > 1 else PaperBroker(*tables, account, COSTS)
    return Engine(strategies, broker, Gates(standard(4.0)), journal, lambda: 7)
