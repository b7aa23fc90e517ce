"""Splits and paths against two independent implementations, where their definitions agree.

They do not agree everywhere. `purgedcv` takes half-open label spans (one that ends as the test begins stays; here it goes), so its purge is
widened by a millisecond; its embargo lies after the test only, as does skfolio's, so here the purge before the test must be the longer one.
`skfolio` knows no label ends: it leaves out `purged_size` rows on either side, which is the same where every label lasts as many rows; its
groups all have rows // groups rows, the last one the rest. In a walk-forward both purge before they cut the training window to its size,
here the window is cut first: a purged row is not made up for by an older one.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from purgedcv import CombinatorialPurgedCV, WalkForwardSplit, reconstruct_paths
from skfolio import model_selection as skfolio

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.validation import combinatorial_paths, combinatorial_purged, walk_forward

HOUR = 3_600_000
CLOSED = pd.Timedelta("1ms")
GROUPS = [(3, 2), (4, 2), (5, 3), (6, 2), (6, 4)]


def constant(rows, reach):
    index = schema.from_epoch_ms(np.arange(rows) * HOUR)
    return pd.Series(schema.from_epoch_ms((np.arange(rows) + reach) * HOUR), index)


@st.composite
def irregular(draw):
    """Decision times with gaps and labels of any length, all finished."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(40, 120))
    times = np.cumsum(np.where(rng.random(rows) < 0.1, rng.integers(10, 90, rows), rng.integers(1, 4, rows))) * HOUR
    spans = np.where(rng.random(rows) < 0.05, rng.integers(30, 99, rows), rng.integers(1, draw(st.integers(2, 9)), rows))
    return pd.Series(schema.from_epoch_ms(times + spans * HOUR), schema.from_epoch_ms(times))


def times(ends):
    return {"prediction_times": pd.Series(ends.index), "evaluation_times": pd.Series(ends.array)}


@settings(max_examples=100, deadline=None)
@given(irregular(), st.sampled_from(GROUPS))
def test_purged_rows_are_those_of_purgedcv(ends, shape):
    oracle = CombinatorialPurgedCV(*shape, **times(ends), purge_horizon=CLOSED)
    expected = list(oracle.split(np.zeros((len(ends), 1))))
    assume(all(len(train) for train, _ in expected))
    folds = list(combinatorial_purged(ends, groups=shape[0], test_groups=shape[1]))
    assert len(folds) == len(expected)
    for (train, test), (other_train, other_test) in zip(folds, expected):
        np.testing.assert_array_equal(train, other_train)
        np.testing.assert_array_equal(test, other_test)


@pytest.mark.parametrize("shape", GROUPS)
@pytest.mark.parametrize(("reach", "embargo"), [(1, 1), (5, 0), (5, 2), (5, 5)])
def test_the_embargo_is_that_of_purgedcv_and_skfolio(shape, reach, embargo):
    groups, test_groups = shape
    ends = constant(30 * groups, reach)
    folds = list(combinatorial_purged(ends, groups=groups, test_groups=test_groups, embargo=embargo))
    duration = {"embargo": pd.Timedelta(hours=embargo)} if embargo else {}
    theirs = CombinatorialPurgedCV(*shape, **times(ends), purge_horizon=CLOSED, **duration).split(np.zeros((len(ends), 1)))
    rows = skfolio.CombinatorialPurgedCV(groups, test_groups, purged_size=reach, embargo_size=embargo).split(np.zeros((len(ends), 1)))
    for (train, test), (second, _), (third, blocks) in zip(folds, theirs, rows, strict=True):
        np.testing.assert_array_equal(train, second)
        np.testing.assert_array_equal(train, third)
        np.testing.assert_array_equal(test, np.concatenate(blocks))


@pytest.mark.parametrize("shape", GROUPS)
def test_paths_are_those_of_purgedcv_and_skfolio(shape):
    ends = constant(40 * shape[0], 1)
    paths = combinatorial_paths(*shape)
    np.testing.assert_array_equal(paths.T, skfolio.CombinatorialPurgedCV(*shape).recombined_paths)
    tests = [test for _, test in combinatorial_purged(ends, groups=shape[0], test_groups=shape[1])]
    filled = reconstruct_paths([np.full(len(test), float(fold)) for fold, test in enumerate(tests)], tests, *shape, len(ends))
    np.testing.assert_array_equal(np.repeat(paths, 40, axis=1), filled)


@settings(max_examples=60, deadline=None)
@given(irregular(), st.integers(5, 12))
def test_an_expanding_walk_is_that_of_purgedcv(ends, test):
    n_folds, first = (len(ends) - 20) // test, len(ends) - (len(ends) - 20) // test * test
    oracle = WalkForwardSplit(n_folds, test, **times(ends), purge_horizon=CLOSED)
    try:
        folds = list(walk_forward(ends, train=first, test=test, scheme="expanding"))
    except DataError:
        assume(False)
    for fold, (train, block) in zip(folds, oracle.split(np.zeros((len(ends), 1))), strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, block)


@pytest.mark.parametrize("reach", [1, 4])
def test_a_sliding_walk_of_equal_labels_is_that_of_skfolio(reach):
    ends = constant(200, reach)
    oracle = skfolio.WalkForward(train_size=50 - reach, test_size=20, purged_size=reach)
    folds = list(walk_forward(ends, train=50, test=20))
    for fold, (train, test) in zip(folds, oracle.split(np.zeros((len(ends), 1))), strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)
