"""How many tries were really different? Tries that earn alike are one.

After Lopez de Prado & Lewis, Detection of false investment strategies using unsupervised learning methods, Quantitative Finance 19
(2019): clusters of the correlation of returns, as many as the silhouette (Rousseeuw, 1987) asks for. The tree of average linkage stands in
for their repeated k-means: nothing is drawn, and all numbers of clusters come from one pass.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from quantalpha.errors import DataError
from quantalpha.validation.matrix import moving, return_matrix

CHANCE = 0.05  # that any two unrelated tries are taken for alike


@dataclass(frozen=True, eq=False)
class EffectiveTrials:
    """The clusters, and how far apart they came out."""

    count: int  # independent tries, 1 to the number of those that move
    cluster: np.ndarray  # int64[tries], 0 to count - 1; -1: a try that never moved
    sharpe: np.ndarray  # float64[count], per period, of each cluster's returns weighted by inverse variance
    sharpe_std: float  # sample standard deviation of `sharpe`; 0 for a single cluster
    silhouette: float  # mean over the tries: near 1 the clusters are plain, near 0 there is hardly any likeness


def effective_trials(returns) -> EffectiveTrials:
    """Clusters of the tries of returns [rows, tries], simple and per period; distance sqrt((1 - correlation) / 2).

    A correlation that chance may show among as many unrelated tries makes no cluster: in doubt there are more tries. The count is one of
    ideas: that the best within a cluster was chosen besides, `evidence` knows from resampling.
    """
    values = return_matrix(returns).to_numpy()
    moves = moving(values)
    if not moves.any():
        raise DataError(f"effective_trials: none of {len(moves)} tries moves; there is nothing to compare")
    correlation = np.atleast_2d(np.corrcoef(values[:, moves], rowvar=False))
    found, silhouette = _clusters(_distance(correlation), float(_distance(_chance_correlation(len(values), int(moves.sum())))))
    cluster = np.full(len(moves), -1)
    cluster[moves] = found
    sharpe = _sharpe(values[:, moves], found)
    return EffectiveTrials(len(sharpe), cluster, sharpe, float(sharpe.std(ddof=1)) if len(sharpe) > 1 else 0.0, silhouette)


def _distance(correlation):
    return np.sqrt(np.clip((1.0 - correlation) / 2.0, 0.0, 1.0))


def _chance_correlation(rows: int, tries: int) -> float:
    """Which the most alike of unrelated tries exceed with probability CHANCE at most (Bonferroni, over all pairs)."""
    return -NormalDist().inv_cdf(CHANCE / max(tries * (tries - 1) / 2, 1)) / math.sqrt(rows)


def _clusters(distance: np.ndarray, unrelated: float) -> tuple[np.ndarray, float]:
    """(int64[tries], mean silhouette) of the cut through the tree with the largest mean silhouette; of equals, that of more clusters."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    n = len(distance)
    if n == 1:
        return np.zeros(1, dtype=np.int64), 0.0
    tree = linkage(squareform(distance, checks=False), "average")
    silhouette = _silhouettes(tree, distance, unrelated)
    merges = int(silhouette.argmax())
    return cut_tree(tree, n_clusters=n - merges)[:, 0], float(silhouette[merges])


def _silhouettes(tree: np.ndarray, distance: np.ndarray, unrelated: float) -> np.ndarray:
    """float64[tries]: mean silhouette after 0, 1, ... merges of the tree.

    To the nearest other cluster it is never further than `unrelated`: likeness and not mere closeness makes a cluster, and one cluster of
    all, or of each, can be told from many, which the plain silhouette cannot. A try by itself has 0.
    """
    n = len(distance)
    away = distance.copy()  # [cluster, try]: mean distance of the try to the cluster; inf to its own and to those that are merged
    np.fill_diagonal(away, np.inf)
    within, size, quality = np.zeros(n), np.ones(n), np.zeros(n)
    place, members = list(range(n)), list(np.arange(n)[:, None])
    for step, (left, right) in enumerate(tree[:, :2].astype(int), start=1):
        (a, one), (b, other) = (place[left], members[left]), (place[right], members[right])
        within[one] += away[b, one] * len(other)
        within[other] += away[a, other] * len(one)
        away[a] = (away[a] * len(one) + away[b] * len(other)) / (len(one) + len(other))
        away[b] = np.inf
        place.append(a)
        members.append(np.concatenate([one, other]))
        size[members[-1]] = len(members[-1])
        near, own = np.minimum(away.min(axis=0), unrelated), within / np.maximum(size - 1.0, 1.0)
        widest = np.where(size > 1.0, np.maximum(near, own), np.inf)
        quality[step] = np.mean((near - own) / np.maximum(widest, np.finfo(float).tiny))
    return quality


def _sharpe(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """float64[clusters]."""
    weight = np.zeros((values.shape[1], cluster.max() + 1))
    weight[np.arange(len(cluster)), cluster] = 1.0 / values.var(axis=0)
    together = values @ weight
    return together.mean(axis=0) / together.std(axis=0, ddof=1)
