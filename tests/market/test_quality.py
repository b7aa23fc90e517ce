"""Doubtful bars: every planted fault is found, a sound market gives no alarm, and no judgement uses a later bar."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import config, schema
from quantalpha.errors import DataError
from quantalpha.market.quality import FAULTS, counts, judge, reach
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.validation import check_causal

HOUR = 3_600_000
PARAMS = config.load("default", ()).quality
TAPE = synthetic_bars("BTCUSDT", config.Synthetic(seed=5, start="2021-01-01", bars=3000, timeframe="1h", edge={"BTCUSDT": 0.0}))
BARS = TAPE[list(schema.REQUIRED)]


def faults(bars, **options):
    return judge(bars, PARAMS, "1h", **options)[1]


def named(found) -> dict:
    return {name: count for name, count in counts(found).items() if count}


def test_a_sound_market_gives_no_alarm():
    bars, found = judge(BARS, PARAMS, "1h")
    assert found.empty and bars is not None and schema.DISPUTED not in bars and named(found) == {}


@settings(max_examples=60, deadline=None)
@given(
    row=st.integers(200, len(BARS) - 2),
    fault=st.sampled_from(
        [(name, times) for name in ("open", "high", "close") for times in (2, 10, 100)]
        + [(name, 1 / times) for name in ("open", "low", "close") for times in (2, 10, 100)]
    ),
)
def test_a_wrong_digit_is_found_wherever_it_stands(row, fault):
    """A bar that contradicts itself (a high below its open) is impossible and the affair of `clean_bars`."""
    (column, factor), bars = fault, BARS.copy()
    bars.iloc[row, bars.columns.get_loc(column)] *= factor
    bars["high"] = bars[list(schema.REQUIRED[:4])].max(axis=1)
    bars["low"] = bars[list(schema.REQUIRED[:4])].min(axis=1)
    found = faults(bars)
    assert bars.index[row] in set(found["timestamp"][found["fault"] == "outlier"])


@settings(max_examples=60, deadline=None)
@given(row=st.integers(200, len(BARS) - 2), excess=st.floats(1.01, 50.0), volume=st.floats(0.1, 100.0), down=st.booleans())
def test_exactly_what_is_beyond_the_allowed_reach_is_an_outlier(row, excess, volume, down):
    """The law the docstring states, against the plain formula."""
    bars = BARS.copy()
    bars.iloc[row, 4] *= volume
    before = reach(bars, HOUR)[row - 100 : row]
    usual, traded = np.median(before), max(1.0, bars["volume"].iloc[row] / bars["volume"].iloc[row - 100 : row].median()) ** 0.5
    gap = (bars.index[row] - bars.index[row - 1]) / pd.Timedelta(1, "h")
    for times, is_one in ((excess, True), (1 / excess, False)):
        move = 20 * usual * traded * times * gap**0.5
        close = bars["close"].iloc[row - 1]
        bars.iloc[row, :4] = close
        bars.iloc[row, 2 if down else 1] = close * np.exp(-move if down else move)
        found = faults(bars[: row + 1])
        assert (bars.index[row] in set(found["timestamp"][found["fault"] == "outlier"])) == is_one


@settings(max_examples=30, deadline=None)
@given(start=st.integers(1, 2900), length=st.integers(1, 40))
def test_a_price_that_hangs_is_found_once_it_has_hung_long_enough(start, length):
    bars = BARS.copy()
    bars.iloc[start : start + length, :4] = bars["close"].iloc[start - 1]
    found = faults(bars)
    expected = bars.index[start + PARAMS.frozen_bars - 1 : start + length]
    assert set(found["timestamp"][found["fault"] == "frozen"]) == set(expected)


def test_a_candle_sent_twice_as_two_is_found():
    bars = BARS.copy()
    bars.iloc[777] = bars.iloc[776]
    assert list(faults(bars)["timestamp"]) == [bars.index[777]]


def test_no_volume_is_found():
    bars = BARS.copy()
    bars.iloc[[5, 999], 4] = 0.0
    assert list(faults(bars)["timestamp"]) == list(bars.index[[5, 999]])


def test_a_witness_is_believed_where_it_speaks():
    witness = BARS.copy()
    witness.iloc[10, 3] *= 1.06
    witness.iloc[11, 3] *= 1.04
    witness.iloc[12, 3] = np.nan
    witness = witness.drop(witness.index[13])
    for found in (faults(BARS, witnesses={"index": witness}), faults(BARS.assign(mark=witness["close"]))):
        assert list(found["timestamp"]) == [BARS.index[10]] and found["fault"][0] == "jump"
        assert found["value"][0] == pytest.approx(1 - 1 / 1.06)


def test_what_a_second_source_disputes_is_told():
    found = faults(BARS, differ=BARS.index[[7, 9]])
    assert named(found) == {"sources": 2}


@pytest.mark.parametrize(
    ("policy", "rows", "mark"), [("drop", len(BARS) - 1, None), ("flag", len(BARS), schema.FLAGGED), ("mask", len(BARS), schema.MASKED)]
)
def test_each_policy_does_what_it_says_and_changes_no_number(policy, rows, mark):
    bars = BARS.copy()
    bars.iloc[500, 4] = 0.0
    kept, found = judge(bars, PARAMS.model_copy(update={"zero_volume": policy}), "1h")
    assert len(kept) == rows and list(found["policy"]) == [policy]
    assert kept[bars.columns].equals(bars.loc[kept.index])
    assert (schema.DISPUTED in kept) == (mark is not None)
    if mark is not None:
        assert kept[schema.DISPUTED][bars.index[500]] == mark and (kept[schema.DISPUTED] != 0).sum() == 1


def test_the_stricter_policy_of_two_stands():
    bars = BARS.copy()
    bars.iloc[500, 4] = 0.0
    kept, _ = judge(bars, PARAMS.model_copy(update={"sources": "mask"}), "1h", differ=bars.index[[500]])
    assert kept[schema.DISPUTED].iloc[500] == schema.MASKED


def test_no_more_is_dropped_than_allowed():
    bars, dropping = BARS.copy(), PARAMS.model_copy(update={"zero_volume": "drop"})
    bars.iloc[: int(0.02 * len(bars)), 4] = 0.0
    assert len(judge(bars, dropping, "1h")[0]) == len(bars) - int(0.02 * len(bars))
    bars.iloc[1000, 4] = 0.0
    with pytest.raises(DataError, match=r"2\.\d\d% of 2998 bars would be dropped \(zero_volume\), allowed 2\.00%"):
        judge(bars, dropping, "1h")


def test_a_move_may_grow_with_the_time_that_is_missing():
    gap = BARS.drop(BARS.index[1000:1400])
    assert faults(gap).empty
    assert reach(gap, HOUR)[1000] < reach(gap, HOUR)[1001:].max() * 3


def flags(bars, fault):
    found = faults(bars)
    return pd.DataFrame({fault: bars.index.isin(found["timestamp"][found["fault"] == fault]).astype(float)}, bars.index)


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("jump", "sources")])
def test_a_live_process_could_have_known(fault):
    bars = BARS.copy()
    bars.iloc[::97, 4] = 0.0
    bars.iloc[300:330, :4] = bars["close"].iloc[299]
    bars.iloc[1500, 1] *= 3
    assert flags(bars, fault).to_numpy().any()
    assert check_causal(partial(flags, fault=fault), bars, cuts=10).clean


def test_empty_faults_have_the_same_columns():
    found = faults(BARS)
    assert list(found.columns) == ["timestamp", "fault", "value", "allowed", "policy"]


REAL = {"spot_BTCUSDT_15m": 0, "spot_BTCUSDT_1d": 0, "spot_BTCUSDT_1h": 0, "spot_ETHUSDT_1d": 0, "spot_ETHUSDT_1h": 1, "um_BTCUSDT_5m": 0}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_recorded_bars_give_no_false_alarm(shared_data, name):
    """ETH on 22 August 2017, 04:00: the price fell by half within the hour on a venue eight days old."""
    bars = pd.read_parquet(shared_data / f"binance_{name}.parquet").set_index("timestamp")[list(schema.REQUIRED)]
    found = judge(bars, PARAMS, name.rsplit("_", 1)[1])[1]
    assert counts(found)["outlier"] == REAL[name] and counts(found)["frozen"] == 0
    assert counts(found)["zero_volume"] < 1e-3 * len(bars)


@pytest.mark.real
def test_a_second_venue_agrees_with_the_first(shared_data):
    """Spot and perpetual, two years of hours: never 5 % apart at a close."""
    panel = pd.read_parquet(shared_data / "binance_um_panel33_1h.parquet").set_index("timestamp")
    spot = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp")
    perpetual = panel[panel["symbol"] == "BTCUSDT"][list(schema.REQUIRED)]
    assert counts(judge(perpetual, PARAMS, "1h", {"spot": spot})[1])["jump"] == 0
    apart = spot.assign(close=spot["close"].where(spot.index != perpetual.index[999], 1.0))
    assert counts(judge(perpetual, PARAMS, "1h", {"spot": apart})[1])["jump"] == 1
