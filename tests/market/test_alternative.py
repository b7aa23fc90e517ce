"""Daily series from outside: read as published, derived from what was known, used no sooner than they were told."""

import json

import numpy as np
import pandas as pd
import pytest
from workspace import Workspace

from quantalpha import audit, schema
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_parquet
from quantalpha.market.onchain import join_onchain
from quantalpha.market.series import FEAR_GREED, import_series, read_series
from quantalpha.market.valuation import mvrv_z_score, valuation
from quantalpha.validation import check_causal

DAY = pd.Timedelta("1D")


def metrics(days=800, start="2022-01-01", **more) -> pd.DataFrame:
    """As Coin Metrics writes it: days as text, empty cells at first, when each day was complete in seconds."""
    rng = np.random.default_rng(4)
    index = pd.date_range(start, periods=days)
    market = 1e9 * np.exp(np.cumsum(rng.normal(scale=0.03, size=days)))
    table = {"time": index.strftime("%Y-%m-%d"), "AdrActCnt": np.arange(days), "CapMVRVCur": 1 + rng.random(days), "CapMrktCurUSD": market}
    table = pd.DataFrame(table | {"ReferenceRate": np.nan, "note": "x"} | more)
    table.loc[:2, ["CapMVRVCur", "CapMrktCurUSD"]] = np.nan
    completed = (index + DAY + pd.Timedelta("5h")).to_numpy().astype("datetime64[s]").astype("int64")
    return table.assign(AssetCompletionTime=completed, AssetEODCompletionTime=completed)


def put(table: pd.DataFrame, path):
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


def sentiment(published, values, **shell) -> str:
    rows = [{"value": str(value), "value_classification": "Fear", "timestamp": str(time)} for time, value in zip(published, values)]
    return json.dumps({"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}} | shell)


def seconds(start="2024-01-01", days=5) -> list[int]:
    return [int(day.timestamp()) for day in pd.date_range(start, periods=days, tz="UTC")]


def test_coin_metrics_as_published_with_what_follows_from_it(tmp_path):
    source = metrics()
    table, ignored = read_series(put(source, tmp_path / "btc.csv"))
    assert ignored == ["ReferenceRate", "note"] and table.index[0] == pd.Timestamp("2022-01-01", tz="UTC")
    assert np.array_equal(table["CapMrktCurUSD"], source["CapMrktCurUSD"], equal_nan=True)
    assert np.allclose(table["CapRealUSD"][3:], (source["CapMrktCurUSD"] / source["CapMVRVCur"])[3:], rtol=1e-15)
    assert (table["known_at"] == table.index + DAY + pd.Timedelta("5h")).all()
    pd.testing.assert_frame_equal(read_series(put(source, tmp_path / "btc.parquet"))[0], table)
    given = source.assign(CapRealUSD=7e8).drop(columns="CapMVRVCur")
    told = read_series(put(given, tmp_path / "real.csv"))[0]
    assert (told["CapRealUSD"] == 7e8).all() and np.allclose(told["CapMVRVCur"][3:], source["CapMrktCurUSD"][3:] / 7e8)
    assert valuation(told[["CapRealUSD"]]) == {}


def test_the_z_score_of_a_day_rests_on_no_later_day():
    rng = np.random.default_rng(1)
    market = pd.Series(np.exp(np.cumsum(rng.normal(scale=0.05, size=900))))
    realised = market.rolling(30, min_periods=1).mean()
    score = mvrv_z_score(market, realised)
    assert score[:364].isna().all() and score[364:].notna().all()
    for day in (364, 500, 899):
        expected = (market[day] - realised[day]) / np.std(market[: day + 1], ddof=1)
        assert score[day] == pytest.approx(expected, rel=1e-9)
        assert mvrv_z_score(market[: day + 1], realised[: day + 1])[day] == score[day]


def test_when_a_day_was_told_counts_unless_it_was_computed_anew(tmp_path):
    source = metrics()
    source.loc[:99, "AssetEODCompletionTime"] = int(pd.Timestamp("2023-06-01", tz="UTC").timestamp())  # the history, computed again
    source.loc[400, "AssetEODCompletionTime"] += 4 * 86_400  # an outage
    known = read_series(put(source, tmp_path / "btc.csv"))[0]["known_at"]
    assert (known[:100] == known.index[:100] + DAY).all()
    assert (known[400:404] == known.index[400] + 5 * DAY + pd.Timedelta("5h")).all(), (
        "what is computed from earlier days is not known before"
    )
    assert known.is_monotonic_increasing


READINGS = {  # the same five days in every way the index is given
    "json": sentiment(seconds(), range(20, 25)),
    "newest first": sentiment(seconds()[::-1], range(24, 19, -1)),
    "dates": sentiment([f"2024-01-0{day}" for day in range(1, 6)], range(20, 25)),
    "dates of the far east": sentiment([f"2024/01/0{day}" for day in range(1, 6)], range(20, 25)),
    "csv": "date,fng_value,fng_classification\n" + "".join(f"2024-01-0{day},{day + 19},Fear\n" for day in range(1, 6)),
    "csv in a shell": '{"name": "x",\n"data": [\nfng_value,fng_classification,date\n'
    + "".join(f"2024-01-0{day},{day + 19},Extreme Fear\n" for day in range(5, 0, -1))
    + "],\n}",
}


@pytest.mark.parametrize("name", READINGS)
def test_the_fear_and_greed_index_tells_of_the_day_before_and_is_known_as_it_is_published(tmp_path, name):
    file = tmp_path / "fng.json"
    file.write_text(READINGS[name])
    table, _ = read_series(file)
    assert table[FEAR_GREED].tolist() == [20, 21, 22, 23, 24]
    assert table.index[0] == pd.Timestamp("2023-12-31", tz="UTC") and (table["known_at"] == table.index + DAY).all()
    bars = pd.DataFrame({"close": 1.0}, index=pd.date_range("2023-12-31", periods=96, freq="h", tz="UTC", unit="ms"))
    joined = join_onchain(bars, table, "1d", "3d", {FEAR_GREED: "1h"})["onchain_fear_greed"]
    assert joined.first_valid_index() == pd.Timestamp("2024-01-01 01:00", tz="UTC") and joined["2024-01-02 01:00+00:00"] == 21
    late = join_onchain(bars, table, "1d", "3d")["onchain_fear_greed"]
    assert late.first_valid_index() == pd.Timestamp("2024-01-02 00:00", tz="UTC")


@pytest.mark.parametrize(("form", "first"), [("%d-%m-%Y", "2024-01-10"), ("%m-%d-%Y", "2024-01-10")])
def test_days_and_months_are_told_apart_or_the_file_is_refused(tmp_path, form, first):
    file, days = tmp_path / "fng.json", pd.date_range(first, periods=9)
    file.write_text(sentiment(days.strftime(form), range(9)))
    assert read_series(file)[0].index[0] == pd.Timestamp(first, tz="UTC") - DAY
    file.write_text(sentiment(days[:2].strftime(form), range(2)))
    with pytest.raises(DataError, match="day and month cannot be told apart"):
        read_series(file)


UNSOUND = {
    "value": (sentiment(seconds(), [1, 2, 101, 3, 4]), "values of 0 to 100, found '101'"),
    "text": (sentiment(seconds(), [1, 2, "high", 3, 4]), "values of 0 to 100"),
    "twice": (sentiment(seconds()[:1] * 2, [1, 2]), "2023-12-31 comes twice"),
    "nothing": ('{"data": []}', "expected the answer of api.alternative.me"),
    "another answer": ('{"error": "busy"}', "expected the answer of api.alternative.me"),
    "mixed dates": (sentiment(["2024-01-01", seconds()[1]], [1, 2]), "dates of one form"),
    "no days": ("a,b\n1,2\n", "expected days in a column time"),
    "no numbers": ("time,a\n2024-01-01,x\n", "no column holds numbers"),
    "hours": ("time,a\n2024-01-01 05:00,1\n2024-01-02 05:00,2\n", "named by their 00:00 UTC, found 2024-01-01 05"),
    "a day twice": ("time,a\n2024-01-01,1\n2024-01-01,2\n", "2024-01-01 comes twice"),
    "no time": ("time,a\nsoon,1\n", "cannot be read as days"),
    "no file": (None, "no such file"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_files_are_refused_and_leave_nothing(tmp_path, name):
    text, says = UNSOUND[name]
    file = tmp_path / "series.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises((DataError, UsageError), match=says) as caught:
        import_series(file, "X", tmp_path / "onchain")
    assert "\n" not in str(caught.value) and not (tmp_path / "onchain").exists()


def test_what_the_provider_corrects_is_counted_and_the_file_before_is_kept(tmp_path):
    folder, source = tmp_path / "onchain", metrics(400)
    file = put(source[:390], tmp_path / "btc.csv")
    assert import_series(file, "BTC", folder)["added"] == 390
    before = (folder / "BTC.parquet").read_bytes()
    put(source, file)
    grown = import_series(file, "BTC", folder)
    assert (grown["added"], grown["corrected"]) == (10, 0)
    put(source.assign(AdrActCnt=source["AdrActCnt"] + (source.index == 7)), file)
    assert import_series(file, "BTC", folder)["corrected"] == 1
    kept = list(folder.glob("BTC.????????????.parquet"))
    assert len(kept) == 1 and len(read_parquet(kept[0])) == 400 and kept[0].read_bytes() != before
    lines = audit.read(folder / "history" / "BTC.jsonl")
    assert [line["corrected"] for line in lines] == [0, 0, 1] and lines[-1]["file"] == "btc.csv"
    put(source[5:], file)
    with pytest.raises(DataError, match="has no 2022-01-01, which is stored, nor 4 more"):
        import_series(file, "BTC", folder)
    assert import_series(file, "BTC", folder, replace=True)["gone"] == 5


def test_joined_series_are_causal_and_a_join_by_their_own_date_is_caught(tmp_path):
    """Each value is made from the bars of its day, so that to know it early is to know the bars early."""
    rng = np.random.default_rng(2)
    index = pd.date_range("2022-01-01", periods=24 * 460, freq="h", tz="UTC", unit="ms", name="timestamp")
    close = 100 * np.exp(np.cumsum(rng.normal(scale=0.01, size=len(index))))
    bars = pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1.0}, index=index)

    def chain(bars):
        """What a provider tells of these bars once each day is over."""
        daily = bars["close"].resample("1D").last()
        told = pd.DataFrame({"CapMrktCurUSD": daily, "CapMVRVCur": daily / daily.rolling(30, min_periods=1).mean()})
        told.index = told.index.as_unit("ms")
        return told.assign(**valuation(told))

    def joined(bars):
        return join_onchain(bars, chain(bars), "1d", "3d").drop(columns=bars.columns)

    def by_date(bars):
        told = chain(bars)
        days = bars.index.floor("D")
        return pd.DataFrame({name: told[name].reindex(days).to_numpy() for name in told}, index=bars.index)

    def whole_deviation(bars):
        told = chain(bars)
        told["mvrv_z"] = (told["CapMrktCurUSD"] - told["CapRealUSD"]) / told["CapMrktCurUSD"].std()
        return join_onchain(bars, told[["mvrv_z"]], "1d", "3d").drop(columns=bars.columns)

    assert check_causal(joined, bars, cuts=4).clean
    assert not check_causal(by_date, bars, cuts=4).clean
    assert not check_causal(whole_deviation, bars, cuts=4).clean


def test_a_lag_of_a_series_that_is_not_there_is_a_usage_error():
    from quantalpha import config
    from quantalpha.market.enrich import enrich_bars

    settings = config.load(overrides=["context.onchain_lags={fear_gred: 1h}"])
    bars = pd.DataFrame({"close": [1.0]}, index=schema.from_epoch_ms([0]))
    with pytest.raises(UsageError, match="context.onchain_lags: no series 'fear_gred'"):
        enrich_bars(bars, [], [], None, settings)


def test_the_command_keeps_a_series_under_its_name(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    put(metrics(400), tmp_path / "btc.csv")
    answer = workspace.call("data", "series", str(tmp_path / "btc.csv"), "--name", "BTC", "--json")
    assert answer.code == 0 and answer.json["days"] == 400 and "mvrv_z" in answer.json["series"]
    assert (workspace.root / "data/raw/onchain/BTC.parquet").is_file()
    workspace.call("data", "series", str(tmp_path / "btc.csv"), "--name", "../BTC").complains(2, "--name", "'../BTC'")
    workspace.call("data", "series", str(tmp_path / "none.csv"), "--name", "BTC").complains(2, "no such file")


@pytest.mark.real
def test_the_known_extremes_of_the_z_score(tmp_path, shared_data):
    """Tops of December 2017 and of early 2021, bottoms of winter 2018 and of November 2022, as the chart is known for."""
    import_series(shared_data / "coinmetrics_BTC_onchain_1d.parquet", "BTC", tmp_path)
    score = read_parquet(tmp_path / "BTC.parquet").set_index("timestamp")["mvrv_z"]
    assert score["2017-12"].max() == score["2016":"2024"].max() > 8
    assert score["2021-01":"2021-04"].max() > 5 and score["2021-10":"2021-11"].max() > 2
    assert score["2018-12"].min() < 0 and score["2022-11"].min() < 0
    assert (score["2023-06":"2024"] > 0).all()
