"""What may stand in `params.features`: families, higher timeframes, and "auto", which sees the training bars and no other."""

import numpy as np
import pytest

from quantalpha import config
from quantalpha.errors import DataError, UsageError
from quantalpha.features import FAMILIES, build, by_family, registry, resolve

SPEC = {"rsi": [14], "fractional_difference": [["auto", 1e-3], [0.4, 1e-3]], "wavelet_denoise": [["auto", 2, 32]], "4h": {"rsi": [14]}}


def test_auto_becomes_what_was_fitted_and_the_rest_stays(bars):
    found = resolve(SPEC, bars)
    (order, tolerance), given = found["fractional_difference"]
    wavelet, *others = found["wavelet_denoise"][0]
    assert 0 < order < 1 and tolerance == 1e-3 and given == [0.4, 1e-3]
    assert isinstance(wavelet, str) and wavelet != "auto" and others == [2, 32]
    assert list(found) == list(SPEC) and (found["rsi"], found["4h"]) == ([14], {"rsi": [14]})
    assert build(found, "1h").lookback > 1
    assert resolve(found, bars.iloc[:5]) == found  # nothing left to fit


def test_no_later_bar_changes_what_was_fitted(bars):
    """The notebook cuts at the first training window; here its bars are all that is the same."""
    train, rng = 1_200, np.random.default_rng(3)
    other = bars.copy()
    other.iloc[train:] *= rng.lognormal(0.0, 1.0, (len(bars) - train, 1))
    assert resolve(SPEC, bars.iloc[:train]) == resolve(SPEC, other.iloc[:train])
    assert resolve(SPEC, bars) != resolve(SPEC, other)


def test_auto_is_refused_where_it_was_not_fitted():
    with pytest.raises(UsageError, match=r"features.fractional_difference: \['auto', 0.001\] is not fitted yet; build resolve\(spec"):
        build(SPEC, "1h")


def test_auto_is_accepted_by_the_check_before_there_are_bars():
    registry.check(SPEC, "1h")
    for spec, fault in {
        "rssi": ({"rssi": [14]}, "unknown family 'rssi'"),
        "one": ({"fractional_difference": ["auto"]}, r"expected \[order, tolerance\]"),
        "levels": ({"wavelet_denoise": [["auto", 99, 128]]}, "1 to 12 levels"),
    }.values():
        with pytest.raises(UsageError, match=fault):
            registry.check(spec, "1h")


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"rsi": ["auto"]}, "auto is for the first parameter of fractional_difference or wavelet_denoise, found"),
        ({"wavelet_denoise": [["haar", "auto", 64]]}, "auto is for the first parameter"),
        (
            {"4h": {"fractional_difference": [["auto", 1e-3]]}},
            "4h.fractional_difference: auto is fitted on the bars' own timeframe",
        ),
    ],
)
def test_auto_elsewhere_is_refused(bars, spec, fault):
    with pytest.raises(UsageError, match=fault):
        resolve(spec, bars)


def test_too_few_bars_to_fit_are_refused(bars):
    with pytest.raises(DataError, match="features.fractional_difference: auto .* needs 103 rows, found 50; take more .splits.train., or"):
        resolve({"fractional_difference": [["auto", 1e-3]]}, bars.iloc[:50])
    with pytest.raises(DataError, match="choose_wavelet: expected at least .* found 50 rows"):
        resolve({"wavelet_denoise": [["auto", 4, 128]]}, bars.iloc[:50])


def test_every_family_that_is_fitted_has_a_stand_in():
    assert registry.FITS.keys() == registry.STAND_INS.keys() <= FAMILIES.keys()


def test_columns_by_family():
    found = by_family({"rsi": [14, 24], "4h": {"rsi": [14], "returns": [1]}}, "1h")
    assert found == {"rsi": ["rsi_14", "rsi_24"], "4h rsi": ["4h_rsi_14"], "4h returns": ["4h_returns_1"]}


def test_a_number_as_quants_write_it_is_one():
    """YAML reads 1e-4 as text."""
    params = config.load(overrides=["features={fractional_difference: [[auto, 1e-4]], basis: [[mark, 3]]}"])
    assert params.features["fractional_difference"] == [["auto", 1e-4]] and params.features["basis"] == [["mark", 3]]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"fractional_difference": ["auto"]},
            "features.fractional_difference: expected [order, tolerance] for each feature, found ['auto']",
        ),
        (
            {"fractional_difference": [["auto"]]},
            "features.fractional_difference: expected [order, tolerance] for each feature, found ['auto']",
        ),
        ({"wavelet_denoise": [["auto", 4]]}, "expected [wavelet, levels, window] for each feature, found ['auto', 4]"),
        ({"rsi": [14, 14]}, "features: expected each name once, found rsi_14 twice"),
        ({"4h": {"rsi": [14, 14]}}, "features.4h: expected each name once, found rsi_14 twice"),
        ({"4h": {}}, "features.4h: expected at least one feature"),
        ({"4h": {"rsi": []}}, "features.4h: expected at least one feature"),
        ({"4h": {"rsi": [1]}}, "features.4h.rsi: expected a window of at least 2"),
        ({"4h": {"rssi": [14]}}, "features.4h: unknown family 'rssi'; did you mean 'rsi'?"),
        ({"4h": [14]}, "features.4h: a timeframe holds families; write 4h: {rsi: [14]}"),
        ({"4hh": {"rsi": [14]}}, "features.4hh: only a timeframe holds families, as in 4h: {rsi: [14]}"),
        ({"rsi": {"rsi": [14]}}, "features.rsi: only a timeframe holds families"),
        ({"macd": [[26, 12, 9]]}, "features.macd: expected fast below slow, found 26 and 12"),
        ({"volatility_ratio": [[24, 24]]}, "features.volatility_ratio: expected short below long, found 24 and 24"),
        (
            {"basis": [["volume", 3]]},
            "features.basis: expected a price column, mark, index_price, mid, microprice or a leader such as BTCUSDC.close, found 'volume'",
        ),
    ],
)
def test_a_mistake_is_named_where_it_stands(spec, says):
    with pytest.raises(UsageError) as caught:
        registry.check(spec, "1h")
    assert says in str(caught.value)
