"""The one split generator: past to learn from, future to be judged on, and nothing of one in the other."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import DataError, UsageError


class Fold(NamedTuple):
    """Positions (int64, increasing) into the rows of `end_time`."""

    train: np.ndarray
    test: np.ndarray


def walk_forward(
    end_time: pd.Series, *, train: int, test: int | str, embargo: int = 0, scheme: Literal["sliding", "expanding"] = "sliding"
) -> Iterator[Fold]:
    """Consecutive test blocks, each with the `train` rows before it ("expanding": all rows before it).

    `end_time` is the Series decision time -> label end of all rows; sizes count its rows. `test` is the size of a block, or the calendar
    period it is ("day", "week" from Monday, "month", "quarter", "year", UTC): then the first block is the first whole period that has
    enough rows before it. From the training rows those are purged whose label ends at or after the test's first decision time; the
    `embargo` rows just before the test are left out besides, so the first test begins at row train + embargo or later. Rows with an
    unfinished label (NaT) are in no fold. Rows after the last whole test block are unused.
    """
    _check_sizes(train=train, embargo=embargo, **({} if test in timeframe.PERIODS else {"test": test}))
    if scheme not in ("sliding", "expanding"):
        raise UsageError(f"splits.scheme: expected 'sliding' or 'expanding', found {scheme!r}")
    start, end, done = _spans(end_time)
    borders = _borders(start, test, train + embargo)
    if len(borders) < 2:
        asked = f"a whole {test}" if test in timeframe.PERIODS else f"{test} = {train + embargo + test} rows"
        raise DataError(
            f"splits: train {train} + embargo {embargo} + test {asked}, but the data has {len(end_time)}; "
            f"make params.yaml `splits` smaller or add data"
        )
    return _walk(start, end, done, (borders, train, embargo, scheme))


def combinatorial_purged(end_time: pd.Series, *, groups: int, test_groups: int, embargo: int = 0) -> Iterator[Fold]:
    """Every choice of `test_groups` out of `groups` equal blocks as the test, the other rows as training (López de Prado, 2018, ch. 12).

    Training rows whose label span [decision, end] meets a test block's are purged. `embargo` rows before the block, and as many after the
    end of its last label (ibid., section 7.4.2), are left out besides. Unlike `walk_forward` this trains on what came after the test.
    """
    _check_sizes(embargo=embargo)
    start, end, done = _spans(end_time)
    chosen = combinations(group_blocks(len(start), groups), _below(test_groups, groups))
    return _combine(start, end, done, (chosen, embargo))


def group_blocks(rows: int, groups: int) -> list[np.ndarray]:
    """Positions of `rows` rows in `groups` consecutive blocks, whose sizes differ by one at most."""
    _check_sizes(groups=groups)
    if groups > rows:
        raise DataError(f"splits: expected at least as many rows as groups, found {rows} and {groups}; add data")
    return np.array_split(np.arange(rows), groups)


def combinatorial_paths(groups: int, test_groups: int) -> np.ndarray:
    """int64[paths, groups]: the number of the `combinatorial_purged` fold whose forecast each path takes for each group.

    Every group is in the test of C(groups - 1, test_groups - 1) folds, and a path takes each of them once: the first path the first fold
    that holds a group, the second the second. So many complete out-of-sample paths there are: test_groups / groups * C(groups,
    test_groups) (López de Prado, 2018, section 12.4).
    """
    _check_sizes(groups=groups)
    chosen = np.array(list(combinations(range(groups), _below(test_groups, groups))))
    return np.stack([np.flatnonzero((chosen == group).any(axis=1)) for group in range(groups)], axis=1)


def _borders(start: np.ndarray, test: int | str, first: int) -> np.ndarray:
    """Rows at which a test block begins and the one before it ends, from row `first` on; the number of rows if the last block is whole."""
    if test not in timeframe.PERIODS:
        return np.arange(first, len(start) + 1, test)
    following = np.append(start, 2 * start[-1:] - start[-2:-1])  # and the row to come: if it lies in another period, the last one is whole
    borders = np.flatnonzero(np.diff(_period(following, test))) + 1
    return borders[borders >= first]


def _period(times: np.ndarray, name: str) -> np.ndarray:
    """int64[n]: number of the UTC day, week, month, quarter or year that holds each time."""
    days, months = times // timeframe.UNITS["d"], times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    weeks = (days + 3) // 7  # 1970 began on a Thursday
    return {"day": days, "week": weeks, "month": months, "quarter": months // 3, "year": months // 12}[name]


def _walk(start, end, done, plan) -> Iterator[Fold]:
    borders, train, embargo, scheme = plan
    for first, stop in pairwise(borders):
        rows = np.arange(first - embargo - train if scheme == "sliding" else 0, first - embargo)
        kept = rows[done[rows] & (end[rows] < start[first])]
        yield _fold(kept, np.arange(first, stop), done)


def _combine(start, end, done, plan) -> Iterator[Fold]:
    choices, embargo = plan
    for chosen in choices:
        keep = done.copy()
        for block in chosen:
            first, last = block[0], max(end[block].max(), start[block[-1]])
            after = np.searchsorted(start, last, side="right")
            keep[:first] &= end[:first] < start[first]
            keep[max(first - embargo, 0) : after + embargo] = False
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
    if (end_time.index.tz is None) != (end_time.dt.tz is None):
        raise DataError(f"splits: expected both times in UTC or neither, found {end_time.index.dtype} -> {end_time.dtype}; use tz_localize")
    start, end, done = schema.epoch_ms(end_time.index), schema.epoch_ms(pd.DatetimeIndex(end_time)), end_time.notna().to_numpy()
    if (np.diff(start) <= 0).any():
        raise DataError("splits: decision times must be in strictly increasing order; sort the labels first")
    if (end[done] < start[done]).any():
        raise DataError(f"splits: the label decided at {end_time.index[done & (end < start)][0]} ends before its decision")
    return start, end, done


def _below(test_groups: int, groups: int) -> int:
    """`test_groups`, checked."""
    _check_sizes(test_groups=test_groups)
    if test_groups >= groups:
        raise UsageError(f"splits.test_groups: expected fewer than the {groups} groups, found {test_groups}")
    return test_groups


def _check_sizes(**sizes: int):
    for name, size in sizes.items():
        least = 0 if name == "embargo" else 1
        if isinstance(size, str) or size != int(size) or size < least:
            period = f", or {', '.join(timeframe.PERIODS)}" if name == "test" else ""
            raise UsageError(f"splits.{name}: expected a whole number of at least {least}{period}, found {size!r}")
