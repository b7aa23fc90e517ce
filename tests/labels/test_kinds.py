"""What `params.labels` asks for: each kind as its own function gives it, only at events, with its weights; proved to be known in time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.config import Labels
from quantalpha.labels import (
    average_uniqueness,
    barrier_volatility,
    cusum_events,
    fixed_horizon,
    label,
    return_attribution,
    trend_scanning,
    triple_barrier,
)
from quantalpha.validation import check_causal

PARAMS = Labels(
    kind="triple_barrier", take_profit=1.0, stop_loss=0.5, horizon=12, volatility_window=24, threshold=0.5, shortest=4, events=None,
    weights="uniqueness", decay=1.0,
)  # fmt: skip
KINDS = ["triple_barrier", "fixed_horizon", "trend_scanning"]
WEIGHTS = ["uniqueness", "attribution", "equal"]


def having(**values):
    return PARAMS.model_copy(update=values)


def walk(seed=0, rows=400):
    """Hours of 1 %, a few of them missing."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(rows)))
    open_ = np.r_[100.0, close[:-1]]
    prices = {"open": open_, "high": np.maximum(open_, close) * 1.002, "low": np.minimum(open_, close) * 0.998, "close": close}
    hours = np.cumsum(rng.choice([1, 1, 1, 5], rows))
    return pd.DataFrame(prices, schema.from_epoch_ms(hours * 3_600_000)).assign(volume=1.0)


def test_each_kind_is_its_own_function():
    bars = walk()
    volatility = barrier_volatility(bars, window=24, horizon=12)
    expected = {
        "triple_barrier": triple_barrier(bars, take_profit=1.0, stop_loss=0.5, horizon=12, volatility=volatility),
        "fixed_horizon": fixed_horizon(bars, horizon=12, threshold=0.5, volatility=volatility),
        "trend_scanning": trend_scanning(bars, shortest=4, longest=12, least=0.5),
    }
    for kind, table in expected.items():
        found = label(bars, having(kind=kind))
        pd.testing.assert_frame_equal(found.drop(columns="weight"), table, check_exact=True)
        assert {-1.0, 1.0} <= set(found["label"].dropna())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_labels_asked_for(kind):
    bars = walk()
    for events in (None, 0.5):
        end = label(bars, having(kind=kind, events=events))["end_time"]
        expected = [average_uniqueness(end), return_attribution(bars, end), end.notna().astype(float).where(end.notna())]
        for weights, weight in zip(WEIGHTS, expected):
            found = label(bars, having(kind=kind, events=events, weights=weights))["weight"]
            pd.testing.assert_series_equal(found, weight, check_exact=True, check_names=False)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from(KINDS), st.floats(0.1, 3.0))
def test_events_leave_labels_as_they_are_and_make_each_say_no_less_of_its_own(seed, kind, events):
    bars = walk(seed, rows=150)
    every, some = (label(bars, having(kind=kind, events=far)) for far in (None, events))
    happened = cusum_events(bars["close"], events * barrier_volatility(bars, window=24, horizon=12)) != 0
    outcome = every.drop(columns="weight")
    pd.testing.assert_frame_equal(some.drop(columns="weight"), outcome.where(happened), check_exact=True)
    assert some[~happened].isna().all(axis=None)
    assert some["weight"].notna().equals(some["label"].notna())
    assert (some["weight"].dropna() >= every["weight"][some["weight"].notna()] - 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("events", [None, 0.3])
def test_every_column_but_the_weight_is_known_at_its_end(kind, events):
    params = having(kind=kind, events=events)
    report = check_causal(lambda bars: label(bars, params).drop(columns="weight"), walk(rows=1500), cuts=4, known_at="end_time")
    assert report.clean, str(report)


def test_without_an_event_nothing_is_asked():
    table = label(walk(), having(events=1e6))
    assert table.isna().all(axis=None) and str(table["end_time"].dtype) == schema.INDEX_DTYPE


@pytest.mark.parametrize("kind", KINDS)
def test_no_label_is_learnt_from_a_path_that_touches_a_masked_bar(kind):
    bars, params = walk(), having(kind=kind)
    masked, flagged = np.zeros(400), np.zeros(400)
    masked[200], flagged[200] = schema.MASKED, schema.FLAGGED
    plain, without = label(bars, params), label(bars.assign(disputed=masked), params)
    rows = np.arange(400)
    end = bars.index.get_indexer(plain["end_time"])
    touched = (end >= 0) & (rows <= 200) & (end >= 200)
    assert touched.any() and without["label"][touched].isna().all() and without["end_time"][touched].isna().all()
    assert without["label"][~touched].equals(plain["label"][~touched])
    assert label(bars.assign(disputed=flagged), params).equals(plain), "a flagged bar teaches as any other"
