"""Declared lookbacks against what a feature really remembers."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.features import Feature, FeatureSet, build
from quantalpha.validation import check_warm_up


@pytest.fixture(scope="module")
def bars():
    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=800)))
    frame = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": rng.lognormal(3, 1, 800)}
    return pd.DataFrame(frame, index=schema.from_epoch_ms(np.arange(800) * 3_600_000))


def forgetting(lookback):
    """An average that never forgets: 20 bars' span."""
    return Feature("slow", lookback, ("close",), lambda held: pd.Series(held["close"]).ewm(span=20, adjust=False).mean().to_numpy())


def mean_of(window, lookback):
    """The mean of `window` bars, or of fewer where there are not so many."""
    return Feature("mean", lookback, ("close",), lambda held: pd.Series(held["close"]).rolling(window, min_periods=1).max().to_numpy())


def test_our_own_lookbacks_are_exact(bars):
    report = check_warm_up(build({"returns": [1, 24], "rsi": [5], "atr": [14], "volatility": [24], "calendar": [24]}), bars)
    assert report.clean and (report.features.verdict == "exact").all()
    assert (report.drift[[1, 2, 4]] == 0).all(axis=None)
    assert (report.drift.loc["rsi_5", [0.25, 0.5, 0.75]] == np.inf).all()
    assert report.features.lookback["rsi_5"] == 61


def test_a_recursion_cut_too_early_drifts_less_the_longer_the_window(bars):
    report = check_warm_up(FeatureSet([forgetting(30)]), bars)
    assert not report.clean and report.features.verdict["slow"] == "too short"
    drift = report.drift.loc["slow"]
    assert drift.is_monotonic_decreasing and drift[1] > 1e-3 and 0 < drift[4] < 1e-4
    # what a start value keeps of its weight after n bars: (1 - 2 / 21)^n
    assert drift[2] / drift[1] == pytest.approx((19 / 21) ** 30, rel=2.0)
    text = str(report)
    assert "0 of 1 lookbacks are long enough" in text and "too short: slow: declare the window at which the drift ends" in text


def test_a_tolerance_allows_a_small_drift(bars):
    assert check_warm_up(FeatureSet([forgetting(120)]), bars, tolerance=1e-3).clean
    assert not check_warm_up(FeatureSet([forgetting(120)]), bars).clean


def test_one_row_too_few_is_found(bars):
    assert check_warm_up(FeatureSet([mean_of(24, 24)]), bars, rows=400).features.verdict.tolist() == ["exact"]
    assert check_warm_up(FeatureSet([mean_of(24, 23)]), bars, rows=400).features.verdict.tolist() == ["too short"]


def test_a_lookback_that_is_needlessly_long_is_told_but_passes(bars):
    report = check_warm_up(FeatureSet([mean_of(24, 100)]), bars)
    assert report.clean and report.features.verdict.tolist() == ["needlessly long"]
    both = Feature("two", 50, ("close",), lambda held: (held["close"], pd.Series(held["close"]).shift(49).to_numpy()), parts=("a", "b"))
    assert set(check_warm_up(FeatureSet([both]), bars).features.verdict) == {"exact"}  # the longest part counts


def test_too_few_bars_are_no_proof(bars):
    report = check_warm_up(FeatureSet([mean_of(700, 800)]), bars)
    assert not report.clean and report.features.verdict.tolist() == ["not tried"]
    assert "not tried: mean: give more bars" in str(report)
    assert np.isnan(check_warm_up(FeatureSet([mean_of(24, 300)]), bars).drift.loc["mean", 4])


def test_a_shared_column_is_made_of_the_window_alone(bars):
    report = check_warm_up(FeatureSet([Feature("one", 1, ("log_return",), lambda held: held["log_return"])]), bars)
    assert report.features.verdict.tolist() == ["too short"]  # the close before it belongs to the lookback


def test_wrong_use_is_refused(bars):
    for wrong in ({"windows": (0.5, 2)}, {"windows": (0, 1)}, {"rows": 0}, {"tolerance": -1.0}, {"tolerance": np.nan}):
        with pytest.raises(UsageError, match="check_warm_up: expected windows above 0 with 1 among them"):
            check_warm_up(build({"returns": [1]}), bars, **wrong)
    with pytest.raises(DataError, match="needs column 'funding_rate'"):
        check_warm_up(build({"funding": [24]}), bars)
    for function in (lambda bars: bars["close"], mean_of(24, 24)):
        with pytest.raises(UsageError, match="check_warm_up: expected a FeatureSet, found .*; wrap it: FeatureSet"):
            check_warm_up(function, bars)
