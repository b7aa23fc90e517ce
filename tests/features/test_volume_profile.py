"""Volume profile: worked by hand, against a plain histogram, and the laws of its shape."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.features import build
from quantalpha.features.volume_profile import volume_profile


def table(high, low, close, volume):
    high, low, close = (np.array(column, dtype=float) for column in (high, low, close))
    times = schema.from_epoch_ms(np.arange(len(high)) * 3_600_000)
    return pd.DataFrame({"open": close, "high": high, "low": low, "close": close, "volume": np.array(volume, dtype=float)}, index=times)


HAND = table([104, 102, 103, 101], [100, 100, 102, 100], [102, 101, 102, 101], [8, 6, 3, 1])
# four cells of 1 from 100 to 104, each bar's volume by the length of its range in the cell:
#   8 over 100-104: 2 2 2 2;  6 over 100-102: 3 3 0 0;  3 over 102-103: 0 0 3 0;  1 over 100-101: 1 0 0 0
HAND_VOLUME = [6.0, 5.0, 5.0, 2.0]


def plain(bars, bins):
    """(prices of the edges, volume of each cell): a bar's share of a cell is the share of its range in it."""
    edges = np.linspace(bars["low"].min(), bars["high"].max(), bins + 1)
    held = np.zeros(bins)
    for high, low, volume in bars[["high", "low", "volume"]].to_numpy():
        if high > low:
            held += volume * np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None) / (high - low)
        else:
            held[min(np.searchsorted(edges, low, side="right") - 1, bins - 1)] += volume
    return edges, held


def plain_levels(edges, held):
    """(point of control, value area high, value area low); cells that differ by rounding alone hold the same."""
    held = np.round(held / held.max(), 7)
    control = first = last = int(np.argmax(held))
    while held[first : last + 1].sum() < 0.7 * held.sum():
        above = held[last + 1] if last + 1 < len(held) else -1.0
        below = held[first - 1] if first else -1.0
        first, last = (first, last + 1) if above >= below else (first - 1, last)
    return (edges[control] + edges[control + 1]) / 2, edges[last + 1], edges[first]


def test_a_profile_by_hand():
    found = volume_profile(HAND, bins=4)
    np.testing.assert_allclose(found["price"], [100.5, 101.5, 102.5, 103.5], rtol=1e-15)
    np.testing.assert_allclose(found["volume"], HAND_VOLUME, rtol=1e-9)


def test_levels_by_hand():
    """Most is traded at 100-101; with 6 of 18, then 11, then 16 the value area ends at 103: 70 % are 12.6."""
    found = build({"volume_profile": [(4, 4)]}).compute(HAND).iloc[-1].to_numpy()
    np.testing.assert_allclose(found, [101 / 100.5 - 1, 101 / 103 - 1, 101 / 100 - 1, 2 * 1 / 3 - 1], rtol=1e-12)


def test_the_value_area_grows_to_the_heavier_side():
    """Cells 1 2 9 4 3 of 19: from the 9 first up (4 > 2) to 13, then up (3 > 2) to 16 of the 13.3 needed."""
    bars = table([1001, 1002, 1003, 1004, 1005], [1000, 1001, 1002, 1003, 1004], [1001, 1002, 1003, 1004, 1005], [1, 2, 9, 4, 3])
    found = build({"volume_profile": [(5, 5)]}).compute(bars).iloc[-1].to_numpy()
    np.testing.assert_allclose(found, [1005 / 1002.5 - 1, 0.0, 1005 / 1002 - 1, 1.0], rtol=1e-12, atol=1e-15)


def test_bars_of_one_price_lie_in_one_cell():
    bars = table([10, 12, 11, 12], [10, 12, 11, 12], [10, 12, 11, 12], [1, 2, 5, 1])
    np.testing.assert_array_equal(volume_profile(bars, bins=2)["volume"], [1, 8])
    np.testing.assert_array_equal(volume_profile(bars.iloc[:1], bins=3)["volume"], [1, 0, 0])


@pytest.mark.parametrize("bins", [2, 7, 48])
def test_the_profile_is_the_plain_one_and_loses_nothing(bars, bins):
    for part in (bars.iloc[:50], bars.iloc[300:1_300]):
        edges, held = plain(part, bins)
        found = volume_profile(part, bins=bins)
        np.testing.assert_allclose(found["price"], (edges[1:] + edges[:-1]) / 2, rtol=1e-13)
        np.testing.assert_allclose(found["volume"], held, atol=1e-9 * len(part) * part["volume"].max())
        assert found["volume"].sum() == pytest.approx(part["volume"].sum(), rel=1e-8)


def assert_plain_levels(bars, window, bins, ends):
    table = build({"volume_profile": [(window, bins)]}).compute(bars).to_numpy()
    for end in ends:
        close, (control, upper, lower) = bars["close"].iloc[end - 1], plain_levels(*plain(bars.iloc[end - window : end], bins))
        expected = close / control - 1, close / upper - 1, close / lower - 1, 2 * (close - lower) / (upper - lower) - 1
        np.testing.assert_allclose(table[end - 1], expected, rtol=1e-9, atol=1e-11, err_msg=str(end))


@pytest.mark.parametrize(("window", "bins"), [(2, 5), (24, 12), (240, 48)])
def test_levels_are_the_plain_ones_at_every_row(bars, window, bins):
    assert_plain_levels(bars, window, bins, range(window, len(bars) + 1, 7))


@pytest.mark.real
def test_levels_are_the_plain_ones_on_recorded_bars(shared_data):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1m_2024.parquet").set_index("timestamp").iloc[:20_000]
    assert_plain_levels(bars, 240, 48, np.random.default_rng(0).integers(240, len(bars) + 1, 300))


@pytest.mark.real
def test_a_row_does_not_know_how_its_window_was_reached(shared_data):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1m_2024.parquet").set_index("timestamp").iloc[:50_000]
    features = build({"volume_profile": [(240, 48)]})
    whole = features.compute(bars).to_numpy()
    for end in np.random.default_rng(0).integers(240, len(bars) + 1, 500):
        np.testing.assert_array_equal(features.latest(bars.iloc[end - 240 : end]), whole[end - 1])


def test_the_value_area_holds_seventy_percent_and_encloses_the_point_of_control(bars):
    found = build({"volume_profile": [(100, 24)]}).compute(bars).iloc[99:]
    control, upper, lower = (bars["close"].iloc[99:] / (1 + found.iloc[:, part]) for part in range(3))
    assert ((lower < control) & (control < upper)).all()
    for end in range(100, len(bars), 311):
        profile, row = volume_profile(bars.iloc[end - 100 : end], bins=24), bars.index[end - 1]
        inside = profile["price"].between(lower[row], upper[row])
        assert 0.7 * profile["volume"].sum() <= profile.loc[inside, "volume"].sum() * (1 + 1e-9)


def test_without_volume_or_range_there_is_no_profile_to_be_away_from(bars):
    found = build({"volume_profile": [(20, 8)]})
    assert (found.latest(bars.assign(volume=0.0)) == 0).all()
    assert (found.latest(bars.assign(high=5.0, low=5.0, close=5.0)) == 0).all()
    with pytest.raises(DataError, match="without missing prices or volumes"):
        volume_profile(bars.iloc[:0])


SPOILT = {
    "a high without end": {"high": np.inf},
    "a low without end": {"low": -np.inf},
    "high and low swapped": {"high": 1.0, "low": 2.0e9},
    "volume below nothing": {"volume": -1e12},
    "volume without end": {"volume": np.inf},
    "no volume told": {"volume": np.nan},
}


@pytest.mark.parametrize("fault", SPOILT)
def test_an_unsound_bar_is_a_missing_one_and_is_forgotten(bars, fault):
    """The kernel's cells have no bounds to stop at: such bars once ended in another's memory."""
    features, spoilt, row = build({"volume_profile": [(20, 8)]}), bars.iloc[:200].copy(), bars.index[100]
    spoilt.loc[row, list(SPOILT[fault])] = list(SPOILT[fault].values())
    found, sound = features.compute(spoilt), features.compute(bars.iloc[:200])
    assert found.iloc[100:120].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.drop(found.index[100:120]), sound.drop(sound.index[100:120]), check_exact=True)
    for end in range(95, 130):
        np.testing.assert_array_equal(features.latest(spoilt.iloc[end - 20 : end]), found.iloc[end - 1])


@pytest.mark.parametrize("unit", [1e-308, 1e-320, 1e295])
def test_prices_and_volumes_at_the_ends_of_what_a_number_holds(bars, unit):
    part = bars.iloc[:200][["high", "low", "close", "volume"]] * unit
    features = build({"volume_profile": [(20, 8)]})
    found = features.compute(part).to_numpy()
    assert np.isfinite(found[19:]).all()
    for end in range(20, 200, 7):
        np.testing.assert_array_equal(features.latest(part.iloc[end - 20 : end]), found[end - 1])
    swapped = features.compute(part.assign(high=part["low"], low=part["high"])).to_numpy()
    assert np.isnan(swapped).all() or unit == 1e-320  # where a number has no digits left, the two are one


@pytest.mark.parametrize("bins", [1, 2.0, True, "48"])
def test_wrong_bins(bars, bins):
    with pytest.raises(UsageError, match="expected at least 2 bins"):
        volume_profile(bars, bins=bins)
