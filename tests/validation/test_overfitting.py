"""The probability of backtest overfitting: against slow ones written out, its laws, and what cannot be judged."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import probability_of_backtest_overfitting


def noise(rows=200, tries=12, seed=0):
    return np.random.default_rng(seed).standard_t(4, (rows, tries)) * 0.01


def sharpe(values):
    return -math.inf if np.ptp(values) == 0 else values.mean() / values.std(ddof=1)


def by_hand(returns, blocks):
    """(rank, in sample, out of sample) of the best by combination, sorted; each half cut out, each ratio taken anew."""
    parts, out = np.array_split(np.arange(len(returns)), blocks), []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[k] for k in chosen])
        outside = np.setdiff1d(np.arange(len(returns)), inside)
        first, second = ([sharpe(column) for column in returns[rows].T] for rows in (inside, outside))
        best = int(np.argmax(first))
        out.append((stats.rankdata(second)[best], first[best], second[best]))
    return np.array(sorted(out))


def as_table(found, tries):
    odds = np.exp(found.logits)
    table = np.column_stack([odds / (1 + odds) * (tries + 1), found.in_sample, found.out_of_sample])
    return np.array(sorted(map(tuple, np.round(table, 12))))


@pytest.mark.parametrize(("rows", "tries", "blocks"), [(200, 12, 8), (203, 7, 6), (40, 2, 4), (8, 5, 4), (60, 3, 2)])
def test_as_written_out(rows, tries, blocks):
    returns = noise(rows, tries)
    found, expected = probability_of_backtest_overfitting(returns, blocks=blocks), by_hand(returns, blocks)
    np.testing.assert_allclose(as_table(found, tries), expected, rtol=1e-9, atol=1e-11)
    assert found.pbo == np.mean(expected[:, 0] <= (tries + 1) / 2)
    assert found.probability_of_loss == np.mean(expected[:, 2] < 0)
    assert found.slope == pytest.approx(stats.linregress(expected[:, 1], expected[:, 2]).slope, rel=1e-9)


def test_parity_with_purgedcv():
    purgedcv = pytest.importorskip("purgedcv")
    returns = noise(163, 10, seed=1)
    found, other = probability_of_backtest_overfitting(returns, blocks=8), purgedcv.probability_of_backtest_overfitting(returns.T, 8)
    np.testing.assert_allclose(np.sort(found.logits), np.sort(other.logits), rtol=1e-12)
    assert found.pbo == other.pbo  # of an even number of tries; of an odd one it does not count the median itself
    assert found.slope == pytest.approx(other.slope, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.permutations(range(6)))
def test_neither_scale_nor_order_of_the_tries_matters(seed, scale, order):
    returns = noise(48, 6, seed)
    one, other = (probability_of_backtest_overfitting(table, blocks=6) for table in (returns, returns[:, order] * scale))
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-12)
    assert (one.pbo, one.probability_of_loss) == (other.pbo, other.probability_of_loss)


def test_luck_is_a_coin_and_skill_stays():
    luck = [probability_of_backtest_overfitting(noise(400, 20, seed), blocks=8).pbo for seed in range(40)]
    assert np.mean(luck) == pytest.approx(0.5, abs=3 * np.std(luck) / math.sqrt(40))
    skill = noise(400, 20)
    skill[:, 3] += 0.005
    found = probability_of_backtest_overfitting(skill)
    assert found.pbo == 0.0 and found.probability_of_loss == 0.0 and len(found.logits) == 12_870


def test_what_is_good_in_one_half_only_is_overfitted():
    """One try per half that earns there alone: whoever chooses finds the one that stops."""
    returns = noise(320, 4) * 0.1
    returns[:160, 0] += 0.01
    returns[160:, 1] += 0.01
    returns[160:, 0] -= 0.01
    returns[:160, 1] -= 0.01
    found = probability_of_backtest_overfitting(returns, blocks=2)
    assert found.pbo == found.probability_of_loss == 1.0 and (found.logits == math.log(1 / 4)).all()


def test_a_try_that_never_moves_ranks_last():
    returns = np.column_stack([noise(96, 5), np.zeros(96), np.full(96, 0.3), np.full(96, np.nan)])
    found, expected = probability_of_backtest_overfitting(returns, blocks=6), by_hand(np.nan_to_num(returns), 6)
    np.testing.assert_allclose(as_table(found, 8), expected, rtol=1e-9, atol=1e-11)
    assert as_table(found, 8)[:, 0].min() > 3  # below every one that moves come the three that do not


def test_where_nothing_moves_nothing_can_be_chosen():
    """Tries that trade in the second half only: in the first there is no best, and that is no success."""
    returns = noise(80, 6)
    returns[:40] = 0.1
    found = probability_of_backtest_overfitting(returns, blocks=2)
    assert found.pbo == found.probability_of_loss == 1.0 and np.isnan(found.out_of_sample).all()
    assert np.isnan(found.in_sample).sum() == 1
    assert found.logits.min() == pytest.approx(math.log(1 / 6)) and math.isnan(found.slope)


def test_twins_share_their_rank():
    returns = noise(64, 1)
    found = probability_of_backtest_overfitting(np.repeat(returns, 4, axis=1), blocks=4)
    assert (found.logits == 0).all() and found.pbo == 1.0  # nothing tells them apart: no evidence that choosing helps


def test_a_far_mean_costs_no_digits():
    returns = noise(80, 5)
    near, far = (probability_of_backtest_overfitting(returns + shift, blocks=4) for shift in (0.0, 1e3))
    assert np.isfinite(near.logits).all() and np.isfinite(far.out_of_sample).all()
    expected = by_hand(returns + 1e3, 4)[:, 1]
    np.testing.assert_allclose(np.sort(far.in_sample), np.sort(expected), rtol=1e-6)


def test_unfit_input_is_refused():
    good = noise(64, 4)
    for blocks in (3, 0, 22, 4.5):
        with pytest.raises(UsageError, match="even number"):
            probability_of_backtest_overfitting(good, blocks=blocks)
    for returns in (good[:, :1], good[:30], np.zeros((64, 3))):
        with pytest.raises(DataError, match="two tries or more"):
            probability_of_backtest_overfitting(returns)


def test_a_hole_is_named():
    table = pd.DataFrame(noise(64, 3), columns=["a", "b", "c"], index=pd.date_range("2024", periods=64, tz="UTC"))
    for wrong in (math.nan, math.inf):
        with pytest.raises(DataError, match=r"row 2 \(2024-01-03.*'b'"):
            probability_of_backtest_overfitting(table.assign(b=table.b.where(table.index.day != 3, wrong)))
    with pytest.raises(DataError, match="'a' names more than one"):
        probability_of_backtest_overfitting(table.set_axis(["a", "a", "b"], axis=1))
