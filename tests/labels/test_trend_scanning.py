"""Trend scanning against ordinary least squares, and what it must not do."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.labels import trend_scanning


def bars_of(close):
    close = np.asarray(close, dtype=float)
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    return pd.DataFrame(columns, schema.from_epoch_ms(np.arange(len(close)) * 3_600_000)).assign(volume=1.0)


def walk(seed, rows=150):
    return 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).standard_normal(rows)))


@pytest.mark.parametrize("seed", range(3))
def test_t_values_are_those_of_ordinary_least_squares(seed):
    from scipy.stats import linregress

    close = walk(seed)
    table = trend_scanning(bars_of(close), shortest=4, longest=30)
    for row in range(0, 120, 23):
        fits = [linregress(np.arange(h + 1), close[row : row + h + 1]) for h in range(4, 31)]
        t = np.array([fit.slope / fit.stderr for fit in fits])
        best = int(np.abs(t).argmax())
        found = table.iloc[row]
        assert found.t_value == pytest.approx(t[best], rel=1e-7)
        assert found.trend_end == table.index[row + 4 + best] and found.end_time == table.index[row + 30]
        assert found.label == np.sign(t[best])
        assert found.ret == pytest.approx(close[row + 4 + best] / close[row + 1] - 1)


def test_a_rise_then_a_fall():
    close = np.r_[np.arange(100.0, 121.0), np.arange(119.0, 79.0, -1.0)]
    table = trend_scanning(bars_of(close), shortest=3, longest=12)
    assert table["label"].iloc[:18].eq(1).all() and table["label"].iloc[20:49].eq(-1).all()
    assert np.isfinite(table["t_value"].iloc[:49]).all() and table["t_value"].iloc[0] > 1e6
    assert table["label"].iloc[49:].isna().all()


def test_what_does_not_move_has_no_trend():
    table = trend_scanning(bars_of(np.full(20, 7.0)), shortest=2, longest=5)
    assert table["label"].iloc[:15].eq(0).all() and table["t_value"].iloc[:15].eq(0).all()


def test_weak_trends_are_flat():
    bars = bars_of(walk(5))
    free, strict = trend_scanning(bars, shortest=4, longest=20), trend_scanning(bars, shortest=4, longest=20, least=10.0)
    weak = free["t_value"].abs() < 10
    assert weak.any() and strict["label"][weak].eq(0).all() and strict["label"][~weak].equals(free["label"][~weak])


def test_mirrored_prices_have_mirrored_trends():
    close = walk(8)
    up, down = (trend_scanning(bars_of(c), shortest=4, longest=20) for c in (close, 300 - close))
    np.testing.assert_allclose(down["t_value"], -up["t_value"], rtol=1e-8)
    assert down["trend_end"].equals(up["trend_end"])


def test_rows_long_after_a_jump_are_the_same_bits_as_without_it():
    close = walk(2)
    jumped = np.r_[1e9, close]
    found = trend_scanning(bars_of(jumped), shortest=4, longest=20)["t_value"].to_numpy()[1:]
    np.testing.assert_array_equal(found, trend_scanning(bars_of(close), shortest=4, longest=20)["t_value"])


def test_the_label_needs_the_longest_horizon_and_not_only_its_own():
    """Purging by `trend_end`, as in the paper, would let training see bars after it: here they overturn the label."""
    close = np.r_[100, 101, 102.2, 103.1, np.linspace(99, 60, 20)]
    calm = close.copy()
    calm[4:] = 102.5
    broken, kept = (trend_scanning(bars_of(c), shortest=3, longest=20).iloc[0] for c in (close, calm))
    assert (kept.label, kept.trend_end) == (1, bars_of(close).index[3])
    assert broken.label == -1 and broken.end_time == kept.end_time == bars_of(close).index[20]


def test_wrong_settings_are_refused():
    for settings, message in (
        ({"shortest": 1, "longest": 5}, "shortest must be a whole number of bars, at least 2"),
        ({"shortest": 6, "longest": 5}, "longest must be a whole number of bars, at least 6"),
        ({"shortest": 2, "longest": 5, "least": -1.0}, "least must be"),
    ):
        with pytest.raises(UsageError, match=message):
            trend_scanning(bars_of(walk(0)), **settings)
