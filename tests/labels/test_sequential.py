"""The sequential bootstrap against the book's worked example and a plain reading of the definition."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import sequential_bootstrap
from quantalpha.labels.sequential import _draw


def ends(*rows):
    index = schema.from_epoch_ms(np.arange(len(rows)) * 3_600_000)
    return pd.Series([pd.NaT if row is None else index[row] for row in rows], index=index, dtype=index.dtype)


@pytest.mark.parametrize(("chance", "label"), [(0.0, 0), (4.99 / 14, 0), (5.01 / 14, 1), (7.99 / 14, 1), (8.01 / 14, 2), (13.99 / 14, 2)])
def test_the_worked_example(chance, label):
    """López de Prado (2018), section 4.5.3: labels over bars 1-3, 3-4 and 5-6; after the second the chances are 5/14, 3/14 and 6/14."""
    first, stop = np.array([1, 3, 5]), np.array([4, 5, 7])
    assert _draw(first, stop, stop, np.array([0.5, chance])).tolist() == [1, label]


def plain_reading(end, chances):
    """Rows drawn by uniform numbers, all chances worked out anew each time."""
    rows = np.flatnonzero(end.notna())
    paths = [np.arange(row + 1, end.index.get_loc(end.iloc[row]) + 1) for row in rows]
    alive, drawn = np.zeros(len(end)), []
    for chance in chances:
        unique = np.array([np.mean(1 / (1 + alive[path])) for path in paths])
        pick = np.searchsorted(np.cumsum(unique) / unique.sum(), chance, side="right")
        alive[paths[pick]] += 1
        drawn.append(rows[pick])
    return drawn


@pytest.mark.parametrize("seed", range(8))
def test_draws_follow_the_definition(seed):
    rng = np.random.default_rng(seed)
    rows = 90
    made = [min(row + int(rng.integers(1, 12)), rows - 1) if rng.random() < 0.8 and row < rows - 1 else None for row in range(rows)]
    made[3] = 70  # one path over most others
    end = ends(*made)
    found = sequential_bootstrap(end, seed=seed, draws=150)
    assert found.tolist() == plain_reading(end, np.random.default_rng(seed).random(150))


def test_a_sequential_sample_overlaps_less_than_a_plain_one():
    """The book's experiment (section 4.5.4): the mean uniqueness of what was drawn rises."""
    rng = np.random.default_rng(0)
    end = ends(*[min(row + int(rng.integers(1, 15)), 199) if row < 199 else None for row in range(200)])
    span = end.index.get_indexer(pd.DatetimeIndex(end.iloc[:199])) - np.arange(199)

    def uniqueness(drawn):
        alive = np.zeros(200)
        for row in drawn:
            alive[row + 1 : row + 1 + span[row]] += 1
        return np.mean([np.mean(1 / alive[row + 1 : row + 1 + span[row]]) for row in drawn])

    plain = [uniqueness(np.random.default_rng(seed).integers(0, 199, 40)) for seed in range(60)]
    ours = [uniqueness(sequential_bootstrap(end, seed=seed, draws=40)) for seed in range(60)]
    gain = np.mean(ours) - np.mean(plain)
    assert gain > 4 * np.sqrt((np.var(ours) + np.var(plain)) / 60)


def test_sizes_seeds_and_refusals():
    end = ends(1, 2, 3, None)
    assert sequential_bootstrap(end, seed=1).shape == (3,) and sequential_bootstrap(end, seed=1, draws=0).tolist() == []
    assert sequential_bootstrap(end, seed=5, draws=30).tolist() == sequential_bootstrap(end, seed=5, draws=30).tolist()
    assert sequential_bootstrap(ends(None, None), seed=1).tolist() == []
    with pytest.raises(DataError, match="no label is finished"):
        sequential_bootstrap(ends(None, None), seed=1, draws=1)
    with pytest.raises(UsageError, match="draws must be a whole number"):
        sequential_bootstrap(end, seed=1, draws=1.5)
