"""Fractional differencing against its oracles: fracdiff-modern, statsmodels, and the loop of Lopez de Prado's book."""

import json
from functools import partial
from math import gamma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.features import build
from quantalpha.features.fracdiff import dickey_fuller, find_minimum_d, fit_order, fractional_difference, fractional_weights

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "fracdiff.json").read_text())
WALK = np.array(GOLDEN["walk"])


def plain(x, d, tolerance):
    """Lopez de Prado (2018), snippet 5.3, in words: weights until one is too small, then a scalar product at every row."""
    weights = [1.0]
    while abs(following := -weights[-1] * (d - len(weights) + 1) / len(weights)) >= tolerance:
        weights.append(following)
    width = len(weights)
    rows = [np.nan] * (width - 1) + [np.dot(weights[::-1], x[i - width + 1 : i + 1]) for i in range(width - 1, len(x))]
    return np.array(rows), np.array(weights)


def test_weights_by_hand():
    np.testing.assert_allclose(fractional_weights(0.5, 0.03), [1, -1 / 2, -1 / 8, -1 / 16, -5 / 128], rtol=1e-15)
    np.testing.assert_array_equal(fractional_weights(1.0, 1e-6), [1, -1])
    np.testing.assert_array_equal(fractional_weights(2.0, 1e-6), [1, -2, 1])
    np.testing.assert_array_equal(fractional_weights(0.0, 1e-6), [1])
    assert len(fractional_weights(0.4, 1e-4)) == 282


@pytest.mark.parametrize("d", [0.1, 0.35, 0.5, 0.9])
def test_laws_of_the_weights(d):
    weights = fractional_weights(d, 1e-5)
    assert weights[0] == 1 and (weights[1:] < 0).all() and (np.diff(weights[1:]) > 0).all() and abs(weights[-1]) >= 1e-5
    left = weights.sum()  # the weights add up to zero: what is left goes as k^-d / gamma(1 - d)
    assert left == pytest.approx(len(weights) ** -d / gamma(1 - d), rel=0.01)


@pytest.mark.parametrize("case", GOLDEN["fractional_difference"], ids=lambda case: str(case["d"]))
def test_fractional_difference_is_fracdiff_modern(case):
    found = fractional_difference(WALK, case["d"], tolerance=case["tolerance"])
    assert np.isnan(found).sum() == case["width"] - 1
    np.testing.assert_allclose(found[-5:], case["last"], rtol=1e-11)
    np.testing.assert_allclose(np.nansum(found), case["sum"], rtol=1e-11)


@pytest.mark.parametrize("d", [0.05, 0.4, 0.75, 1.0, 1.6])
def test_fractional_difference_is_lopez_de_prados(d):
    np.testing.assert_allclose(fractional_difference(WALK, d, tolerance=5e-3), plain(WALK, d, 5e-3)[0], rtol=1e-11, atol=1e-11)


def test_orders_add_up():
    twice = fractional_difference(fractional_difference(WALK, 0.4, tolerance=1e-3)[64:], 0.6, tolerance=1e-3)
    assert np.corrcoef(twice[64:], np.diff(WALK)[-len(twice[64:]) :])[0, 1] > 0.99
    np.testing.assert_array_equal(fractional_difference(WALK, 0.0, tolerance=1e-3), WALK)
    np.testing.assert_array_equal(fractional_difference(WALK, 1.0, tolerance=1e-3)[1:], np.diff(WALK))


def test_a_huge_later_row_leaves_no_rounding_before_it():
    loud = np.append(WALK, 1e300)
    np.testing.assert_array_equal(fractional_difference(loud, 0.4, tolerance=1e-2)[:-1], fractional_difference(WALK, 0.4, tolerance=1e-2))


@pytest.mark.parametrize("case", GOLDEN["dickey_fuller"], ids=lambda case: f"{case['series']}-{case['lags']}")
def test_dickey_fuller_is_statsmodels(case):
    first = GOLDEN["fractional_difference"][0]
    series = {
        "walk": WALK,
        "change": np.diff(WALK),
        "reverting": WALK[150:] - 0.7 * WALK[:150],
        "explosive": np.array(GOLDEN["explosive"]),
        "fractional": fractional_difference(WALK, first["d"], tolerance=first["tolerance"])[first["width"] - 1 :],
    }
    assert dickey_fuller(series[case["series"]], case["lags"]) == pytest.approx(case["p_value"], rel=1e-7, abs=1e-15)


def test_minimum_d_lies_on_the_border_and_repeats():
    found = find_minimum_d(WALK, tolerance=1e-2)

    def p_value(d):
        return dickey_fuller(fractional_difference(WALK, d, tolerance=1e-2)[len(fractional_weights(d, 1e-2)) - 1 :])

    assert 0 < found < 1 and p_value(found) < 0.05 <= p_value(found - 0.01)
    assert find_minimum_d(WALK, tolerance=1e-2) == found
    assert find_minimum_d(WALK, tolerance=1e-2, significance=0.001) > found
    assert find_minimum_d(1e3 + 5 * WALK, tolerance=1e-2) == pytest.approx(found, abs=0.011)


def test_what_is_stationary_needs_no_differencing():
    assert find_minimum_d(np.random.default_rng(0).normal(size=500), tolerance=1e-2) == 0.0


def test_minimum_d_refuses_what_it_cannot_judge():
    with pytest.raises(DataError, match="not even the first difference is stationary"):
        find_minimum_d(np.full(300, 7.0), tolerance=1e-2)
    with pytest.raises(DataError, match=r"needs 103 rows, found 50"):
        find_minimum_d(WALK[:50], tolerance=1e-2)
    with pytest.raises(DataError, match="row 3 is not a number"):
        find_minimum_d(np.where(np.arange(300) == 3, np.nan, WALK), tolerance=1e-2)
    with pytest.raises(UsageError, match=r"d in \[0, 2\]"):
        fractional_weights(-0.1, 1e-3)
    with pytest.raises(UsageError, match="tolerance in"):
        fractional_weights(0.4, 0.0)
    for wrong in ({"lags": -1}, {"lags": 1.5}, {"significance": 5}):
        with pytest.raises(UsageError, match="expected lags >= 0"):
            find_minimum_d(WALK, tolerance=1e-2, **wrong)
    for function in (find_minimum_d, partial(fractional_difference, d=0.4)):
        with pytest.raises(UsageError, match="one series"):
            function(np.ones((300, 2)), tolerance=1e-2)


@pytest.mark.parametrize(("order", "tolerance"), [(0.4, 1e-3), (0.15, 1e-2), (1.0, 1e-2)])
def test_the_feature_is_the_fractional_difference_of_the_log_close(bars, order, tolerance):
    expected, weights = plain(np.log(bars["close"].to_numpy()), order, tolerance)
    features = build({"fractional_difference": [(order, tolerance)]})
    assert features.lookback == len(weights) and features.names == (f"fractional_difference_{order:g}_{tolerance:g}",)
    np.testing.assert_allclose(features.compute(bars).iloc[:, 0], expected, rtol=1e-9, atol=1e-11)


def test_the_order_fitted_is_the_least_that_makes_the_feature_stationary(bars):
    order, tolerance = fit_order(bars, tolerance=1e-3)

    def p_value(order):
        return dickey_fuller(build({"fractional_difference": [(order, tolerance)]}).compute(bars).iloc[:, 0].dropna().to_numpy())

    assert p_value(order) < 0.05 <= p_value(order - 0.01)


def test_order_one_is_the_log_return(bars):
    found = build({"fractional_difference": [(1, 0.01)]}).compute(bars).iloc[1:, 0]
    np.testing.assert_allclose(found, np.log(bars["close"]).diff().iloc[1:], rtol=1e-9, atol=1e-13)


def test_fit_order_gives_the_features_arguments(bars):
    order, tolerance = fit_order(bars, tolerance=1e-3)
    assert 0 < order < 1 and round(order, 2) == order and tolerance == 1e-3
    assert build({"fractional_difference": [fit_order(bars)]}).lookback > 100
    reverting = pd.DataFrame({"close": np.exp(np.random.default_rng(0).normal(size=1_000))})
    assert fit_order(reverting, 1e-3) == (0.01, 1e-3)


@pytest.mark.real
def test_bitcoin_needs_little_differencing_and_keeps_its_memory(shared_data):
    price = np.log(pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet")["close"].to_numpy()[:13_140])
    found = find_minimum_d(price, tolerance=1e-4)
    assert 0.05 <= found <= 0.4  # Lopez de Prado finds 0.3 or so for liquid futures, on daily closes
    kept = fractional_difference(price, found, tolerance=1e-4)
    assert np.corrcoef(kept[1_000:], price[1_000:])[0, 1] > 0.8 > abs(np.corrcoef(np.diff(price), price[1:])[0, 1])
