"""Laws of the splits: nothing a training label has seen reaches into the test."""

from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.validation import combinatorial_purged, walk_forward

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


@settings(max_examples=60, deadline=None)
@given(label_ends(least=100), st.integers(3, 5), st.integers(0, 5))
def test_combinatorial_training_spans_meet_no_test_span(ends, groups, embargo):
    blocks = np.array_split(np.arange(len(ends)), groups)
    seen = np.zeros(len(ends))
    for train, test in combinatorial_purged(ends, groups=groups, test_groups=1, embargo=embargo):
        seen[test] += 1
        block = next(b for b in blocks if test[0] in b)
        last = ends.iloc[test].max()
        meets = (ends.iloc[train] >= ends.index[block[0]]).to_numpy() & (ends.index[train] <= last)
        assert not meets.any()
        assert not np.isin(train, np.arange(block[0] - embargo, block[-1] + embargo + 1)).any()
        assert ends.iloc[train].notna().all()
    np.testing.assert_array_equal(seen, ends.notna())
