"""Which features a model's forecasts rest on, out of sample: what is lost when one is shuffled."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest.rows import Fit, Rows
from quantalpha.errors import UsageError
from quantalpha.validation import log_loss

Loss = Callable[[np.ndarray, np.ndarray], float]
REPEATS = 5  # shuffles of each group in each fold
SIGNIFICANCE = 0.05


def permutation_importance(
    rows: Rows, splits: config.Splits, fit: Fit, *, groups: Mapping[str, Sequence[str]] | None = None, loss: Loss = log_loss
) -> pd.DataFrame:
    """Rise of the loss of the finished test labels when the columns of a group trade rows, over purged walk-forward folds.

        from quantalpha import config, features, labels, models
        from quantalpha.backtest.importance import permutation_importance
        from quantalpha.backtest.rows import Rows
        params = config.load()
        table = features.build(params.features, params.data.timeframe).compute(bars)
        rows, fit = Rows(table, labels.label(bars, params.labels)), models.fitter("lightgbm", params.models)
        print(permutation_importance(rows, params.splits, fit, groups={"momentum": ["returns_4", "returns_24"], "rsi": ["rsi_14"]}))

    groups: {name: columns} shuffled together, so that columns which say the same cannot stand in for each other; None: each for itself.
    loss: of labels [n] and probabilities [n, 3]: `log_loss` (nats), or `direction_loss` for which way alone.
    DataFrame[rise, error, folds, p_value, survives] by falling rise: mean over the folds, its standard error, the share of folds it is
    above 0 in, the p-value of a t-test that the mean is not above 0, and whether it holds at 5 % among all groups (Holm 1979).

    It tells what the forecasts rest on, not what makes them better: a feature may survive here and do harm. Leave it out to know that.

    Breiman, "Random forests" (2001), section 10; Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 8.4, for folds
    that are purged. UsageError: an unknown column, a group without one, or fewer than three folds.
    """
    if not isinstance(rows, Rows):
        raise UsageError(f"permutation_importance: expected Rows(features, labels), found {type(rows).__name__}; make them of your tables")
    named = {name: [name] for name in rows.names} if groups is None else groups
    if not isinstance(named, Mapping) or not named or any(isinstance(columns, str) or not len(columns) for columns in named.values()):
        raise UsageError(f"permutation_importance: expected groups such as {{'rsi': ['rsi_14']}}, each of some columns, found {groups!r}")
    if unknown := sorted({column for columns in named.values() for column in columns} - set(rows.names)):
        raise UsageError(f"permutation_importance: no column {unknown[0]!r}; found {', '.join(rows.names)}")
    places = [[rows.names.index(column) for column in columns] for columns in named.values()]
    rng, found = np.random.default_rng(0), []
    for number, fold in enumerate(rows.folds(splits)):
        test = fold.test[rows.judged[fold.test]]
        if len(test):
            model, _ = rows.fit(fold.train, fit, f"permutation_importance: fold {number}")
            found.append(_rises(lambda x, y=rows.y[test], model=model: loss(y, model.predict(x)), rows.x[test], places, rng))
    if len(found) < 3:
        raise UsageError(f"permutation_importance: expected at least three folds with finished labels, found {len(found)}; shorten splits")
    return _table(pd.DataFrame(found, columns=list(named)))


def _rises(loss: Callable[[np.ndarray], float], x: np.ndarray, places: list[list[int]], rng: np.random.Generator) -> list[float]:
    """For each group the mean rise of the loss over REPEATS shuffles of its rows."""
    plain = loss(x)

    def rise(columns: list[int]) -> float:
        shuffled = x.copy()
        shuffled[:, columns] = x[rng.permutation(len(x))][:, columns]
        return loss(shuffled) - plain

    return [np.mean([rise(columns) for _ in range(REPEATS)]) for columns in places]


def _table(rises: pd.DataFrame) -> pd.DataFrame:
    """From one row a fold and one column a group."""
    from scipy.stats import t

    mean, error = rises.mean(), rises.std() / np.sqrt(len(rises))
    with np.errstate(invalid="ignore", divide="ignore"):
        p_value = pd.Series(t.sf(mean / error, len(rises) - 1), rises.columns).where(error > 0, 1.0)  # never used: the loss stays
    table = pd.DataFrame({"rise": mean, "error": error, "folds": (rises > 0).mean(), "p_value": p_value})
    rank = table.p_value.rank(method="first")
    holds = table.p_value * (len(table) + 1 - rank) <= SIGNIFICANCE
    least = rank[~holds].min()  # Holm: the first that fails takes all after it along
    table["survives"] = holds & ~(rank > least)
    return table.sort_values("rise", ascending=False)
