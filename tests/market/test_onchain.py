"""A daily value stands on bars from the moment on at which it was known, for as long as it is fresh."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.market.onchain import join_onchain

LAG, STALE = "1d", "3d"


def hours(start: str, end: str) -> pd.DataFrame:
    index = pd.date_range(start, end, freq="1h", inclusive="left", tz="UTC", unit="ms", name="timestamp")
    return pd.DataFrame({"close": np.arange(float(len(index)))}, index=index)


def daily(values: list[float], start: str = "2024-01-01") -> pd.DataFrame:
    return pd.DataFrame({"mvrv": values}, index=pd.date_range(start, periods=len(values), freq="1D", tz="UTC", unit="ms"))


def published(table: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """What of the table was out at `now`: a day's value, one day after the day had ended."""
    return table[table.index + pd.Timedelta("2D") <= now]


def unknown_use(join, bars: pd.DataFrame, table: pd.DataFrame, cuts: int = 60) -> int:
    """Joins again as it would have been done at random moments, and counts those at which an earlier row comes out otherwise."""
    whole, found = join(bars, table), 0
    for row in np.random.default_rng(7).integers(1, len(bars), cuts):
        then = join(bars.iloc[:row], published(table, bars.index[row - 1]))
        found += not then.equals(whole.iloc[:row])
    return found


def test_a_day_is_known_a_day_after_its_end():
    found = join_onchain(hours("2024-01-01", "2024-01-05"), daily([1.5, 1.6, 1.7]), LAG, STALE)["onchain_mvrv"]
    assert found[:"2024-01-02 23:00"].isna().all()
    assert (found["2024-01-03"] == 1.5).all() and (found["2024-01-04"] == 1.6).all()
    longer = join_onchain(hours("2024-01-01", "2024-01-05"), daily([1.5, 1.6, 1.7]), "36h", STALE)["onchain_mvrv"]
    assert longer.first_valid_index() == pd.Timestamp("2024-01-03 12:00", tz="UTC")


def test_a_stale_value_is_none():
    found = join_onchain(hours("2024-01-01", "2024-01-09"), daily([1.5]), LAG, STALE)["onchain_mvrv"]
    assert found.first_valid_index() == pd.Timestamp("2024-01-03", tz="UTC")
    assert found.last_valid_index() == pd.Timestamp("2024-01-05 23:00", tz="UTC")


def test_a_day_without_a_value_leaves_the_one_before():
    found = join_onchain(hours("2024-01-01", "2024-01-06"), daily([1.5, np.nan, 1.7]), LAG, STALE)["onchain_mvrv"]
    assert (found["2024-01-03":"2024-01-04"] == 1.5).all() and (found["2024-01-05"] == 1.7).all()
    empty = join_onchain(hours("2024-01-01", "2024-01-06"), daily([]), LAG, STALE)["onchain_mvrv"]
    assert empty.isna().all() and empty.dtype == float


def test_a_day_told_late_is_known_late_and_never_replaces_a_later_one():
    bars, table = hours("2024-01-01", "2024-01-09"), daily([1.5, 1.6, 1.7, 1.8])
    told = pd.to_datetime(["2024-01-02 04:00", "2024-01-05 12:00", "2024-01-04 05:00", "2024-01-07 06:30"], utc=True)
    found = join_onchain(bars, table.assign(known_at=told), LAG, "5d")
    assert list(found) == ["close", "onchain_mvrv"]
    firsts = found["onchain_mvrv"].dropna().drop_duplicates()
    assert {f"{time:%d %H:%M}": value for time, value in firsts.items()} == {"03 00:00": 1.5, "05 00:00": 1.7, "07 07:00": 1.8}
    with pytest.raises(DataError, match="'known_at': expected a UTC time for each day, found float64"):
        join_onchain(bars, table.assign(known_at=1.0), LAG, STALE)
    with pytest.raises(DataError, match="'known_at': expected a UTC time for each day.*with 1 missing"):
        join_onchain(bars, table.assign(known_at=told.where(told != told[1])), LAG, STALE)


def test_the_bars_stay_as_they_are():
    bars = hours("2024-01-01", "2024-01-05")
    before = bars.copy()
    found = join_onchain(bars, daily([1.5]), LAG, STALE)
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_frame_equal(found[["close"]], bars)
    assert len(join_onchain(bars.iloc[:0], daily([1.5]), LAG, STALE)) == 0


def test_refusals():
    bars, table = hours("2024-01-01", "2024-01-05"), daily([1.5, 1.6])
    with pytest.raises(UsageError, match="lag of at least 1d after the day's end, found 23h"):
        join_onchain(bars, table, "23h", STALE)
    with pytest.raises(DataError, match="index of UTC days, found datetime64.*; use tz_localize"):
        join_onchain(bars, table.tz_localize(None), LAG, STALE)
    with pytest.raises(DataError, match="expected `timestamp`, an index of UTC days, found int64; give `timestamp` as a column or as the"):
        join_onchain(bars, table.reset_index(drop=True), LAG, STALE)
    with pytest.raises(DataError, match="'mvrv': infinite at 2024-01-01"):
        join_onchain(bars, table.replace(1.5, np.inf), LAG, STALE)
    with pytest.raises(DataError, match="series 'Cap MVRV-Cur': expected letters, digits and _"):
        join_onchain(bars, table.set_axis(["Cap MVRV-Cur"], axis=1), LAG, STALE)
    with pytest.raises(DataError, match="00:00 UTC, found 2024-01-01 05:00"):
        join_onchain(bars, table.set_axis(table.index + pd.Timedelta("5h")), LAG, STALE)
    for wrong in (table.iloc[::-1], table.iloc[[0, 0]]):
        with pytest.raises(DataError, match="each day once and in order, row 2"):
            join_onchain(bars, wrong, LAG, STALE)
    with pytest.raises(DataError, match="'mvrv': expected numbers, found str"):
        join_onchain(bars, table.assign(mvrv="high"), LAG, STALE)
    with pytest.raises(DataError, match="have a column 'onchain_mvrv' already"):
        join_onchain(bars.assign(onchain_mvrv=1.0), table, LAG, STALE)


@pytest.fixture(scope="module")
def recorded(shared_data) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(bars of 2024 at midday and midnight, daily series of Coin Metrics)."""
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp").loc["2024", ["close"]]
    table = pd.read_parquet(shared_data / "coinmetrics_BTC_onchain_1d.parquet").set_index("timestamp")
    return bars, table[["CapMVRVCur", "AdrActCnt", "TxCnt"]]


@pytest.mark.real
def test_recorded_series_are_used_only_once_published(recorded):
    bars, table = recorded
    assert unknown_use(lambda bars, table: join_onchain(bars, table, LAG, STALE), bars, table) == 0
    found = join_onchain(bars, table, LAG, STALE)
    assert found.notna().all(axis=None)
    assert found.loc["2024-06-15 07:00", "onchain_CapMVRVCur"] == table.loc["2024-06-13", "CapMVRVCur"]


@pytest.mark.real
def test_joins_without_the_lag_are_caught(recorded):
    """The same day's value, and yesterday's at midnight, were not out yet."""
    bars, table = recorded

    def same_day(bars, table):
        return bars.assign(**{name: table[name].reindex(bars.index.floor("D")).to_numpy() for name in table})

    def at_its_end(bars, table):
        return bars.assign(**{name: table[name].reindex(bars.index.floor("D") - pd.Timedelta("1D")).to_numpy() for name in table})

    assert unknown_use(same_day, bars, table) == unknown_use(at_its_end, bars, table) == 60


@pytest.mark.real
def test_an_outage_of_the_provider_is_waited_for(shared_data):
    """Coin Metrics tells when each day was complete: four days of August 2024 came up to five days late, on the 19th."""
    table = pd.read_parquet(shared_data / "coinmetrics_BTC_onchain_1d.parquet").set_index("timestamp").loc["2024-07":"2024-09"]
    told = pd.to_datetime(table["AssetEODCompletionTime"], unit="s", utc=True)
    bars, series = hours("2024-07-05", "2024-10-01"), table[["CapMVRVCur"]]
    late = told - table.index > pd.Timedelta(LAG) + pd.Timedelta("1D")
    assert late[late].index.strftime("%m-%d").tolist() == ["08-14", "08-15", "08-16", "08-17"]
    waited = join_onchain(bars, series.assign(known_at=told), LAG, "9d")["onchain_CapMVRVCur"]
    assert (waited["2024-08-16":"2024-08-19 22:00"] == series.loc["2024-08-13", "CapMVRVCur"]).all()
    assert waited["2024-08-19 23:00"] == series.loc["2024-08-17", "CapMVRVCur"]
    trusting = join_onchain(bars, series, LAG, "9d")["onchain_CapMVRVCur"]
    changed = trusting.index[trusting != waited]
    assert (changed[0], changed[-1]) == (pd.Timestamp("2024-08-16", tz="UTC"), pd.Timestamp("2024-08-19 22:00", tz="UTC"))
