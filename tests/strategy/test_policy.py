"""The hysteresis policy: its laws on any series of edges, and the cases a reader would ask about."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.strategy import HysteresisPolicy, edge

EDGES = st.lists(st.one_of(st.floats(-1, 1), st.just(np.nan), st.sampled_from([-0.15, -0.05, 0.0, 0.05, 0.15])), max_size=60)


@st.composite
def policies(draw):
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return HysteresisPolicy(enter=high, exit=low, leverage=draw(st.floats(0.1, 20)))


def series(values):
    return pd.Series(values, dtype=float, index=pd.date_range("2024-01-01", periods=len(values), freq="h", tz="UTC"))


@given(policies(), EDGES)
def test_targets_are_the_fold_of_step(policy, edges):
    target, folded = 0.0, []
    for value in edges:
        target = policy.step(value, target)
        folded.append(target)
    assert policy.targets(series(edges)).tolist() == folded


@given(policies(), EDGES)
def test_only_flat_or_full_leverage_and_no_position_without_an_edge_of_its_sign(policy, edges):
    targets = policy.targets(series(edges))
    assert set(targets.abs()) <= {0.0, policy.leverage}
    held = targets.to_numpy() != 0
    assert (np.sign(targets.to_numpy()) == np.sign(edges))[held].all()


@given(policies(), EDGES)
def test_no_entry_below_enter_and_no_exit_above_exit(policy, edges):
    targets = policy.targets(series(edges)).to_numpy()
    before = np.concatenate([[0.0], targets[:-1]])
    size = np.abs(np.asarray(edges, dtype=float))
    entered = (targets != 0) & (np.sign(targets) != np.sign(before))
    assert (size[entered] >= policy.enter).all()
    left = (before != 0) & (targets == 0)
    kept_side = np.sign(edges) == np.sign(before)
    assert not (left & kept_side & (size > policy.exit)).any()


@given(policies(), EDGES)
def test_long_and_short_are_mirror_images(policy, edges):
    mirrored = policy.targets(-series(edges))
    assert (mirrored == -policy.targets(series(edges))).all()


@given(policies(), EDGES, st.integers(0, 60))
def test_the_past_does_not_change_when_the_future_is_cut_off(policy, edges, cut):
    whole = policy.targets(series(edges))
    assert whole.iloc[:cut].equals(policy.targets(series(edges[:cut])))


def test_the_story_of_one_position():
    policy = HysteresisPolicy(enter=0.15, exit=0.05, leverage=2.0)
    edges = [0.14, 0.15, 0.06, 0.05, 0.14, -0.2, -0.06, 0.15, -0.1, 0.3, np.nan, 0.1]
    assert policy.targets(series(edges)).tolist() == [0, 2, 2, 0, 0, -2, -2, 2, 0, 2, 0, 0]


def test_a_previous_target_of_another_size_is_held_at_the_policy_leverage():
    policy = HysteresisPolicy(enter=0.15, exit=0.0, leverage=1.0)
    assert policy.step(0.1, 3.0) == 1.0
    assert policy.step(-0.1, -0.2) == -1.0


def test_edge_zero_has_no_side_even_where_any_edge_may_enter():
    assert HysteresisPolicy(enter=0.0, exit=0.0, leverage=1.0).step(0.0, 1.0) == 0.0


@pytest.mark.parametrize("values", [(0.1, 0.2, 1), (1.1, 0, 1), (0.1, -0.1, 1), (0.1, 0, 0), (0.1, 0, np.inf), (np.nan, 0, 1)])
def test_impossible_settings_are_refused(values):
    with pytest.raises(UsageError, match="0 <= exit <= enter <= 1"):
        HysteresisPolicy(*values)


def test_edge_is_up_minus_down_and_nan_stays_nan():
    p = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0], [np.nan] * 3])
    np.testing.assert_allclose(edge(p), [0.3, -0.6, np.nan])
