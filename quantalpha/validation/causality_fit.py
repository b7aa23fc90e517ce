"""Proof that what is fitted saw its training rows only: folds and whole walk-forwards are fitted again on altered rows."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.causality import Compute, Trial
from quantalpha.validation.causality_cuts import replaced
from quantalpha.validation.causality_evidence import Evidence, LeakReport, as_table, check_given, check_values
from quantalpha.validation.splits import Fold

Forecast = Callable[[pd.DataFrame, Fold], pd.DataFrame]


def check_fit(forecast: Forecast, table: pd.DataFrame, folds: Iterable[Fold], *, answers: Sequence[str] = (), seed: int = 0) -> LeakReport:
    """Whether what `forecast` fits on a fold's training rows depends on any other row: scaler, encoder, selection, early stopping, model.

        def forecast(table, fold):          # numbers for rows of the fold, by what was fitted on fold.train
            scaler = StandardScaler().fit(table.iloc[fold.train][INPUTS])
            model = Ridge().fit(scaler.transform(table.iloc[fold.train][INPUTS]), table.label.iloc[fold.train])
            return pd.DataFrame({"edge": model.predict(scaler.transform(table[INPUTS]))}, index=table.index)
        print(check_fit(forecast, table, walk_forward(...), answers=["label"]))

    Four runs a fold: once more as it is (it must repeat); with all rows outside the training set replaced (training rows keep their
    forecasts); with the later half of the test rows replaced (so does the earlier half); with the `answers` of the rows outside the
    training set replaced (everything does). A fold's proof carries the time of its first test row. Give test rows as well as training rows;
    folds that train on what came after the test (combinatorial_purged) are judged alike.
    """
    missing = [name for name in answers if name not in table.columns]
    if missing:
        raise UsageError(f"check_fit: answers: no column {missing[0]!r} in the table; found {', '.join(map(str, table.columns))}")
    rng = np.random.default_rng(seed)
    found = [_judge_fold(forecast, table, fold, list(answers), rng) for fold in folds]
    if not found:
        raise DataError("check_fit: expected at least one fold, found none")
    for other in found[1:]:
        found[0].join(other)
    return found[0].report()


def check_walk_forward(forecast: Compute, bars: pd.DataFrame, *, folds: int = 4, fold: str = "fold", seed: int = 0) -> LeakReport:
    """Whether a whole pipeline (bars -> features -> labels -> split -> fit -> forecasts of all test blocks) used bars after a forecast.

        def forecast(bars):
            made = features.compute(bars), label(bars, params.labels)
            return walk_forward_forecasts(*made, params.splits, fitter("lightgbm", params.models)).forecasts
        print(check_walk_forward(forecast, bars, folds=2))

    `forecast` gives one row for each decision time of its test blocks, numbered in the column `fold`. For `folds` of them, the last and
    others at random: the bars after the block are hidden, then those after its first row and after its middle replaced; what was forecast
    before must stay. Costs three runs a fold, and two more, each of which trains every fold; one fold is enough where all are trained
    alike. Trees do not mind a mere scale: a scaler fitted on all rows shows where the model does, or in `check_causal` of the features.
    """
    check_given(forecast, bars, "check_walk_forward")
    trial = Trial(forecast, bars, where="check_walk_forward")
    names = trial.full.names
    if fold not in names:
        raise UsageError(
            f"check_walk_forward: expected a column {fold!r} with the number of the test block, found {', '.join(map(str, names))}"
        )
    number = trial.full.values[:, names.index(fold)]
    blocks = [np.flatnonzero(number == one) for one in np.unique(number[~np.isnan(number)])]
    rng = np.random.default_rng(seed)
    for rows in [blocks[-1], *(blocks[k] for k in rng.permutation(len(blocks) - 1))][:folds]:
        if rows[-1] + 1 < len(bars):
            trial.hide(int(rows[-1]) + 1, kind="model")
        for last in (rows[0], rows[len(rows) // 2]):
            trial.replace(int(last) + 1, rng, times=False, kind="model")
    return trial.report(rng)


def _judge_fold(forecast: Forecast, table: pd.DataFrame, fold: Fold, answers: list[str], rng) -> Evidence:
    outside = np.setdiff1d(np.arange(len(table)), fold.train)
    early, late = np.split(fold.test, [len(fold.test) // 2])

    def run(rows: pd.DataFrame):
        return as_table(forecast(rows.copy(deep=False), fold), table.index, where="check_fit")

    def among(rows: np.ndarray) -> np.ndarray:
        return np.isin(np.arange(len(table)), rows)

    full = run(table)
    check_values(full, "check_fit")
    evidence, first = Evidence(full, table.index), int(fold.test[0])
    evidence.note("random", first, run(table))
    evidence.note("fit", first, run(replaced(table, outside, rng)), among(fold.train))
    evidence.note("later", first, run(replaced(table, late, rng)), among(np.union1d(fold.train, early)))
    if answers:
        evidence.note(
            "answers", first, run(table.assign(**replaced(table[answers], outside, rng))), among(np.union1d(fold.train, fold.test))
        )
    return evidence
