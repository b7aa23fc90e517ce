"""What a search for hyper-parameters costs: sets a second in one process and in two, beside the bare fits; and what a resume costs.

python benchmarks/hpo.py [sets]

One training window of params.yaml (13,140 hours of a synthetic tape), LightGBM, three inner folds, nothing given up, so that every way
scores the same sets. Bare: the same fits and nothing else: no forecasts, no account, no Optuna, no ledger. Each way runs in its own turn;
what has to be imported and compiled is so before.
"""

import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest import model_search
from quantalpha.backtest.model_search import History, Tuning, Work, search_fold
from quantalpha.backtest.rows import Rows
from quantalpha.features import build
from quantalpha.labels import label
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.models import fitter
from quantalpha.perp import Account, Costs, bracket_schedule
from quantalpha.pipeline.tasks import task_map
from quantalpha.strategy import HysteresisPolicy
from quantalpha.validation.trials import Trials, Try

KIND = "lightgbm"


def seconds(work) -> tuple[np.ndarray, object]:
    """Wall seconds and this process's own, which other work on the machine does not stretch; and what came of it."""
    began = np.array([time.perf_counter(), time.process_time()])
    found = work()
    return np.array([time.perf_counter(), time.process_time()]) - began, found


def bare(window, params, trials: pd.DataFrame) -> None:
    """Every fit of every set, alone."""
    space = list(getattr(params.search, KIND))
    for chosen in trials[space].to_dict("records"):
        for fold in window.rows.folds(window.splits):
            window.rows.fit(fold.train, fitter(KIND, params.models, chosen), "bare")


def main(sets: int) -> None:
    params = config.load("demo", [f"search.trials={sets}", "search.prune=false"])
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    rows = Rows(build(params.features, "1h").compute(bars), label(bars, params.labels))
    history = History(rows, bars, params.splits)
    money = Account(**params.account.model_dump(), brackets=bracket_schedule("BTCUSDT")), Costs(**params.costs.model_dump())
    tuning = Tuning(KIND, params.models, params.search, HysteresisPolicy(**params.policy.model_dump()), *money)
    window = model_search._window(history, "final", params.search)
    once = params.search.model_copy(update={"trials": 1})
    search_fold(history, "final", replace(tuning, search=once))  # compiled and imported before any clock is read
    with tempfile.TemporaryDirectory() as folder:
        kept = partial(Work, named=Try("", "BTCUSDT", {}, "", {}), ledger=Trials(Path(folder) / "trials.db"))
        one, found = seconds(lambda: search_fold(history, "final", tuning, kept(folder=Path(folder) / "one")))
        alone, _ = seconds(lambda: bare(window, params, found.trials))
        with task_map(params.pipeline.model_copy(update={"workers": 2})) as run:
            list(run(partial(model_search._score, window, tuning, [-1e9] * 3), [found.chosen] * 4))
            two, again = seconds(lambda: search_fold(history, "final", tuning, kept(run=run, folder=Path(folder) / "two")))
        resumed, once_more = seconds(lambda: search_fold(history, "final", tuning, kept(folder=Path(folder) / "one")))
    pd.testing.assert_frame_equal(found.trials, again.trials, check_exact=True)
    pd.testing.assert_frame_equal(found.trials, once_more.trials, check_exact=True)
    print(f"{sets} sets of {params.search.folds} fits, {len(window.rows.index):,} rows of {len(rows.names)} features")
    print("                   wall      CPU of the asking process")
    for name, spent in {"bare fits": alone, "one process": one, "two processes": two, "resumed at end": resumed}.items():
        print(f"{name:15} {spent[0]:7.1f} s {spent[1]:7.1f} s  {sets / spent[0]:6.2f} sets a second")
    print(f"over the bare fits {one[1] / alone[1] - 1:+.1%} CPU; two processes {one[0] / two[0]:.2f} times as fast as one, the same bits")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
