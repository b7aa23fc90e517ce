"""Laws of the triple barrier beyond its hand-made cases: exact mirrors, wider barriers; and a plain search on long and recorded paths."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.labels import barrier_volatility, triple_barrier
from quantalpha.labels.triple_barrier import BLOCK


def doublings(seed, rows=300):
    """Bars whose prices are powers of two, so that 1 / price is exact: moves of the market and its mirror are the same bits."""
    rng = np.random.default_rng(seed)
    close = np.clip(np.cumsum(rng.integers(-1, 2, rows)), -200, 200)
    open_ = np.r_[0, close[:-1]] + rng.integers(-1, 2, rows) * (rng.random(rows) < 0.2)
    high, low = np.maximum(open_, close) + (rng.random(rows) < 0.2), np.minimum(open_, close) - (rng.random(rows) < 0.2)
    prices = {name: 2.0**power for name, power in (("open", open_), ("high", high), ("low", low), ("close", close))}
    return pd.DataFrame(prices, schema.from_epoch_ms(np.arange(rows) * 60_000)).assign(volume=1.0)


@pytest.mark.parametrize("entry", ["next_open", "close"])
@pytest.mark.parametrize("halvings", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_a_long_is_a_short_on_the_inverse_price_bit_for_bit(seed, halvings, entry):
    bars = doublings(seed)
    inverse = pd.DataFrame({"open": 1 / bars.open, "high": 1 / bars.low, "low": 1 / bars.high, "close": 1 / bars.close, "volume": 1.0})
    up, down = 2.0**halvings - 1.0, 1.0 - 2.0**-halvings  # a rise to twice the price is a fall to half of the inverse one
    long = triple_barrier(bars, take_profit=up, stop_loss=down, horizon=4, entry=entry)
    short = pd.Series(-1.0, bars.index)
    mirrored = triple_barrier(inverse, take_profit=down, stop_loss=up, horizon=4, entry=entry, side=short)
    pd.testing.assert_frame_equal(mirrored.drop(columns="ret"), long.drop(columns="ret"))
    np.testing.assert_array_equal(1.0 / (1.0 - mirrored.ret) - 1.0, long.ret)
    assert (long.barrier.value_counts() > 0)[["take_profit", "stop_loss"]].all()


def walk(rows, seed=0, spread=7e-4):
    rng = np.random.default_rng(seed)
    close = 30_000 * np.exp(np.cumsum(spread * rng.standard_normal(rows)))
    open_ = np.r_[30_000.0, close[:-1]]
    prices = {"open": open_, "high": np.maximum(open_, close) * 1.0002, "low": np.minimum(open_, close) * 0.9998, "close": close}
    return pd.DataFrame(prices, schema.from_epoch_ms(np.arange(rows) * 60_000)).assign(volume=1.0)


def test_wider_barriers_are_met_later_and_a_longer_horizon_only_adds():
    bars = walk(5000)
    ends = []
    for width in (0.25, 0.5, 1.0, 2.0, np.inf):
        table = triple_barrier(bars, take_profit=0.01 * width, stop_loss=0.01 * width, horizon=100)
        ends.append(table.end_time.fillna(bars.index[-1] + pd.Timedelta("1min")))
    assert all((later >= sooner).all() for sooner, later in zip(ends, ends[1:]))
    short, long = (triple_barrier(bars, take_profit=0.01, stop_loss=0.01, horizon=horizon) for horizon in (50, 100))
    met = short.label.abs() == 1
    pd.testing.assert_frame_equal(short[met], long[met])


def test_one_barrier_off_leaves_the_other_as_it_is():
    bars = walk(3000)
    both = triple_barrier(bars, take_profit=0.01, stop_loss=0.01, horizon=100)
    for off, name, label in (("stop_loss", "take_profit", 1), ("take_profit", "stop_loss", -1)):
        one = triple_barrier(bars, **{"take_profit": 0.01, "stop_loss": 0.01, "horizon": 100} | {off: np.inf})
        assert set(one.barrier.dropna()) == {name, "time"}
        first = both.label == label
        pd.testing.assert_frame_equal(one[first], both[first])


@pytest.mark.parametrize("horizon", [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 1000])
@pytest.mark.parametrize("width", [0.001, 0.01, 0.05])
def test_paths_over_every_stride_end_where_a_plain_search_ends(horizon, width):
    bars = walk(9000, seed=horizon)  # longer than a block of decisions
    rows = np.r_[np.random.default_rng(horizon).integers(0, len(bars), 150), 4094:4098, len(bars) - 5 : len(bars)]
    check_against_search(bars, rows, pd.Series(width, bars.index), horizon)


def test_every_row_of_several_blocks_ends_where_a_plain_search_ends():
    bars = walk(2 * BLOCK + 1500, seed=5)
    check_against_search(bars, range(len(bars)), pd.Series(0.004, bars.index), 24)


@pytest.mark.real
@pytest.mark.parametrize("horizon", [24, 240])
def test_recorded_bars_end_where_a_plain_search_ends(shared_data, horizon):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").pipe(as_bars)
    rows = np.random.default_rng(0).integers(200, len(bars), 1500)
    check_against_search(bars, rows, barrier_volatility(bars, window=168, horizon=horizon), horizon)


def as_bars(table):
    """Recorded klines as a table of bars."""
    bars = table.set_index("timestamp") if "timestamp" in table else table
    index = bars.index.tz_localize("UTC") if bars.index.tz is None else bars.index
    return bars.set_index(index.as_unit("ms").rename("timestamp"))[list(schema.REQUIRED)].astype(float)


def check_against_search(bars, rows, volatility, horizon):
    side = pd.Series(np.random.default_rng(1).choice([-1.0, 1.0], len(bars)), bars.index)
    table = triple_barrier(bars, take_profit=1.0, stop_loss=0.75, horizon=horizon, volatility=volatility, side=side)
    open_, high, low, close = (bars[name].to_numpy() for name in ("open", "high", "low", "close"))
    label, end, ret = table.label.to_numpy(), bars.index.get_indexer(table.end_time), table.ret.to_numpy()
    for row in rows:
        path = slice(row + 1, row + 1 + horizon)
        s, v, bars_ahead = side.iloc[row], volatility.iloc[row], len(close[path])
        if not bars_ahead or not v > 0:
            assert np.isnan(label[row])
            continue
        entry = open_[row + 1]
        target, stop = entry * (1 + s * v), entry * (1 - s * 0.75 * v)
        lost, gained = (low[path] <= stop, high[path] >= target) if s > 0 else (high[path] >= stop, low[path] <= target)
        met = np.flatnonzero(lost | gained)
        if len(met):
            assert (label[row], end[row]) == (-1 if lost[met[0]] else 1, row + 1 + met[0])
        elif bars_ahead < horizon:
            assert np.isnan(label[row])
        else:
            assert (label[row], end[row]) == (0, row + horizon)
            assert ret[row] == pytest.approx(s * (close[row + horizon] / entry - 1), abs=1e-14)
