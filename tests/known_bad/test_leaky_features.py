"""Leaks seen in the field, planted: every one must be caught, and sound code must pass."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.features import FAMILIES, build
from quantalpha.labels import barrier_volatility, triple_barrier
from quantalpha.validation import check_causal

SPEC = {family: [5, 24] for family in FAMILIES}


@pytest.fixture(scope="module")
def bars():
    """1,500 hours of a random walk with funding and some missing open interest."""
    rng = np.random.default_rng(5)
    rows = 1_500
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=rows)))
    frame = {
        "open": close * np.exp(0.001 * rng.normal(size=rows)),
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": rng.lognormal(3, 1, rows),
        "funding_rate": np.where(np.arange(rows) % 8 == 0, 1e-4, 0.0),
        "open_interest": np.where(rng.random(rows) < 0.02, np.nan, rng.lognormal(8, 0.1, rows)),
    }
    return pd.DataFrame(frame, index=schema.from_epoch_ms(1_600_000_000_000 + np.arange(rows) * 3_600_000))


def next_return(bars):
    return bars.close.shift(-1) / bars.close - 1


def next_return_patched_at_the_end(bars):
    return next_return(bars).fillna(0.0)


def centred_mean(bars):
    return bars.close.rolling(11, center=True).mean()


def whole_series_score(bars):
    return (bars.close - bars.close.mean()) / bars.close.std()


def whole_series_rank(bars):
    return bars.volume.rank(pct=True)


def future_filled_gaps(bars):
    return bars.open_interest.bfill()


def interpolated_gaps(bars):
    return bars.open_interest.interpolate()


def next_return_in_one_row_of_a_hundred(bars):
    rare = (bars.volume * 1e6).astype(int) % 100 == 0
    return bars.close.pct_change().mask(rare, next_return_patched_at_the_end(bars))


def next_return_after_the_largest_moves(bars):
    move = bars.close.pct_change()
    return move.mask(move.abs() > 0.03, next_return_patched_at_the_end(bars))


def alarm_before_the_worst_bar(bars):
    return (bars.close.pct_change().shift(-1) < -0.035).astype(float)


def daily_close(bars):
    """The day's last close, known to every hour of that day."""
    return bars.close.groupby(bars.index.floor("D")).transform("last")


def smoothed_both_ways(bars):
    return bars.close[::-1].ewm(span=10).mean()[::-1]


LEAKS = [
    next_return,
    next_return_patched_at_the_end,
    centred_mean,
    whole_series_score,
    whole_series_rank,
    future_filled_gaps,
    interpolated_gaps,
    next_return_in_one_row_of_a_hundred,
    next_return_after_the_largest_moves,
    alarm_before_the_worst_bar,
    daily_close,
    smoothed_both_ways,
]


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_leak_is_caught_alone(bars, leak, seed):
    report = check_causal(lambda b: leak(b).to_frame("leaky"), bars, seed=seed)
    assert not report.clean
    assert report.columns.leaks.tolist() == [True]
    assert report.columns.max_diff[0] > 0
    assert report.columns.first_cut[0] in bars.index


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_leak_is_caught_among_sound_features(bars, leak):
    sound = build({"returns": [1], "volatility": [24], "calendar": [24]})
    report = check_causal(lambda b: sound.compute(b).assign(leaky=leak(b)), bars)
    assert report.columns.set_index("name").leaks.to_dict() == dict.fromkeys(sound.names, False) | {"leaky": True}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_registered_feature_is_causal(bars, family):
    report = check_causal(build({family: SPEC[family]}).compute, bars, cuts=10)
    assert report.clean, str(report)


def test_the_whole_set_is_causal(bars):
    report = check_causal(build(SPEC).compute, bars, cuts=5)
    assert report.clean, str(report)
    assert tuple(report.columns.name) == build(SPEC).names


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
