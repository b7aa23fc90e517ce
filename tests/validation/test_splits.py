"""Splits worked by hand, and what they refuse."""

import math

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.validation import combinatorial_paths, combinatorial_purged, group_blocks, walk_forward


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
    with pytest.raises(UsageError, match="expected fewer than the 3 groups, found 3"):
        combinatorial_purged(ends(100, 1), groups=3, test_groups=3)
    with pytest.raises(DataError, match="at least as many rows as groups, found 5 and 6"):
        combinatorial_purged(ends(5, 1), groups=6, test_groups=2)


def test_a_fold_left_empty_is_refused():
    with pytest.raises(DataError, match="0 training and 4 test rows"):
        list(walk_forward(ends(30, 10), train=8, test=4))
    with pytest.raises(DataError, match="8 training and 0 test rows"):
        list(walk_forward(ends(20, 1).mask(np.arange(20) > 8), train=9, test=10))


@pytest.mark.parametrize(
    "sizes", [{"train": 0}, {"test": 0}, {"embargo": -1}, {"train": 1.5}, {"scheme": "rolling"}, {"test": "fortnight"}, {"train": "month"}]
)
def test_wrong_sizes_are_refused(sizes):
    with pytest.raises(UsageError, match=f"splits.{next(iter(sizes))}: expected"):
        walk_forward(ends(50, 1), **{"train": 10, "test": 5} | sizes)


def test_an_embargo_counts_from_the_end_of_the_last_test_label():
    """Counted from the last test decision, one no longer than the labels would do nothing: the purge takes those rows anyway."""
    middle = list(combinatorial_purged(ends(30, 5), groups=3, test_groups=1, embargo=4))[1]
    assert middle.test.tolist() == list(range(10, 20))  # the last of them ends at row 24
    assert middle.train.tolist() == list(range(5))  # rows 25 to 28 are the embargo, of row 29 on none is finished
    assert list(combinatorial_purged(ends(31, 1), groups=3, test_groups=1, embargo=4))[1].train[7:].tolist() == [26, 27, 28, 29]


def test_a_label_that_spans_a_whole_test_block_is_purged():
    end_time = ends(30, 1).dropna()
    end_time.iloc[3] = end_time.index[25]
    folds = list(combinatorial_purged(end_time, groups=3, test_groups=1))
    assert 3 not in folds[1].train and 3 not in folds[2].train
    assert folds[0].train.tolist() == [26, 27, 28]  # and none is left that begins within the span of a test label


def hourly(first, last):
    index = pd.date_range(first, last, freq="h", tz="UTC", inclusive="left", name="timestamp").as_unit("ms")
    return pd.Series(index, index)


@pytest.mark.parametrize(
    ("period", "borders"),
    [
        ("day", ["2024-01-05", "2024-01-06", "2024-01-07"]),
        ("week", ["2024-01-08", "2024-01-15", "2024-01-22"]),  # Mondays
        ("month", ["2024-02-01", "2024-03-01", "2024-04-01"]),
        ("quarter", ["2024-04-01", "2024-07-01", "2024-10-01"]),
        ("year", ["2025-01-01"]),
    ],
)
@pytest.mark.parametrize("scheme", ["sliding", "expanding"])
def test_calendar_blocks_begin_at_borders(period, borders, scheme):
    end_time = hourly("2024-01-02", "2026-01-01")
    folds = list(walk_forward(end_time, train=70, test=period, embargo=2, scheme=scheme))
    starts = [end_time.index[fold.test[0]] for fold in folds]
    assert starts[: len(borders)] == [pd.Timestamp(border, tz="UTC") for border in borders]
    np.testing.assert_array_equal(np.concatenate([fold.test for fold in folds]), np.arange(folds[0].test[0], folds[-1].test[-1] + 1))
    for fold in folds:
        assert fold.train[-1] == fold.test[0] - 3
        assert fold.train[0] == (fold.test[0] - 72 if scheme == "sliding" else 0)


def test_the_last_calendar_block_is_whole_or_unused():
    whole, short = (list(walk_forward(hourly("2024-01-02", last), train=24, test="month")) for last in ("2024-04-01", "2024-03-31 23:00"))
    assert [len(fold.test) // 24 for fold in whole] == [29, 31] and [len(fold.test) // 24 for fold in short] == [29]


def test_a_calendar_block_of_gappy_bars_begins_with_its_first_bar():
    end_time = hourly("2024-01-02", "2024-05-01")
    absent = (end_time.index >= "2024-01-30") & (end_time.index < "2024-02-03") | (end_time.index.month == 3)
    folds = list(walk_forward(end_time[~absent], train=24, test="month"))
    assert [str(end_time[~absent].index[fold.test[0]])[:10] for fold in folds] == ["2024-02-03", "2024-04-01"]


@pytest.mark.parametrize("rows", [0, 1, 2, 500])
def test_too_little_for_a_calendar_block_is_refused(rows):
    with pytest.raises(DataError, match=rf"train 400 \+ embargo 5 \+ test a whole month, but the data has {rows}"):
        walk_forward(hourly("2024-01-02", "2024-03-15").iloc[:rows], train=400, test="month", embargo=5)


def test_paths_by_hand():
    """López de Prado (2018), figure 12.1 and 12.2: six groups, two of them tested, 15 folds, five paths."""
    paths = combinatorial_paths(6, 2)
    assert paths.shape == (5, 6)
    assert paths[0].tolist() == [0, 0, 1, 2, 3, 4] and paths[4].tolist() == [4, 8, 11, 13, 14, 14]
    assert combinatorial_paths(3, 1).tolist() == [[0, 1, 2]]  # plain purged cross-validation has one


@pytest.mark.parametrize(("groups", "test_groups"), [(2, 1), (4, 2), (6, 3), (8, 2), (7, 6)])
def test_paths_use_every_forecast_once(groups, test_groups):
    paths, end_time = combinatorial_paths(groups, test_groups), ends(90, 1)
    assert len(paths) == math.comb(groups, test_groups) * test_groups / groups
    used = {(int(fold), group) for path in paths for group, fold in enumerate(path)}
    blocks, folds = group_blocks(90, groups), list(combinatorial_purged(end_time, groups=groups, test_groups=test_groups))
    made = {(number, group) for number, fold in enumerate(folds) for group, block in enumerate(blocks) if block[0] in fold.test}
    assert used == made and len(used) == paths.size


def test_wrong_labels_are_refused():
    sound = ends(20, 1)
    with pytest.raises(DataError, match="increasing order"):
        walk_forward(sound[::-1], train=5, test=5)
    with pytest.raises(DataError, match="ends before its decision"):
        walk_forward(sound - pd.Timedelta(hours=2), train=5, test=5)
    with pytest.raises(DataError, match="both times in UTC or neither"):
        walk_forward(sound.dt.tz_localize(None), train=5, test=5)
    with pytest.raises(DataError, match="decision time -> label end"):
        walk_forward(sound.reset_index(drop=True), train=5, test=5)
    with pytest.raises(DataError, match="decision time -> label end"):
        walk_forward(pd.Series(1.0, sound.index), train=5, test=5)
