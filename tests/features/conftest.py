"""Bars the feature tests share."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema

SPEC = {
    "returns": [1, 4, 24, 72],
    "volatility": [24, 168],
    "atr": [24],
    "moving_average_distance": [24, 168],
    "rsi": [14],
    "bollinger": [48],
    "relative_volume": [24],
    "range_position": [72],
    "funding": [24, 72],
    "calendar": [24, 168],
}


def random_bars(rows: int, seed: int = 1) -> pd.DataFrame:
    """A fat-tailed walk in hours, with funding every 8 hours and some hours missing."""
    rng = np.random.default_rng(seed)
    close = 20_000 * np.exp(np.cumsum(0.01 * rng.standard_t(3, rows)))
    open_ = np.concatenate(([20_000.0], close[:-1])) * np.exp(0.001 * rng.normal(size=rows))
    reach = np.exp(0.004 * rng.exponential(size=(2, rows)))
    hours = np.cumsum(1 + (rng.random(rows) < 0.01) * rng.integers(1, 30, rows))
    frame = {
        "open": open_,
        "high": np.maximum(open_, close) * reach[0],
        "low": np.minimum(open_, close) / reach[1],
        "close": close,
        "volume": rng.lognormal(3, 1.5, rows),
        "funding_rate": np.where(hours % 8 == 0, rng.normal(1e-4, 1e-4, rows), 0.0),
    }
    return pd.DataFrame(frame, index=schema.from_epoch_ms(1_600_000_000_000 // 3_600_000 * 3_600_000 + hours * 3_600_000))


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """2,000 bars: longer than eleven times the longest lookback of `spec`."""
    return random_bars(2_000)


@pytest.fixture(scope="session")
def spec() -> dict[str, list[int]]:
    """Every registered family."""
    return SPEC
