"""Bars the feature tests share, and examples of every registered family."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema

EXAMPLES = {  # family: arguments of some features; the laws of test_feature_laws.py are checked for each of them
    "returns": [(1,), (4,), (72,)],
    "scaled_return": [(2,), (37,)],
    "rsi": [(2,), (14,)],
    "range_position": [(2,), (13,), (72,)],
    "stochastic": [(13, 1, 1), (14, 3, 5)],
    "cci": [(2,), (21,)],
    "moving_average_distance": [(2,), (24,), (168,)],
    "ema_distance": [(2,), (37,)],
    "ma_cross": [(1, 2), (13, 37)],
    "macd": [(2, 3, 2), (12, 26, 9)],
    "adx": [(2,), (14,)],
    "aroon": [(2,), (25,)],
    "ichimoku": [(1, 2, 2), (9, 26, 52)],
    "slope": [(3,), (37,), (64,)],
    "volatility": [(2,), (24,), (168,)],
    "volatility_ratio": [(2, 3), (13, 37)],
    "downside": [(1,), (37,)],
    "atr": [(2,), (24,)],
    "parkinson": [(1,), (37,)],
    "garman_klass": [(1,), (37,)],
    "yang_zhang": [(2,), (37,)],
    "bollinger": [(2,), (48,)],
    "bollinger_width": [(2,), (37,)],
    "keltner": [(2, 1), (20, 10), (2, 37)],
    "relative_volume": [(2,), (24,)],
    "on_balance_volume": [(1,), (37,)],
    "money_flow": [(1,), (14,)],
    "vwap_distance": [(1,), (37,)],
    "amihud": [(1, 2), (13, 37)],
    "funding": [(1,), (24,), (72,)],
    "funding_carry": [(2,), (37,)],
    "funding_change": [(2, 3), (13, 37)],
    "basis": [("mark", 1), ("BTCUSDT.close", 37)],
    "calendar": [(24,), (168,)],
    "funding_clock": [(8,)],
    "taker_imbalance": [(1,), (37,)],
    "order_flow_imbalance": [(1,), (37,)],
    "book_imbalance": [(1,), (37,)],
    "microprice": [(1,), (37,)],
    "relative_spread": [(2,), (37,)],
    "leader_return": [("BTCUSDT", 1), ("BTCUSDT", 37)],
    "relative_strength": [("BTCUSDT", 1), ("BTCUSDT", 37)],
    "leader_beta": [("BTCUSDT", 2), ("BTCUSDT", 37)],
    "onchain_change": [("CapMVRVCur", 1), ("CapMVRVCur", 37)],
    "onchain_score": [("CapMVRVCur", 2), ("CapMVRVCur", 37)],
    "wavelet_denoise": [("haar", 2, 37), ("db2", 3, 10)],
    "fractional_difference": [(1.0, 0.01), (0.4, 0.001)],
    "volume_profile": [(2, 2), (37, 12)],
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
    frame |= {
        "taker_buy_volume": frame["volume"] * rng.random(rows),
        "mark": close * np.exp(1e-4 * rng.normal(size=rows)),
        "mid": close * np.exp(1e-5 * rng.normal(size=rows)),
        "spread": close * 1e-5 * rng.integers(1, 9, rows),
        "depth": rng.lognormal(1, 1, rows),
        "order_flow_imbalance": 10 * rng.normal(size=rows),
        "book_imbalance": rng.uniform(-1, 1, rows),
        "BTCUSDT.close": 60_000 * np.exp(np.cumsum(0.007 * rng.standard_t(3, rows))),
        "onchain_CapMVRVCur": 2 * np.exp(np.cumsum(0.01 * rng.normal(size=rows))),
    }
    frame["microprice"] = frame["mid"] + frame["spread"] * rng.uniform(-0.5, 0.5, rows)
    return pd.DataFrame(frame, index=schema.from_epoch_ms(1_600_000_000_000 // 3_600_000 * 3_600_000 + hours * 3_600_000))


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    """2,000 bars: longer than three times the longest lookback of `spec`."""
    return random_bars(2_000)


@pytest.fixture(scope="session")
def spec() -> dict[str, list[tuple]]:
    """Every registered family."""
    return EXAMPLES


def pytest_generate_tests(metafunc) -> None:
    """A test with the arguments `family, arguments` runs for every example."""
    if {"family", "arguments"} <= set(metafunc.fixturenames):
        cases = [(family, arguments) for family, listed in EXAMPLES.items() for arguments in listed]
        names = ["-".join(map(str, (family, *arguments))) for family, arguments in cases]
        metafunc.parametrize(("family", "arguments"), cases, ids=names)
