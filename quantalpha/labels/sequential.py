"""The sequential bootstrap: a training sample drawn label by label, each the likelier the less it shares with those drawn before."""

import numpy as np
import pandas as pd
from numba import njit

from quantalpha.errors import DataError, UsageError
from quantalpha.labels.table import paths


def sequential_bootstrap(end_time: pd.Series, *, seed: int, draws: int | None = None) -> np.ndarray:
    """int64[draws]: rows of `end_time` drawn with replacement (None: as many as there are finished labels).

    A label's chance is its uniqueness if it were added to the labels drawn so far, over the sum of all labels' uniqueness: the mean over
    its path of 1 / (1 + drawn labels alive). The same seed gives the same draws. end_time: Series on the index of all bars.

    A draw changes the chances of the labels that meet its path, and of no other: those are worked out anew, and a tree of sums over all
    labels is renewed above them, so that a draw costs a few path lengths and not the whole sample.
    Source: López de Prado, "Advances in Financial Machine Learning" (2018), section 4.5.
    """
    decided, first, stop = paths(end_time)
    draws = len(decided) if draws is None else draws
    if draws != int(draws) or draws < 0:
        raise UsageError(f"sequential_bootstrap: draws must be a whole number of at least 0, found {draws}")
    if draws and not len(decided):
        raise DataError("sequential_bootstrap: no label is finished; give more bars than the horizon")
    return decided[_draw(first, stop, np.maximum.accumulate(stop), np.random.default_rng(seed).random(int(draws)))]


@njit(cache=True)
def _draw(first, stop, reach, chances):
    """Positions of the labels drawn by uniform numbers `chances`; first and its running maximum of stop, `reach`, are increasing."""
    labels, leaves = len(first), 1
    while leaves < labels:
        leaves *= 2
    alive, tree = np.zeros(stop.max() if labels else 0), np.zeros(2 * leaves)  # node k has the children 2k and 2k + 1
    _renew(tree, leaves, alive, first, stop, 0, labels)
    drawn = np.empty(len(chances), dtype=np.int64)
    for number in range(len(chances)):
        label = _find(tree, leaves, chances[number] * tree[1])
        drawn[number] = label
        alive[first[label] : stop[label]] += 1.0
        begin, end = np.searchsorted(reach, first[label], side="right"), np.searchsorted(first, stop[label])
        _renew(tree, leaves, alive, first, stop, begin, end)
    return drawn


@njit(cache=True)
def _renew(tree, leaves, alive, first, stop, begin, end):
    """The uniqueness of the labels begin ... end - 1 into the leaves, and the sums above them."""
    if begin >= end:
        return
    start = first[begin]
    share = np.zeros(stop[begin:end].max() - start + 1)
    for bar in range(len(share) - 1):
        share[bar + 1] = share[bar] + 1.0 / (1.0 + alive[start + bar])
    for label in range(begin, end):
        tree[leaves + label] = (share[stop[label] - start] - share[first[label] - start]) / (stop[label] - first[label])
    low, high = leaves + begin, leaves + end - 1
    while low > 1:
        low, high = low // 2, high // 2
        for node in range(low, high + 1):
            tree[node] = tree[2 * node] + tree[2 * node + 1]


@njit(cache=True)
def _find(tree, leaves, mass):
    """The label at which the running sum of chances passes `mass`."""
    node = 1
    while node < leaves:
        node *= 2
        if mass >= tree[node] and tree[node + 1] > 0.0:
            mass -= tree[node]
            node += 1
    return node - leaves
