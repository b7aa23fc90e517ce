"""The one check of a table of bars."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError


@pytest.fixture
def bars() -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=5, freq="1h", tz="UTC", name="timestamp")
    return pd.DataFrame({"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}, index=index)


def test_sound_bars_pass(bars):
    assert schema.check_bars(bars) is bars


@pytest.mark.parametrize(
    "column, value",
    [
        ("open", np.nan),
        ("high", np.nan),
        ("low", np.nan),
        ("close", np.nan),
        ("volume", np.nan),
        ("open", np.inf),
        ("high", np.inf),
        ("low", -np.inf),
        ("close", np.inf),
        ("volume", np.inf),
        ("low", 0.0),
        ("low", -1.0),
        ("high", 10.5),
        ("low", 10.5),
        ("volume", -1.0),
        ("open", 13.0),
        ("close", 8.0),
    ],
)
def test_every_impossible_value_is_found_and_named(bars, column, value):
    bars.loc[bars.index[2], column] = value
    assert schema.impossible(bars).tolist() == [False, False, True, False, False]
    with pytest.raises(DataError, match="impossible bar at 2024-01-01 02:00"):
        schema.check_bars(bars)


def test_zero_volume_and_a_flat_bar_are_possible(bars):
    bars.iloc[1] = [10.0, 10.0, 10.0, 10.0, 0.0]
    assert not schema.impossible(bars).any()


@pytest.mark.parametrize(
    "index, words",
    [
        (pd.RangeIndex(5), "UTC DatetimeIndex"),
        (pd.date_range("2024-01-01", periods=5, freq="1h"), "UTC DatetimeIndex"),
        (pd.date_range("2024-01-01", periods=5, freq="1h", tz="Asia/Seoul"), "tz_convert"),
        (pd.DatetimeIndex(["2024-01-01"] * 2 + ["2024-01-02"] * 3, tz="UTC"), "increasing time order; row 1"),
    ],
)
def test_wrong_times_are_named(bars, index, words):
    with pytest.raises(DataError, match=words):
        schema.check_bars(bars.set_axis(index))


def test_missing_columns_are_named(bars):
    with pytest.raises(DataError, match="missing column.*high"):
        schema.check_bars(bars.drop(columns="high"))


def test_epoch_milliseconds_round_trip_in_any_unit(bars):
    for unit in ("s", "ms", "us", "ns"):
        index = bars.index.as_unit(unit)
        assert schema.from_epoch_ms(schema.epoch_ms(index)).equals(bars.index.as_unit("ms"))
    assert str(schema.from_epoch_ms([]).dtype) == schema.INDEX_DTYPE
