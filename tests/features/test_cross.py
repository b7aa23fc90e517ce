"""A coin against its leader: by hand, against least squares, and on recorded coins."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.features import FeatureSet, build
from quantalpha.features.cross import leader_beta, leader_return, relative_strength
from quantalpha.market.leaders import join_leaders
from quantalpha.market.panel import read_panel
from quantalpha.validation import check_causal

FAMILIES = (leader_return, relative_strength, leader_beta)


def pair(own, leader) -> pd.DataFrame:
    return pd.DataFrame({"close": own, "BTCUSDT.close": leader}, dtype=float)


def test_by_hand():
    bars = pair([100, 110, 121, 121], [200, 210, 210, 252])
    features = build({"leader_return": [["BTCUSDT", 1]], "relative_strength": [["BTCUSDT", 2]]})
    found = features.compute(bars).to_numpy().T
    np.testing.assert_allclose(found[0], [np.nan, 0.05, 0.0, 0.2], atol=1e-15)
    np.testing.assert_allclose(found[1], [np.nan, np.nan, 0.21 - 0.05, 0.1 - 0.2], atol=1e-15)
    assert features.names == ("leader_return_BTCUSDT_1", "relative_strength_BTCUSDT_2")
    assert features.columns == ("BTCUSDT.close", "close")


def test_the_slope_is_least_squares_through_the_origin(bars):
    window = 60
    found = FeatureSet([leader_beta("BTCUSDT", window)]).compute(bars)
    assert list(found) == ["leader_beta_BTCUSDT_60_slope", "leader_beta_BTCUSDT_60_residual"]
    own, lead = np.log(bars["close"]).diff().to_numpy(), np.log(bars["BTCUSDT.close"]).diff().to_numpy()
    for end in range(window + 1, len(bars), 97):
        y, x = own[end - window : end], lead[end - window : end]
        slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
        np.testing.assert_allclose(found.iloc[end - 1], [slope, y.sum() - slope * x.sum()], rtol=1e-8, atol=1e-10)


def test_a_multiple_of_the_leader_has_that_slope_and_nothing_beyond():
    moves = np.random.default_rng(2).normal(0, 0.01, 300).cumsum()
    found = FeatureSet([leader_beta("BTCUSDT", 50)]).compute(pair(np.exp(1.7 * moves), 3 * np.exp(moves))).iloc[50:]
    np.testing.assert_allclose(found.iloc[:, 0], 1.7, rtol=1e-9)
    np.testing.assert_allclose(found.iloc[:, 1], 0, atol=1e-12)


def test_the_leader_itself_is_neutral(bars):
    own = bars.assign(**{"BTCUSDT.close": bars["close"]})
    found = build({"relative_strength": [["BTCUSDT", 24]], "leader_beta": [["BTCUSDT", 24]]}).compute(own).iloc[24:]
    assert (found["relative_strength_BTCUSDT_24"] == 0).all()
    assert (found["leader_beta_BTCUSDT_24_slope"] == 1).all()
    np.testing.assert_allclose(found["leader_beta_BTCUSDT_24_residual"], 0, atol=1e-15)


def test_a_leader_that_stands_still_explains_nothing():
    found = FeatureSet([leader_beta("BTCUSDT", 2)]).compute(pair([1, 2, 4, 8], [5, 5, 5, 5])).iloc[2:]
    np.testing.assert_allclose(found.to_numpy(), [[0, np.log(4)], [0, np.log(4)]])


def test_a_missing_bar_of_the_leader_hides_only_what_needs_it(bars):
    holed = bars.copy()
    holed.iloc[500, holed.columns.get_loc("BTCUSDT.close")] = np.nan
    rows = {
        leader_return: [500, 510],
        relative_strength: [500, 510],
        leader_beta: list(range(500, 511)),
    }
    for family, expected in rows.items():
        found = FeatureSet([family("BTCUSDT", 10)]).compute(holed).iloc[:, 0]
        assert (np.flatnonzero(found.isna().to_numpy()[11:]) + 11).tolist() == expected, family.__name__


def test_refusals(bars):
    for family in FAMILIES:
        for symbol in ("btcusdt", "", 5, None, "BTC/USDT"):
            with pytest.raises(UsageError, match=f"features.{family.__name__}: expected a symbol such as BTCUSDT"):
                family(symbol, 24)
        with pytest.raises(UsageError, match=f"features.{family.__name__}: expected a window of at least"):
            family("BTCUSDT", 0)
    with pytest.raises(DataError, match="'leader_return_ETHUSDT_24' needs column 'ETHUSDT.close'"):
        build({"leader_return": [["ETHUSDT", 24]]}).compute(bars)


@pytest.mark.real
def test_recorded_coins_follow_bitcoin(shared_data):
    panel = read_panel(shared_data / "binance_um_panel33_1h.parquet")
    catalogue = build({"leader_beta": [["BTCUSDT", 720]], "relative_strength": [["BTCUSDT", 720]], "leader_return": [["BTCUSDT", 24]]})
    leader = {"BTCUSDT": panel["BTCUSDT"]}
    medians = {name: catalogue.compute(join_leaders(panel[name], leader)).median() for name in ("ETHUSDT", "SOLUSDT", "DOGEUSDT")}
    slopes = {name: found["leader_beta_BTCUSDT_720_slope"] for name, found in medians.items()}
    assert 0.7 < slopes["ETHUSDT"] < 1.3 and 0.9 < slopes["SOLUSDT"] < 2 and 0.8 < slopes["DOGEUSDT"] < 2
    joined = join_leaders(panel["SOLUSDT"], leader).tail(2_000)
    assert check_causal(catalogue.compute, joined, cuts=3).clean
