"""One code path: the trailing window gives what the whole history gives; and a wrong request is refused clearly."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.features import Feature, FeatureSet, build


def assert_latest_is_compute(features, bars, ends):
    full = features.compute(bars).to_numpy()
    for end in ends:
        window = bars.iloc[end - features.lookback : end]
        latest = features.latest(window)
        np.testing.assert_array_equal(latest, full[end - 1], err_msg=str(bars.index[end - 1]))
    np.testing.assert_array_equal(latest, features.compute(window).iloc[-1])


def test_latest_equals_compute_at_every_bar(bars, spec):
    features = build(spec)
    assert len(bars) > 3 * features.lookback
    assert_latest_is_compute(features, bars, range(features.lookback, len(bars) + 1, 3))


@pytest.mark.real
def test_latest_equals_compute_on_recorded_bars(shared_data, spec):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp")
    rates = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp").funding_rate
    bars["funding_rate"] = rates.reindex(bars.index).fillna(0.0)
    features = build(
        {family: listed for family, listed in spec.items() if {*build({family: listed}).columns} <= {*bars.columns, "timestamp"}}
    )
    assert len(features.names) >= 70
    ends = np.random.default_rng(0).integers(features.lookback, len(bars) + 1, 200)
    assert_latest_is_compute(features, bars, [*ends, len(bars)])


def test_latest_takes_longer_windows_and_any_storage(bars, spec):
    features = build(spec)
    expected = features.latest(bars.iloc[-features.lookback :])
    assert expected.dtype == np.float64 and expected.shape == (len(features.names),)
    np.testing.assert_array_equal(features.latest(bars), expected)
    shuffled = bars[bars.columns[::-1]].assign(other="text")
    np.testing.assert_array_equal(features.latest(shuffled.set_axis(shuffled.index.as_unit("ns"))), expected)


def test_rows_before_the_lookback_are_nan_and_later_ones_are_numbers(bars, spec):
    features = build(spec)
    table = features.compute(bars)
    assert tuple(table.columns) == features.names and table.index.equals(bars.index)
    for feature in features.features:
        for name in feature.names:
            assert table[name].isna().to_numpy().nonzero()[0].tolist() == list(range(feature.lookback - 1)), name
    assert features.lookback == max(feature.lookback for feature in features.features)


def test_compute_leaves_the_bars_alone(bars, spec):
    before = bars.copy()
    build(spec).compute(bars)
    pd.testing.assert_frame_equal(bars, before)


def test_a_short_history_is_all_nan_and_refused_by_latest(bars, spec):
    features = build(spec)
    short = {feature.name for feature in features.features if feature.lookback == 1}
    assert (
        features.compute(bars.iloc[:1])
        .drop(columns=[name for name in features.names if name.startswith(tuple(short))])
        .isna()
        .all(axis=None)
    )
    assert len(features.compute(bars.iloc[:0])) == 0
    with pytest.raises(DataError, match=f"at least {features.lookback} bars.*found {features.lookback - 1}"):
        features.latest(bars.iloc[: features.lookback - 1])


def test_a_missing_column_names_the_feature_and_the_column(bars, spec):
    with pytest.raises(DataError, match="feature 'funding_1' needs column 'funding_rate'.*found open, high"):
        build(spec).compute(bars.drop(columns="funding_rate"))
    with pytest.raises(DataError, match="feature 'atr_5' needs column 'low'"):
        build({"atr": [5]}).latest(bars.drop(columns="low"))


def test_a_missing_column_of_the_context_names_the_parameter(bars):
    with pytest.raises(DataError, match=r"needs column 'ETHUSDT.close'.*set context.leaders: \[ETHUSDT\] or remove"):
        build({"leader_return": [["ETHUSDT", 4]]}).compute(bars)
    with pytest.raises(DataError, match="needs column 'onchain_TxCnt'.*set context.onchain to a file with the series TxCnt or remove"):
        build({"onchain_change": [["TxCnt", 4]]}).compute(bars)


def test_bars_out_of_order_or_with_doubled_columns_or_without_numbers_are_refused(bars):
    features = build({"returns": [2], "rsi": [2]})
    for call in (features.compute, features.latest):
        for wrong in (bars.iloc[::-1], pd.concat([bars, bars.iloc[-1:]])):
            with pytest.raises(DataError, match="features: bars must be in strictly increasing time order; row"):
                call(wrong)
        with pytest.raises(DataError, match="features: column 'close' is there twice"):
            call(bars[["close", "close", "high"]])
        for nothing in (pd.NA, "dear"):
            close = bars["close"].astype(object).mask(bars["close"] > 0, nothing)
            for frame in (bars.assign(close=close), close.to_frame()):
                with pytest.raises(DataError, match="features: column 'close': expected float64, found .*use astype.float."):
                    call(frame)


def test_bars_shorter_than_the_declared_ones_are_refused_for_a_higher_timeframe(bars):
    """Their last one would pass for one of the declared length that has closed: a look ahead."""
    for base, there in (("4h", bars), ("1h", bars.set_axis(bars.index + pd.Timedelta("30min")))):
        with pytest.raises(DataError, match=f"features.8h: expected bars of {base}, found one at 20"):
            build({"8h": {"returns": [1]}}, base).compute(there)
    assert build({"8h": {"returns": [1]}}, "1h").compute(bars).notna().any(axis=None)


def test_the_clock_features_need_times(bars):
    with pytest.raises(DataError, match="DatetimeIndex of bar open times"):
        build({"calendar": [24]}).compute(bars.reset_index(drop=True))


def test_the_registry_names_and_refuses():
    features = build({"rsi": [14], "calendar": [24], "returns": [1, 4]})
    assert features.names == ("rsi_14", "calendar_24_sin", "calendar_24_cos", "returns_1", "returns_4")
    assert features.columns == ("close", "timestamp")
    with pytest.raises(UsageError, match="unknown family 'rssi'; did you mean 'rsi'"):
        build({"rssi": [14]})
    with pytest.raises(UsageError, match="each name once"):
        build({"rsi": [14, 14]})
    with pytest.raises(UsageError, match="at least one"):
        build({})


def test_a_feature_of_ones_own():
    gap = Feature("gap", 2, ("open", "close"), lambda bars: bars["open"] / np.roll(bars["close"], 1) - 1)
    found = FeatureSet([gap]).compute(pd.DataFrame({"open": [1.0, 2.0, 3.0], "close": [1.0, 4.0, 3.0]}))
    np.testing.assert_allclose(found["gap"], [np.nan, 1.0, -0.25])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": 14}, "feature 14: expected name to be a text, found 14"),
        ({"lookback": 0}, "expected lookback to be a whole number of bars, at least 1, found 0"),
        ({"lookback": 2.0}, "expected lookback to be a whole number"),
        ({"columns": "close"}, "expected columns to be a tuple of names such as .*found 'close'"),
        ({"columns": (1,)}, "expected columns to be a tuple of names"),
        ({"compute": None}, "expected compute to be a function"),
        ({"parts": "up"}, "expected parts to be a tuple of names"),
    ],
)
def test_a_feature_that_is_none_is_refused(change, says):
    with pytest.raises(UsageError, match=says):
        Feature(**{"name": "own", "lookback": 2, "columns": ("close",), "compute": lambda bars: bars["close"]} | change)


def test_a_set_of_what_are_no_features_is_refused():
    with pytest.raises(UsageError, match="expected a list of Feature, found <function"):
        FeatureSet([lambda bars: bars["close"]])


@pytest.mark.parametrize(
    ("give", "found"),
    [
        (lambda close: close[1:], r"float64\[1999\]"),
        (lambda close: close[:, None], r"float64\[2000, 1\]"),
        (lambda close: close[-1], "float64"),
        (lambda close: None, "NoneType"),
        (lambda close: pd.Series(close), "Series"),
        (lambda close: close > 0, "bool"),
        (lambda close: (close, close), "tuple of float64"),
    ],
)
def test_what_a_function_gives_that_is_no_column_is_refused(bars, give, found):
    own = FeatureSet([Feature("own", len(bars), ("close",), lambda bars: give(bars["close"]))])
    for call in (own.compute, own.latest):
        with pytest.raises(
            UsageError, match=rf"feature 'own': expected its compute to give float64\[2000\], a number a row, found {found}"
        ):
            call(bars)
    parts = FeatureSet([Feature("own", len(bars), ("close",), lambda bars: give(bars["close"]), ("a", "b", "c"))])
    with pytest.raises(UsageError, match="one for each of a, b, c, found"):
        parts.compute(bars)
