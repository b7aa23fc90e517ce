"""When a label is known: the close of the bar that its end names."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import average_uniqueness, fixed_horizon, known_at, trend_scanning, triple_barrier

HOUR = 3_600_000


def random_bars(seed, rows=120):
    """A walk on hours of which a few are missing."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal(rows)))
    open_ = np.r_[100.0, close[:-1]]
    spread = 1 + 0.01 * rng.random((2, rows))
    prices = {"open": open_, "high": np.maximum(open_, close) * spread[0], "low": np.minimum(open_, close) / spread[1], "close": close}
    return pd.DataFrame(prices, schema.from_epoch_ms(np.cumsum(rng.integers(1, 3, rows)) * HOUR)).assign(volume=1.0)


KINDS = {
    "triple_barrier": lambda bars: triple_barrier(bars, take_profit=0.04, stop_loss=0.04, horizon=9),
    "fixed_horizon": lambda bars: fixed_horizon(bars, horizon=9, threshold=0.03),
    "trend_scanning": lambda bars: trend_scanning(bars, shortest=3, longest=9, least=2.0),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def test_known_at_is_the_close_of_the_last_bar():
    end = pd.Series(schema.from_epoch_ms([HOUR, HOUR])).where([True, False])
    found = known_at(end, "1h")
    assert found[0] == pd.Timestamp(2 * HOUR, unit="ms", tz="UTC") and found[1] is pd.NaT
    assert str(found.dtype) == schema.INDEX_DTYPE
    with pytest.raises(UsageError, match="timeframe"):
        known_at(end, "1 hour")


def test_every_kind_of_table_has_the_same_head(kind):
    bars = random_bars(0)
    table = kind(bars)
    assert list(table)[:3] == ["label", "end_time", "ret"] and table.index.equals(bars.index)
    assert str(table["end_time"].dtype) == schema.INDEX_DTYPE
    assert set(table["label"].dropna()) == {-1.0, 0.0, 1.0}
    assert table["end_time"].notna().equals(table["label"].notna()) and table["ret"].notna().equals(table["label"].notna())
    assert len(kind(bars.iloc[:0])) == 0 and kind(bars.iloc[:1])["label"].isna().all()


@pytest.mark.parametrize("seed", range(3))
def test_a_label_is_final_at_the_close_of_its_last_bar_and_unknown_before(kind, seed):
    bars = random_bars(seed)
    full = kind(bars)
    for cut in range(1, len(bars), 4):
        early = kind(bars.iloc[:cut])
        done = (full["end_time"].iloc[:cut] <= bars.index[cut - 1]).to_numpy()
        pd.testing.assert_frame_equal(early[done], full.iloc[:cut][done])
        assert early["label"][~done].isna().all()


@pytest.mark.parametrize("seed", range(3))
def test_no_bar_after_the_end_matters_by_a_single_bit(kind, seed):
    bars = random_bars(seed)
    full, row = kind(bars), 40
    stop = bars.index.get_loc(full["end_time"].iloc[row]) + 1
    changed = bars.copy()
    changed.iloc[stop:, :4] *= np.random.default_rng(seed).uniform(0.5, 2.0, (len(bars) - stop, 1))
    pd.testing.assert_series_equal(kind(changed).iloc[row], full.iloc[row])


def test_units_of_price_do_not_matter(kind):
    bars = random_bars(1)
    table = kind(bars)
    for power in (-20, -1, 3, 20):
        scaled = bars.assign(**{name: bars[name] * 2.0**power for name in ("open", "high", "low", "close")})
        pd.testing.assert_frame_equal(kind(scaled), table, check_exact=True)


def test_a_table_of_events_alone_is_refused_where_paths_are_counted():
    table = triple_barrier(random_bars(0), take_profit=0.01, stop_loss=0.01, horizon=3)
    with pytest.raises(DataError, match="give end_time of all bars"):
        average_uniqueness(table["end_time"].iloc[::10])
