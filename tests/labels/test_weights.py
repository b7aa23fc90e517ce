"""Average uniqueness worked by hand."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.labels import average_uniqueness


def ends(*rows):
    """Series decision time -> label end from row numbers; None is unfinished."""
    index = schema.from_epoch_ms(np.arange(len(rows)) * 3_600_000)
    return pd.Series([pd.NaT if row is None else index[row] for row in rows], index=index)


def test_labels_that_overlap_nothing_weigh_one():
    assert average_uniqueness(ends(1, 2, 3, None)).tolist()[:3] == [1, 1, 1]


def test_by_hand():
    # paths: rows 1-2, 2-3, 3-3; alive in row 1: 1, row 2: 2, row 3: 2
    found = average_uniqueness(ends(2, 3, 3, None))
    np.testing.assert_allclose(found, [(1 + 1 / 2) / 2, 1 / 2, 1 / 2, np.nan])


def test_constant_horizon_weighs_one_over_the_horizon_in_the_middle():
    rows = 50
    found = average_uniqueness(ends(*[row + 5 if row + 5 < rows else None for row in range(rows)]))
    np.testing.assert_allclose(found.iloc[10:40], 0.2)


def test_every_bar_under_a_label_is_shared_out_once():
    end = ends(3, 3, None, 6, 7, 6, None, None, None)  # paths: rows 1-3, 2-3, 4-6, 5-7, 6-6, together rows 1 to 7
    span = end.index.searchsorted(pd.DatetimeIndex(end.dropna())) - np.flatnonzero(end.notna())
    assert (average_uniqueness(end).dropna() * span).sum() == pytest.approx(7)


def test_a_label_that_ends_before_it_begins_is_refused():
    end = ends(1, 2, None)
    end.iloc[2] = end.index[1]
    with pytest.raises(DataError, match="ends before it begins"):
        average_uniqueness(end)
