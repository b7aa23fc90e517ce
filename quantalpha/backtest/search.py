"""Many parameter sets, one score each: a grid, or Optuna's TPE sampler, which looks where scores were good.

TPE: Bergstra, Bardenet, Bengio & Kegl, "Algorithms for hyper-parameter optimization" (2011); Optuna draws all parameters together.
The hyper-parameters of models are searched in `model_search`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from quantalpha.backtest.space import Space, check_space, grid
from quantalpha.backtest.study import Task, Told, ask_and_tell
from quantalpha.errors import UsageError, did_you_mean

METHODS = ("tpe", "grid")
RULES = ("best", "plateau")
OBJECTIVES = ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio", "cagr", "total_return")  # of `path_metrics`; higher is better
SCORE = "score"


@dataclass(frozen=True)
class Search:
    """How parameters are chosen on the data of one training window."""

    budget: int = 100  # most parameter sets that are evaluated
    method: str = "tpe"
    rule: str = "plateau"  # best: the highest score; plateau: the highest score together with its neighbours'
    objective: str = "sharpe_ratio"
    seed: int = 7

    def __post_init__(self):
        if isinstance(self.budget, bool) or not isinstance(self.budget, int) or self.budget < 1:
            raise UsageError(f"search.budget: expected a whole number of at least 1, found {self.budget!r}")
        for name, known in (("method", METHODS), ("rule", RULES), ("objective", OBJECTIVES)):
            found = getattr(self, name)
            if found not in known:
                raise UsageError(f"search.{name}: found {found!r}; {did_you_mean(found, known)}")


def evaluate(score: Callable[[dict], float], space: Space, search: Search) -> pd.DataFrame:
    """DataFrame[parameters, score]: every set that was tried, each once, in the order of the trying; higher scores are better, NaN is none.

    score: called with one dict of parameters. The same seed and scores give the same sets. An empty space has one set, the empty one.
    """
    check_space(space)
    tried = {}

    def once(params: dict) -> float:
        key = tuple(params.values())
        if key not in tried:
            tried[key] = float(score(params))
        return tried[key]

    if search.method == "grid" or not space:
        for params in grid(space, search.budget):
            once(params)
    else:
        ask_and_tell(Task(space, ("maximize",), search.budget, search.seed), lambda sets: (Told((once(params),)) for params in sets))
    rows = pd.DataFrame(list(tried), columns=list(space), index=range(len(tried)))
    return rows.assign(**{SCORE: list(tried.values())})
