"""Order-flow features: by hand, against pandas, and on recorded taker flow."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.features import FeatureSet
from quantalpha.features.orderflow import book_imbalance, microprice, order_flow_imbalance, relative_spread, taker_imbalance

FAMILIES = (taker_imbalance, order_flow_imbalance, book_imbalance, microprice, relative_spread)


def column(feature, **bars) -> np.ndarray:
    return FeatureSet([feature]).compute(pd.DataFrame(bars, dtype=float)).iloc[:, 0].to_numpy()


def test_taker_imbalance_by_hand():
    found = column(taker_imbalance(2), taker_buy_volume=[3, 1, 0, 0], volume=[4, 1, 3, 0])
    np.testing.assert_allclose(found, [np.nan, (2 * 4 - 5) / 5, (2 * 1 - 4) / 4, -1])
    ends = column(taker_imbalance(1), taker_buy_volume=[2, 0, 1, 0], volume=[2, 2, 2, 0])
    np.testing.assert_array_equal(ends, [1, -1, 0, 0])


def test_order_flow_is_in_units_of_twice_the_depth():
    found = column(order_flow_imbalance(3), order_flow_imbalance=[6, -2, 8, 0], depth=[2, 1, 3, 5])
    np.testing.assert_allclose(found, [np.nan, np.nan, 12 / (2 * 2), 6 / (2 * 3)])


def test_the_book_by_hand():
    np.testing.assert_allclose(column(book_imbalance(2), book_imbalance=[0.5, -0.1, -0.3]), [np.nan, 0.2, -0.2])
    found = column(microprice(2), microprice=[100.1, 99.8, 100.3], mid=[100, 100, 100])
    np.testing.assert_allclose(found, [np.nan, -0.0005, 0.0005], atol=1e-12)
    wide = column(relative_spread(2), spread=[1, 3, 3], mid=[100, 100, 100])
    np.testing.assert_allclose(wide, [np.nan, 0.5, 0], atol=1e-12)


@pytest.mark.parametrize("window", [1, 7, 60])
def test_windows_are_those_of_pandas(bars, window):
    sums = bars.rolling(window).sum()
    expected = {
        taker_imbalance: (2 * sums["taker_buy_volume"] - sums["volume"]) / sums["volume"],
        order_flow_imbalance: sums["order_flow_imbalance"] / (2 * sums["depth"] / window),
        book_imbalance: sums["book_imbalance"] / window,
        microprice: (bars["microprice"] / bars["mid"] - 1).rolling(window).mean(),
    }
    for family, values in expected.items():
        found = FeatureSet([family(window)]).compute(bars).iloc[:, 0]
        np.testing.assert_allclose(found, values, rtol=1e-7, atol=1e-10, err_msg=family.__name__)


def test_one_missing_row_hides_its_windows_alone(bars):
    holed = bars.copy()
    holed.iloc[500] = np.nan
    for family in FAMILIES:
        found = FeatureSet([family(5)]).compute(holed).iloc[100:, 0]
        assert found.isna().to_numpy().nonzero()[0].tolist() == [400, 401, 402, 403, 404], family.__name__


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("window", [0, 1.5, "5", True])
def test_a_window_is_a_whole_number(family, window):
    with pytest.raises(UsageError, match=f"features.{family.__name__}: expected a window of at least"):
        family(window)


@pytest.mark.real
def test_takers_push_recorded_hours(shared_data):
    """The hour's own return goes with its taker imbalance; 0 is balance, and neither side ever trades alone for an hour."""
    table = pd.read_parquet(shared_data / "binance_spot_BTC_ETH_klines_1h_takerbuy.parquet").query("symbol == 'BTCUSDT'")
    bars = table.set_index("timestamp").rename(columns={"taker_buy_base": "taker_buy_volume"})
    found = FeatureSet([taker_imbalance(1)]).compute(bars)["taker_imbalance_1"]
    assert found.abs().max() < 1 and abs(found.mean()) < 0.05
    assert found.corr(bars["close"] / bars["open"] - 1, method="spearman") > 0.5
