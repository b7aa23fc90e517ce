"""A good parameter has good neighbours: what stands alone among bad ones was luck.

Everything works on a table of evaluated sets as `search.evaluate` gives it: a column for each parameter of the space, and `score`, higher
is better. An undefined score (NaN) counts as the worst defined one where it is a neighbour, and is never chosen itself.
"""

import numpy as np
import pandas as pd

from quantalpha.backtest.search import RULES, SCORE
from quantalpha.backtest.space import Space, from_unit, to_unit
from quantalpha.errors import UsageError, did_you_mean

REACH = 0.2  # of each parameter's range, where the sets lie scattered
OTHERS = {"best": "max", "mean": "mean"}


def neighbourhood(evaluated: pd.DataFrame, space: Space, *, reach: float | None = None, good: float = 0.8) -> pd.DataFrame:
    """`evaluated` with columns on each set's neighbours: neighbours, neighbour_mean, neighbour_min, plateau, stability.

    reach: two sets are neighbours if they differ by at most this share of the range in every parameter; None: the sets are a grid, and
    neighbours are at most one step of it apart in every parameter.
    plateau: mean score of the set and its neighbours. Neighbours that are lacking, at the rim or where few sets were tried, up to two a
    parameter, are taken for ordinary: they count with the median score. stability: share of the neighbours whose score is at least `good`
    of the best one of all (below 0: not further below it than 1 - good of its size); NaN without neighbours.
    """
    score = evaluated[SCORE].to_numpy(float)
    defined = np.isfinite(score)
    names = ["neighbours", "neighbour_mean", "neighbour_min", "plateau", "stability"]
    if not defined.any():
        return evaluated.assign(**dict.fromkeys(names, np.nan))
    near = _near(to_unit(space, evaluated), reach)
    known = np.where(defined, score, score[defined].min())
    best, ordinary, count = known.max(), np.median(known), near.sum(axis=1)
    lacking = np.maximum(2 * len(space) - count, 0)
    with np.errstate(invalid="ignore"):
        mean, share = near @ known / count, near @ (known >= best - (1 - good) * abs(best)).astype(float) / count
    least = np.where(near, known, np.inf).min(axis=1)
    together = near | np.eye(len(near), dtype=bool)  # summed in one order, so that sets with the same neighbourhood tie exactly
    plateau = (together @ known + lacking * ordinary) / (1 + count + lacking)
    columns = count, mean, np.where(count > 0, least, np.nan), np.where(defined, plateau, np.nan), share
    return evaluated.assign(**dict(zip(names, columns)))


def choose(table: pd.DataFrame, rule: str) -> int:
    """Row number of the set to take from what `neighbourhood` gave: by score ("best") or by plateau; 0 where none is defined.

    Of sets on the same plateau (a neighbourhood may be the whole space) the one with the best score, of equal ones the first.
    """
    if rule not in RULES:
        raise UsageError(f"rule: found {rule!r}; {did_you_mean(rule, RULES)}")
    score, plateau = (np.nan_to_num(table[name].to_numpy(float), nan=-np.inf) for name in (SCORE, "plateau"))
    rank = score if rule == "best" else plateau
    return int(np.argmax(np.where(rank == rank.max(), score, -np.inf)))


def heat_map(evaluated: pd.DataFrame, space: Space, rows: str, columns: str, *, others: str = "best", cells: int = 12) -> pd.DataFrame:
    """Scores over two parameters: index the values of `rows`, columns those of `columns`, increasing; NaN where nothing was scored.

    others: "best" shows the highest score over the other parameters, "mean" the mean one. A parameter with more than `cells` values is cut
    into that many equal parts of its range (of its logarithm, if of that kind), named by their middles.
    """
    for name in (rows, columns):
        if name not in space:
            raise UsageError(f"heat map: no parameter {name!r}; {did_you_mean(name, space)}")
    if others not in OTHERS or rows == columns:
        raise UsageError(
            f"heat map: expected two different parameters and others 'best' or 'mean', found {rows!r}, {columns!r}, {others!r}"
        )
    cut = pd.DataFrame({name: _cut(evaluated, space, name, cells) for name in (rows, columns)}).assign(score=evaluated[SCORE].to_numpy())
    return cut.groupby([rows, columns])[SCORE].agg(OTHERS[others]).unstack()


def _near(units: np.ndarray, reach: float | None) -> np.ndarray:
    """bool[n, n]: who is whose neighbour; nobody is his own."""
    if reach is None:
        units, reach = np.column_stack([np.unique(column, return_inverse=True)[1] for column in units.T]) if units.size else units, 1
    apart = np.abs(units[:, None, :] - units[None, :, :]).max(axis=2, initial=0)
    return (apart <= reach) & ~np.eye(len(units), dtype=bool)


def _cut(evaluated: pd.DataFrame, space: Space, name: str, cells: int) -> np.ndarray:
    if evaluated[name].nunique() <= cells:
        return evaluated[name].to_numpy()
    unit = to_unit({name: space[name]}, evaluated)[:, 0]
    middles = (np.minimum((unit * cells).astype(int), cells - 1) + 0.5) / cells
    low, high, kind = space[name]
    return np.array(from_unit((low, high, "log" if kind == "log" else "float"), middles))
