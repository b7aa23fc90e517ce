import numpy as np
import pandas as pd
import pyarrow
import pytest

from quantalpha import config, schema
from quantalpha.errors import DataError, UsageError
from quantalpha.market.clean import clean_bars
from quantalpha.market.importer import check_files, import_file
from quantalpha.market.kinds import FUNDING
from quantalpha.market.own_files import OwnFiles
from quantalpha.market.store import Lake


def hours(count=48, start="2024-01-30", step="1h") -> pd.DataFrame:
    close = 100.0 + np.arange(count)
    values = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": np.full(count, 3.0)}
    return pd.DataFrame({"timestamp": pd.date_range(start, periods=count, freq=step, tz="UTC"), **values})


def put(table: pd.DataFrame, path):
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


def bring(path, tmp_path, **more):
    lake = Lake(tmp_path / "raw")
    return import_file(path, "BTCUSDT", "1h", lake, **more), lake


def epoch(unit):
    return lambda t: t.assign(timestamp=t["timestamp"].dt.as_unit(unit).astype("int64"))


READABLE = {  # name: (change of the table, how the times are said to be read)
    "utc": (lambda t: t, "UTC"),
    "naive": (lambda t: t.assign(timestamp=t["timestamp"].dt.tz_localize(None)), "no zone given, taken as UTC"),
    "seconds": (epoch("s"), "epoch s, UTC"),
    "milliseconds": (epoch("ms"), "epoch ms, UTC"),
    "microseconds": (epoch("us"), "epoch us, UTC"),
    "nanoseconds": (epoch("ns"), "epoch ns, UTC"),
    "other names": (lambda t: t.rename(columns={"timestamp": "Open Time", "open": "OPEN", "volume": "Vol"}), "UTC"),
    "indexed": (lambda t: t.set_index("timestamp").reset_index(), "UTC"),
}


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("name", READABLE)
def test_many_ways_to_write_the_same_bars(tmp_path, name, ending):
    change, says = READABLE[name]
    path = tmp_path / f"own{ending}"
    put(change(hours()), path)
    summary, lake = bring(path, tmp_path)
    table = lake.read("import", "BTCUSDT", "1h")
    expected = hours().set_index("timestamp")
    assert np.array_equal(table.to_numpy(), expected.to_numpy()) and (table.index == expected.index).all()
    assert summary["times"] == says and summary["rows"] == 48 and summary["months"] == 1


def test_parquet_with_a_time_index(tmp_path):
    hours().set_index("timestamp").to_parquet(tmp_path / "own.parquet")
    assert bring(tmp_path / "own.parquet", tmp_path)[0]["rows"] == 48


def test_zone_is_converted_only_when_named(tmp_path):
    berlin = hours().assign(timestamp=hours()["timestamp"].dt.tz_convert("Europe/Berlin"))
    naive = berlin.assign(timestamp=berlin["timestamp"].dt.tz_localize(None))
    offset = berlin.assign(timestamp=berlin["timestamp"].astype(str))
    for name, table in {"aware.parquet": berlin, "offset.csv": offset}.items():
        path = put(table, tmp_path / name)
        with pytest.raises(DataError, match="--timezone"):
            bring(path, tmp_path)
        assert "converted to UTC" in bring(path, tmp_path, timezone="Europe/Berlin")[0]["times"]
    path = put(naive, tmp_path / "naive.csv")
    summary, lake = bring(path, tmp_path, timezone="Europe/Berlin")
    assert lake.read("import", "BTCUSDT", "1h").index[0] == hours()["timestamp"][0]
    assert summary["times"] == "Europe/Berlin, converted to UTC"
    with pytest.raises(UsageError, match="--timezone"):
        bring(put(epoch("ms")(hours()), tmp_path / "epoch.csv"), tmp_path, timezone="Europe/Berlin")


@pytest.mark.parametrize("name", ["utc", "naive", "milliseconds"])
@pytest.mark.parametrize(
    ("zone", "near"), [("Mars/Phobos", ""), ("Europe/Berln", "Europe/Berlin"), ("utc", "UTC"), ("berlin", "Europe/Berlin"), ("", "")]
)
def test_unknown_time_zones_are_usage_errors_whatever_the_file_holds(tmp_path, name, zone, near):
    path = put(READABLE[name][0](hours()), tmp_path / "own.parquet")
    with pytest.raises(UsageError, match=f"--timezone: .* found '{zone}'; did you mean '{near}"):
        bring(path, tmp_path, timezone=zone)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_zone_that_contradicts_the_one_the_times_carry_is_refused(tmp_path, ending):
    berlin = hours().assign(timestamp=hours()["timestamp"].dt.tz_convert("Europe/Berlin"))
    for table, zone, do in ((hours(), "Europe/Berlin", "leave the option out"), (berlin, "Asia/Tokyo", "pass --timezone UTC")):
        with pytest.raises(DataError, match=f"times already carry a zone, first 2024-01-30 0.*--timezone {zone}; {do}"):
            bring(put(table, tmp_path / f"own{ending}"), tmp_path, timezone=zone)
    assert not (tmp_path / "raw").exists()
    for table, zone in ((hours(), "UTC"), (berlin, "UTC"), (berlin, "Europe/Berlin")):
        _, lake = bring(put(table, tmp_path / f"own{ending}"), tmp_path, timezone=zone)
        assert (lake.read("import", "BTCUSDT", "1h").index == hours()["timestamp"]).all()


def local(start: str, step="1h", count=48) -> pd.DataFrame:
    """Bars by the clocks of Berlin, without a zone."""
    table = hours(count, start, step)
    return table.assign(timestamp=table["timestamp"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None))


@pytest.mark.parametrize("start", ["2024-10-26", "2024-03-30", "2024-07-01"])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("bar", "step"), [("1h", "1h"), ("15m", "15min")])
def test_the_order_of_local_times_tells_the_repeated_hour_apart(tmp_path, start, order, bar, step):
    path, lake = put(local(start, step, 240)[::order], tmp_path / "own.csv"), Lake(tmp_path / "raw")
    summary = import_file(path, "BTCUSDT", bar, lake, timezone="Europe/Berlin")
    table, expected = lake.read("import", "BTCUSDT", bar), hours(240, start, step)
    assert (table.index == expected["timestamp"]).all() and (table["close"].to_numpy() == expected["close"]).all()
    assert summary["missing"] == summary["duplicates"] == 0


CLOCKS = {
    "one of the two hours": (lambda: local("2024-10-26").drop(index=24), "row 25 at 2024-10-27 02:00:00"),
    "shuffled": (lambda: local("2024-10-26").sample(frac=1, random_state=3), "2024-10-27 02:00:00"),
    "an hour that was skipped": (
        lambda: hours(48, "2024-03-30").assign(timestamp=pd.date_range("2024-03-30", periods=48, freq="h")),
        "row 27",
    ),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_local_times_that_the_clocks_leave_open_are_refused(tmp_path, name):
    table, says = CLOCKS[name]
    with pytest.raises(DataError, match=f"{says}.* of Europe/Berlin .*; export the file in UTC$") as caught:
        bring(put(table(), tmp_path / "own.csv"), tmp_path, timezone="Europe/Berlin")
    assert "ambiguous" not in str(caught.value) and "nonexistent" not in str(caught.value)


FRAMES = {  # name: what a parquet file keeps of the index
    "filtered": lambda t: t[t["close"] > 0].iloc[[*range(24), *range(30, 48)]],
    "shuffled": lambda t: t.sample(frac=1, random_state=1),
    "times without a name": lambda t: t.set_index("timestamp").rename_axis(None),
    "times twice": lambda t: t.set_index("timestamp", drop=False),
    "named": lambda t: t.rename(columns={"timestamp": "open_time"}).set_index("open_time"),
    "symbols and times": lambda t: t.assign(symbol="BTCUSDT").set_index(["symbol", "timestamp"]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_any_index_of_a_parquet_file(tmp_path, name):
    table = FRAMES[name](hours())
    table.to_parquet(tmp_path / "own.parquet")
    summary, lake = bring(tmp_path / "own.parquet", tmp_path)
    stored = lake.read("import", "BTCUSDT", "1h")
    expected = hours().set_index("timestamp").loc[stored.index]
    assert len(stored) == len(table) and np.array_equal(stored.to_numpy(), expected.to_numpy()) and summary["ignored_columns"] == []


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_order_does_not_change_the_diagnosis(tmp_path, ending):
    for name, table, disorder in (("new", hours(480)[::-1], 479), ("mix", hours(480).sample(frac=1, random_state=1), None)):
        times = table["timestamp"].astype("int64").to_numpy()
        summary, lake = bring(put(table, tmp_path / f"{name}{ending}"), tmp_path)
        assert summary["out_of_order"] == (np.diff(times) < 0).sum() and disorder in (None, summary["out_of_order"])
        assert np.array_equal(lake.read("import", "BTCUSDT", "1h"), hours(480).set_index("timestamp"))
    with pytest.raises(DataError, match="bars are 15 minutes apart, expected 60"):
        bring(put(hours(480, step="15min").sample(frac=1, random_state=1), tmp_path / f"own{ending}"), tmp_path)


def test_a_file_is_checked_without_being_stored(tmp_path):
    path = put(hours()[::-1], tmp_path / "own.parquet")
    found = check_files(OwnFiles(path, "BTCUSDT", "1h"))
    assert list(tmp_path.iterdir()) == [path]
    summary, _ = bring(path, tmp_path)
    assert summary == {"file": "own.parquet", "stored": "import/BTCUSDT/1h", "months_written": 1, **found}
    with pytest.raises(DataError, match=r"missing column\(s\) funding_rate"):
        check_files(OwnFiles(path, "BTCUSDT", "1h", funding=True))


def cell(row, column, value):
    def change(table):
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return change


STRUCTURAL = {  # name: (change of the table, the line's words)
    "missing columns": (lambda t: t.drop(columns=["close", "volume"]), r"missing column\(s\) close, volume; found timestamp, open"),
    "missing times": (lambda t: t.drop(columns="timestamp"), r"missing column\(s\) timestamp"),
    "text price": (cell(3, "close", "abc"), "column 'close', row 4: expected a number, found 'abc'"),
    "text time": (lambda t: cell(3, "timestamp", "soon")(READABLE["naive"][0](t)), "cannot be read as times"),
    "time absent": (cell(3, "timestamp", None), "column 'timestamp', row 4: expected a time"),
    "wrong timeframe": (lambda t: hours(48, step="15min"), "15 minutes apart, expected 60"),
    "too coarse": (lambda t: hours(48, step="4h"), "240 minutes apart, expected 60"),
    "off the grid": (lambda t: t.assign(timestamp=t["timestamp"] + pd.Timedelta("30min")), "48 bars do not open on a whole 1h"),
    "one off the grid": (cell(5, "timestamp", "2024-01-30 05:00:10+00:00"), "1 bars do not open .* row 6 at 2024-01-30 05:00:10"),
    "fractions of a second": (lambda t: t.assign(timestamp=np.arange(48) * 3600 + 1.7e9 + 0.5), "whole s, ms, us or ns"),
    "minutes": (lambda t: t.assign(timestamp=epoch("s")(t)["timestamp"] // 60), "begin in 1970: wrong unit.* row 1 holds 28442880;"),
    "days": (lambda t: t.assign(timestamp=range(20240101, 20240149)), "times begin in 1970: wrong unit"),
    "one zero": (lambda t: cell(3, "timestamp", 0)(epoch("ms")(t)), "times begin in 1970: wrong unit.* row 4 holds 0;"),
    "unit lost": (lambda t: t.assign(timestamp=pd.to_datetime(epoch("ms")(t)["timestamp"], unit="us")), "times begin in 1970: wrong unit"),
    "no rows": (lambda t: t[:0], "holds no rows"),
    "mixed zones": (cell(3, "timestamp", "2024-01-30 03:00:00"), "some times carry a zone and some do not"),
    "another symbol": (lambda t: t.assign(symbol="ETHUSDT"), "no rows of BTCUSDT"),
}


@pytest.mark.parametrize("name", STRUCTURAL)
def test_unreadable_files_are_refused_in_one_line_and_leave_nothing(tmp_path, name):
    change, says = STRUCTURAL[name]
    path = put(change(hours()), tmp_path / "own.csv")
    with pytest.raises(DataError, match=says) as caught:
        bring(path, tmp_path)
    assert "own.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "raw").rglob("*"))


@pytest.mark.parametrize("name", ["own.parquet", "own.csv.gz"])
def test_truncated_files_are_refused(tmp_path, name):
    path = put(hours(2000), tmp_path / name)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="not readable, truncated or damaged"):
        bring(path, tmp_path)


def test_a_damaged_middle_is_refused(tmp_path):
    path = put(hours(2000), tmp_path / "own.csv.gz")
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(DataError, match="not readable, truncated or damaged"):
        bring(path, tmp_path)


@pytest.mark.parametrize("error", [pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError, pyarrow.ArrowException])
def test_whatever_arrow_says_of_a_parquet_file_is_one_line(tmp_path, monkeypatch, error):
    def read(file):
        raise error("no such\nencoding")

    path = put(hours(), tmp_path / "own.parquet")
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", read)
    with pytest.raises(DataError, match=r"not readable, truncated or damaged \(no such encoding\)"):
        bring(path, tmp_path)


@pytest.mark.parametrize("name", ["none.parquet", "own.txt"])
def test_wrong_file_names_are_usage_errors(tmp_path, name):
    (tmp_path / "own.txt").write_text("x")
    with pytest.raises(UsageError):
        bring(tmp_path / name, tmp_path)


def test_wrong_symbol_and_timeframe_are_usage_errors(tmp_path):
    path, lake = put(hours(), tmp_path / "own.csv"), Lake(tmp_path / "raw")
    for symbol, bar in (("../BTC", "1h"), ("btcusdt", "1h"), ("BTCUSDT", "hourly")):
        with pytest.raises(UsageError):
            import_file(path, symbol, bar, lake)


def test_faulty_rows_are_stored_as_they_are_and_counted(tmp_path):
    table = hours()
    table.loc[3, "close"], table.loc[4, "open"], table.loc[5, "high"], table.loc[6, "low"] = np.nan, np.inf, 1.0, -1.0
    table = pd.concat([table, table[10:12]]).iloc[[1, 0, *range(2, 50)]].drop(index=20)
    summary, lake = bring(put(table, tmp_path / "own.csv"), tmp_path)
    found = {name: summary[name] for name in ("rows", "impossible", "duplicates", "out_of_order", "missing")}
    assert found == {"rows": 49, "impossible": 4, "duplicates": 2, "out_of_order": 2, "missing": 1}
    stored = lake.read("import", "BTCUSDT", "1h")
    assert len(stored) == 49 and stored.index.is_monotonic_increasing and np.isinf(stored["open"].iloc[4])
    policy = config.Clean(duplicates="last", impossible="drop", max_missing=0.2, funding_gaps="report")
    _, report = clean_bars(stored, None, None, policy, "1h")
    assert (report["impossible"]["count"], report["duplicates"]["count"], report["missing"]["bars"]) == (4, 2, 5)


def test_again_is_harmless_more_is_added_and_different_needs_replace(tmp_path):
    path = put(hours(40), tmp_path / "own.csv")
    assert bring(path, tmp_path)[0]["months_written"] == 1
    assert bring(path, tmp_path)[0]["months_written"] == 0
    put(hours(100), path)
    summary, lake = bring(path, tmp_path)
    assert summary["months_written"] == 2 and len(lake.read("import", "BTCUSDT", "1h")) == 100
    put(hours(60).assign(volume=9.0), path)
    with pytest.raises(DataError, match="2024-01-30 00:00.*--replace"):
        bring(path, tmp_path)
    put(hours(40).assign(volume=9.0), path)
    bring(path, tmp_path, replace=True)
    assert lake.read("import", "BTCUSDT", "1h")["volume"].tolist() == [9.0] * 40


def test_extra_columns_and_other_symbols_are_named(tmp_path):
    table = pd.concat([hours().assign(symbol="btcusdt"), hours().assign(symbol="ETHUSDT")]).assign(venue="x", n_trades=5)
    summary, lake = bring(put(table, tmp_path / "own.csv"), tmp_path)
    assert summary["ignored_columns"] == ["venue"] and summary["ignored_symbols"] == ["ETHUSDT"] and summary["rows"] == 48
    assert list(lake.read("import", "BTCUSDT", "1h").columns) == [*schema.REQUIRED, "trades"]


def test_funding_file(tmp_path):
    times = pd.date_range("2024-01-01", periods=9, freq="8h", tz="UTC")
    path = put(pd.DataFrame({"fundingTime": times.as_unit("ms").asi8, "fundingRate": 1e-4}), tmp_path / "own.csv")
    summary, lake = bring(path, tmp_path, funding=True)
    assert summary["stored"] == "import/BTCUSDT/funding" and summary["rows"] == 9
    assert lake.read("import", "BTCUSDT", FUNDING)["funding_rate"].tolist() == [1e-4] * 9


@pytest.mark.real
@pytest.mark.parametrize(("symbol", "rows"), [("BTCUSDT", 64525), ("ETHUSDT", 64525)])
def test_recorded_spot_hours(tmp_path, shared_data, symbol, rows):
    lake = Lake(tmp_path)
    summary = import_file(shared_data / f"binance_spot_{symbol}_1h.parquet", symbol, "1h", lake)
    table = lake.read("import", symbol, "1h")
    assert summary["rows"] == len(table) == rows and summary["first"] == "2017-08-17T04:00:00+00:00"
    assert summary["impossible"] == summary["duplicates"] == summary["out_of_order"] == 0
    span = (table.index[-1] - table.index[0]) // pd.Timedelta("1h") + 1
    assert summary["missing"] == span - rows > 0
    assert summary["ignored_columns"] == ["n_minutes"]


@pytest.mark.real
def test_recorded_hours_and_funding_through_the_clean_stage(tmp_path, shared_data):
    lake = Lake(tmp_path)
    import_file(shared_data / "binance_spot_BTCUSDT_1h.parquet", "BTCUSDT", "1h", lake)
    settled = import_file(shared_data / "binance_um_BTCUSDT_funding_8h.parquet", "BTCUSDT", "1h", lake, funding=True)
    assert settled["rows"] == 5481
    policy = config.Clean(duplicates="last", impossible="drop", max_missing=0.02, funding_gaps="report")
    table, report = clean_bars(*lake.read_all("import", "BTCUSDT", "1h"), policy, "1h")
    assert table["high"].loc["2021-11-10"].max() == 69000
    assert table["low"].loc["2022-11-09"].min() == 15588 and table["low"].loc["2020-03-12"].min() == 4410
    assert report["funding"]["settlements"] == 5481 and report["funding"]["outside"] == 0
    raw = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet")
    assert table["funding_rate"].sum() == pytest.approx(raw["funding_rate"].sum(), rel=1e-12)
