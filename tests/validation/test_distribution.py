"""Moments and tails: by hand, against numpy, scipy, quantstats and vectorbt, and in their limits."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError
from quantalpha.validation.distribution import quantiles, shape, tail_risk

SHARES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.999, 1.0)


def samples():
    rng = np.random.default_rng(0)
    yield "normal", rng.normal(size=20_001)
    yield "wild", rng.standard_t(2, 20_000) * 1e-3
    yield "mostly flat", np.where(rng.random(20_000) < 0.97, 0.0, rng.normal(size=20_000))
    yield "far from zero", rng.normal(5.0, 1e-6, 20_000)
    yield "gains only", rng.random(20_000)
    yield "rounded", np.round(rng.normal(size=20_000), 1)
    yield "one huge", np.append(rng.normal(size=20_000) * 1e-9, 1e6)


@pytest.mark.parametrize("values", [pytest.param(values, id=name) for name, values in samples()])
def test_quantiles_are_numpys(values):
    np.testing.assert_allclose(quantiles(values, SHARES), np.quantile(values, SHARES), rtol=1e-13, atol=0.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1.0, 1e3, allow_subnormal=False), min_size=1, max_size=30), st.floats(0.0, 1.0))
def test_quantiles_of_anything(values, share):
    expected = np.quantile(values, share)
    assert quantiles(np.array(values), [share])[0] == pytest.approx(expected, rel=1e-12, abs=1e-12 * np.abs(values).max())


@pytest.mark.parametrize("values", [pytest.param(values, id=name) for name, values in samples()])
def test_moments_are_scipys(values):
    from scipy import stats

    found = shape(values)
    assert found.skewness == pytest.approx(stats.skew(values), rel=1e-9, abs=1e-9)
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False), rel=1e-9)


def test_by_hand():
    """0, 0, 0, 4: mean 1, squares 3 and 9 / 4 = 3, cubes (-3 + 27) / 4 = 6, fourths (3 + 81) / 4 = 21."""
    assert shape([0, 0, 0, 4]) == pytest.approx((6 / 3**1.5, 21 / 9), rel=1e-14)
    # 101 returns from -5 % to +5 %: the 5 % quantile is the sixth, -4.5 %; the six worst average -4.75 %
    assert tail_risk(np.arange(-50, 51) / 1000) == pytest.approx((0.045, 0.0475, 1.0), rel=1e-12)


def test_parity_with_quantstats_and_vectorbt():
    quantstats, _ = pytest.importorskip("quantstats"), pytest.importorskip("vectorbt")
    change = pd.Series(np.random.default_rng(0).standard_t(4, 900) * 0.01 + 0.001, index=pd.date_range("2021-01-01", periods=900, freq="D"))
    found, accessor = tail_risk(change), change.vbt.returns(freq="1D", year_freq="365 days")
    assert found.tail_ratio == pytest.approx(quantstats.stats.tail_ratio(change), rel=1e-12)
    assert found.tail_ratio == pytest.approx(accessor.tail_ratio(), rel=1e-12)
    assert found.value_at_risk == pytest.approx(-accessor.value_at_risk(), rel=1e-12)
    assert found.expected_shortfall == pytest.approx(-accessor.cond_value_at_risk(), rel=1e-12)


def test_undefined_is_nan():
    assert all(math.isnan(value) for value in (*tail_risk([]), *shape([]), *shape([1.0, 1.0]), *shape([2.0])))
    assert math.isnan(tail_risk([0.1, 0.2]).tail_ratio) and tail_risk([0.1, 0.2]).value_at_risk < 0.0
    with pytest.raises(DataError, match="returns must be finite"):
        shape([math.nan])
