"""Lakes to send."""

import os

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.market import Lake
from quantalpha.market.sinks import Series

NAMES = ("postgres", "influx", "redis")
HOUR = 3_600_000


def fresh(kind: str = "1h") -> Series:
    """A series that no other test touches: all share the servers."""
    return Series("binanceusdm", "S" + os.urandom(4).hex().upper(), kind)


def bars(rows: int, start: str = "2023-12-15", seed: int = 0, **columns) -> pd.DataFrame:
    """Hourly bars of a random walk; 1,200 of them touch three months and two years."""
    index = schema.from_epoch_ms(pd.Timestamp(start, tz="UTC").value // 1_000_000 + HOUR * np.arange(rows))
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * random.standard_normal(rows)))
    values = {"open": close * 1.0001, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": random.exponential(10, rows)}
    return pd.DataFrame(values | columns, index)


def fill(lake: Lake, series: Series, rows: pd.DataFrame) -> None:
    """Make `rows` the lake's, whatever it held of these months."""
    lake.write(*series, rows, source="test", complete_before=0, replace=True)
