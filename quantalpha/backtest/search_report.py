"""What the studies of a search came to, as tables: the choice of each fold, every set, which hyper-parameters matter."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quantalpha.backtest.model_search import FINAL, OBJECTIVES, Study
from quantalpha.backtest.study import importance, pareto_front


def choices(studies: Sequence[Study]) -> pd.DataFrame:
    """DataFrame[fold]: sets tried, how many were given up, whether the chosen one is within the limits, what it is and its OBJECTIVES."""
    return pd.DataFrame([{"fold": study.fold} | _counts(study) | study.chosen | _scores(study) for study in studies]).set_index("fold")


def all_sets(studies: Sequence[Study]) -> pd.DataFrame:
    """Every set of every study: fold, then `Study.trials`, and whether it lies on the Pareto front and was chosen."""
    tables = [_marked(study).assign(fold=study.fold) for study in studies]
    return pd.concat(tables, ignore_index=True).set_index("fold").reset_index()


def importances(studies: Sequence[Study], objective: str = "sharpe_ratio") -> pd.DataFrame:
    """DataFrame[hyper-parameter, fold]: shares of the variance of an objective, as `study.importance`; by falling mean."""
    place = list(OBJECTIVES).index(objective)
    table = pd.DataFrame({study.fold: importance(study.optuna, place) for study in studies})
    return table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def for_folds(folds: Sequence[dict], studies: Sequence[Study]) -> list[dict]:
    """The dicts of `WalkForward.folds` with `study`, as JSON, and one more for the final model; as they are where nothing was searched."""
    named = [*folds, {"fold": FINAL}] if studies else folds
    return [fold | ({"study": _json(study)} if study else {}) for fold, study in zip(named, studies or [None] * len(named), strict=True)]


def _json(study: Study) -> dict:
    """chosen; what it came to; sets: every set's OBJECTIVES in the order of the asking, None where undefined."""
    sets = study.trials[list(OBJECTIVES)].astype(object).where(study.trials[list(OBJECTIVES)].notna(), None)
    scores = {name: value if np.isfinite(value) else None for name, value in _scores(study).items()}
    return {"chosen": study.chosen, **_counts(study), **scores, "sets": sets.to_dict("list")}


def _counts(study: Study) -> dict:
    pruned = int((study.trials["state"] == "pruned").sum())
    return {"trials": len(study.trials), "pruned": pruned, "within": study.within}


def _scores(study: Study) -> dict[str, float]:
    marked = _marked(study)
    best = marked[marked["chosen"]]
    return {name: float(best[name].iloc[0]) if len(best) else np.nan for name in OBJECTIVES}


def _marked(study: Study) -> pd.DataFrame:
    trials = study.trials
    same = np.logical_and.reduce([trials[name] == value for name, value in study.chosen.items()])
    return trials.assign(pareto=trials["number"].isin(pareto_front(study.optuna)), chosen=same & (trials["state"] == "complete"))
