"""Confidence intervals: they hold the truth as often as they say, and follow their laws."""

import numpy as np
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import confidence_bands, max_drawdown, profit_factor, sharpe_ratio

RETURNS = np.random.default_rng(7).standard_t(5, 600) * 0.01 + 0.0008


def test_what_is_observed_is_what_the_metrics_say():
    found = confidence_bands(RETURNS)
    expected = [sharpe_ratio(RETURNS, periods_per_year=1), max_drawdown(np.cumprod(np.append(1, 1 + RETURNS))), profit_factor(RETURNS)]
    np.testing.assert_allclose(found["observed"], expected, rtol=1e-12)
    assert list(found.index) == ["sharpe_ratio", "max_drawdown", "profit_factor"]
    assert (found["low"] < found["observed"]).all() and (found["observed"] < found["high"]).all()


def test_the_truth_is_inside_as_often_as_said():
    """Normal returns of mean 0.1 standard deviations: the profit factor is E max(r, 0) / E max(-r, 0) = 1.2867."""
    inside = []
    for seed in range(100):
        returns = np.random.default_rng(seed).normal(1e-3, 1e-2, 250)
        found = confidence_bands(returns, level=0.9, paths=200, seed=seed)
        truth = np.array([0.1, 1.2867])
        rows = found.loc[["sharpe_ratio", "profit_factor"]]
        inside.append((rows["low"].to_numpy() <= truth) & (truth <= rows["high"].to_numpy()))
    assert np.abs(np.mean(inside, axis=0) - 0.9).max() <= 3 * np.sqrt(0.9 * 0.1 / 100)


def test_more_confidence_is_wider_and_more_returns_are_narrower():
    width = {level: confidence_bands(RETURNS, level=level).eval("high - low") for level in (0.5, 0.9, 0.99)}
    assert (width[0.5] < width[0.9]).all() and (width[0.9] < width[0.99]).all()
    long = confidence_bands(np.tile(RETURNS, 9), level=0.9, block=5.0).eval("high - low")
    assert long["sharpe_ratio"] == pytest.approx(width[0.9]["sharpe_ratio"] / 3, rel=0.25)


def test_scale_moves_the_drawdown_alone():
    one, half = confidence_bands(RETURNS, block=5.0), confidence_bands(RETURNS / 2, block=5.0)
    plain = ["sharpe_ratio", "profit_factor"]
    np.testing.assert_allclose(one.loc[plain], half.loc[plain], rtol=1e-9)
    assert (half.loc["max_drawdown"] < one.loc["max_drawdown"]).all()


def test_a_seed_is_a_promise():
    assert confidence_bands(RETURNS).equals(confidence_bands(RETURNS))
    assert not confidence_bands(RETURNS).equals(confidence_bands(RETURNS, seed=1))


def test_undefined_is_nan():
    found = confidence_bands(np.full(50, 0.01))
    assert found.loc[["sharpe_ratio", "profit_factor"]].isna().all(axis=None) and (found.loc["max_drawdown"] == 0.0).all()
    gains = confidence_bands(np.abs(RETURNS))
    assert gains.loc["profit_factor"].isna().all() and gains.loc["sharpe_ratio"].notna().all()


def test_unfit_input_is_refused():
    for returns in ([0.1], [0.1, float("nan")], [0.1, -1.5]):
        with pytest.raises(DataError):
            confidence_bands(np.array(returns))
    for changes in ({"level": 1.0}, {"level": 0.0}, {"block": 0.5}, {"paths": 0}):
        with pytest.raises(UsageError):
            confidence_bands(RETURNS, **changes)
