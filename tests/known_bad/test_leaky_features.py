"""Leaks seen in the field, planted: nearly every one must be caught, and sound code must pass. See leaks.py and clean.py."""

import re

import numpy as np
import pandas as pd
import pytest
from known_bad import corpus
from known_bad.clean import Incremental, look_alikes, registered
from known_bad.leaks import LEAKS

from quantalpha.features import FAMILIES, build
from quantalpha.labels import barrier_volatility, triple_barrier
from quantalpha.validation import check_causal
from quantalpha.validation.causality_evidence import CAUSES

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning", "ignore::pandas.errors.PerformanceWarning")

RECALL, FALSE_ALARMS = 0.97, 0.01
CUTS = 10
# Known to escape on the made bars; a test says when one no longer does.
ESCAPES: set[str] = set()
TOLD = {
    "next_return": "ahead",
    "volatility_to_come": "ahead",
    "centred_mean": "ahead",
    "smoothed_both_ways": "ahead",
    "whole_series_score": "series",
    "quantile_bins": "series",
    "clipped_outliers": "series",
    "whole_series_wavelet": "series",
    "principal_component": "series",
    "daily_close": "period",
    "high_of_the_day_in_the_morning": "period",
    "four_hour_bar_before_it_closed": "period",
    "hours_to_the_next_bar": "length",
    "share_of_all_rows": "length",
    "columns_in_order_of_size": "columns",
    "noise_without_a_seed": "random",
    "noise_in_one_row": "random",
    "mean_of_the_first_call": "state",
    "cached_by_the_first_time": "state",
    "longest_history_seen": "state",
}


@pytest.fixture(scope="module")
def bars():
    return corpus.made()


def framed(function):
    """A table of what the function gives."""

    def compute(bars):
        found = function(bars)
        return found.to_frame("leaky") if isinstance(found, pd.Series) else found

    return compute


def judged(name, bars, seed=0):
    return check_causal(framed(LEAKS[name]()), bars, cuts=CUTS, seed=seed)


def test_the_corpus_is_large_enough():
    assert len(LEAKS) >= 60
    assert len(ESCAPES) <= (1 - RECALL) * len(LEAKS)


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_caught(bars, name):
    report = judged(name, bars)
    assert report.clean == (name in ESCAPES), str(report)
    guilty = report.columns[report.columns.leaks]
    assert (guilty.max_diff > 0).all() and guilty.cause.isin(CAUSES).all()
    assert guilty.first_cut.dropna().isin(bars.index).all()
    if name in TOLD:
        assert set(guilty.cause) == {TOLD[name]}, str(report)


@pytest.mark.real
def test_recall_on_recorded_bars(shared_data):
    bars = corpus.recorded(shared_data, 2_000)
    escaped = [name for name in LEAKS if judged(name, bars).clean]
    assert len(escaped) <= (1 - RECALL) * len(LEAKS), escaped


def test_leaks_are_told_from_the_sound_columns_beside_them(bars):
    sound = build({"returns": [1], "volatility": [24], "calendar": [24]})
    names = ["next_return_in_one_row_of_a_hundred", "centred_mean", "whole_series_rank", "future_filled_gaps", "flag_before_a_fall"]
    names += [
        "next_return_of_one_ten_millionth",
        "daily_close",
        "smoothed_both_ways",
        "interpolated_gaps",
        "next_return_patched_at_the_end",
    ]
    report = check_causal(lambda b: sound.compute(b).assign(**{name: LEAKS[name]()(b) for name in names}), bars, cuts=CUTS)
    assert report.columns.set_index("name").leaks.to_dict() == dict.fromkeys(sound.names, False) | dict.fromkeys(names, True)


def accused(bars):
    """(columns accused, number of columns judged) of all sound code."""
    catalogue = registered()
    assert {name for name in FAMILIES if any(feature.name.startswith(name) for feature in catalogue.features)} == set(FAMILIES)
    sets = [(catalogue.compute, corpus.supplied(bars, catalogue.columns)), (look_alikes, bars), (Incremental(), bars)]
    reports = [check_causal(compute, given, cuts=2) for compute, given in sets]
    assert all(report.complete for report in reports), [report.untried for report in reports]
    clocks = re.findall(r"([a-z_]+)_\d+_(?:sin|cos|left)", reports[0].notes[0])
    assert set(clocks) == {"calendar", "funding_clock"} and len(clocks) == reports[0].notes[0].count(", ")
    table = pd.concat([report.columns for report in reports])
    return table[table.leaks], len(table)


def test_sound_code_is_not_accused(bars):
    guilty, count = accused(bars)
    assert count >= 100
    assert len(guilty) <= FALSE_ALARMS * count, guilty


@pytest.mark.real
def test_sound_code_is_not_accused_on_recorded_bars(shared_data):
    guilty, count = accused(corpus.recorded(shared_data, 2_000))
    assert len(guilty) <= FALSE_ALARMS * count, guilty


def test_long_memories_are_not_leaks(bars):
    def compute(b):
        return pd.DataFrame(
            {
                "sum": b.volume.cumsum(),
                "ewm": b.close.ewm(span=300).mean(),
                "record": b.close.cummax(),
                "long": b.close.rolling(500, min_periods=1).max(),
                "lagged": b.close.shift(400),
                "filled": b.open_interest.ffill(),
            }
        )

    report = check_causal(compute, bars)
    assert report.clean, str(report)


def test_barrier_volatility_is_causal_and_labels_are_not(bars):
    def compute(b):
        volatility = barrier_volatility(b, window=48, horizon=12)
        label = triple_barrier(b, take_profit=1.0, stop_loss=1.0, horizon=12, volatility=volatility).label
        return pd.DataFrame({"volatility": volatility, "label": label})

    assert check_causal(compute, bars, cuts=5).columns.leaks.tolist() == [False, True]


# Labels may use what follows, up to the time they say


def barriers(b):
    volatility = barrier_volatility(b, window=48, horizon=12)
    return triple_barrier(b, take_profit=1.0, stop_loss=1.0, horizon=12, volatility=volatility)


def known_a_bar_early(b):
    table = barriers(b)
    return table.assign(end_time=table.end_time - pd.Timedelta(hours=1))


def said_to_be_known_at_once(b):
    table = barriers(b)
    return table.assign(end_time=table.index.where(table.label.notna()))


def unfinished_taken_for_flat(b):
    table = barriers(b)
    return table.assign(label=table.label.fillna(0.0), end_time=table.end_time.fillna(table.index[-1]))


def scaled_by_the_whole_series(b):
    table = barriers(b)
    return table.assign(ret=table.ret / table.ret.std())


def weighed_by_labels_to_come(b):
    """Concurrency counted over labels that are not yet known when this one ends."""
    table = barriers(b)
    alive = np.zeros(len(b))
    for start, end in enumerate(b.index.get_indexer(table.end_time)):
        alive[start + 1 : end + 1] += 1
    return table.assign(
        ret=[np.nan if end < 0 else alive[start + 1 : end + 1].mean() for start, end in enumerate(b.index.get_indexer(table.end_time))]
    )


def test_labels_are_known_at_their_end(bars):
    report = check_causal(barriers, bars, cuts=CUTS, known_at="end_time")
    assert report.clean, str(report)
    assert report.columns.name.tolist() == ["label", "end_time", "ret", "barrier"]


@pytest.mark.parametrize(
    "labels, column",
    [
        (known_a_bar_early, "label"),
        (said_to_be_known_at_once, "label"),
        (unfinished_taken_for_flat, "label"),
        (scaled_by_the_whole_series, "ret"),
        (weighed_by_labels_to_come, "ret"),
    ],
)
def test_labels_known_later_than_they_say_are_caught(bars, labels, column):
    report = check_causal(labels, bars, cuts=CUTS, known_at="end_time")
    assert report.columns.set_index("name").leaks[column], str(report)
