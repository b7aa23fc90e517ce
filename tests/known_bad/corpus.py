"""The bars on which leaks are looked for."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.features.derived import TIME
from quantalpha.market.synthetic import synthetic_bars

FLAGGED = 0.005


def made(rows: int = 2_000, seed: int = 11) -> pd.DataFrame:
    """Hours of the synthetic tape from 2021 on."""
    settings = config.load().synthetic.model_copy(update={"bars": rows + 10, "seed": seed})
    return _completed(synthetic_bars("BTCUSDT", settings).iloc[:rows], seed)


def recorded(folder: Path, rows: int = 3_000) -> pd.DataFrame:
    """The last hours of 2024: Binance spot BTC with what takers bought, and the funding of its perpetual."""
    table = pd.read_parquet(folder / "binance_spot_BTC_ETH_klines_1h_takerbuy.parquet").query("symbol == 'BTCUSDT'")
    bars = table.set_index("timestamp").tail(rows).rename(columns={"n_trades": "trades", "taker_buy_base": "taker_buy_volume"})
    rates = pd.read_parquet(folder / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp").funding_rate
    bars = bars[["open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume"]].astype(float)
    bars = bars.assign(mark=bars.close, funding_rate=rates.reindex(bars.index).fillna(0.0))
    return _completed(bars.drop(bars.index[[700, 701, 1_500]]), seed=1)  # this stretch has no gap of its own


def _completed(bars: pd.DataFrame, seed: int) -> pd.DataFrame:
    """With open interest, of which 2 % is missing, and a flag that is hardly ever set: both made up."""
    rng = np.random.default_rng(seed)
    interest = pd.Series(1e5 * np.exp(np.cumsum(0.01 * rng.normal(size=len(bars)))), bars.index).mask(rng.random(len(bars)) < 0.02)
    return bars.assign(open_interest=interest, halted=(rng.random(len(bars)) < FLAGGED).astype(float))


def supplied(bars: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """With made-up prices near the close in every column of `columns` that is missing, so that any feature can be computed."""
    rng = np.random.default_rng(2)
    missing = [name for name in columns if name not in bars.columns and name != TIME]
    return bars.assign(**{name: bars.close * np.exp(0.01 * rng.normal(size=len(bars))) for name in missing})
