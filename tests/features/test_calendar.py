"""The funding clock: phase and what is left, at the times venues settle."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.features import FeatureSet, build
from quantalpha.features.calendar import calendar, funding_clock


def hourly(start: str, rows: int) -> pd.DataFrame:
    return pd.DataFrame(index=pd.date_range(start, periods=rows, freq="1h", tz="UTC", unit="ms"))


def test_calendar_is_the_phase_of_the_open_time():
    times = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00", "2024-01-04 00:00"], tz="UTC")
    found = build({"calendar": [24, 168]}).compute(pd.DataFrame(index=times))
    assert list(found) == ["calendar_24_sin", "calendar_24_cos", "calendar_168_sin", "calendar_168_cos"]
    np.testing.assert_allclose(found.iloc[:, 0], [0, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.iloc[:, 1], [1, 0, -1, 1], atol=1e-12)
    np.testing.assert_allclose(found.iloc[3, 2:], [0, 1], atol=1e-12)  # a Thursday, as 1970-01-01 was


def test_the_clock_by_hand():
    found = FeatureSet([funding_clock(8)]).compute(hourly("2024-03-05 06:00", 5))
    assert list(found) == ["funding_clock_8_sin", "funding_clock_8_cos", "funding_clock_8_left"]
    np.testing.assert_array_equal(found["funding_clock_8_left"], [2 / 8, 1 / 8, 1, 7 / 8, 6 / 8])
    np.testing.assert_allclose(found["funding_clock_8_sin"], [-1, -np.sqrt(0.5), 0, np.sqrt(0.5), 1], atol=1e-12)
    np.testing.assert_allclose(found["funding_clock_8_cos"], [0, np.sqrt(0.5), 1, np.sqrt(0.5), 0], atol=1e-12)


@pytest.mark.parametrize("hours", [1, 4, 8])
def test_all_is_left_where_funding_is_settled(hours):
    bars = pd.DataFrame(index=pd.date_range("2024-01-01", periods=4_000, freq="1min", tz="UTC", unit="ms"))
    left = FeatureSet([funding_clock(hours)]).compute(bars).iloc[:, 2]
    due = (bars.index.minute == 0) & (bars.index.hour % hours == 0)
    assert (left[due] == 1).all() and (left[~due] < 1).all() and (left > 0).all()
    np.testing.assert_allclose(left.diff()[1:][~due[1:]], -1 / (60 * hours), rtol=1e-9)


def test_the_phase_is_that_of_the_calendar():
    found = build({"calendar": [8], "funding_clock": [8]}).compute(hourly("2024-03-05", 100))
    for part in ("sin", "cos"):
        np.testing.assert_array_equal(found[f"calendar_8_{part}"], found[f"funding_clock_8_{part}"])


@pytest.mark.parametrize("family", [calendar, funding_clock])
def test_angles_lie_on_the_circle(family):
    found = FeatureSet([family(168)]).compute(hourly("2024-03-05", 400))
    np.testing.assert_allclose(found.iloc[:, 0] ** 2 + found.iloc[:, 1] ** 2, 1, rtol=1e-12)


def test_refusals():
    for hours in (0, 1.5, "8"):
        with pytest.raises(UsageError, match="features.funding_clock: expected a window of at least 1"):
            funding_clock(hours)


@pytest.mark.real
def test_recorded_settlements_fall_on_the_clock(shared_data):
    rates = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")
    assert (FeatureSet([funding_clock(8)]).compute(rates)["funding_clock_8_left"] == 1).all()
