"""Tests of all tries at once: against slow ones written out, their size and power, their laws, and what cannot be tested."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import superior_tries
from quantalpha.validation.bootstrap import resample, resampled_means

PLAN = {"paths": 199, "block": 4.0, "seed": 2}


def noise(rows=120, tries=8, seed=0):
    return np.random.default_rng(seed).standard_t(5, (rows, tries)) * 0.01 * np.linspace(0.5, 2, tries)


def edges(seed=0, edge=0.5, tries=8):
    """Two good tries, two bad ones, in standard deviations a period."""
    returns = noise(tries=tries, seed=seed)
    return returns + returns.std(axis=0) * np.r_[edge, edge, -edge, -edge, np.zeros(tries - 4)]


def test_the_paths_are_those_of_the_bootstrap():
    returns = noise()
    means = resampled_means(returns, 4.0, 50, 7)
    for k in range(3):
        assert means[:, k] == pytest.approx(resample(returns[:, k], paths=50, block=4.0, seed=7, steps=[]).mean, abs=1e-15)


def test_as_written_out():
    """The tests of the papers one after the other, the stepwise one as steps at one level."""
    returns, level = edges(edge=0.25), 0.1
    found = superior_tries(returns, level=level, **PLAN)
    n, mean = len(returns), returns.mean(axis=0)
    star = np.column_stack([resample(column, paths=199, block=4.0, seed=2, steps=[]).mean for column in returns.T])
    omega = np.sqrt(n * ((star - mean) ** 2).mean(axis=0))

    def p_value(observed, luck):
        return (1 + np.sum(luck >= observed - 1e-12)) / 200

    def spa(centre):
        return p_value(max(0, (np.sqrt(n) * mean / omega).max()), np.maximum(0, (np.sqrt(n) * (star - centre) / omega).max(axis=1)))

    assert found.reality_check == p_value(mean.max(), (star - mean).max(axis=1))
    assert found.spa_lower == spa(np.maximum(mean, 0))
    assert found.spa_consistent == spa(np.where(np.sqrt(n) * mean / omega >= -np.sqrt(2 * np.log(np.log(n))), mean, 0))
    assert found.spa_upper == spa(mean)
    named: set[int] = set()
    while True:
        left = [k for k in range(8) if k not in named]
        luck = (np.sqrt(n) * (star - mean) / omega)[:, left].max(axis=1)
        new = {k for k in left if p_value(np.sqrt(n) * mean[k] / omega[k], luck) <= level}
        if not new:
            break
        named |= new
    assert set(np.flatnonzero(found.tries.superior)) == named and {0, 1} & named


def test_the_three_stand_in_order():
    for seed in range(5):
        found = superior_tries(edges(seed, 0.1), level=0.05, **PLAN)
        assert found.spa_lower <= found.spa_consistent <= found.spa_upper


def test_luck_is_rarely_taken_for_skill():
    """Tries that are worth nothing, alike and dependent in time as tries are: all tests err at most as often as they say."""
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shocks = rng.normal(size=(201, 1)) + rng.normal(size=(201, 10))
        returns = (shocks[1:] + 0.3 * shocks[:-1]) * 0.01
        one = superior_tries(returns, level=0.1, paths=99, seed=seed)
        found.append([one.reality_check <= 0.1, one.spa_consistent <= 0.1, one.spa_upper <= 0.1, one.tries.superior.any()])
    assert (np.mean(found, axis=0) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 150)).all()


def test_skill_is_found_and_no_other():
    found = [superior_tries(edges(seed), level=0.05, **PLAN) for seed in range(30)]
    assert np.mean([one.tries.superior[:2].all() for one in found]) > 0.9
    assert np.mean([one.tries.superior[2:].any() for one in found]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 30)
    assert max(one.spa_consistent for one in found) <= 0.05


def test_bad_tries_cost_the_consistent_test_no_power():
    bad = noise(tries=200, seed=4)
    returns = np.column_stack([edges(seed=4, edge=0.25)[:, :1], bad - bad.std(axis=0)])
    found = superior_tries(returns, **PLAN)
    assert found.spa_lower == found.spa_consistent < 0.05 < found.spa_upper


def test_neither_scale_nor_order_of_the_tries_matters():
    returns, order = edges(edge=0.2), np.random.default_rng(0).permutation(8)
    one, other = superior_tries(returns, **PLAN), superior_tries(returns[:, order] * 7.0, **PLAN)
    np.testing.assert_allclose(one.tries.p_value.to_numpy()[order], other.tries.p_value)
    assert (one.spa_consistent, one.reality_check) == (other.spa_consistent, other.reality_check)


def test_names_stay_and_a_try_that_never_moves_is_never_superior():
    table = pd.DataFrame(edges(), columns=list("abcdefgh")).assign(flat=0.0, gift=0.01, failed=np.nan)
    found = superior_tries(table, **PLAN).tries
    assert list(found.index) == list(table.columns) and not found.superior[["flat", "gift", "failed"]].any()
    assert (found.p_value[["flat", "gift", "failed"]] == 1.0).all()
    pd.testing.assert_frame_equal(found.loc[list("abcdefgh")], superior_tries(table[list("abcdefgh")], **PLAN).tries)


def test_a_seed_is_a_promise_and_the_block_is_told():
    one, same = superior_tries(edges(), seed=1), superior_tries(edges(), seed=1)
    pd.testing.assert_frame_equal(one.tries, same.tries)
    assert 1.0 <= one.block == same.block < 10.0


def test_unfit_input_is_refused():
    with pytest.raises(DataError, match="none of the tries moves"):
        superior_tries(np.zeros((50, 3)))
    for changes in ({"level": 0.0}, {"level": 1.0}, {"paths": 10}, {"block": 0.5}, {"block": 121.0}):
        with pytest.raises(UsageError, match="superior_tries"):
            superior_tries(noise(), **changes)
