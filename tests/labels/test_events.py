"""The CUSUM filter by hand, against its definition, and its causality."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import cusum_events


def closes(moves):
    return pd.Series(np.exp(np.cumsum(moves)), schema.from_epoch_ms(np.arange(len(moves)) * 3_600_000))


def test_by_hand():
    moves = [0, 0.6, 0.6, 0.6, -0.6, -0.6, 0.3, -0.3, -0.6, 0]
    # up:       0.6  1.2*  0.6   0    0   0.3   0    0   0      (* above 1: event, starts anew)
    # down:      0    0     0  -0.6 -1.2* 0   -0.3 -0.9 -0.9
    assert cusum_events(closes(moves), 1.0).tolist() == [0, 0, 1, 0, 0, -1, 0, 0, 0, 0]
    assert cusum_events(closes(moves), 0.5).tolist() == [0, 1, 1, 1, -1, -1, 0, 0, -1, 0]


def test_a_price_that_hovers_around_a_level_makes_no_event():
    assert (cusum_events(closes(np.tile([0.7, -0.7], 50)), 1.0) == 0).all()


def test_without_a_threshold_nothing_is_counted():
    moves = np.full(8, 0.6)
    close = closes(moves)
    threshold = pd.Series([1.0, 1.0, np.nan, 1.0, 1.0, 0.0, 1.0, 1.0], close.index)
    assert cusum_events(close, threshold).tolist() == [0, 0, 0, 0, 1, 0, 0, 1]


def random_walk(seed, rows=2000):
    rng = np.random.default_rng(seed)
    close = closes(0.01 * rng.standard_normal(rows))
    return close, pd.Series(rng.uniform(0.01, 0.05, rows), close.index).mask(rng.random(rows) < 0.01)


@pytest.mark.parametrize("seed", range(4))
def test_the_filter_follows_its_definition(seed):
    close, threshold = random_walk(seed)
    up = down = 0.0
    expected = []
    for change, limit in zip(np.log(close).diff().fillna(0.0), threshold):
        up, down = max(0.0, up + change), min(0.0, down + change)
        ran = {1: up > limit, -1: down < -limit}  # false where the limit is NaN
        move = max((side for side in (1, -1) if ran[side]), key=lambda side: {1: up, -1: -down}[side], default=0)
        up, down = (0.0 if move == 1 or np.isnan(limit) else up), (0.0 if move == -1 or np.isnan(limit) else down)
        expected.append(move)
    assert cusum_events(close, threshold).tolist() == expected


def test_the_future_does_not_matter_and_mirrored_prices_give_mirrored_events():
    close, threshold = random_walk(9)
    events = cusum_events(close, threshold)
    for cut in (1, 7, 500, 1999):
        pd.testing.assert_series_equal(cusum_events(close.iloc[:cut], threshold.iloc[:cut]), events.iloc[:cut])
    assert (cusum_events(1 / close, threshold) == -events).all()
    assert (cusum_events(close * 1024, threshold) == events).all() and set(events) == {-1.0, 0.0, 1.0}


def test_two_starts_agree_once_both_sides_have_had_an_event():
    close, threshold = random_walk(3)
    late = cusum_events(close.iloc[300:], threshold.iloc[300:])
    full = cusum_events(close, threshold).iloc[300:]
    settled = max((late == side).to_numpy().argmax() for side in (1, -1)) + 200
    assert (late.iloc[settled:] == full.iloc[settled:]).all()


def test_wrong_data_is_refused():
    close, threshold = random_walk(0, 10)
    for bad, message in ((threshold.iloc[:5], "on the index of close"), (-threshold.fillna(1.0), "must not be negative")):
        with pytest.raises(DataError, match=message):
            cusum_events(close, bad)
    with pytest.raises(DataError, match="close must be above 0"):
        cusum_events(close - close.iloc[3], threshold)


def test_wrong_use_is_refused():
    close, _ = random_walk(0, 10)
    for wrong in (close.to_frame(), close.to_numpy(), None, "close", close.reset_index(drop=True)):
        with pytest.raises(DataError, match="cusum_events: close must be a Series by time, found"):
            cusum_events(wrong, 0.01)
    with pytest.raises(DataError, match="cusum_events: bars must be in strictly increasing time order"):
        cusum_events(close.iloc[::-1], 0.01)
    for wrong in (None, "0.01", True, np.nan, -0.01, 0.0, close.to_numpy(), close.to_frame()):
        with pytest.raises(UsageError, match="cusum_events: threshold must be a number above 0 or a Series"):
            cusum_events(close, wrong)
