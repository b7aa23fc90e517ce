"""One rule on many symbols: equal risk, equal shares, one account."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.strategy.panel import panel
from quantalpha.strategy.sizing import volatility_target


def market(volatility, n=3000, first="2024-01-01", seed=0):
    close = 100 * np.exp(np.cumsum(volatility / np.sqrt(8760) * np.random.default_rng(seed).normal(size=n)))
    index = pd.date_range(first, periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    return pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1.0}, index=index)


def long(bars, size=1.0):
    return pd.Series(size, index=bars.index)


def test_each_symbol_has_its_share_at_the_same_risk():
    bars = {"A": market(0.8, seed=1), "B": market(0.4, seed=2)}
    targets = panel(bars, long, annual=0.2, size=0.5)
    for symbol, table in bars.items():
        expected = volatility_target(long(table, 0.5), table["close"], annual=0.2) / 2
        pd.testing.assert_series_equal(targets[symbol], expected, check_names=False)
    last = targets.iloc[-1]
    assert last["B"] / last["A"] == pytest.approx(2.0, rel=0.15)


def test_a_symbol_counts_from_its_listing_on():
    old, new = market(0.8, seed=1), market(0.8, first="2024-04-01", n=800, seed=2)
    both, alone = panel({"OLD": old, "NEW": new}, long), panel({"OLD": old}, long)
    listed = both.index.isin(new.index)
    np.testing.assert_array_equal(both["OLD"][~listed], alone["OLD"][~listed])
    np.testing.assert_array_equal(both["OLD"][listed], alone["OLD"][listed] / 2)
    assert (both["NEW"][~listed] == 0).all() and not both.isna().any(axis=None)


def test_the_sizes_stay_within_gross():
    bars = {name: market(0.3, seed=seed) for seed, name in enumerate("ABC")}
    free, capped = panel(bars, long, annual=0.6, gross=9.0), panel(bars, long, annual=0.6, gross=0.5)
    assert free.abs().sum(axis=1).max() > 0.9 and capped.abs().sum(axis=1).max() == pytest.approx(0.5)
    busy = free.abs().sum(axis=1) > 0.5
    pd.testing.assert_frame_equal(capped[busy], free[busy].mul(0.5 / free[busy].sum(axis=1), axis=0))


def test_nothing_looks_ahead():
    bars = {"A": market(0.8, seed=1), "B": market(0.4, seed=2, n=2500)}
    whole = panel(bars, long)
    cut = panel({symbol: table.iloc[:2000] for symbol, table in bars.items()}, long)
    pd.testing.assert_frame_equal(cut, whole.iloc[:2000])
