"""Walk-forward: what a fold may learn from, what it must forecast, and that nothing else gets in."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import config
from quantalpha.backtest import simulate
from quantalpha.backtest.walk_forward import WalkForward, backtest_forecasts, final_model, walk_forward_forecasts
from quantalpha.config import Boosting, Models, Splits
from quantalpha.errors import DataError
from quantalpha.features import build
from quantalpha.labels import average_uniqueness, fixed_horizon, label, time_decay, triple_barrier
from quantalpha.models import fitter
from quantalpha.perp import Account, Costs
from quantalpha.strategy import HysteresisPolicy
from quantalpha.validation import check_walk_forward

TREES = Boosting(trees=20, learning_rate=0.1, leaves=7, min_rows_per_leaf=20, row_fraction=0.7, column_fraction=1.0, l2=1.0)
MODELS = Models(names=["lightgbm", "xgboost"], seed=7, lightgbm=TREES, xgboost=TREES)
SPLITS = Splits(scheme="sliding", train=400, test=100, embargo=0)
HORIZON = 12


def tape(n=1200, seed=1, momentum=0.0):
    """Bars of one hour; `momentum` carries that share of the last return into the next."""
    rng = np.random.default_rng(seed)
    change = 0.01 * rng.normal(size=n)
    for i in range(1, n):
        change[i] += momentum * change[i - 1]
    close = 100 * np.exp(np.cumsum(change))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


def labelled(bars):
    return triple_barrier(bars, take_profit=0.02, stop_loss=0.02, horizon=HORIZON)


def row_numbers(bars):
    """A feature that names its row: what reached a fit can be read off it."""
    return pd.DataFrame({"row": np.arange(len(bars), dtype=float)}, index=bars.index)


class Witness:
    """A model that learns nothing and remembers every training set."""

    kind = "witness"

    def __init__(self):
        self.seen = []

    def fit(self, x, y, weight=None):
        self.seen.append((x[:, 0].astype(int), y, weight))
        return self

    def predict(self, x):
        out = np.tile([0.2, 0.3, 0.5], (len(x), 1))
        out[~np.isfinite(x).all(axis=1)] = np.nan
        return out


def witnessed(bars, splits=SPLITS, features=None, labels=None):
    witness = Witness()
    features = row_numbers(bars) if features is None else features
    return walk_forward_forecasts(features, labelled(bars) if labels is None else labels, splits, witness.fit), witness.seen


def test_every_test_row_has_one_forecast_and_the_blocks_join():
    bars = tape()
    walk, seen = witnessed(bars)
    assert walk.forecasts.index.equals(bars.index[400:1200])
    assert walk.forecasts["fold"].tolist() == np.repeat(np.arange(8), 100).tolist()
    assert len(seen) == len(walk.folds) == 8
    assert walk.edge.round(12).eq(0.3).all()


def test_rows_without_a_finished_label_are_forecast_like_any_other():
    bars = tape()
    labels = labelled(bars)
    assert labels["label"].iloc[-3:].isna().all()
    walk, _ = witnessed(bars)
    assert walk.forecasts.loc[bars.index[-3:]].notna().all(axis=None)


@pytest.mark.parametrize("embargo", [0, 30])
def test_no_training_label_reaches_the_test(embargo):
    bars = tape()
    ends = bars.index.get_indexer(labelled(bars)["end_time"])
    _, seen = witnessed(bars, SPLITS.model_copy(update={"embargo": embargo}))
    for fold, (rows, _, _) in enumerate(seen):
        first = 400 + embargo + 100 * fold
        assert (ends[rows] < first).all() and rows.max() < first - embargo
    purged = [400 - len(rows) for rows, _, _ in seen]
    assert (min(purged) > 0) == (embargo == 0)  # an embargo beyond the horizon leaves nothing to purge


def test_labels_that_overlap_the_test_are_poison_and_never_swallowed():
    bars = tape()
    labels = labelled(bars)
    starts = bars.index[400:1200:100]
    _, seen = witnessed(bars)
    for start, (rows, _, _) in zip(starts, seen):
        overlapping = np.flatnonzero((bars.index < start) & (labels["end_time"] >= start))
        assert overlapping.size and not set(overlapping) & set(rows)


def test_hiding_the_future_does_not_change_what_was_learnt():
    bars = tape()
    _, seen = witnessed(bars)
    for fold in (0, 3):
        hidden = bars.iloc[: 400 + 100 * (fold + 1)].copy()
        first = 400 + 100 * fold
        hidden.iloc[first:] = hidden.iloc[first:].to_numpy() * 3  # another future from the first test bar on
        _, again = witnessed(hidden)
        for was, now in zip(seen[fold], again[fold]):
            np.testing.assert_array_equal(was, now)


def test_training_weights_are_the_uniqueness_of_the_labels():
    bars = tape()
    uniqueness = average_uniqueness(labelled(bars)["end_time"]).to_numpy()
    _, seen = witnessed(bars)
    for rows, _, weight in seen:
        np.testing.assert_array_equal(weight, uniqueness[rows])


def test_a_column_of_weights_takes_their_place_and_what_weighs_nothing_is_left_out():
    bars = tape()
    weight = pd.Series(np.random.default_rng(0).integers(0, 3, len(bars)).astype(float), bars.index)
    walk, seen = witnessed(bars, labels=labelled(bars).assign(weight=weight))
    for fold, (rows, _, found) in zip(walk.folds, seen):
        np.testing.assert_array_equal(found, weight.iloc[rows])
        assert (found > 0).all() and fold["n_train"] == len(rows) < 350


@pytest.mark.parametrize("decay", [0.5, 0.0, -0.4])
def test_decay_counts_the_training_rows_of_the_fold(decay):
    bars = tape()
    labels, witness = labelled(bars).assign(weight=2.0), Witness()
    uniqueness = average_uniqueness(labels["end_time"])
    walk = walk_forward_forecasts(row_numbers(bars), labels, SPLITS, witness.fit, decay=decay)
    final_model(row_numbers(bars), labels, SPLITS, witness.fit, decay=decay)
    for (rows, _, weight), (trained, _, _) in zip(witness.seen, witnessed(bars)[1]):
        factor = time_decay(uniqueness.iloc[trained], decay)
        np.testing.assert_array_equal(weight, 2 * factor[factor > 0])
        np.testing.assert_array_equal(rows, trained[factor > 0])
        assert weight[-1] == pytest.approx(2)  # the newest row is not decayed
    assert [fold["n_train"] for fold in walk.folds] == [len(rows) for rows, _, _ in witness.seen[:8]]
    assert len(witness.seen) == 9 and witness.seen[8][2][-1] == pytest.approx(2)


def sparse(bars, every=7):
    """A label at every seventh bar."""
    return labelled(bars).where(pd.Series(np.arange(len(bars)) % every == 0, bars.index))


def test_bars_without_an_event_are_forecast_and_never_trained_on():
    bars = tape()
    walk, seen = witnessed(bars, labels=sparse(bars))
    assert walk.forecasts.index.equals(bars.index[400:1200]) and walk.edge.notna().all()
    assert len(seen) == 8 and all((rows % 7 == 0).all() and 50 < len(rows) <= 58 for rows, _, _ in seen)
    with pytest.raises(DataError, match="fold 0 has no usable training row"):
        witnessed(bars, labels=labelled(bars).where(pd.Series(np.arange(len(bars)) > 500, bars.index)))
    with pytest.raises(DataError, match="fold 0 has no usable training row; lengthen splits.train, or lower labels.events"):
        witnessed(bars, labels=labelled(bars).assign(weight=0.0))


def test_the_final_model_spans_as_many_bars_as_a_fold():
    bars, witness = tape(), Witness()
    for labels in (fixed_horizon(bars, horizon=HORIZON, threshold=0.01), sparse(bars)):
        final_model(row_numbers(bars), labels, SPLITS, witness.fit)
    every, some = (rows for rows, _, _ in witness.seen)
    np.testing.assert_array_equal(every, np.arange(1200 - HORIZON - 400, 1200 - HORIZON))
    np.testing.assert_array_equal(some[some < 1200 - HORIZON], every[every % 7 == 0])


CHOICE = {"take_profit": 1.0, "stop_loss": 1.0, "horizon": HORIZON, "volatility_window": 24, "threshold": 0.5, "shortest": 4}


def learned(bars, weigh=None, **choice):
    """A whole pipeline of few small trees; `weigh` replaces the weights."""
    params = config.Labels(**CHOICE | choice)
    table = label(bars, params)
    table = table if weigh is None else table.assign(weight=weigh(bars))
    small = MODELS.model_copy(update={"lightgbm": TREES.model_copy(update={"trees": 5})})
    features = build({"returns": [1, 4]}).compute(bars)
    return walk_forward_forecasts(features, table, SPLITS, fitter("lightgbm", small), decay=params.decay).forecasts


@pytest.mark.parametrize("kind", ["triple_barrier", "fixed_horizon", "trend_scanning"])
@pytest.mark.parametrize(("weights", "events", "decay"), [("uniqueness", None, 1.0), ("attribution", 0.2, 0.3), ("equal", None, -0.2)])
def test_no_kind_event_or_weight_tells_of_the_test(kind, weights, events, decay):
    choice = {"kind": kind, "weights": weights, "events": events, "decay": decay}
    report = check_walk_forward(lambda bars: learned(bars, **choice), tape(700), folds=2)
    assert report.clean, str(report)


def test_a_weight_that_tells_of_the_test_is_caught():
    choice = {"kind": "fixed_horizon", "weights": "equal", "events": None, "decay": 1.0}
    ahead = lambda bars: bars["close"].pct_change().abs().shift(-HORIZON - 5)  # noqa: E731
    report = check_walk_forward(lambda bars: learned(bars, ahead, **choice), tape(700), folds=2)
    assert not report.clean and set(report.columns.cause) == {"model", ""}


def test_missing_features_are_not_trained_on_and_not_forecast():
    bars = tape()
    features = row_numbers(bars)
    features.iloc[:50] = np.nan  # warm-up: the walk begins after it
    features.iloc[[200, 700]] = np.nan
    walk, seen = witnessed(bars, features=features)
    assert walk.forecasts.index[0] == bars.index[450]
    assert 200 not in seen[0][0] and 199 in seen[0][0]
    assert walk.forecasts[["p_down", "p_flat", "p_up"]].isna().all(axis=1).sum() == 1
    assert np.isnan(walk.edge.loc[bars.index[700]])


def test_expanding_keeps_the_beginning_and_sliding_lets_it_go():
    bars = tape()
    _, sliding = witnessed(bars)
    _, expanding = witnessed(bars, SPLITS.model_copy(update={"scheme": "expanding"}))
    assert sliding[-1][0].min() == 700 and expanding[-1][0].min() == 0


def test_fold_dicts_tell_times_sizes_and_scores():
    bars = tape()
    labels = labelled(bars)
    walk = walk_forward_forecasts(row_numbers(bars), labels, SPLITS, Witness().fit)
    first = walk.folds[0]
    assert (first["train_start"], first["test_start"]) == (bars.index[0].isoformat(), bars.index[400].isoformat())
    assert first["test_end"] == bars.index[499].isoformat() and first["n_test"] == 100
    truth = labels["label"].iloc[400:500]
    assert first["accuracy"] == pytest.approx((truth == 1).mean())
    assert first["log_loss"] == pytest.approx(-np.log(truth.map({-1: 0.2, 0: 0.3, 1: 0.5})).mean())
    assert first["information_coefficient"] is None  # a constant edge ranks nothing


def test_a_planted_edge_is_found_out_of_sample_and_a_fair_market_has_none():
    def correlation(momentum):
        bars = tape(n=2000, momentum=momentum)
        splits = SPLITS.model_copy(update={"train": 1000, "test": 300, "embargo": HORIZON})
        walk = walk_forward_forecasts(build({"returns": [1, 4]}).compute(bars), labelled(bars), splits, fitter("lightgbm", MODELS))
        return np.mean([fold["information_coefficient"] for fold in walk.folds])

    assert correlation(0.6) > 0.25
    assert abs(correlation(0.0)) < 0.12


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_the_same_inputs_give_the_same_forecasts(kind):
    bars = tape()
    features, labels = build({"returns": [1, 4]}).compute(bars), labelled(bars)
    one, two = (walk_forward_forecasts(features, labels, SPLITS, fitter(kind, MODELS)) for _ in range(2))
    pd.testing.assert_frame_equal(one.forecasts, two.forecasts, check_exact=True)
    assert one.folds == two.folds


def test_the_final_model_learns_from_the_last_finished_rows():
    bars = tape()
    usable = np.flatnonzero(labelled(bars)["label"].notna())
    witness = Witness()
    final_model(row_numbers(bars), labelled(bars), SPLITS, witness.fit)
    np.testing.assert_array_equal(witness.seen[0][0], usable[-400:])
    final_model(row_numbers(bars), labelled(bars), SPLITS.model_copy(update={"scheme": "expanding"}), witness.fit)
    np.testing.assert_array_equal(witness.seen[1][0], usable)


def test_saved_and_loaded_walks_are_equal(tmp_path):
    walk, _ = witnessed(tape())
    assert sorted(walk.save(tmp_path)) == sorted(p.name for p in tmp_path.iterdir())
    again = WalkForward.load(tmp_path)
    pd.testing.assert_frame_equal(again.forecasts, walk.forecasts, check_exact=True)
    assert again.folds == walk.folds


@pytest.mark.parametrize("name", ["forecasts.parquet", "folds.json"])
def test_missing_and_cut_files_are_named(tmp_path, name):
    witnessed(tape())[0].save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        WalkForward.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        WalkForward.load(tmp_path)


def test_unfit_input_is_refused():
    bars = tape(600)
    features, labels = row_numbers(bars), labelled(bars)
    with pytest.raises(DataError, match="share one index"):
        walk_forward_forecasts(features.iloc[1:], labels, SPLITS, Witness().fit)
    with pytest.raises(DataError, match="no row has complete features"):
        walk_forward_forecasts(features * np.nan, labels, SPLITS, Witness().fit)
    with pytest.raises(DataError, match="the data has 600"):
        walk_forward_forecasts(features, labels, SPLITS.model_copy(update={"train": 600}), Witness().fit)
    with pytest.raises(DataError, match="asks for 700 rows"):
        final_model(features, labels, SPLITS.model_copy(update={"train": 700}), Witness().fit)


def test_the_backtest_covers_the_test_blocks_only_and_follows_the_policy():
    bars = tape()
    walk, _ = witnessed(bars)
    account, costs, policy = Account(1e4, 2.0), Costs(0.0002, 0.0005, 0.0001, 0.0125), HysteresisPolicy(0.15, 0.0, 1.0)
    result = backtest_forecasts(bars, walk, policy, account=account, costs=costs)
    assert result.equity.index.equals(walk.forecasts.index)
    direct = simulate(bars.iloc[400:], policy.targets(walk.edge), account=account, costs=costs)
    pd.testing.assert_series_equal(result.equity, direct.equity, check_exact=True)
    with pytest.raises(DataError, match="give the bars they were made from"):
        backtest_forecasts(bars.iloc[:-5], walk, policy, account=account, costs=costs)
