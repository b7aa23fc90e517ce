"""How sure a Sharpe ratio is: the papers' examples, other libraries, laws, and what cannot be."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.validation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
)
from quantalpha.validation.distribution import shape

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "evidence.json").read_text())
NORMAL = {"skew": 0.0, "kurtosis": 3.0}


def moments():
    """Skewness and a kurtosis that it allows."""
    return st.tuples(st.floats(-5, 5), st.floats(0, 50)).map(lambda drawn: {"skew": drawn[0], "kurtosis": drawn[0] ** 2 + 1 + drawn[1]})


@pytest.mark.parametrize("case", GOLDEN["deflated"], ids=lambda case: case["source"])
def test_deflated_as_printed(case):
    found = deflated_sharpe_ratio(
        case["sharpe"] / math.sqrt(case["periods"]),
        n_obs=case["n_obs"],
        skew=case["skew"],
        kurtosis=case["kurtosis"],
        n_trials=case["n_trials"],
        trials_std=math.sqrt(case["trials_variance"] / case["periods"]),
    )
    assert found == pytest.approx(case["dsr"], abs=5e-5)


@pytest.mark.parametrize("case", GOLDEN["probabilistic"], ids=lambda case: case["source"])
def test_probabilistic_as_printed(case):
    found = probabilistic_sharpe_ratio(case["sharpe"], n_obs=case["n_obs"], skew=case["skew"], kurtosis=case["kurtosis"])
    assert found == pytest.approx(case["psr"], abs=5e-4)


@pytest.mark.parametrize("case", GOLDEN["track_record"], ids=lambda case: case["source"])
def test_track_record_as_printed(case):
    yearly, shapes = math.sqrt(case["periods"]), {"skew": case["skew"], "kurtosis": case["kurtosis"]}
    assert minimum_track_record_length(2 / yearly, benchmark=1 / yearly, **shapes) / case["periods"] == pytest.approx(
        case["years"], abs=5e-3
    )


def test_expected_maximum_is_near_the_exact_one():
    table = GOLDEN["expected_maximum"]
    found = [expected_maximum_sharpe(n, 1.0) for n in table["n"]]
    np.testing.assert_allclose(found, table["exact"], atol=table["tolerance"])
    assert found[2] == pytest.approx(1.57, abs=5e-3)  # of ten tries: Bailey, Borwein, Lopez de Prado & Zhu, Pseudo-mathematics (2014)


def test_expected_maximum_at_its_ends():
    assert expected_maximum_sharpe(1, 3.0) == expected_maximum_sharpe(100, 0.0) == 0.0
    assert 0.0 <= expected_maximum_sharpe(1.01, 1.0) < 0.1
    assert expected_maximum_sharpe(1e15, 1.0) == pytest.approx(math.sqrt(2 * math.log(1e15)), rel=0.05)


def test_parity_with_skfolio_vectorbt_and_purgedcv():
    measures, purgedcv = pytest.importorskip("skfolio.measures"), pytest.importorskip("purgedcv")
    metrics = pytest.importorskip("vectorbt.returns.metrics")
    rng = np.random.default_rng(5)
    returns, trials = rng.standard_t(5, 800) * 0.01 + 0.0008, rng.normal(0.0, 0.03, 60)
    sharpe, found = sharpe_ratio(returns, periods_per_year=1), shape(returns)
    known = {"n_obs": 800, "skew": found.skewness, "kurtosis": found.kurtosis}
    std = float(trials.std(ddof=1))
    assert expected_maximum_sharpe(60, std) == pytest.approx(measures.expected_max_sharpe_ratio(60, std), rel=1e-12)
    psr, dsr = probabilistic_sharpe_ratio(sharpe, **known), deflated_sharpe_ratio(sharpe, **known, n_trials=60, trials_std=std)
    assert psr == pytest.approx(measures.probabilistic_sharpe_ratio(returns), abs=1e-4)
    assert dsr == pytest.approx(measures.deflated_sharpe_ratio(returns, trials), abs=1e-3)
    given = {"est_sharpe": sharpe, "skew": found.skewness, "kurtosis": found.kurtosis}
    assert dsr == pytest.approx(metrics.deflated_sharpe_ratio(**given, var_sharpe=std**2, nb_trials=60, backtest_horizon=800), rel=1e-12)
    assert psr == pytest.approx(purgedcv.probabilistic_sharpe_ratio(returns, 0.0), abs=1e-3)  # it takes unbiased skewness and kurtosis
    assert dsr == pytest.approx(purgedcv.deflated_sharpe_ratio(returns, 60, std**2), abs=5e-3)
    length = minimum_track_record_length(sharpe, skew=found.skewness, kurtosis=found.kurtosis)
    assert purgedcv.min_track_record_length(sharpe, 0.0, 0.05, found.skewness, found.kurtosis) == math.ceil(length)


@given(st.floats(0.01, 1.0), moments(), st.integers(2, 10_000), st.floats(1, 1e6))
def test_more_tries_convince_less(sharpe, shapes, n_obs, n_trials):
    one, more = (deflated_sharpe_ratio(sharpe, n_obs=n_obs, n_trials=n, trials_std=0.05, **shapes) for n in (n_trials, 2 * n_trials))
    assert math.isnan(one) or one >= more


@given(st.floats(-1.0, 1.0), moments(), st.integers(2, 10_000))
def test_more_returns_convince_more_of_what_is_above_and_less_of_what_is_below(sharpe, shapes, n_obs):
    short, long = (probabilistic_sharpe_ratio(sharpe, n_obs=n, benchmark=0.1, **shapes) for n in (n_obs, 2 * n_obs))
    assert math.isnan(short) or (long >= short if sharpe >= 0.1 else long <= short)


@given(st.floats(0.02, 1.0), moments(), st.floats(0.51, 0.999))
def test_the_track_record_is_where_the_probability_arrives(sharpe, shapes, confidence):
    length = minimum_track_record_length(sharpe, benchmark=0.01, confidence=confidence, **shapes)
    if length > 2:
        found = probabilistic_sharpe_ratio(sharpe, n_obs=length, benchmark=0.01, **shapes)
        assert found == pytest.approx(confidence, abs=1e-9)


def test_without_selection_deflated_is_probabilistic():
    plain = probabilistic_sharpe_ratio(0.1, n_obs=500, **NORMAL)
    assert deflated_sharpe_ratio(0.1, n_obs=500, n_trials=1, trials_std=0.5, **NORMAL) == plain
    assert deflated_sharpe_ratio(0.1, n_obs=500, n_trials=50, trials_std=0.0, **NORMAL) == plain
    assert probabilistic_sharpe_ratio(0.1, n_obs=500, benchmark=0.1, **NORMAL) == 0.5


def test_what_cannot_be_known_passes_nothing():
    nan, inf = math.nan, math.inf
    for wrong in ({"sharpe": nan}, {"sharpe": inf}, {"n_obs": 1}, {"n_obs": nan}, {"skew": nan}, {"kurtosis": nan}, {"benchmark": nan}):
        assert math.isnan(probabilistic_sharpe_ratio(**({"sharpe": 0.1, "n_obs": 100, **NORMAL} | wrong)))
    # two outcomes, one of which is nearly never seen: the variance of the estimate is 0
    assert math.isnan(probabilistic_sharpe_ratio(1.0, n_obs=100, skew=2.0, kurtosis=5.0))
    assert math.isnan(deflated_sharpe_ratio(0.1, n_obs=100, n_trials=10, trials_std=nan, **NORMAL))
    assert minimum_track_record_length(0.1, benchmark=0.1, **NORMAL) == minimum_track_record_length(-0.1, **NORMAL) == inf
    assert math.isnan(minimum_track_record_length(nan, **NORMAL))


def test_unfit_input_is_refused():
    with pytest.raises(UsageError, match="not the excess"):
        probabilistic_sharpe_ratio(0.1, n_obs=100, skew=0.0, kurtosis=0.0)
    with pytest.raises(UsageError, match="not the excess"):
        minimum_track_record_length(0.1, skew=-3.0, kurtosis=7.0)
    for tries in ((0, 1.0), (10, -1.0)):
        with pytest.raises(UsageError, match="n_trials"):
            expected_maximum_sharpe(*tries)
    for confidence in (0.5, 1.0, math.nan):
        with pytest.raises(UsageError, match="confidence"):
            minimum_track_record_length(0.1, confidence=confidence, **NORMAL)
