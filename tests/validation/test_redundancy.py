"""Features that say the same are found, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import alike, rank_correlation

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(RNG.normal(size=(500, 4)), columns=list("abcd")).assign(
    e=lambda t: -np.exp(t["a"]), f=lambda t: t["b"] + 0.02 * t["c"], g=0.0, h=lambda t: t["a"] + 1.5 * t["d"]
)


def test_it_is_spearmans_correlation_with_neighbours_alike():
    found = rank_correlation(TABLE)
    assert sorted(found) == sorted(TABLE) and list(found.index) == list(found.columns)
    expected = spearmanr(TABLE.drop(columns="g")).statistic
    np.testing.assert_allclose(found.loc[list("abcdefh"), list("abcdefh")], expected, atol=1e-12)
    assert found.loc["g"].to_dict() == dict.fromkeys(found, 0.0) | {"g": 1.0}
    assert abs(list(found).index("a") - list(found).index("e")) == 1


def test_groups_hold_those_that_say_the_same_whatever_the_sign():
    found = alike(rank_correlation(TABLE))
    assert sorted(map(sorted, found["features"])) == [["a", "e"], ["b", "f"]] and found["size"].tolist() == [2, 2]
    assert (found["weakest"] >= 0.9).all() and found["weakest"].max() == pytest.approx(1.0)


def test_every_two_of_a_group_are_alike_and_stand_together():
    chain = pd.DataFrame(np.cumsum(RNG.normal(size=(2_000, 12)), axis=1))
    correlation = rank_correlation(chain)
    groups = alike(correlation, threshold=0.8)
    assert len(groups) >= 2
    for group, weakest in zip(groups["features"], groups["weakest"]):
        inside = correlation.loc[group, group].abs().to_numpy()
        assert inside.min() == weakest >= 0.8
        assert np.ptp(correlation.columns.get_indexer(group)) == len(group) - 1


def test_one_column_is_no_group_and_bad_input_is_refused():
    assert alike(rank_correlation(TABLE[["a"]])).empty
    with pytest.raises(UsageError, match=r"threshold in \(0, 1\], found 0"):
        alike(rank_correlation(TABLE), threshold=0)
    with pytest.raises(DataError, match="at least one column and three rows, found 8 and 2"):
        rank_correlation(TABLE.iloc[:2])
