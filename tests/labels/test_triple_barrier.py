"""Triple-barrier labels worked by hand, bar by bar, and their invariances."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import barrier_volatility, triple_barrier


def make(*rows):
    """Bars from (open, high, low, close), an hour apart."""
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float).assign(volume=1.0)
    return frame.set_index(schema.from_epoch_ms(np.arange(len(rows)) * 3_600_000))


def first(bars, **settings):
    """The label of the first decision; from 100 the levels are 112.5 and 93.75 (exact in binary)."""
    settings = {"take_profit": 0.125, "stop_loss": 0.0625, "horizon": 3} | settings
    return triple_barrier(bars, **settings).iloc[0]


DECISION = (100, 100, 100, 100)
CALM = (100, 101, 99, 100)


def check(found, bars, label, barrier, row, ret):
    assert (found.label, found.barrier, found.end_time) == (label, barrier, bars.index[row])
    assert found.ret == pytest.approx(ret, abs=1e-14)


def test_take_profit_at_its_level():
    bars = make(DECISION, CALM, (105, 112.5, 104, 108))
    check(first(bars), bars, 1, "take_profit", 2, 0.125)


def test_stop_loss_at_its_level():
    bars = make(DECISION, CALM, (97, 99, 93.75, 96))
    check(first(bars), bars, -1, "stop_loss", 2, -0.0625)


def test_time_at_the_last_close():
    bars = make(DECISION, CALM, CALM, (100, 104, 99, 103), (100, 200, 1, 100))
    check(first(bars), bars, 0, "time", 3, 0.03)


def test_levels_hang_on_the_next_open():
    bars = make(DECISION, (120, 135, 119, 125), CALM)
    check(first(bars), bars, 1, "take_profit", 1, 0.125)


def test_both_in_one_bar_count_as_the_stop():
    bars = make(DECISION, (100, 113, 93, 100))
    check(first(bars), bars, -1, "stop_loss", 1, -0.0625)


def test_a_bar_that_opens_beyond_the_stop_exits_at_its_open():
    bars = make(DECISION, CALM, (90, 93, 80, 91))
    check(first(bars), bars, -1, "stop_loss", 2, -0.10)


def test_a_bar_that_opens_beyond_the_take_profit_exits_at_its_open():
    bars = make(DECISION, CALM, (115, 120, 112, 118))
    check(first(bars), bars, 1, "take_profit", 2, 0.15)


def test_a_bar_that_opens_beyond_the_take_profit_and_falls_to_the_stop_is_the_stop():
    bars = make(DECISION, CALM, (115, 120, 90, 118))
    check(first(bars), bars, -1, "stop_loss", 2, -0.0625)


def test_a_short_profits_when_the_price_falls():
    short = pd.Series(-1.0, index=make(DECISION, CALM, CALM).index)
    bars = make(DECISION, CALM, (92, 93, 87.5, 91))
    check(first(bars, side=short), bars, 1, "take_profit", 2, 0.125)
    bars = make(DECISION, CALM, (103, 106.25, 102, 104))
    check(first(bars, side=short), bars, -1, "stop_loss", 2, -0.0625)
    bars = make(DECISION, CALM, (108, 109, 102, 104))
    check(first(bars, side=short), bars, -1, "stop_loss", 2, -0.08)


def test_volatility_scales_both_barriers():
    bars = make(DECISION, (100, 101, 99, 100), (100, 103, 99, 102))
    settings = {"take_profit": 1.5, "stop_loss": 1.5, "volatility": pd.Series(0.015625, index=bars.index)}
    check(first(bars, **settings), bars, 1, "take_profit", 2, 0.0234375)


def test_without_volatility_or_side_there_is_no_label():
    bars = make(DECISION, (100, 120, 99, 100), CALM, CALM)
    for settings in (
        {"volatility": pd.Series([np.nan, 1, 1, 1], bars.index)},
        {"volatility": pd.Series([0.0, 1, 1, 1], bars.index)},
        {"side": pd.Series([np.nan, 1, 1, 1], bars.index)},
    ):
        found = first(bars, **settings)
        assert np.isnan(found.label) and np.isnan(found.ret) and found.end_time is pd.NaT and pd.isna(found.barrier)


def test_an_unfinished_path_has_no_label_but_a_touched_one_has():
    bars = make(DECISION, CALM, CALM, (100, 101, 90, 95))
    table = triple_barrier(bars, take_profit=0.1, stop_loss=0.05, horizon=5)
    assert table.label.tolist()[:3] == [-1, -1, -1]  # each enters at 100 and meets the low of 90
    assert np.isnan(table.label.iloc[3]) and table.end_time.isna().tolist() == [False] * 3 + [True]
    calm = triple_barrier(make(DECISION, CALM, CALM, CALM), take_profit=0.1, stop_loss=0.05, horizon=3)
    assert calm.label.notna().tolist() == [True, False, False, False]


def test_entry_at_the_close_takes_the_gap_with_it():
    bars = make(DECISION, (104, 113, 103, 105), CALM, CALM)
    check(first(bars, entry="close"), bars, 1, "take_profit", 1, 0.125)
    check(first(bars, take_profit=0.03, entry="close"), bars, 1, "take_profit", 1, 0.04)


def test_an_infinite_barrier_is_never_met():
    bars = make(DECISION, (100, 900, 1, 50), CALM)
    check(first(bars, take_profit=np.inf, stop_loss=np.inf, horizon=1), bars, 0, "time", 1, -0.5)


def test_the_table_keeps_the_rows_and_types():
    bars = make(DECISION, CALM, CALM, CALM)
    table = triple_barrier(bars, take_profit=0.1, stop_loss=0.1, horizon=1)
    assert list(table) == ["label", "end_time", "ret", "barrier"] and table.index.equals(bars.index)
    assert str(table.end_time.dtype) == schema.INDEX_DTYPE
    assert list(table.barrier.cat.categories) == ["take_profit", "stop_loss", "time"]
    assert len(triple_barrier(bars.iloc[:0], take_profit=0.1, stop_loss=0.1, horizon=1)) == 0


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"take_profit": 0.0}, "above 0"),
        ({"stop_loss": float("nan")}, "above 0"),
        ({"horizon": 0}, "horizon must be a whole number"),
        ({"horizon": 1.5}, "horizon must be a whole number"),
        *[({"horizon": wrong}, "horizon must be a whole number") for wrong in (None, np.nan, np.inf, "24", True)],
        ({"take_profit": "a"}, "take_profit and stop_loss must be above 0 .*found 'a'"),
        ({"stop_loss": None}, "must be above 0"),
        ({"entry": "open"}, "'next_open' or 'close'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        first(make(DECISION, CALM), **settings)


def test_wrong_data_is_refused():
    bars = make(DECISION, CALM, CALM)
    with pytest.raises(DataError, match="side must be"):
        first(bars, side=pd.Series([1, 0, 1], bars.index))
    with pytest.raises(DataError, match="volatility must be a Series on the index"):
        first(bars, volatility=pd.Series([1.0, 1.0], bars.index[:2]))
    with pytest.raises(DataError, match="volatility must not be negative"):
        first(bars, volatility=pd.Series([1.0, -1.0, 1.0], bars.index))
    with pytest.raises(DataError, match="increasing time order"):
        first(bars.iloc[::-1])


def test_a_barrier_that_is_off_at_no_volatility_says_nothing(recwarn):
    bars = make(DECISION, CALM, CALM)
    found = triple_barrier(bars, take_profit=np.inf, stop_loss=np.inf, horizon=1, volatility=pd.Series([0.0, 1.0, np.nan], bars.index))
    assert found.label.isna().tolist() == [True, False, True] and not recwarn


@pytest.mark.parametrize("window", [0, 1, 2.5, None, "24"])
def test_a_volatility_of_no_window_is_refused(window):
    with pytest.raises(UsageError, match="barrier_volatility: window must be a whole number of bars"):
        barrier_volatility(make(DECISION, CALM, CALM), window=window, horizon=4)
    with pytest.raises(UsageError, match="barrier_volatility: horizon must be a whole number of bars, at least 1, found -1"):
        barrier_volatility(make(DECISION, CALM, CALM), window=2, horizon=-1)


def test_barrier_volatility_by_hand():
    bars = make(*[(p, p, p, p) for p in (100.0, 110.0, 99.0, 99.0)])
    steps = np.log([1.1, 0.9, 1.0])
    found = barrier_volatility(bars, window=2, horizon=4)
    expected = [np.nan, np.nan, 2 * abs(steps[0] - steps[1]) / np.sqrt(2), 2 * abs(steps[1] - steps[2]) / np.sqrt(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.index.equals(bars.index)


def test_a_wild_tick_is_forgotten_once_it_has_left_the_window():
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(1e-9 * rng.normal(size=400)))
    close[50] *= 1000.0
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    bars = pd.DataFrame(prices | {"volume": 1.0}, index=pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC"))
    whole = barrier_volatility(bars, window=20, horizon=4)
    calm = barrier_volatility(bars.iloc[100:], window=20, horizon=4)
    assert (whole.iloc[121:] == calm.iloc[21:]).all() and whole.iloc[:20].isna().all()
    change = np.diff(np.log(close))
    assert whole.iloc[300] == pytest.approx(np.std(change[280:300], ddof=1) * 2, rel=1e-6)
