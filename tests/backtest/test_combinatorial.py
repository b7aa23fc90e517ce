"""Combinatorial forecasts: what a fold may learn from, and that every path is one whole history."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest.combinatorial import combinatorial_forecasts
from quantalpha.backtest.rows import Rows
from quantalpha.backtest.walk_forward import backtest_forecasts
from quantalpha.errors import DataError
from quantalpha.labels import average_uniqueness, time_decay, triple_barrier
from quantalpha.perp import Account, Costs
from quantalpha.strategy import HysteresisPolicy

HORIZON, ROWS = 8, 600
SHAPE = {"groups": 5, "test_groups": 2}


@pytest.fixture(scope="module")
def bars():
    close = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(2).normal(size=ROWS)))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


@pytest.fixture(scope="module")
def labels(bars):
    return triple_barrier(bars, take_profit=0.02, stop_loss=0.02, horizon=HORIZON)


class Numbered:
    """Each fitted model forecasts its own number; `seen` holds what each was fitted on."""

    def __init__(self):
        self.seen = []

    def fit(self, x, y, weight):
        self.seen.append((x[:, 0].astype(int), weight))
        return Fitted(len(self.seen) - 1)


class Fitted:
    def __init__(self, number):
        self.number = number

    def predict(self, x):
        up = 0.5 + self.number / 1000
        return np.tile([0.2, 0.8 - up, up], (len(x), 1))


def rows_of(bars, labels, decay=1.0):
    return Rows(pd.DataFrame({"row": np.arange(len(bars), dtype=float)}, index=bars.index), labels, decay)


def test_each_path_forecasts_every_row_once_and_each_fold_is_fitted_once(bars, labels):
    models = Numbered()
    paths = combinatorial_forecasts(rows_of(bars, labels), models.fit, **SHAPE)
    assert len(paths) == 4 and len(models.seen) == 10
    taken = np.zeros((4, ROWS), dtype=int)
    for path, row in zip(paths, taken):
        assert path.forecasts.index.equals(bars.index) and path.forecasts.notna().all(axis=None)
        np.testing.assert_allclose(path.forecasts["p_up"], 0.5 + path.forecasts["fold"] / 1000)
        row[:] = path.forecasts["fold"]
        assert [scores["fold"] for scores in path.folds] == row[::120].tolist() and all(scores["n_test"] == 120 for scores in path.folds)
    assert all(len(set(column)) == 4 for column in taken.T)  # no two paths have a forecast in common


@pytest.mark.parametrize("embargo", [0, 12])
def test_no_training_label_touches_a_tested_one(bars, labels, embargo):
    models = Numbered()
    paths = combinatorial_forecasts(rows_of(bars, labels), models.fit, **SHAPE, embargo=embargo)
    end = bars.index.get_indexer(labels["end_time"])
    for number, (train, _) in enumerate(models.seen):
        tested = np.unique(np.concatenate([np.flatnonzero(path.forecasts["fold"] == number) for path in paths]))
        tested = tested[end[tested] >= 0]  # the last labels are unfinished: forecast, never judged
        assert not ((train[:, None] <= end[tested]) & (end[train][:, None] >= tested)).any()
        for last in tested[np.diff(tested, append=ROWS + 99) > 1]:
            reached = end[tested[tested <= last]].max()
            assert not ((train > last) & (train <= reached + embargo)).any()


def test_rows_weigh_what_they_weigh_in_a_walk_forward(bars, labels):
    models = Numbered()
    combinatorial_forecasts(rows_of(bars, labels, decay=0.4), models.fit, **SHAPE)
    uniqueness = average_uniqueness(labels["end_time"])
    for train, weight in models.seen:
        own = uniqueness.iloc[train]
        np.testing.assert_allclose(weight, own * time_decay(own, 0.4))


def test_a_bar_without_an_event_purges_nothing(bars, labels):
    """It is forecast as any other; were it taken to last for ever, nothing after the first test block would be left to train on."""
    models = Numbered()
    sparse = labels.where(pd.Series(np.arange(ROWS) % 5 == 0, bars.index))
    paths = combinatorial_forecasts(rows_of(bars, sparse), models.fit, **SHAPE)
    assert all(path.forecasts.notna().all(axis=None) for path in paths)
    assert models.seen[0][0].max() > 550 and all((train % 5 == 0).all() and len(train) > 60 for train, _ in models.seen)


def test_each_path_is_a_backtest_of_its_own(bars, labels):
    policy, account, costs = HysteresisPolicy(0.2, 0.0, 1.0), Account(1e4, 2.0), Costs(0.0002, 0.0005, 0.0001, 0.0125)
    paths = combinatorial_forecasts(rows_of(bars, labels), Numbered().fit, **SHAPE)
    results = [backtest_forecasts(bars, path, policy, account=account, costs=costs) for path in paths]
    assert all(result.equity.index.equals(bars.index) for result in results)


def test_a_fold_without_training_rows_is_named(bars, labels):
    with pytest.raises(DataError, match="combinatorial: fold 0 has no usable training row"):
        combinatorial_forecasts(rows_of(bars, labels.where(pd.Series(np.arange(ROWS) < 200, bars.index))), Numbered().fit, **SHAPE)
