"""Laws of the splits: nothing a training label has seen reaches into the test."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.validation import combinatorial_paths, combinatorial_purged, walk_forward

HOUR = 3_600_000


@st.composite
def label_ends(draw, least=30):
    """Series decision time -> label end: gaps in time, paths of random length, some unfinished."""
    rows = draw(st.integers(least, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    times = np.cumsum(rng.integers(1, 5, rows)) * HOUR
    reach = rng.integers(1, draw(st.integers(2, 15)), rows)
    ends = pd.Series(schema.from_epoch_ms(times[np.minimum(np.arange(rows) + reach, rows - 1)]), schema.from_epoch_ms(times))
    unfinished = (np.arange(rows) + reach >= rows) | (rng.random(rows) < 0.05)
    return ends.mask(unfinished)


@st.composite
def walks(draw):
    """(ends, settings) that fit, the training longer than any path."""
    ends = draw(label_ends(least=60))
    embargo = draw(st.integers(0, 8))
    train = draw(st.integers(20, len(ends) - 20 - embargo))
    test = draw(st.integers(18, len(ends) - train - embargo))
    return ends, {"train": train, "test": test, "embargo": embargo, "scheme": draw(st.sampled_from(["sliding", "expanding"]))}


@settings(max_examples=150, deadline=None)
@given(walks())
def test_walk_forward_keeps_the_past_from_the_test(walk):
    ends, sizes = walk
    folds = list(walk_forward(ends, **sizes))
    assert len(folds) == (len(ends) - sizes["train"] - sizes["embargo"]) // sizes["test"]
    for number, (train, test) in enumerate(folds):
        first = sizes["train"] + sizes["embargo"] + number * sizes["test"]  # the block the test rows are taken from
        assert (ends.iloc[train] < ends.index[first]).all()  # purged: also says that none is unfinished
        assert train.max() < first - sizes["embargo"]
        assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
        assert test.min() >= first and test.max() < first + sizes["test"]
        assert ends.iloc[test].notna().all()


@settings(max_examples=80, deadline=None)
@given(walks())
def test_walk_forward_leaves_out_no_more_than_it_must(walk):
    ends, sizes = walk
    for number, (train, test) in enumerate(walk_forward(ends, **sizes)):
        first = sizes["train"] + sizes["embargo"] + number * sizes["test"]
        last = first - sizes["embargo"]
        begin = last - sizes["train"] if sizes["scheme"] == "sliding" else 0
        lost = np.setdiff1d(np.arange(begin, last), train)
        assert (ends.iloc[lost].isna() | (ends.iloc[lost] >= ends.index[first])).all()
        block = np.arange(first, first + sizes["test"])
        assert ends.iloc[np.setdiff1d(block, test)].isna().all()


@settings(max_examples=80, deadline=None)
@given(walks())
def test_test_folds_are_disjoint_and_in_order(walk):
    ends, sizes = walk
    for before, after in pairwise(walk_forward(ends, **sizes)):
        assert before.test.max() < after.test.min()
        assert before.train.max() <= after.train.max()


@settings(max_examples=60, deadline=None)
@given(walks(), st.integers(0, 149))
def test_what_comes_after_a_fold_does_not_change_it(walk, cut):
    ends, sizes = walk
    folds = list(walk_forward(ends, **sizes))
    rows = max(cut, sizes["train"] + sizes["embargo"] + sizes["test"])
    if rows < len(ends):
        early = list(walk_forward(ends.iloc[:rows], **sizes))
        for one, two in zip(early, folds):
            np.testing.assert_array_equal(one.train, two.train)
            np.testing.assert_array_equal(one.test, two.test)


@st.composite
def wild_ends(draw):
    """Labels as nobody wants them: irregular times, long gaps, ends in any order, off the rows and beyond them, runs without a label."""
    rows = draw(st.integers(60, 140))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = np.where(rng.random(rows) < 0.05, rng.integers(50, 500, rows), rng.integers(1, 4, rows))
    times = np.cumsum(steps) * HOUR // 2
    spans = np.where(rng.random(rows) < 0.04, rng.integers(20, 200, rows), rng.integers(0, draw(st.integers(1, 20)), rows))
    ends = pd.Series(schema.from_epoch_ms(times + spans * HOUR), schema.from_epoch_ms(times))
    begin, length = rng.integers(0, rows), rng.integers(0, 12)
    ends.iloc[begin : begin + length] = pd.NaT
    return ends.mask(rng.random(rows) < draw(st.sampled_from([0.0, 0.1, 0.6])))


def folds_of(splits):
    """The folds; an example of which one is left empty says nothing."""
    try:
        return list(splits)
    except DataError as error:
        assume("finished label" not in str(error))
        raise


def check_apart(ends, train, test):
    """No training span [decision, end] has a moment in common with any test span."""
    known = ends.iloc[np.r_[train, test]]
    assert known.notna().all()
    start, end = schema.epoch_ms(ends.index), schema.epoch_ms(pd.DatetimeIndex(ends))
    meets = (start[train][:, None] <= end[test]) & (end[train][:, None] >= start[test])
    assert not meets.any()


@settings(max_examples=150, deadline=None)
@given(wild_ends(), st.integers(1, 12), st.sampled_from(["sliding", "expanding"]), st.sampled_from([7, 20, "day", "week"]))
def test_no_training_span_touches_a_test_span_forward_in_time(ends, embargo, scheme, test):
    with_room = ends.index[20 + embargo :]
    assume(isinstance(test, int) or len(with_room.floor("7D").unique()) > 4)
    for fold in folds_of(walk_forward(ends, train=20, test=test, embargo=embargo, scheme=scheme)):
        check_apart(ends, *fold)
        assert fold.train.max() < fold.test.min() - embargo


@settings(max_examples=200, deadline=None)
@given(wild_ends(), st.integers(3, 5), st.integers(1, 2), st.integers(0, 6))
def test_no_training_span_touches_a_test_span_on_either_side(ends, groups, test_groups, embargo):
    blocks = np.array_split(np.arange(len(ends)), groups)
    start, end = schema.epoch_ms(ends.index), schema.epoch_ms(pd.DatetimeIndex(ends))
    folds = folds_of(combinatorial_purged(ends, groups=groups, test_groups=test_groups, embargo=embargo))
    for fold, chosen in zip(folds, combinations(blocks, test_groups), strict=True):
        check_apart(ends, *fold)
        allowed = ends.notna().to_numpy(copy=True)
        for block in chosen:
            last = max(end[block].max(), start[block[-1]])
            quiet = np.flatnonzero(start > last)[:embargo]  # the embargo begins where the last test label has ended
            assert not np.isin(fold.train, np.r_[np.arange(block[0] - embargo, block[-1] + 1), quiet]).any()
            allowed[np.r_[max(block[0] - embargo, 0) : block[-1] + 1, quiet]] = False
            allowed &= (end < start[block[0]]) | (start > last)
        np.testing.assert_array_equal(fold.train, np.flatnonzero(allowed))  # and no row more is lost


@settings(max_examples=40, deadline=None)
@given(label_ends(least=100), st.integers(3, 5), st.integers(0, 5))
def test_every_finished_row_is_tested_as_often_as_there_are_paths(ends, groups, embargo):
    seen = np.zeros(len(ends), dtype=int)
    for _, test in combinatorial_purged(ends, groups=groups, test_groups=2, embargo=embargo):
        seen[test] += 1
    np.testing.assert_array_equal(seen, np.where(ends.notna(), len(combinatorial_paths(groups, 2)), 0))
