"""Splits worked by hand, and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.validation import combinatorial_purged, walk_forward


def ends(rows, reach):
    """Labels that end `reach` rows after their decision; the last ones are unfinished."""
    index = schema.from_epoch_ms(np.arange(rows) * 3_600_000)
    return pd.Series(index, index).shift(-reach)


def test_sliding_by_hand():
    folds = list(walk_forward(ends(20, 2), train=8, test=4, embargo=1))
    # first test rows 9-12: rows 0-7 train, of which none ends at or after row 9 but row 7 (7 + 2 = 9)
    assert [fold.train.tolist() for fold in folds] == [list(range(7)), list(range(4, 11))]
    assert [fold.test.tolist() for fold in folds] == [list(range(9, 13)), list(range(13, 17))]


def test_expanding_by_hand():
    folds = list(walk_forward(ends(20, 2), train=8, test=4, embargo=1, scheme="expanding"))
    assert [fold.train.tolist() for fold in folds] == [list(range(7)), list(range(11))]


def test_a_label_that_ends_as_the_test_begins_is_purged():
    (fold,) = walk_forward(ends(10, 1), train=8, test=2)
    assert fold.train.tolist() == list(range(7))  # row 7 ends at row 8, where the test begins
    assert fold.test.tolist() == [8]  # row 9 is unfinished


def test_combinatorial_by_hand():
    folds = list(combinatorial_purged(ends(13, 1), groups=4, test_groups=2))
    assert len(folds) == 6
    first, last = folds[0], folds[-1]  # blocks of 4, 3, 3, 3 rows
    assert first.test.tolist() == list(range(7)) and first.train.tolist() == list(range(8, 12))  # row 7 meets the end of row 6
    assert last.test.tolist() == [7, 8, 9, 10, 11] and last.train.tolist() == list(range(6))


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(DataError, match=r"train 80 \+ embargo 5 \+ test 20 = 105 rows, but the data has 100"):
        walk_forward(ends(100, 1), train=80, test=20, embargo=5)
    assert len(list(walk_forward(ends(105, 1), train=80, test=20, embargo=5))) == 1
    with pytest.raises(DataError, match="found 3, 3 and 100"):
        combinatorial_purged(ends(100, 1), groups=3, test_groups=3)


def test_a_fold_left_empty_is_refused():
    with pytest.raises(DataError, match="0 training and 4 test rows"):
        list(walk_forward(ends(30, 10), train=8, test=4))
    with pytest.raises(DataError, match="8 training and 0 test rows"):
        list(walk_forward(ends(20, 1).mask(np.arange(20) > 8), train=9, test=10))


@pytest.mark.parametrize("sizes", [{"train": 0}, {"test": 0}, {"embargo": -1}, {"train": 1.5}, {"scheme": "rolling"}])
def test_wrong_sizes_are_refused(sizes):
    with pytest.raises(UsageError, match=f"splits.{next(iter(sizes))}: expected"):
        walk_forward(ends(50, 1), **{"train": 10, "test": 5} | sizes)


def test_wrong_labels_are_refused():
    sound = ends(20, 1)
    with pytest.raises(DataError, match="increasing order"):
        walk_forward(sound[::-1], train=5, test=5)
    with pytest.raises(DataError, match="ends before its decision"):
        walk_forward(sound - pd.Timedelta(hours=2), train=5, test=5)
    with pytest.raises(DataError, match="decision time -> label end"):
        walk_forward(sound.reset_index(drop=True), train=5, test=5)
    with pytest.raises(DataError, match="decision time -> label end"):
        walk_forward(pd.Series(1.0, sound.index), train=5, test=5)
