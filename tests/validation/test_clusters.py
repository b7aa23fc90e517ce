"""How many tries were different: planted clusters come back, and so do their ends, all alike and none alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError
from quantalpha.validation import effective_trials
from quantalpha.validation.clusters import _silhouettes


def planted(sizes, likeness=0.7, rows=600, seed=0):
    """Returns of tries in clusters of these sizes: two of one cluster have correlation `likeness`, others none."""
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(len(sizes)), sizes)
    common, alone = rng.normal(size=(rows, len(sizes)))[:, own], rng.normal(size=(rows, len(own)))
    return (np.sqrt(likeness) * common + np.sqrt(1 - likeness) * alone) * 0.01, own


@pytest.mark.parametrize("likeness", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [(30,), (15, 15), (5, 10, 40), (8,) * 8, (20, 1, 1, 1), (2, 2, 30)])
def test_planted_clusters_come_back(sizes, likeness):
    returns, own = planted(sizes, likeness)
    found = effective_trials(returns)
    assert found.count == len(sizes) == len(found.sharpe)
    assert len(set(zip(own, found.cluster))) == len(sizes)


def test_copies_are_one_try_and_strangers_are_many():
    returns = planted((1,) * 60)[0]
    assert effective_trials(np.repeat(returns[:, :1], 20, axis=1)).count == 1
    assert effective_trials(returns[:, :1]).count == 1
    assert effective_trials(np.repeat(returns[:, :7], 5, axis=1)).count == 7
    assert effective_trials(returns).count == effective_trials(returns[:30]).count == 60
    assert effective_trials(np.column_stack([returns[:, 0], -returns[:, 0]])).count == 2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-6, 1e6), st.permutations(range(12)))
def test_neither_scale_nor_order_of_the_tries_matters(seed, scale, order):
    returns = planted((3, 4, 5), rows=100, seed=seed)[0]
    one, other = effective_trials(returns), effective_trials(returns[:, order] * scale)
    assert 1 <= one.count == other.count <= 12
    np.testing.assert_allclose(np.sort(one.sharpe), np.sort(other.sharpe), rtol=1e-7, atol=1e-9)


def test_a_cluster_earns_what_its_tries_earn_weighted_by_inverse_variance():
    returns = planted((3, 3))[0] * np.array([1, 2, 4, 1, 1, 1])
    found = effective_trials(returns)
    first = returns[:, :3] @ (1 / returns[:, :3].var(axis=0))
    assert found.sharpe[found.cluster[0]] == pytest.approx(first.mean() / first.std(ddof=1), rel=1e-12)
    assert found.sharpe_std == pytest.approx(abs(found.sharpe[0] - found.sharpe[1]) / np.sqrt(2), rel=1e-12)


def test_tries_that_never_move_are_in_no_cluster():
    returns = np.column_stack([np.zeros(600), planted((4, 4))[0], np.full(600, np.nan)])
    found = effective_trials(returns)
    assert found.count == 2 and found.cluster[[0, 9]].tolist() == [-1, -1] and found.cluster[1:9].min() == 0
    with pytest.raises(DataError, match="none of 2 tries moves"):
        effective_trials(np.zeros((10, 2)))


def test_silhouettes_as_written_out():
    """After each merge, try by try, from Rousseeuw's definition with one neighbour more at a distance of 0.6."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    correlation = np.corrcoef(planted((3, 4, 5), 0.4, rows=50)[0], rowvar=False)
    distance = np.sqrt((1 - correlation) / 2)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")

    def silhouette(k, cluster):
        own = [j for j in range(12) if cluster[j] == cluster[k] and j != k]
        if not own:
            return 0.0
        others = [distance[k, cluster == c].mean() for c in set(cluster) - {cluster[k]}]
        near, inside = min([0.6, *others]), distance[k, own].mean()
        return (near - inside) / max(near, inside)

    for merges, found in enumerate(_silhouettes(tree, distance, 0.6)):
        cluster = cut_tree(tree, n_clusters=12 - merges)[:, 0]
        assert found == pytest.approx(np.mean([silhouette(k, cluster) for k in range(12)]), abs=1e-12)
