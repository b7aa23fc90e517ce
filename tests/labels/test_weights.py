"""Weights worked by hand, and their laws."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import average_uniqueness, concurrency, return_attribution, time_decay


def ends(*rows):
    """Series decision time -> label end from row numbers; None is unfinished."""
    index = schema.from_epoch_ms(np.arange(len(rows)) * 3_600_000)
    return pd.Series([pd.NaT if row is None else index[row] for row in rows], index=index, dtype=index.dtype)


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


@pytest.mark.parametrize("wrong", [None, pd.DataFrame({"end_time": ends(1, None)}), ends(1, None).to_numpy(), pd.Series([1.0, 2.0])])
def test_what_is_no_column_of_label_ends_is_refused(wrong):
    with pytest.raises(DataError, match="labels: expected end_time, a Series of times on the index of all bars, found"):
        average_uniqueness(wrong)


def test_concurrency_by_hand():
    assert concurrency(ends(2, 3, 3, None)).tolist() == [0, 1, 2, 2]
    assert concurrency(ends(None, None)).tolist() == [0, 0]


def prices(*close):
    columns = {name: np.array(close, dtype=float) for name in ("open", "high", "low", "close")}
    return pd.DataFrame(columns, schema.from_epoch_ms(np.arange(len(close)) * 3_600_000)).assign(volume=1.0)


def test_return_attribution_by_hand():
    # log returns of rows 1, 2, 3 in units of log 2: 2, -1, 1; alive 1, 2, 2. Attributed: |2 - 1/2|, |-1/2 + 1/2|, 1/2
    found = return_attribution(prices(1, 4, 2, 4), ends(2, 3, 3, None))
    np.testing.assert_allclose(found / np.log(2), [1.5, 0, 0.5, np.nan], atol=1e-15)


def test_return_attribution_knows_no_sign_no_unit_and_no_move():
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    end = ends(*[min(row + int(rng.integers(1, 9)), 199) if row < 199 else None for row in range(200)])
    weight = return_attribution(prices(*close), end)
    np.testing.assert_allclose(return_attribution(prices(*(7 / close)), end), weight, rtol=1e-9)
    assert (return_attribution(prices(*np.ones(200)), end).dropna() == 0).all()
    with pytest.raises(DataError, match="on the index of the bars"):
        return_attribution(prices(*close[:100]), end)


def test_return_attribution_knows_no_later_move():
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    end = ends(*[row + 4 if row < 196 else None for row in range(200)])
    wilder = np.append(close[:100], close[100:] ** 3)
    was, now = (return_attribution(prices(*path), end) for path in (close, wilder))
    pd.testing.assert_series_equal(now[:96], was[:96], check_exact=True)
    assert (now[96:196] != was[96:196]).all()


def test_time_decay_by_hand():
    unique = ends(1, 2, None, 4, None).isna().map({False: 0.5, True: np.nan})  # three labels of the same uniqueness
    np.testing.assert_allclose(time_decay(unique, 1.0), [1, 1, np.nan, 1, np.nan])
    np.testing.assert_allclose(time_decay(unique, 0.25), [0.5, 0.75, np.nan, 1, np.nan])
    np.testing.assert_allclose(time_decay(unique, 0.0), [1 / 3, 2 / 3, np.nan, 1, np.nan])
    np.testing.assert_allclose(time_decay(unique, -0.5), [0, 1 / 3, np.nan, 1, np.nan], atol=1e-15)


@pytest.mark.parametrize("oldest", [-0.9, -0.3, 0.0, 0.4, 1.0])
def test_time_decay_is_the_line_of_the_book(oldest):
    unique = pd.Series(np.random.default_rng(0).uniform(0.1, 1, 50))
    gathered = unique.cumsum()  # the book's slope and constant, snippet 4.11
    slope = (1 - oldest) / gathered.iloc[-1] if oldest >= 0 else 1 / ((oldest + 1) * gathered.iloc[-1])
    line = (1 - slope * gathered.iloc[-1]) + slope * gathered
    np.testing.assert_allclose(time_decay(unique, oldest), line.clip(lower=0), atol=1e-12)


@pytest.mark.parametrize("oldest", [-1.0, 1.01, float("nan"), None, "1"])
def test_time_decay_out_of_range_is_refused(oldest):
    with pytest.raises(UsageError, match=r"oldest must lie in \(-1, 1\]"):
        time_decay(pd.Series([1.0]), oldest)
