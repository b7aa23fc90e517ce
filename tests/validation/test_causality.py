"""What the proof reports, and what it refuses to judge."""

import os
import time

import numpy as np
import pandas as pd
import pytest

from quantalpha import config, schema
from quantalpha.backtest.walk_forward import walk_forward_forecasts
from quantalpha.errors import DataError, UsageError
from quantalpha.features import build
from quantalpha.labels import triple_barrier
from quantalpha.models import fitter
from quantalpha.validation import LeakReport, causality, check_causal, check_fit, check_walk_forward, combinatorial_purged, walk_forward


@pytest.fixture
def bars():
    close = 100 + np.sin(np.arange(200.0)) + np.arange(200) / 50
    frame = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0 + np.arange(200)}
    return pd.DataFrame(frame, index=schema.from_epoch_ms(np.arange(200) * 3_600_000))


def test_a_clean_report(bars):
    report = check_causal(lambda b: b[["close"]].rolling(5).mean(), bars)
    assert report.clean and report.complete and report.notes == () and isinstance(report, LeakReport)
    assert list(report.columns) == ["name", "leaks", "first_cut", "max_diff", "reach", "cause"]
    assert report.columns.iloc[0].tolist() == ["close", False, pd.NaT, 0.0, 0, ""] or report.columns.first_cut.isna().all()
    assert str(report) == "causal: none of 1 columns changed when later bars were hidden or replaced"


def test_a_leak_names_column_proof_and_remedy(bars):
    report = check_causal(lambda b: pd.DataFrame({"past": b.close.shift(1), "future": b.close.shift(-1)}), bars)
    past, future = report.columns.itertuples()
    assert not past.leaks and past.max_diff == 0 and past.first_cut is pd.NaT
    assert future.leaks and future.max_diff == np.inf
    text = str(report)
    assert "changed from a number to none (NaN, inf) or back; ahead:" in text and "inf;" not in text
    assert "1 of 2 columns look ahead" in text and f"future: rows before {future.first_cut}" in text and "shift(-n)" in text


def test_the_size_of_a_leak_is_measured(bars):
    report = check_causal(lambda b: (b[["close"]] * 0 + 1).assign(close=lambda f: f.close + (len(b) == 200) * 0.5), bars)
    assert report.columns.max_diff[0] == 0.5


def test_a_number_that_appears_where_none_was_is_a_leak(bars):
    def compute(b):
        return pd.DataFrame({"late": np.where(np.arange(len(b)) < len(b) - 1, 1.0, np.nan)}, index=b.index)

    assert check_causal(compute, bars).columns.max_diff[0] == np.inf


def test_rounding_is_no_leak(bars):
    assert check_causal(lambda b: b[["close"]] * (1 + 1e-13 * len(b)), bars).clean


def test_the_same_seed_gives_the_same_report(bars):
    def compute(b):
        return pd.DataFrame({"x": b.close.rolling(9, center=True).mean(), "y": b.close.expanding().max()})

    first, second = (check_causal(compute, bars, seed=3).columns for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_rows_left_out_count_as_missing_and_bars_stay_as_they_are(bars):
    before = bars.copy()
    report = check_causal(lambda b: pd.DataFrame({"x": b.close.rolling(5).mean(), "y": b.close.shift(-2)}).dropna(), bars)
    assert report.columns.leaks.tolist() == [True, True]
    pd.testing.assert_frame_equal(bars, before)


def test_times_are_compared_and_text_is_refused(bars):
    times = check_causal(lambda b: pd.DataFrame({"end": b.index.to_series().shift(-1), "now": b.index.to_series()}), bars)
    assert times.columns.leaks.tolist() == [True, False]
    with pytest.raises(UsageError, match="column 'word' must hold numbers"):
        check_causal(lambda b: pd.DataFrame({"word": "up"}, index=b.index), bars)


def test_what_cannot_be_judged_is_refused(bars):
    with pytest.raises(UsageError, match="must return a DataFrame, found Series"):
        check_causal(lambda b: b.close, bars)
    with pytest.raises(DataError, match="column 'x' has no value in 200 bars"):
        check_causal(lambda b: pd.DataFrame({"x": b.close.rolling(500).mean()}), bars)
    with pytest.raises(DataError, match="at least 3 bars, found 2"):
        check_causal(lambda b: b, bars.iloc[:2])
    for cuts in (0, "a", 2.5, None):
        with pytest.raises(UsageError, match=f"cuts must be a whole number of at least 1, found {cuts!r}"):
            check_causal(lambda b: b, bars, cuts=cuts)
    with pytest.raises(UsageError, match="expected a function of the bars, then a DataFrame of bars, found function and NoneType"):
        check_causal(lambda b: b, None)
    with pytest.raises(UsageError, match="found DataFrame and function"):
        check_causal(bars, lambda b: b)
    with pytest.raises(UsageError, match="found NoneType and DataFrame"):
        check_walk_forward(None, bars)
    with pytest.raises(UsageError, match="at least one column, found none"):
        check_causal(lambda b: b[[]], bars)
    with pytest.raises(UsageError, match="on the index of the bars; found a RangeIndex of int64 from 0 to 199, none of it among the bars"):
        check_causal(lambda b: b[["close"]].reset_index(drop=True), bars)


@pytest.mark.parametrize(
    ("order", "row"),
    [([0, 1, 2, 2, *range(3, 200)], 3), ([*range(100), 150, *range(100, 200)], 101), ([*range(100, 200), *range(100)], 100)],
    ids=["twice", "out of place", "halves"],
)
def test_bars_out_of_order_are_refused(bars, order, row):
    for check in (check_causal, check_walk_forward):
        with pytest.raises(DataError, match=f"{check.__name__}: bars must be in strictly increasing time order; row {row} at 1970-01-"):
            check(lambda b: b[["close"]], bars.iloc[order])


def test_bars_without_a_time_are_refused(bars):
    with pytest.raises(DataError, match="strictly increasing time order; row 7 at NaT is not"):
        check_causal(lambda b: b[["close"]], bars.set_axis(bars.index.where(np.arange(200) != 7)))


def test_a_number_that_becomes_infinite_is_a_leak(bars):
    report = check_causal(lambda b: b[["close"]] * (np.inf if len(b) < 150 else 1.0), bars)
    assert report.columns.leaks.all() and report.columns.max_diff[0] == np.inf


def test_the_message_says_how_to_mend_each_kind_of_leak(bars):
    def compute(b):
        rows = pd.Series(np.arange(len(b)), b.index)
        return pd.DataFrame({"shift": b.close.shift(-3), "mean": b.close / b.close.mean(), "rows": rows / len(b)})

    report = check_causal(compute, bars)
    assert report.columns.set_index("name").cause.to_dict() == {"shift": "ahead", "mean": "series", "rows": "length"}
    text = str(report)
    assert "shift: rows before" in text and "looks up to 3 bars ahead" in text
    assert text.count("how to mend: ") == 3
    assert "rolling or expanding" in text and "trailing windows" in text and "len(bars)" in text


def test_what_does_not_repeat_has_a_message_of_its_own(bars):
    report = check_causal(lambda b: pd.DataFrame({"x": b.close + np.random.default_rng().normal(size=len(b)), "y": b.close}), bars)
    assert report.columns.leaks.tolist() == [True, False] and report.columns.cause[0] == "random"
    assert "run twice" in str(report) and "seed" in str(report)


def test_state_kept_between_calls_has_a_message_of_its_own(bars):
    kept = {}
    report = check_causal(lambda b: b[["close"]] / kept.setdefault("mean", b.close.mean()), bars)
    assert report.columns.cause.tolist() == ["state"] and "fresh process" in str(report)


def test_an_answer_that_never_comes_from_the_fresh_process_is_noted(bars, monkeypatch):
    monkeypatch.delattr("os.fork")
    report = check_causal(lambda b: b[["close"]], bars)
    assert report.clean and not report.complete and "not tried: whether state is kept" in str(report)
    assert str(report).startswith("not proved, some of it could not be tried: none of 1 columns changed")


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), 9), lambda: time.sleep(60)], ids=["dead", "too slow"])
def test_a_scaler_that_keeps_its_state_is_not_called_proved_without_a_fresh_process(bars, monkeypatch, end):
    here, kept = os.getpid(), {}
    monkeypatch.setattr(causality, "PATIENCE", 0.2)

    def scaled(b):
        if os.getpid() != here:
            end()
        return b[["close"]] / kept.setdefault("mean", b.close.mean())

    report = check_causal(scaled, bars)
    assert not (report.clean and report.complete) and "whether state is kept between calls" in report.untried[0]


def test_what_no_value_of_the_bars_changes_is_noted(bars):
    whole = bars.close.shift(-1)

    def compute(b):
        return pd.DataFrame({"hour": b.index.hour, "copied": whole.reindex(b.index), "close": b.close, "one": 1.0}, index=b.index)

    report = check_causal(compute, bars)
    assert report.clean and report.complete
    assert len(report.notes) == 1 and "the values of the bars do not matter to hour, copied: fine for a clock" in report.notes[0]


def test_code_that_needs_many_bars_is_tried_where_it_can_be(bars):
    def hungry(b):
        if len(b) < 60:
            raise ValueError("60 bars are needed")
        return b[["close"]].rolling(5).mean()

    report = check_causal(hungry, bars)
    assert report.clean and not report.complete
    assert "compute fails on few bars, here" in report.untried[0] and "60 bars are needed" in report.untried[0]
    with pytest.raises(DataError, match="compute fails on .* bars, of which the first .* are the true ones: all 200"):
        check_causal(lambda b: b[["close"]] if len(b) == 200 else _fail("all 200"), bars)


def _fail(message):
    raise ValueError(message)


def test_known_at_names_a_column(bars):
    with pytest.raises(UsageError, match="known_at names no column of the result: 'end'"):
        check_causal(lambda b: b[["close"]], bars, known_at="end")


# What is fitted

INPUTS = ["now", "before"]


def table_of(bars):
    change = np.log(bars.close).diff()
    return pd.DataFrame({"now": change, "before": change.shift(1), "label": change.shift(-1)}).dropna()


def linear(x, y):
    return np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), y, rcond=None)[0]


def forecast_by(table, rows, scale=None):
    """A linear model of the rows' labels on scaled inputs, applied to all rows."""
    fitted = table.iloc[rows]
    by = (fitted if scale is None else scale)[INPUTS]
    inputs = np.clip(((table[INPUTS] - by.mean()) / by.std()).to_numpy(), -1, 1)
    weights = linear(inputs[rows], fitted.label)
    return pd.DataFrame({"edge": weights[0] + inputs @ weights[1:]}, index=table.index)


def sound(table, fold):
    return forecast_by(table, fold.train)


def scaled_on_all_rows(table, fold):
    return forecast_by(table, fold.train, scale=table)


def trained_on_the_test_too(table, fold):
    return forecast_by(table, np.union1d(fold.train, fold.test))


def scaled_within_the_batch(table, fold):
    found = forecast_by(table, fold.train)
    batch = found.edge.iloc[fold.test]
    found.iloc[fold.test, 0] = (batch - batch.mean()) / batch.std()
    return found


def answer_among_the_inputs(table, fold):
    return forecast_by(table, fold.train) + 1e-3 * table[["label"]].to_numpy()


def without_a_seed(table, fold):
    return forecast_by(table, fold.train) + np.random.default_rng().normal()


@pytest.mark.parametrize("kind", ["walk forward", "combinatorial"])
@pytest.mark.parametrize(
    "forecast, cause",
    [
        (sound, ""),
        (scaled_on_all_rows, "fit"),
        (trained_on_the_test_too, "fit"),
        (scaled_within_the_batch, "later"),
        (answer_among_the_inputs, "answers"),
        (without_a_seed, "random"),
    ],
)
def test_a_fit_that_saw_more_than_its_training_rows_is_caught(bars, forecast, cause, kind):
    table = table_of(bars)
    ends = pd.Series(table.index + pd.Timedelta(hours=1), table.index)
    folds = walk_forward(ends, train=80, test=40) if kind == "walk forward" else combinatorial_purged(ends, groups=4, test_groups=2)
    report = check_fit(forecast, table, folds, answers=["label"])
    assert report.columns.cause.tolist() == [cause], str(report)
    assert report.clean == (cause == "")


def test_check_fit_says_what_is_missing(bars):
    table = table_of(bars)
    with pytest.raises(UsageError, match="answers: no column 'target' in the table; found now, before, label"):
        check_fit(sound, table, [], answers=["target"])
    with pytest.raises(DataError, match="at least one fold"):
        check_fit(sound, table, [])


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=700)))
    frame = {"open": close, "high": close * 1.004, "low": close * 0.996, "close": close, "volume": rng.lognormal(3, 1, 700)}
    return pd.DataFrame(frame, index=schema.from_epoch_ms(np.arange(700) * 3_600_000))


def pipeline(bars, *, ahead=False, purge=True, scale=False):
    """Features, labels and a walk-forward with our own code; each option plants a fault."""
    features = build({"returns": [1, 4], "volatility": [12]}).compute(bars)
    features = (features / features.std()).round(1) if scale else features  # rounded: trees do not mind a mere scale
    labels = triple_barrier(bars, take_profit=0.02, stop_loss=0.02, horizon=6)
    labels = labels if purge else labels.assign(end_time=(labels.index + pd.Timedelta(hours=1)).where(labels.label.notna()))
    splits = config.Splits(train=300, test=90, embargo=0, scheme="sliding")
    trees = config.load().models
    small = trees.model_copy(update={"lightgbm": trees.lightgbm.model_copy(update={"trees": 5, "min_rows_per_leaf": 10})})
    fit = fitter("lightgbm", small)
    if ahead:
        whole = fit(features.iloc[20:-20].to_numpy(), labels.label.iloc[20:-20].to_numpy())
        fit = lambda x, y, weight=None: whole  # noqa: E731
    return walk_forward_forecasts(features, labels, splits, fit).forecasts


def test_our_own_walk_forward_is_sound(market):
    report = check_walk_forward(pipeline, market, folds=2)
    assert report.clean, str(report)
    assert report.columns.name.tolist() == ["p_down", "p_flat", "p_up", "fold"]


@pytest.mark.parametrize("fault", [{"ahead": True}, {"purge": False}, {"scale": True}], ids=["trained on its test", "unpurged", "scaler"])
def test_a_model_that_saw_its_test_rows_is_caught(market, fault):
    report = check_walk_forward(lambda bars: pipeline(bars, **fault), market, folds=2)
    assert set(report.columns.cause) == {"model", ""}, str(report)
    assert "purge labels" in str(report)


def test_a_walk_forward_needs_its_folds(bars):
    with pytest.raises(UsageError, match="expected a column 'fold' with the number of the test block, found close"):
        check_walk_forward(lambda b: b[["close"]], bars)
