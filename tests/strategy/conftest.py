"""A market for strategies: hours of a random walk with clustered volatility, funding, and a second venue that loses touch now and then."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema

HOUR_MS = 3_600_000


def bars_of(close, step_ms: int = HOUR_MS, **columns) -> pd.DataFrame:
    """Bars with these closes: each opens at the close before, and reaches 0.2 % beyond its body on both sides."""
    close = np.asarray(close, dtype=float)
    open_ = np.append(close[:1], close[:-1])
    prices = {"open": open_, "high": np.maximum(open_, close) * 1.002, "low": np.minimum(open_, close) / 1.002, "close": close}
    index = schema.from_epoch_ms(1_600_000_000_000 // HOUR_MS * HOUR_MS + np.arange(len(close)) * step_ms)
    return pd.DataFrame(prices | {"volume": 1.0} | columns, index=index)


def mirrored(bars: pd.DataFrame) -> pd.DataFrame:
    """The same market quoted the other way round: every price becomes its reciprocal."""
    return bars.assign(open=1 / bars["open"], high=1 / bars["low"], low=1 / bars["high"], close=1 / bars["close"])


@pytest.fixture(scope="session")
def make_bars():
    return bars_of


@pytest.fixture(scope="session")
def mirror():
    return mirrored


@pytest.fixture(scope="session")
def market() -> pd.DataFrame:
    """2,000 hours."""
    rng = np.random.default_rng(11)
    rows = 2_000
    volatility = 0.01 * np.exp(0.5 * np.sin(np.arange(rows) / 150))
    funding = np.where(np.arange(rows) % 8 == 0, 3e-4 * np.sin(np.arange(rows) / 200) + 1e-4 * rng.normal(size=rows), 0.0)
    return bars_of(100 * np.exp(np.cumsum(volatility * rng.standard_t(4, rows))), funding_rate=funding)


@pytest.fixture(scope="session")
def legs(market) -> dict[str, pd.DataFrame]:
    """The market on two venues; the gap between them reverts, its deviation is 0.5 %."""
    rng = np.random.default_rng(12)
    gap = pd.Series(0.002 * rng.normal(size=len(market))).ewm(alpha=0.1, adjust=False).mean().to_numpy() * 3
    other = bars_of(market["close"] * np.exp(gap), funding_rate=market["funding_rate"].to_numpy()[::-1])
    return {"here": market, "there": other}
