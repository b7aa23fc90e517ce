"""Carry by the clock, whatever the bars and the settlement interval; basis against a second price."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.features import FeatureSet
from quantalpha.features.funding import basis, funding, funding_carry, funding_change

HOUR = 3_600_000
YEAR_HOURS = 365 * 24


def settled(hours: np.ndarray, every: int, rate: float) -> pd.DataFrame:
    """Hourly bars that open at `hours`, with `rate` settled each `every` hours; what falls into a hole stands on the bar after it."""
    due = np.floor_divide(hours, every)
    count = np.diff(due, prepend=due[0] - (hours[0] % every == 0))
    return pd.DataFrame({"funding_rate": rate * count}, index=schema.from_epoch_ms(hours * HOUR))


def column(feature, bars) -> pd.Series:
    return FeatureSet([feature]).compute(bars).iloc[:, 0]


def test_funding_sums_the_rates_settled_in_the_window():
    found = column(funding(3), pd.DataFrame({"funding_rate": [1e-4, 0.0, 3e-4, -2e-4]}))
    np.testing.assert_allclose(found, [np.nan, np.nan, 4e-4, 1e-4], rtol=1e-12)


def test_carry_by_hand():
    """0.0001 every 8 hours is 0.0003 a day, 10.95 % a year."""
    found = column(funding_carry(24), settled(np.arange(100), 8, 1e-4))
    assert found.isna().sum() == 24
    np.testing.assert_allclose(found.iloc[24:], 0.1095, rtol=1e-12)


@pytest.mark.parametrize("every", [1, 4, 8])
def test_carry_is_the_same_whatever_the_settlement_interval(every):
    found = column(funding_carry(48), settled(np.arange(200), every, 1e-4 * every / 8))
    np.testing.assert_allclose(found.iloc[48:], 0.1095, rtol=1e-12)


def test_carry_goes_by_time_where_bars_are_missing():
    """Two days without bars: their six settlements stand on the bar after them, and so does their time."""
    hours = np.concatenate([np.arange(0, 49), np.arange(96, 200)])
    bars = settled(hours, 8, 1e-4)
    found = column(funding_carry(24), bars)
    after = found[bars.index >= schema.from_epoch_ms([96 * HOUR])[0]]
    np.testing.assert_allclose(after.iloc[0], 1e-4 * (3 + 6) / (24 + 47) * YEAR_HOURS, rtol=1e-12)
    np.testing.assert_allclose(after.iloc[[24, 32, 48]], 0.1095, rtol=1e-12)


def test_change_is_the_short_carry_less_the_long():
    rates = settled(np.arange(400), 8, 1e-4)
    rates.iloc[200:] *= 3
    found = column(funding_change(24, 96), rates)
    assert abs(found.iloc[190]) < 1e-12 and abs(found.iloc[399]) < 1e-12
    expected = column(funding_carry(24), rates) - column(funding_carry(96), rates)
    np.testing.assert_array_equal(found.iloc[96:], expected.iloc[96:])
    assert found.iloc[223] == pytest.approx(0.1095 * (3 - (9 * 1 + 3 * 3) / 12))


def test_basis_by_hand():
    bars = pd.DataFrame({"close": [101.0, 99.0, 102.0], "mark": [100.0, 100.0, np.nan], "BTCUSDC.close": [100.0, 110.0, 102.0]})
    np.testing.assert_allclose(column(basis("mark", 2), bars), [np.nan, 0.0, np.nan], atol=1e-15)
    np.testing.assert_allclose(column(basis("BTCUSDC.close", 1), bars), [0.01, -0.1, 0.0], atol=1e-15)
    assert FeatureSet([basis("BTCUSDC.close", 1)]).names == ("basis_BTCUSDC.close_1",)


def test_refusals():
    with pytest.raises(UsageError, match="expected short below long, found 24 and 24"):
        funding_change(24, 24)
    with pytest.raises(UsageError, match="features.funding_carry: expected a window of at least 1"):
        funding_carry(0)
    for reference in ("", "close", None, 3):
        with pytest.raises(UsageError, match="a price column, mark, index_price"):
            basis(reference, 24)


@pytest.mark.real
def test_recorded_carry_is_the_rates_by_the_year(shared_data):
    """BTC perpetual, 30 days of 8-hour rates: from below -5 % a year (2022) to above 60 % (early 2021)."""
    rates = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")[["funding_rate"]]
    found = column(funding_carry(90), rates)
    whole = (found.index.to_series().diff(90) == pd.Timedelta("30D")).to_numpy()
    expected = rates["funding_rate"].rolling(90).sum() * 365 / 30
    np.testing.assert_allclose(found[whole], expected[whole], rtol=1e-9, atol=1e-12)
    assert whole.mean() > 0.9
    assert found["2021-01":"2021-04"].max() > 0.6 and found["2022"].min() < 0.01
