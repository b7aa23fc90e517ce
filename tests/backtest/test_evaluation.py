"""Forecasts judged by fold, regime and hour, what they are made of, and one walk against another: worked by hand."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import evaluation
from quantalpha.backtest.comparison import compare_forecasts, compare_returns
from quantalpha.backtest.contributions import Kept, contributions
from quantalpha.backtest.walk_forward import WalkForward, forecast_scores
from quantalpha.errors import DataError, UsageError
from quantalpha.models import PROBABILITIES
from quantalpha.validation import brier_score

INDEX = pd.date_range("2024-01-01", periods=60, freq="h", tz="UTC").as_unit("ms")
RNG = np.random.default_rng(0)
LABELS = pd.DataFrame(
    {"label": RNG.integers(-1, 2, 60).astype(float), "ret": RNG.normal(size=60), "end_time": INDEX + pd.Timedelta("2h")}, INDEX
)
LABELS.iloc[-2:] = np.nan, np.nan, pd.NaT


def made(seed: int = 1, rows: slice = slice(20, 60)) -> WalkForward:
    """Two folds of 20 rows, of made-up probabilities."""
    times = INDEX[rows]
    chance = np.random.default_rng(seed).dirichlet([2, 1, 2], len(times))
    table = pd.DataFrame(chance, times, list(PROBABILITIES)).assign(fold=np.arange(len(times)) // 20)
    folds = [forecast_scores(LABELS.loc[block.index], block[list(PROBABILITIES)].to_numpy()) for _, block in table.groupby("fold")]
    return WalkForward(table, folds)


WALK = made()


def test_scores_of_a_group_are_those_of_its_rows():
    table = evaluation.scores_by(WALK, LABELS, WALK.forecasts["fold"])
    assert table["rows"].tolist() == [20, 18]  # the last two have no finished label
    assert table.loc[0].drop("rows").to_dict() == pytest.approx(WALK.folds[0])
    by_hour = evaluation.scores_by(WALK, LABELS, evaluation.hour(WALK))
    assert by_hour.index.tolist() == list(range(24)) and by_hour["rows"].sum() == 38


def test_groups_without_a_name_are_in_no_row():
    group = pd.Series(["a"] * 5 + [None] * 35, WALK.forecasts.index, name="some")
    assert evaluation.scores_by(WALK, LABELS, group)["rows"].to_dict() == {"a": 5}


def test_volatility_is_ranked_among_what_was_before_the_fold():
    """1 to 20 before the first test row: thirds end at 7.33 and 13.67. The wild second half of the first fold moves the next borders."""
    volatility = pd.Series(np.r_[np.arange(1.0, 21), np.tile([5.0, 10, 15, 100], 5), np.full(19, 15.0), np.nan], INDEX)
    regime = evaluation.volatility_regime(volatility, WALK)
    assert regime.iloc[:4].tolist() == ["calm", "usual", "wild", "wild"]
    assert regime.iloc[20:39].unique().tolist() == ["usual"] and pd.isna(regime.iloc[39])
    later = volatility.copy()
    later.iloc[40:] *= 50
    assert evaluation.volatility_regime(later, WALK).iloc[:20].equals(regime.iloc[:20])  # what comes later changes nothing


def test_trend_looks_back_only():
    close = pd.Series(np.r_[np.arange(1.0, 31), np.arange(30.0, 0, -1)], INDEX)
    regime = evaluation.trend_regime(close, WALK, window=10)
    assert regime.loc[INDEX[20]] == "up" and regime.iloc[-1] == "down"
    assert (evaluation.trend_regime(close.iloc[:45], WALK, window=10).iloc[:25] == regime.iloc[:25]).all()


def test_confusion_by_fold_counts_every_finished_row():
    table = evaluation.confusion_by_fold(WALK, LABELS)
    assert table.groupby("fold").sum().sum(axis=1).tolist() == [20, 18]
    first = WALK.forecasts.iloc[:20]
    both = (first[list(PROBABILITIES)].to_numpy().argmax(axis=1) == 2) & (LABELS["label"].loc[first.index] == 1)
    assert table.loc[(0, "up"), "up"] == both.sum()


def test_skill_is_measured_from_labels_that_had_ended():
    known = evaluation.known_frequencies(WALK, LABELS)
    ended = LABELS["label"].iloc[:18]  # the labels of rows 18 and 19 end in the test
    assert known[0].tolist() == pytest.approx([(ended == kind).mean() for kind in (-1, 0, 1)])
    assert known[20].tolist() == pytest.approx([(LABELS["label"].iloc[:38] == kind).mean() for kind in (-1, 0, 1)])
    summary = evaluation.summary(WALK, LABELS)
    label, chance = LABELS["label"].reindex(WALK.forecasts.index), WALK.forecasts[list(PROBABILITIES)]
    assert summary["brier"] == pytest.approx(np.mean([fold["brier"] for fold in WALK.folds]))
    assert summary["brier_skill"] == pytest.approx(1 - brier_score(label, chance) / brier_score(label, known))


def test_labels_of_other_bars_are_refused():
    with pytest.raises(DataError, match="no label has the time of a forecast"):
        evaluation.outcomes(WALK, LABELS.set_axis(INDEX + pd.Timedelta("1D") * 90))


class Linear:
    """Log odds of up against down: 2 a - b."""

    def contributions(self, x):
        parts = np.zeros((len(x), 2, 3))
        parts[:, 0, 2], parts[:, 1, 0] = 2 * x[:, 0], x[:, 1]
        return parts, np.zeros(3)


def test_contributions_are_asked_on_the_test_rows_of_each_fold():
    features = pd.DataFrame({"b": np.ones(60), "a": np.r_[np.full(20, 9.0), np.full(20, 1.0), np.full(20, -3.0)]}, INDEX)[["a", "b"]]
    table = contributions([Linear(), Linear()], features, WALK, rows=5)
    assert table.loc["a"].tolist() == [2, 6] and table.loc["b"].tolist() == [1, 1] and table.index.tolist() == ["a", "b"]
    with pytest.raises(UsageError, match="a model for each of 2 folds, found 1"):
        contributions([Linear()], features, WALK)


def test_a_fit_that_keeps_its_models_gives_the_same_ones():
    kept = Kept(lambda x, y, weight=None: (x, y, weight))
    assert [kept(1, 2), kept(3, 4, 5)] == kept.models == [(1, 2, None), (3, 4, 5)]
    each = Kept([lambda *given: "first", lambda *given: "second"])
    assert [each(1, 2), each(1, 2)] == each.models == ["first", "second"]


def test_the_better_forecast_is_found():
    truth = LABELS["label"].reindex(WALK.forecasts.index).to_numpy()
    better = WALK.forecasts.copy()
    better[list(PROBABILITIES)] = 0.2 + 0.4 * (truth[:, None] == np.array([-1, 0, 1]))
    better.loc[np.isnan(truth), list(PROBABILITIES)] = 1 / 3
    row = compare_forecasts(WalkForward(better, WALK.folds), WALK, LABELS).loc["log_loss"]
    assert row["first"] == pytest.approx(-np.log(0.6)) and row["n"] == 38
    assert row["difference"] == pytest.approx(row["first"] - row["second"]) and row["difference"] < 0 and row["p_value"] < 0.05


def test_other_rows_or_folds_are_refused_by_the_first_that_differs():
    with pytest.raises(DataError, match="2024-01-01 20:00:00.* is in one only"):
        compare_forecasts(WALK, made(rows=slice(21, 60)), LABELS)
    other = WALK.forecasts.assign(fold=np.arange(40) // 10)
    with pytest.raises(DataError, match="2024-01-02 06:00:00.* is in fold 0 of one and 1 of the other"):
        compare_forecasts(WALK, WalkForward(other, WALK.folds), LABELS)
    days = pd.Series(RNG.normal(size=30), pd.date_range("2024-01-01", periods=30, tz="UTC"))
    with pytest.raises(DataError, match="the same days"):
        compare_returns(days, days.iloc[1:])
    assert np.isnan(compare_returns(days, days).loc["sharpe_ratio", "p_value"])
