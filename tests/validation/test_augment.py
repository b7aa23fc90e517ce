"""Augmentation: what each way keeps, and that no row outside the training fold has a part in it."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import triple_barrier
from quantalpha.validation import combinatorial_purged, walk_forward
from quantalpha.validation.augment import block_bootstrap, jitter, magnitude_warp, time_warp, training_windows

WARPS = {
    "jitter": lambda windows, seed=1: jitter(windows, scale=0.3, seed=seed),
    "magnitude": lambda windows, seed=1: magnitude_warp(windows, scale=0.3, seed=seed),
    "time": lambda windows, seed=1: time_warp(windows, scale=0.6, seed=seed),
}


@pytest.fixture(params=WARPS)
def warp(request):
    return WARPS[request.param]


def examples(n=400, time=48, seed=0):
    """Windows of three features: a walk, what goes with it, and one apart."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal((n, time)), axis=1)
    return np.stack([walk, 2 * walk + rng.standard_normal((n, time)), rng.standard_normal((n, time))], axis=2)


def market(seed=0, rows=1500):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(rows)))
    open_ = np.r_[100.0, close[:-1]]
    prices = {"open": open_, "high": np.maximum(open_, close) * 1.002, "low": np.minimum(open_, close) * 0.998, "close": close}
    return pd.DataFrame(prices, schema.from_epoch_ms(np.arange(rows) * 3_600_000)).assign(volume=1.0)


def tables(bars):
    """(features of the row itself, label table)"""
    features = np.column_stack([bars["close"] / bars["open"] - 1, bars["high"] / bars["low"] - 1])
    return features, triple_barrier(bars, take_profit=0.02, stop_loss=0.02, horizon=12)


FOLDS = {
    "sliding": lambda end: list(walk_forward(end, train=600, test=200, embargo=10))[1],
    "combinatorial": lambda end: list(combinatorial_purged(end, groups=6, test_groups=2, embargo=10))[7],
}


@pytest.mark.parametrize("fold", FOLDS)
def test_rows_outside_the_fold_do_not_matter_by_a_single_bit(fold):
    bars = market()
    features, table = tables(bars)
    train = FOLDS[fold](table["end_time"]).train
    outside = np.setdiff1d(np.arange(len(bars)), train)
    changed = bars.copy()
    changed.iloc[outside, :4] *= np.random.default_rng(1).uniform(0.5, 2.0, (len(outside), 1))
    results = []
    for bars_seen, source in ((bars, table), (changed, tables(changed)[1])):
        values = tables(bars_seen)[0]
        windows, rows = training_windows(values, train, length=24, end_time=table["end_time"])
        drawn = block_bootstrap(train, block=20, seed=3, end_time=table["end_time"])
        made = [WARPS[name](windows) for name in WARPS]
        results.append([windows, *made, values[drawn], source[["label", "ret"]].to_numpy()[drawn], source["label"].to_numpy()[rows]])
    for kept, other in zip(*results):
        np.testing.assert_array_equal(kept, other)
    assert len(results[0][0]) > 300 and not np.array_equal(features[outside], tables(changed)[0][outside])


@pytest.mark.parametrize("fold", FOLDS)
def test_windows_and_blocks_stay_within_consecutive_training_rows(fold):
    _, table = tables(market())
    end_time, train = table["end_time"], FOLDS[fold](table["end_time"]).train
    numbers = np.arange(len(table), dtype=float)[:, None]
    windows, rows = training_windows(numbers, train, length=24)
    assert np.isin(windows, train).all() and (np.diff(windows[:, :, 0], axis=1) == 1).all() and (windows[:, -1, 0] == rows).all()
    stretches = np.split(train, np.flatnonzero(np.diff(train) > 1) + 1)
    assert len(rows) == sum(max(len(stretch) - 23, 0) for stretch in stretches)
    drawn = block_bootstrap(train, block=15, seed=0)
    assert np.isin(drawn, train).all() and len(drawn) == len(train)
    for end in end_time.iloc[block_bootstrap(train, block=15, seed=0, end_time=end_time)]:
        assert end_time.index.get_loc(end) in train  # not even the label has seen a row outside


def test_blocks_have_the_mean_length_asked_for_and_visit_all_rows():
    train = np.arange(100, 5100)
    drawn = block_bootstrap(train, block=25, seed=0, rows=200_000)
    breaks = np.flatnonzero(np.diff(drawn) != 1)
    assert 200_000 / (len(breaks) + 1) == pytest.approx(25, rel=0.05)
    assert set(drawn) == set(train)
    lonely = block_bootstrap(np.array([3, 5, 7]), block=10, seed=0, rows=50)
    assert set(lonely) == {3, 5, 7}


def test_blocks_keep_what_follows_what_and_single_rows_do_not():
    rng = np.random.default_rng(0)
    series = np.zeros(5000)
    for row in range(1, 5000):
        series[row] = 0.9 * series[row - 1] + rng.standard_normal()

    def memory(drawn):
        return np.corrcoef(series[drawn[1:]], series[drawn[:-1]])[0, 1]

    assert memory(block_bootstrap(np.arange(5000), block=100, seed=1)) > 0.85
    assert abs(memory(block_bootstrap(np.arange(5000), block=1, seed=1))) < 0.1


def test_the_same_seed_gives_the_same_bits_and_another_does_not(warp):
    windows = examples()
    np.testing.assert_array_equal(warp(windows), warp(windows))
    assert warp(windows).shape == windows.shape and not np.array_equal(warp(windows, seed=2), warp(windows))
    drawn = [block_bootstrap(np.arange(99), block=5, seed=seed).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_scale_zero_changes_nothing():
    windows = examples(20)
    for same in (jitter, magnitude_warp, time_warp):
        np.testing.assert_allclose(same(windows, scale=0.0, seed=0), windows, atol=1e-12)


def test_jitter_keeps_the_mean_and_widens_the_spread_by_what_it_says():
    windows = examples(3000)
    more = jitter(windows, scale=0.5, seed=0)
    spread = windows.std(axis=(0, 1))
    assert (np.abs((more - windows).mean(axis=(0, 1))) < 5 * 0.5 * spread / np.sqrt(3000 * 48)).all()
    np.testing.assert_allclose(more.std(axis=(0, 1)) / spread, np.sqrt(1.25), rtol=0.01)
    was, found = (np.corrcoef(w[:, :, 0].ravel(), w[:, :, 1].ravel())[0, 1] for w in (windows, more))
    assert found == pytest.approx(was / 1.25, abs=0.01)


def test_magnitude_warp_keeps_signs_and_ratios_of_features():
    windows = examples(50)
    more = magnitude_warp(windows, scale=0.3, seed=0)
    assert (np.sign(more) == np.sign(windows)).all()
    factor = more / windows
    np.testing.assert_allclose(factor[:, :, 0], factor[:, :, 2], rtol=1e-9)
    assert factor.std() > 0.1 and np.abs(np.diff(np.log(factor[:, :, 0]), axis=1)).max() < 0.15  # smooth


def test_time_warp_keeps_ends_range_and_order():
    windows = examples(100)
    more = time_warp(windows, scale=0.6, seed=0)
    np.testing.assert_allclose(more[:, [0, -1]], windows[:, [0, -1]], atol=1e-9)
    assert (more.max(axis=1) <= windows.max(axis=1) + 1e-12).all() and (more.min(axis=1) >= windows.min(axis=1) - 1e-12).all()
    rising = np.broadcast_to(np.arange(48.0)[None, :, None], (100, 48, 1))
    clock = time_warp(rising, scale=0.6, seed=0)[:, :, 0]
    assert (np.diff(clock, axis=1) > 0).all() and np.abs(clock - np.arange(48.0)).max() > 3
    together = time_warp(np.concatenate([rising, -rising], axis=2), scale=0.6, seed=0)
    np.testing.assert_allclose(together[:, :, 0], -together[:, :, 1])


def test_what_cannot_be_augmented_is_refused():
    windows, train = examples(5), np.arange(10)
    gap = windows.copy()
    gap[0, 0, 0] = np.nan
    for error, message, call in (
        (DataError, "NaN", lambda: jitter(gap, scale=0.1, seed=0)),
        (DataError, r"windows\[n, time, features\]", lambda: jitter(windows[0], scale=0.1, seed=0)),
        (UsageError, "scale", lambda: magnitude_warp(windows, scale=-1, seed=0)),
        (UsageError, "knots", lambda: time_warp(windows, scale=0.1, seed=0, knots=1)),
        (DataError, "one row", lambda: time_warp(windows[:, :1], scale=0.1, seed=0)),
        (UsageError, "block", lambda: block_bootstrap(train, block=0, seed=0)),
        (UsageError, "length", lambda: training_windows(np.zeros((10, 1)), train, length=0)),
        (DataError, "increasing positions", lambda: training_windows(np.zeros((10, 1)), train[::-1], length=2)),
        (DataError, "increasing positions", lambda: training_windows(np.zeros((5, 1)), train, length=2)),
        (DataError, "no training row", lambda: block_bootstrap(train[:0], block=2, seed=0, rows=3)),
    ):
        with pytest.raises(error, match=message):
            call()
    assert block_bootstrap(train[:0], block=2, seed=0).tolist() == []
    assert training_windows(np.zeros((10, 2)), train[:0], length=3)[0].shape == (0, 3, 2)
