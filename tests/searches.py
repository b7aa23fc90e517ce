"""A small search for hyper-parameters: a tape with momentum, few trees, windows of 600 hours."""

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest.model_search import History, Tuning
from quantalpha.backtest.rows import Rows
from quantalpha.features import build
from quantalpha.labels import label
from quantalpha.perp import Account, Costs
from quantalpha.strategy import HysteresisPolicy
from quantalpha.validation.trials import Try

FEATURES = {"returns": [1, 4]}
SMALL = (
    "splits={train: 600, test: 250, embargo: 0}",
    "labels={horizon: 4, volatility_window: 48}",
    "search={trials: 12, max_turnover: 5000.0}",
    "search.lightgbm={trees: [5, 40, int], leaves: [4, 16, int], min_rows_per_leaf: [5, 50, int], learning_rate: [0.05, 0.3, log]}",
    "search.xgboost={trees: [5, 40, int], leaves: [4, 16, int], min_rows_per_leaf: [5, 50, int], learning_rate: [0.05, 0.3, log]}",
    "policy={enter: 0.05, exit: 0.0}",
)
NAMED = Try("", "BTCUSDT-lightgbm", {}, "code", {}, study="tape-BTCUSDT-1h")


def tape(n: int = 1100, seed: int = 1) -> pd.DataFrame:
    """Bars of one hour; a third of each return is carried into the next."""
    rng = np.random.default_rng(seed)
    change = 0.01 * rng.normal(size=n)
    for i in range(1, n):
        change[i] += 0.3 * change[i - 1]
    close = 100 * np.exp(np.cumsum(change))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


def small(*overrides: str) -> config.Params:
    return config.load(overrides=[*SMALL, *overrides])


def history(bars: pd.DataFrame, params: config.Params) -> History:
    rows = Rows(build(FEATURES).compute(bars), label(bars, params.labels), params.labels.decay)
    return History(rows, bars, params.splits)


def tuning(params: config.Params, kind: str = "lightgbm") -> Tuning:
    money = Account(10_000.0, leverage=5.0), Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
    return Tuning(kind, params.models, params.search, HysteresisPolicy(**params.policy.model_dump()), *money)
