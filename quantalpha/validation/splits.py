"""The one split generator: past to learn from, future to be judged on, and nothing of one in the other."""

from collections.abc import Iterator
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError


class Fold(NamedTuple):
    """Positions (int64, increasing) into the rows of `end_time`."""

    train: np.ndarray
    test: np.ndarray


def walk_forward(
    end_time: pd.Series, *, train: int, test: int, embargo: int = 0, scheme: Literal["sliding", "expanding"] = "sliding"
) -> Iterator[Fold]:
    """Consecutive test blocks of `test` rows, each with the `train` rows before it ("expanding": all rows before it).

    `end_time` is the Series decision time -> label end of all rows; sizes count its rows. From the training rows those are purged whose
    label ends at or after the test's first decision time; the `embargo` rows just before the test are left out besides, so the first
    test begins at row train + embargo. Rows with an unfinished label (NaT) are in no fold. Rows after the last whole test block are unused.
    """
    _check_sizes(train=train, test=test, embargo=embargo)
    if scheme not in ("sliding", "expanding"):
        raise UsageError(f"splits.scheme: expected 'sliding' or 'expanding', found {scheme!r}")
    start, end, done = _spans(end_time)
    need = train + embargo + test
    if need > len(end_time):
        raise DataError(
            f"splits: train {train} + embargo {embargo} + test {test} = {need} rows, but the data has {len(end_time)}; "
            f"make params.yaml `splits` smaller or add data"
        )
    return _walk(start, end, done, (train, test, embargo, scheme))


def combinatorial_purged(end_time: pd.Series, *, groups: int, test_groups: int, embargo: int = 0) -> Iterator[Fold]:
    """Every choice of `test_groups` out of `groups` equal blocks as the test, the other rows as training (López de Prado, 2018, ch. 12).

    Training rows whose label span meets a test block's span are purged, and `embargo` rows on either side of each test block are left
    out besides. Unlike `walk_forward` this trains on what came after the test.
    """
    _check_sizes(groups=groups, test_groups=test_groups, embargo=embargo)
    start, end, done = _spans(end_time)
    if not test_groups < groups <= len(start):
        raise DataError(f"splits: expected test_groups < groups <= rows, found {test_groups}, {groups} and {len(start)}")
    blocks = np.array_split(np.arange(len(start)), groups)
    return _combine(start, end, done, (list(combinations(blocks, test_groups)), embargo))


def _walk(start, end, done, sizes) -> Iterator[Fold]:
    train, test, embargo, scheme = sizes
    for first in range(train + embargo, len(start) - test + 1, test):
        rows = np.arange(first - embargo - train if scheme == "sliding" else 0, first - embargo)
        kept = rows[done[rows] & (end[rows] < start[first])]
        yield _fold(kept, np.arange(first, first + test), done)


def _combine(start, end, done, plan) -> Iterator[Fold]:
    choices, embargo = plan
    for chosen in choices:
        keep = done.copy()
        for block in chosen:
            last = max(end[block].max(), start[block[-1]])
            keep[max(block[0] - embargo, 0) : block[-1] + embargo + 1] = False
            keep &= (end < start[block[0]]) | (start > last)
        yield _fold(np.flatnonzero(keep), np.concatenate(chosen), done)


def _fold(train, test, done) -> Fold:
    test = test[done[test]]
    if not train.size or not test.size:
        raise DataError(f"splits: a fold has {train.size} training and {test.size} test rows with a finished label; use longer sizes")
    return Fold(train, test)


def _spans(end_time: pd.Series):
    """(decision times, label ends in epoch ms, finished) of the rows, checked."""
    if not isinstance(end_time.index, pd.DatetimeIndex) or not pd.api.types.is_datetime64_any_dtype(end_time.dtype):
        raise DataError(f"splits: expected a Series decision time -> label end, found {end_time.index.dtype} -> {end_time.dtype}")
    start, end, done = schema.epoch_ms(end_time.index), schema.epoch_ms(pd.DatetimeIndex(end_time)), end_time.notna().to_numpy()
    if (np.diff(start) <= 0).any():
        raise DataError("splits: decision times must be in strictly increasing order; sort the labels first")
    if (end[done] < start[done]).any():
        raise DataError(f"splits: the label decided at {end_time.index[done & (end < start)][0]} ends before its decision")
    return start, end, done


def _check_sizes(**sizes: int):
    for name, size in sizes.items():
        least = 0 if name == "embargo" else 1
        if size != int(size) or size < least:
            raise UsageError(f"splits.{name}: expected a whole number of at least {least}, found {size!r}")
