"""Which features say the same."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError


def rank_correlation(features: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of every two columns, ordered so that neighbours are alike (complete linkage of 1 - |rho|).

    Ranks are taken over each column's own known rows. A column that never moves is like no other: 0.
    """
    if features.shape[1] < 1 or len(features) < 3:
        raise DataError(f"rank correlation: expected at least one column and three rows, found {features.shape[1]} and {len(features)}")
    correlation = features.rank().corr().fillna(0.0)
    values = correlation.to_numpy(copy=True)
    np.fill_diagonal(values, 1.0)
    order = _order(values)
    return pd.DataFrame(values[np.ix_(order, order)], features.columns[order], features.columns[order])


def alike(correlation: pd.DataFrame, threshold: float = 0.9) -> pd.DataFrame:
    """Groups of columns of `rank_correlation` of which every two have |rho| >= threshold: one row per group of two or more, in its order.

    DataFrame[features (list), size, weakest], weakest: the smallest |rho| within the group. One of each group tells nearly all.
    """
    from scipy.cluster.hierarchy import fcluster

    if not 0 < threshold <= 1:
        raise UsageError(f"alike: expected a threshold in (0, 1], found {threshold}")
    size = np.abs(correlation.to_numpy())
    group = fcluster(_tree(size), 1.0 - threshold + 1e-12, "distance") if len(size) > 1 else np.zeros(1)
    members = [np.flatnonzero(group == number) for number in dict.fromkeys(group)]
    rows = [(list(correlation.columns[m]), len(m), size[np.ix_(m, m)].min()) for m in members if len(m) > 1]
    return pd.DataFrame(rows, columns=["features", "size", "weakest"])


def _order(correlation: np.ndarray) -> np.ndarray:
    from scipy.cluster.hierarchy import leaves_list

    return leaves_list(_tree(np.abs(correlation))) if len(correlation) > 1 else np.zeros(1, dtype=int)


def _tree(size: np.ndarray) -> np.ndarray:
    """The linkage of columns with these |rho|."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    return linkage(squareform(np.clip(1.0 - size, 0.0, 1.0), checks=False), "complete", optimal_ordering=True)
