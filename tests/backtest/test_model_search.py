"""Hyper-parameters searched inside a training window: the same whoever works at it, resumed after a kill, and blind to what follows."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from searches import NAMED, history, small, tape, tuning

from quantalpha import config
from quantalpha.backtest import model_search, search_report
from quantalpha.backtest.model_search import HYPERPARAMETERS, OBJECTIVES, Work, choose, search_fold, search_folds
from quantalpha.backtest.study import Journal, Task, Told, importance, pareto_front
from quantalpha.errors import DataError
from quantalpha.pipeline.tasks import task_map
from quantalpha.validation.trials import Trials


@pytest.fixture(scope="module")
def params() -> config.Params:
    return small()


@pytest.fixture(scope="module")
def past(params):
    return history(tape(), params)


@pytest.fixture(scope="module")
def found(past, params):
    """The study of the first fold, undisturbed, set after set."""
    return search_fold(past, 0, tuning(params))


def same(study, expected) -> None:
    pd.testing.assert_frame_equal(study.trials, expected.trials, check_exact=True)
    assert (study.chosen, study.within) == (expected.chosen, expected.within)


def counting(score):
    """A `map` that remembers the sets it was given."""

    def run(function, sets):
        score.extend(sets)
        return map(function, sets)

    return run


def test_the_first_set_is_that_of_the_parameters_where_they_lie_in_the_space(past):
    params = small("models.lightgbm={trees: 7, leaves: 5, min_rows_per_leaf: 20, learning_rate: 0.05, l2: 1.0}", "search.trials=1")
    study = search_fold(past, 0, tuning(params))
    assert study.chosen == {"trees": 7, "learning_rate": 0.05, "leaves": 5, "min_rows_per_leaf": 20, "l2": 1.0}


def test_two_processes_find_the_same_bits_as_one(past, params, found):
    settings = params.pipeline.model_copy(update={"workers": 2})
    with task_map(settings) as run:
        same(search_fold(past, 0, tuning(params), Work(run)), found)


def test_dask_workers_find_the_same_bits(past, params, found):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        settings = params.pipeline.model_copy(update={"executor": "dask", "dask_address": cluster.scheduler_address})
        with task_map(settings) as run:
            same(search_fold(past, 0, tuning(params), Work(run)), found)


@pytest.mark.parametrize("sets", [1, 6, 9])
def test_killed_and_resumed_it_ends_where_an_undisturbed_search_ends(past, params, found, tmp_path, sets):
    work = Work(named=NAMED, folder=tmp_path, ledger=Trials(tmp_path / "trials.db"))
    child = os.fork()
    if child == 0:
        seen = []

        def dying(function, asked):
            for one in asked:
                if len(seen) == sets:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(one)
                yield function(one)

        search_fold(past, 0, tuning(params), Work(dying, NAMED, tmp_path, work.ledger))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert work.ledger.count() == sets
    scored = []
    same(search_fold(past, 0, tuning(params), Work(counting(scored), NAMED, tmp_path, work.ledger)), found)
    assert len(scored) == 12 - sets
    assert work.ledger.count() == 12


def test_every_set_is_one_try_the_pruned_ones_too(past, params, found, tmp_path):
    ledger = Trials(tmp_path / "trials.db")
    for _ in range(2):
        search_fold(past, 0, tuning(params), Work(named=NAMED, ledger=ledger))
    tries = ledger.frame(study="tape-BTCUSDT-1h", strategy="BTCUSDT-lightgbm")
    assert len(tries) == 12
    assert {one["state"] for one in tries["context"]} == {"complete", "pruned"}
    assert all(one["fold"] == 0 and one["role"] == "train" for one in tries["context"])
    assert sorted(tries["sharpe_ratio"]) == sorted(found.trials["sharpe_ratio"])
    assert {one[HYPERPARAMETERS]["l2"] for one in tries["params"]} == set(found.trials["l2"])
    days = pd.date_range("2024-01-14", "2024-01-16", tz="UTC")
    assert ledger.returns(days).shape == (3, 12)


def test_a_larger_budget_goes_on_from_the_smaller_one(past, found, tmp_path):
    few, scored = small("search.trials=6"), []
    search_fold(past, 0, tuning(few), Work(named=NAMED, folder=tmp_path, ledger=Trials(tmp_path / "t.db")))
    more = Work(counting(scored), NAMED, tmp_path, Trials(tmp_path / "t.db"))
    same(search_fold(past, 0, tuning(small()), more), found)
    assert len(scored) == 6


def test_other_rows_other_settings_and_other_code_are_other_studies(past, params, tmp_path):
    def journals(history, params, named=NAMED, fold=0):
        search_fold(history, fold, tuning(params), Work(named=named, folder=tmp_path, ledger=Trials(tmp_path / "t.db")))
        return len(list(tmp_path.glob("*.log")))

    one = small("search.trials=1")
    assert journals(past, one) == journals(past, one) == 1
    assert journals(history(tape(seed=2), one), one) == 2
    assert journals(past, one, fold="final") == 3
    assert journals(past, small("search.trials=1", "costs.taker=0.001", "search.folds=2")) == 4
    assert journals(past, small("search.trials=1", "models.seed=8")) == 5
    assert journals(past, one, replace(NAMED, code="other")) == 6


def test_nothing_after_a_training_window_is_seen(params, found):
    bars = tape()
    first_test = 600 + 4  # the first row with all features is row 4
    later = bars.copy()
    later.iloc[first_test:] *= np.random.default_rng(0).uniform(0.5, 2.0, (len(bars) - first_test, 1))
    same(search_fold(history(later, params), 0, tuning(params)), found)
    window = model_search._window(history(bars, params), 0, params.search)
    assert window.bars.index[-1] < bars.index[first_test]
    inner = list(window.rows.folds(window.splits))
    assert len(inner) == 3 and inner[-1].test[-1] == len(window.rows.index) - 1
    assert all(window.rows.end_time.iloc[fold.train].max() < window.rows.index[fold.test[0]] for fold in inner)


def test_a_window_that_reaches_into_its_test_is_caught(params, found, monkeypatch):
    honest = model_search.History.blocks
    reaching = {0: lambda blocks: np.append(blocks[0], np.arange(blocks[0][-1] + 1, blocks[0][-1] + 100))}
    monkeypatch.setattr(model_search.History, "blocks", lambda self: {0: reaching[0](honest(self))})
    bars = tape()
    later = bars.copy()
    later.iloc[604:] *= np.random.default_rng(0).uniform(0.5, 2.0, (len(bars) - 604, 1))
    one, other = (search_fold(history(rows, params), 0, tuning(params)) for rows in (bars, later))
    assert not one.trials.equals(other.trials)


def test_a_set_is_given_up_below_the_median_of_the_sets_before_its_batch(found):
    trials = found.trials
    assert (trials["state"].iloc[:8] == "complete").all()  # two batches: before the second only four were known
    floors = trials.iloc[:8][["sharpe_ratio_1", "sharpe_ratio_2"]].median()
    for _, row in trials.iloc[8:].iterrows():
        if row["state"] == "pruned":
            after = int(np.isfinite(row[["sharpe_ratio_1", "sharpe_ratio_2", "sharpe_ratio_3"]].astype(float)).sum())
            assert row[f"sharpe_ratio_{after}"] < floors[f"sharpe_ratio_{after}"]
            assert row["sharpe_ratio"] == row[f"sharpe_ratio_{after}"]
    assert (trials["state"] == "pruned").any()


def test_nothing_is_given_up_where_pruning_is_off(past):
    assert (search_fold(past, 0, tuning(small("search.prune=false"))).trials["state"] == "complete").all()


def test_the_best_sharpe_ratio_within_the_limits_is_chosen():
    rows = {"sharpe_ratio": [3.0, 2.0, 1.0, 9.0], "max_drawdown": [0.4, 0.2, 0.1, 0.1], "turnover": [10.0, 10.0, 10.0, 10.0]}
    trials = pd.DataFrame(rows | {"state": ["complete", "complete", "complete", "pruned"]})
    limits = small("search={max_drawdown: 0.3, max_turnover: 100}").search
    assert choose(trials, limits) == (1, True)
    assert choose(trials, limits.model_copy(update={"max_turnover": 5.0})) == (0, False)
    assert choose(trials.assign(state="fail"), limits) == (None, False)


def test_the_chosen_set_lies_on_the_pareto_front_and_importances_add_up(found):
    row, within = choose(found.trials, small().search)
    assert within and found.trials.at[row, "number"] in pareto_front(found.optuna)
    for place in range(len(OBJECTIVES)):
        shares = importance(found.optuna, place)
        assert shares.sum() == pytest.approx(1.0) and set(shares.index) == {"trees", "learning_rate", "leaves", "min_rows_per_leaf", "l2"}


def test_what_never_trades_is_not_chosen(past):
    study = search_fold(past, 0, tuning(small("policy={enter: 1.0, exit: 0.0}", "search.trials=2")))
    assert (study.trials["state"] == "fail").all() and not study.within
    assert study.chosen == {name: getattr(small().models.lightgbm, name) for name in study.chosen}
    assert importance(study.optuna).isna().all()


def test_a_study_for_each_fold_and_the_final_model_and_their_tables(past, params, found):
    studies = search_folds(past, tuning(params))
    assert [study.fold for study in studies] == [0, "final"]
    same(studies[0], found)
    table = search_report.choices(studies)
    assert table.index.tolist() == [0, "final"] and table["trials"].tolist() == [12, 12]
    assert table.at[0, "sharpe_ratio"] == found.trials.loc[choose(found.trials, params.search)[0], "sharpe_ratio"]
    sets = search_report.all_sets(studies)
    assert len(sets) == 24 and sets.groupby("fold")["chosen"].sum().tolist() == [1, 1]
    assert search_report.importances(studies).columns.tolist() == [0, "final"]
    folds = json.loads(json.dumps(search_report.for_folds([{"fold": 0}], studies), allow_nan=False))
    assert folds[0]["study"]["chosen"] == studies[0].chosen and len(folds[1]["study"]["sets"]["turnover"]) == 12
    assert search_report.for_folds([{"fold": 0}], []) == [{"fold": 0}]


def test_a_window_too_short_for_its_inner_folds_is_named(past):
    with pytest.raises(DataError, match="rows are too few for 400 inner folds"):
        search_fold(past, 0, tuning(small("search.folds=400")))


def test_a_torn_line_is_cut_and_another_file_is_refused(tmp_path):
    task = Task({"a": (0, 9, "int")}, ("maximize",), 3, 1)
    path = tmp_path / "study.log"
    Journal(path, task).add({"a": 3}, Told((1.0,), notes={"b": 2}))
    path.write_bytes(path.read_bytes() + b'{"op_code": 4, "worker')
    again = Journal(path, task)
    assert again.told(0, {"a": 3}) == Told((1.0,), notes={"b": 2}) and again.told(1, {"a": 4}) is None
    again.add({"a": 4}, Told(None, pruned=True))
    assert len(Journal(path, task)) == 2
    with pytest.raises(DataError, match="set 0 of this study is {'a': 3}, asked for was {'a': 5}; delete the file"):
        again.told(0, {"a": 5})
    path.write_text("no journal\n" * 2)
    with pytest.raises(DataError, match="no journal of a study"):
        Journal(path, task)
