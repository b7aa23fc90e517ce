"""Bulk files: only what is proved gets in, nothing twice, the same lake however often it was interrupted."""

import hashlib
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from archive_tree import FUNDING, METRICS, Server, bars_of, csv_of, klines, metrics, put, put_days, reply, table_of, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workspace import Workspace

from quantalpha import audit, files, schema
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.archive import RECORD, Folder, Site, Wanted, import_archive
from quantalpha.market.archive_names import file_of, series_for, series_of
from quantalpha.market.kinds import month_bounds
from quantalpha.market.lacking import lacking
from quantalpha.market.store import Lake

HOURS, MARK, SPOT = bars_of(), bars_of(dataset="markPriceKlines"), bars_of("15m", market="spot")
JANUARY, MARCH_END = month_bounds("2024-01")[0], month_bounds("2024-03")[1]
VENUE = "binanceusdm"


def bring(root, lake, **wanted) -> list:
    return list(import_archive(Folder(root), lake, Wanted(**wanted)))


def statuses(outcomes) -> Counter:
    return Counter(outcome.status for outcome in outcomes)


def content(lake: Lake) -> dict:
    """{file: sha256} of every month, complete or not."""
    return {
        path.relative_to(lake.root).as_posix(): (files.sha256(path), lake.month(*path.relative_to(lake.root).parts[:3], path.stem).complete)
        for path in lake.root.rglob("????-??.parquet")
    }


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def root(tmp_path):
    """Two months and the first days of a third, open interest of a month, funding, and spot of January 2025 in microseconds."""
    tree = tmp_path / "tree"
    for label in ("2024-01", "2024-02"):
        put(tree, HOURS, label)
    put_days(tree, HOURS, "2024-03", 5)
    put(tree, MARK, "2024-01", header=False)
    put_days(tree, METRICS, "2024-01")
    put(tree, FUNDING, "2024-01")
    late = klines("2025-01", "15m")
    late[["open_time", "close_time"]] *= 1000
    put(tree, SPOT, "2025-01", zipped({"BTCUSDT-15m-2025-01.csv": csv_of(late, header=False)}))
    return tree


def published(series, *labels) -> pd.DataFrame:
    return pd.concat([table_of(series, label) for label in labels])


def test_every_value_arrives_as_published(root, lake):
    assert statuses(bring(root, lake)) == {"stored": 2 + 5 + 1 + 31 + 1 + 1}
    bars, told = lake.read(VENUE, "BTCUSDT", "1h"), published(HOURS, "2024-01", "2024-02", *[f"2024-03-0{day}" for day in range(1, 6)])
    assert (schema.epoch_ms(bars.index) == told["open_time"]).all()
    for ours, theirs in {
        "open": "open",
        "close": "close",
        "volume": "volume",
        "trades": "count",
        "taker_buy_volume": "taker_buy_volume",
    }.items():
        assert (bars[ours].to_numpy() == told[theirs].to_numpy()).all()
    assert list(lake.read(VENUE, "BTCUSDT", "mark-1h").columns) == ["open", "high", "low", "close"]
    interest = lake.read(VENUE, "BTCUSDT", "interest-5m")
    assert len(interest) == 31 * 288 and interest.index[-1] == pd.Timestamp("2024-02-01", tz="UTC")
    rates = lake.read(VENUE, "BTCUSDT", "funding")
    assert (rates["funding_rate"].to_numpy() == table_of(FUNDING, "2024-01")["last_funding_rate"].to_numpy()).all()
    spot = lake.read("binance", "BTCUSDT", "15m")
    assert len(spot) == 31 * 96 and spot.index[0] == pd.Timestamp("2025-01-01", tz="UTC")


def test_decimals_are_read_to_the_nearest_number(tmp_path, lake):
    table = klines("2024-01-05", "1h").astype({"open": object})
    written = ["0.1234567890123456789", "100000.00000000001", "9007199254740993.0", "0.3", *["1.1"] * 20]
    table["open"] = written
    put(tmp_path, HOURS, "2024-01-05", zipped({"BTCUSDT-1h-2024-01-05.csv": csv_of(table)}))
    bring(tmp_path, lake)
    assert lake.read(VENUE, "BTCUSDT", "1h")["open"].tolist() == [float(text) for text in written]


def test_a_month_closes_by_its_own_file_or_by_all_its_days(tmp_path, root, lake):
    bring(root, lake)
    closed = {month: lake.month(VENUE, "BTCUSDT", "1h", month).complete for month in lake.stored(VENUE, "BTCUSDT", "1h")}
    assert closed == {"2024-01": True, "2024-02": True, "2024-03": False}
    assert lake.month(VENUE, "BTCUSDT", "interest-5m", "2024-01").complete
    put_days(root, HOURS, "2024-03")
    bring(root, lake)
    assert lake.month(VENUE, "BTCUSDT", "1h", "2024-03").complete


def test_again_nothing_is_opened(root, lake, monkeypatch):
    bring(root, lake)
    before = content(lake)
    monkeypatch.setattr("quantalpha.market.archive.read", None)
    monkeypatch.setattr(Folder, "opened", None)
    assert set(statuses(bring(root, lake))) == {"known"} and content(lake) == before


def test_a_month_taken_out_of_the_lake_is_read_again(root, lake):
    bring(root, lake)
    before = content(lake)
    take_away(lake, "2024-02")
    assert statuses(bring(root, lake))["stored"] == 1 and content(lake) == before


def take_away(lake, month):
    for ending in (".parquet", ".json"):
        lake.path(VENUE, "BTCUSDT", "1h", month).with_suffix(ending).unlink()


def test_a_month_taken_out_closes_only_by_files_that_are_in_the_lake_again(tmp_path, lake):
    days = put_days(tmp_path, HOURS, "2024-02")
    bring(tmp_path, lake)
    before = content(lake)
    take_away(lake, "2024-02")
    sound = days[9].read_bytes()
    days[9].write_bytes(b"damaged")
    assert statuses(bring(tmp_path, lake)) == {"stored": 28, "refused": 1}
    month = lake.month(VENUE, "BTCUSDT", "1h", "2024-02")
    assert len(month.rows) == 28 * 24 and not month.complete
    days[9].write_bytes(sound)
    assert statuses(bring(tmp_path, lake)) == {"stored": 1, "known": 28} and len(lake.read(VENUE, "BTCUSDT", "1h")) == 29 * 24
    assert lake.month(VENUE, "BTCUSDT", "1h", "2024-02").complete and before.keys() == content(lake).keys()


def test_a_month_taken_out_and_killed_while_it_comes_again_is_whole_in_the_end(tmp_path, lake, monkeypatch):
    days = put_days(tmp_path, HOURS, "2024-02", 5)
    bring(tmp_path, lake)
    take_away(lake, "2024-02")
    sound = days[3].read_bytes()
    days[3].write_bytes(b"damaged")
    real = audit.append

    def killed(path, line):
        if path.name == RECORD and "act" not in line(None):
            raise KeyboardInterrupt
        return real(path, line)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("quantalpha.market.archive.audit.append", killed)
        bring(tmp_path, lake)
    days[3].write_bytes(sound)
    bring(tmp_path, lake)
    assert len(lake.read(VENUE, "BTCUSDT", "1h")) == 5 * 24


@pytest.mark.parametrize("missing", [slice(100, 150), slice(0, 3), slice(700, None)])
def test_a_months_file_that_lacks_bars_leaves_it_unfinished_and_the_venue_is_asked(tmp_path, lake, missing):
    table = klines("2024-01", "1h")
    put(tmp_path, HOURS, "2024-01", zipped({"BTCUSDT-1h-2024-01.csv": csv_of(table.drop(table.index[missing]))}))
    bring(tmp_path, lake)
    key, (begin, end) = (VENUE, "BTCUSDT", "1h"), month_bounds("2024-01")
    assert not lake.month(*key, "2024-01").complete
    assert lacking(lake, key, (begin, end), "binanceusdm REST") == [(begin, end, ())]
    rows = table[["open", "high", "low", "close", "volume"]].set_axis(schema.from_epoch_ms(table["open_time"]))
    lake.merge(*key, rows, source="binanceusdm REST", complete_before=end)
    assert lacking(lake, key, (begin, end), "binanceusdm REST") == [] and len(lake.read(*key)) == 744
    assert statuses(bring(tmp_path, lake)) == {"known": 1}


def test_the_record_names_each_file_and_its_hash(root, lake):
    bring(root, lake, kinds=("1h",))
    lines = audit.read(lake.path(VENUE, "BTCUSDT", "1h", "x").with_name(RECORD))
    named = {name: digest for line in lines for name, digest in line["files"].items()}
    assert named == {path.relative_to(root).as_posix(): files.sha256(path) for path in root.rglob("um/*/klines/**/*.zip")}
    assert [line["month"] for line in lines] == ["2024-01", "2024-02", "2024-03"]


def test_the_months_file_stands_for_its_days_and_days_for_a_month_that_is_refused(root, lake):
    put(root, HOURS, "2024-01-07")
    assert statuses(bring(root, lake, kinds=("1h",)))["covered"] == 1
    put(root, HOURS, "2024-02", checksum="0" * 64 + "  BTCUSDT-1h-2024-02.zip")
    put_days(root, HOURS, "2024-02")
    other = Lake(lake.root.with_name("other"))
    found = statuses(bring(root, other, kinds=("1h",)))
    assert found == {"stored": 1 + 29 + 5, "covered": 1, "refused": 1}
    assert content(other) == content(lake)


def test_a_replaced_file_is_a_recorded_revision(root, lake):
    bring(root, lake)
    table = klines("2024-01", "1h")
    table.loc[5, "close"] += 0.1
    put(root, HOURS, "2024-01", zipped({"BTCUSDT-1h-2024-01.csv": csv_of(table)}))
    assert statuses(bring(root, lake))["stored"] == 1
    month = lake.month(VENUE, "BTCUSDT", "1h", "2024-01")
    assert [event["act"] for event in month.passport.history] == ["revised"] and month.passport.history[0]["rows"] == 1
    assert month.rows["close"].iloc[5] == table.loc[5, "close"]


def test_what_rest_fetched_and_the_archive_meet_and_are_compared(root, lake):
    table = klines("2024-01", "1h")
    rows = table[["open", "high", "low", "close", "volume"]].set_axis(schema.from_epoch_ms(table["open_time"]))
    rows.iloc[7, 3] *= 1.01
    lake.merge(VENUE, "BTCUSDT", "1h", rows.iloc[:-24], source="binanceusdm REST", complete_before=0)
    bring(root, lake, kinds=("1h",))
    month = lake.month(VENUE, "BTCUSDT", "1h", "2024-01")
    assert len(month.rows) == 744 and month.rows["close"].iloc[7] == rows["close"].iloc[7]
    assert lake.disputed(VENUE, "BTCUSDT", "1h").tolist() == [rows.index[7]]
    assert month.rows["trades"].notna().all() and month.complete


def faulty(table=None, member="BTCUSDT-1h-2024-01.csv", **more):
    """A zip whose one member is a table of January."""
    data = csv_of(klines("2024-01", "1h") if table is None else table)
    return lambda: zipped({member: data} | more)


def changed(row, column, value):
    table = klines("2024-01", "1h").astype({column: object})
    table.loc[row, column] = value
    return table


def bomb():
    return zipped({"BTCUSDT-1h-2024-01.csv": b"0" * 100_000_000})


def lying_bomb():
    """Says it holds a few bytes."""
    data = bytearray(zipped({"BTCUSDT-1h-2024-01.csv": csv_of(pd.concat([klines("2024-01", "1h")] * 200))}))
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (100_000).to_bytes(4, "little")
    return bytes(data)


def encrypted():
    data = bytearray(faulty()())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


UNSOUND = {  # name: (zip, what is said of it); all with the checksum of just these bytes
    "another name": (faulty(member="ETHUSDT-1h-2024-01.csv"), "expected the one member BTCUSDT-1h-2024-01.csv"),
    "a path": (faulty(member="../BTCUSDT-1h-2024-01.csv"), "expected the one member"),
    "an absolute path": (faulty(member="/etc/BTCUSDT-1h-2024-01.csv"), "expected the one member"),
    "two members": (faulty(**{"more.csv": b"1"}), "expected the one member"),
    "no member": (lambda: zipped({}), "found none"),
    "a bomb": (bomb, "claims 100,000,000 bytes"),
    "a lying bomb": (lying_bomb, "not a sound zip|cannot be read|more than the"),
    "encrypted": (encrypted, "encrypted"),
    "no zip": (lambda: b"<html>not found</html>", "not a sound zip"),
    "cut off": (lambda: faulty()()[:-2000], "not a sound zip"),
    "damaged inside": (lambda: (data := faulty()())[:300] + bytes(50) + data[350:], "not a sound zip|cannot be read"),
    "no rows": (faulty(klines("2024-01", "1h")[:0]), "no rows"),
    "another month": (faulty(klines("2024-02", "1h")), "row 1 is of 2024-02-01"),
    "a row too late": (faulty(changed(743, "open_time", month_bounds("2024-02")[0])), "row 744 is of 2024-02-01"),
    "another timeframe": (faulty(klines("2024-01", "30m")[:700]), "does not open on a whole 1h"),
    "too many rows": (faulty(pd.concat([klines("2024-01", "1h")] * 3)), "more than the"),
    "two versions": (faulty(changed(10, "open_time", klines("2024-01", "1h")["open_time"][11])), "comes twice with different values"),
    "text": (faulty(changed(3, "close", "abc")), "cannot be read"),
    "no time": (faulty(changed(3, "open_time", None)), "row 4 has no time|cannot be read"),
    "a column missing": (faulty(klines("2024-01", "1h").drop(columns="close")), "expected the columns open_time"),
    "columns of another set": (lambda: zipped({"BTCUSDT-1h-2024-01.csv": csv_of(metrics("2024-01-05"))}), "expected the columns"),
    "too fine": (faulty(klines("2024-01", "1h").assign(open_time=lambda t: t["open_time"] * 1000 + 1)), "finer than a millisecond"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_file_is_refused_by_name_and_the_others_are_stored(tmp_path, lake, name):
    make, says = UNSOUND[name]
    put(tmp_path, HOURS, "2024-01", make())
    put(tmp_path, HOURS, "2024-02")
    refused, stored = sorted(bring(tmp_path, lake), key=lambda outcome: outcome.file.label)
    assert refused.status == "refused" and stored.status == "stored" and "BTCUSDT-1h-2024-01.zip" in refused.reason
    assert pd.Series([refused.reason]).str.contains(says).all(), refused.reason
    assert lake.stored(VENUE, "BTCUSDT", "1h") == ["2024-02"] and "\n" not in refused.reason


CHECKSUMS = {
    "of other bytes": ("0" * 64 + "  BTCUSDT-1h-2024-01.zip", "its checksum says 000000000000"),
    "of another file": ("0" * 64 + "  ETHUSDT-1h-2024-01.zip", "expected one line"),
    "no checksum": ("<html>", "expected one line"),
    "empty": ("", "expected one line"),
    "none": (None, "there is none, and nothing else proves the file"),
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_file_is_parsed_only_once_its_checksum_is_right(tmp_path, lake, name, monkeypatch):
    text, says = CHECKSUMS[name]
    put(tmp_path, HOURS, "2024-01", checksum=text)
    monkeypatch.setattr("quantalpha.market.archive.read", None)
    (outcome,) = bring(tmp_path, lake)
    assert outcome.status == "refused" and says in outcome.reason and "BTCUSDT-1h-2024-01.zip" in outcome.reason
    assert not list(lake.root.rglob("*.parquet"))


def test_files_without_a_checksum_are_taken_when_asked_and_their_month_says_so(tmp_path, lake):
    put(tmp_path, HOURS, "2024-01", checksum=None)
    assert statuses(bring(tmp_path, lake, unverified=True)) == {"stored": 1}
    assert "(unverified)" in lake.month(VENUE, "BTCUSDT", "1h", "2024-01").passport.source
    assert statuses(bring(tmp_path, lake, unverified=True)) == {"known": 1}
    put(tmp_path, HOURS, "2024-01", checksum="0" * 64 + "  BTCUSDT-1h-2024-01.zip")
    assert statuses(bring(tmp_path, lake, unverified=True)) == {"refused": 1}


def test_a_day_that_says_nothing_of_open_interest_is_left_out_row_by_row(tmp_path, lake):
    table = metrics("2024-01-05").astype({"sum_open_interest": object})
    table.loc[3:5, "sum_open_interest"] = ""
    table = pd.concat([table, table[9:11]])
    put(tmp_path, METRICS, "2024-01-05", zipped({"BTCUSDT-metrics-2024-01-05.csv": csv_of(table)}))
    (outcome,) = bring(tmp_path, lake)
    assert (outcome.rows, outcome.left_out) == (285, 5)
    other = metrics("2024-01-06", "ETHUSDT")
    put(tmp_path, METRICS, "2024-01-06", zipped({"BTCUSDT-metrics-2024-01-06.csv": csv_of(other)}))
    assert "rows of 'ETHUSDT'" in bring(tmp_path, lake)[1].reason


def test_open_interest_on_another_grid_is_that_of_the_same_times(root, lake):
    bring(root, lake, kinds=("interest-1h", "interest-5m"))
    hourly, fine = (lake.read(VENUE, "BTCUSDT", kind) for kind in ("interest-1h", "interest-5m"))
    assert len(hourly) == 31 * 24 and hourly.equals(fine.loc[hourly.index])


def test_what_is_asked_for_is_taken(root, lake):
    put(root, bars_of(symbol="ETHUSDT"), "2024-01")
    found = bring(root, lake, symbols=("ETHUSDT",), venue="bought")
    assert [outcome.file.series.symbol for outcome in found] == ["ETHUSDT"] and lake.stored("bought", "ETHUSDT", "1h")
    low, high = month_bounds("2024-02")
    assert {outcome.file.label for outcome in bring(root, lake, kinds=("1h",), start=low, end=high)} == {"2024-02"}
    deeper = bring(root / "data/futures/um/monthly/klines/BTCUSDT", lake)
    assert {outcome.file.label for outcome in deeper} == {"2024-01", "2024-02"}
    with pytest.raises(UsageError, match="no such folder"):
        Folder(root / "none")


@pytest.mark.parametrize("kind", ["1w", "premium-1h", "interest-1m", "trades"])
def test_kinds_that_the_archive_has_not_are_usage_errors(kind):
    with pytest.raises(UsageError, match="--kind"):
        series_for(kind, "BTCUSDT", "futures/um")
    with pytest.raises(UsageError, match="spot archive"):
        series_for("funding", "BTCUSDT", "spot")


@given(
    st.sampled_from(["klines", "markPriceKlines", "indexPriceKlines", "metrics", "fundingRate"]),
    st.from_regex(r"[A-Z0-9]{2,12}", fullmatch=True),
    st.sampled_from(["1m", "5m", "1h", "4h", "1d"]),
    st.dates(pd.Timestamp("2019-01-01").date(), pd.Timestamp("2030-12-31").date()),
    st.booleans(),
)
def test_a_files_path_tells_what_it_holds(dataset, symbol, bar, day, monthly):
    interval = {"metrics": "5m", "fundingRate": None}.get(dataset, bar)
    file = bars_of(interval, symbol, dataset=dataset).file(f"{day:%Y-%m}" if monthly else f"{day:%Y-%m-%d}")
    folder, _, name = file.path.rpartition("/")
    assert series_of(f"/mnt/any/{folder}") == (file.series, file.period) and file_of(file.series, name) == file
    assert series_for(file.series.kind, symbol, "futures/um") == file.series
    assert all(file_of(file.series, wrong) is None for wrong in (name + ".CHECKSUM", "X" + name, name[:-4], name.replace("-", "_")))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_of_partial_trees_ends_in_the_same_lake(tmp_path_factory, data):
    """Files arrive over time: whatever was there in earlier runs, the last run makes the lake whole."""
    folder = tmp_path_factory.mktemp("partial")
    whole, part = folder / "whole", folder / "part"
    paths = [put(whole, HOURS, "2024-01"), *put_days(whole, HOURS, "2024-01", 4), *put_days(whole, HOURS, "2024-02", 6)]
    expected, lake = Lake(folder / "expected"), Lake(folder / "lake")
    bring(whole, expected)
    part.mkdir()
    for some in data.draw(st.lists(st.sets(st.sampled_from(paths), max_size=5), max_size=3)):
        for path in some:
            for each in (path, path.with_name(path.name + ".CHECKSUM")):
                target = part / each.relative_to(whole)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(each, target)
        bring(part, lake)
    bring(whole, lake)
    assert content(lake) == content(expected)


def test_interrupted_at_any_write_and_run_again_the_lake_is_the_same(tmp_path, lake, monkeypatch):
    root = tmp_path / "tree"
    put(root, HOURS, "2024-01")
    put_days(root, HOURS, "2024-02", 3)
    put_days(root, METRICS, "2024-01")
    put(root, FUNDING, "2024-01")
    bring(root, lake)
    real, left = files.write_atomic, [0]

    def failing(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(path, data)

    for module in ("quantalpha.audit", "quantalpha.market.passport"):
        monkeypatch.setattr(f"{module}.write_atomic", failing)
    for writes in range(100):  # each write is tried as the one that never comes
        other = Lake(tmp_path / f"other{writes}")
        left[0] = writes
        try:
            bring(root, other)
        except KeyboardInterrupt:
            left[0] = 10_000
            bring(root, other)
            assert content(other) == content(lake)
        else:
            break
    assert writes > 12


# ---- an address


def site(server, *series, start=JANUARY, end=MARCH_END, **more) -> Site:
    return Site(server.url, list(series), start, end, **{"timeout": 5.0, "sleep": lambda _: None} | more)


def fetch(place, lake, **wanted) -> list:
    return list(import_archive(place, lake, Wanted(**wanted)))


def test_a_site_gives_the_same_lake_as_its_folder_and_is_asked_little_again(root, tmp_path, lake):
    bring(root, lake, kinds=("1h", "mark-1h", "funding"))
    other = Lake(tmp_path / "other")
    with Server(root) as server:
        place = site(server, HOURS, MARK, FUNDING)
        assert statuses(fetch(place, other)) == {"stored": 2 + 5 + 1 + 1}
        assert content(other) == content(lake)
        server.asked.clear()
        assert set(statuses(fetch(place, other))) == {"known"}
        assert not [path for method, path in server.asked if method == "GET" and path.endswith(".zip")]


def test_a_file_of_the_site_without_a_checksum_is_refused_unless_asked(tmp_path, lake):
    put(tmp_path / "tree", HOURS, "2024-01", checksum=None)
    with Server(tmp_path / "tree") as server:
        place = site(server, HOURS, end=month_bounds("2024-01")[1])
        assert statuses(fetch(place, lake)) == {"refused": 1}
        assert statuses(fetch(place, lake, unverified=True)) == {"stored": 1}


def once(fault):
    """A fault of the first answer alone."""
    left = [1]

    def act(handler, data):
        left[0] -= 1
        return left[0] >= 0 and fault(handler, data)

    return act


def cut(handler, data):
    return reply(handler, 200, data[:-100], announced=len(data))


def busy(handler, data):
    return reply(handler, 503, b"busy")


def garbled(handler, data):
    return reply(handler, 200, bytes([data[0] ^ 1]) + data[1:])


def silent(handler, data):
    handler.connection.settimeout(2)
    handler.connection.recv(1)  # until the other side has had enough
    handler.close_connection = True
    return True


@pytest.mark.parametrize("fault", [cut, busy, silent])
def test_a_site_that_fails_once_is_asked_again(root, tmp_path, lake, fault):
    with Server(root) as server:
        server.faults["1h-2024-01.zip"] = once(fault)
        found = fetch(site(server, HOURS, end=month_bounds("2024-01")[1], timeout=0.5), lake)
    assert statuses(found) == {"stored": 1} and len(lake.read(VENUE, "BTCUSDT", "1h")) == 744


@pytest.mark.parametrize(("fault", "says"), [(cut, "broken off each of 4 times"), (garbled, "its checksum says")])
def test_a_file_that_never_comes_whole_is_refused_by_name_and_the_next_is_stored(root, lake, fault, says):
    with Server(root) as server:
        server.faults["1h-2024-01.zip"] = fault
        found = fetch(site(server, HOURS, end=month_bounds("2024-02")[1]), lake)
    assert statuses(found) == {"refused": 1, "stored": 1} and says in found[0].reason
    assert lake.stored(VENUE, "BTCUSDT", "1h") == ["2024-02"]


@pytest.mark.parametrize("fault", [busy, silent, lambda handler, data: reply(handler, 403, b"no")])
def test_a_site_that_does_not_answer_is_an_exchange_error_and_what_is_stored_stays(root, lake, fault):
    with Server(root) as server:
        server.faults["1h-2024-02.zip.CHECKSUM"] = fault
        with pytest.raises(ExchangeError, match="2024-02.zip.CHECKSUM: no usable answer"):
            fetch(site(server, HOURS, timeout=0.2), lake)
        assert lake.stored(VENUE, "BTCUSDT", "1h") == ["2024-01"]
        server.faults.clear()
        assert statuses(fetch(site(server, HOURS), lake)) == {"known": 1, "stored": 6}


def test_a_trickle_is_given_up(root, lake, monkeypatch):
    clock = iter(np.arange(0.0, 1e6, 10.0))
    monkeypatch.setattr("quantalpha.market.archive_sources.time.monotonic", lambda: next(clock))
    with Server(root) as server, pytest.raises(ExchangeError, match="bytes in"):
        fetch(site(server, HOURS, timeout=5.0), lake)


def test_a_site_must_not_send_elsewhere_nor_be_asked_in_the_clear(root, lake):
    def elsewhere(handler, data):
        handler.send_response(302)
        handler.send_header("Location", "http://127.0.0.1:9/")
        handler.end_headers()
        return True

    with Server(root) as server:
        server.faults[".CHECKSUM"] = elsewhere
        with pytest.raises(ExchangeError, match="Found|302"):
            fetch(site(server, HOURS), lake)
    for address in ("http://data.binance.vision", "ftp://127.0.0.1", "file:///etc"):
        with pytest.raises(UsageError, match="expected https"):
            Site(address, [], 0, 0)


def test_what_is_absurdly_large_is_given_up(root, lake, monkeypatch):
    monkeypatch.setattr("quantalpha.market.archive_sources.MOST_ZIPPED", 1000)
    with Server(root) as server:
        (first, *_) = fetch(site(server, HOURS, end=month_bounds("2024-01")[1]), lake)
    assert "more than 1,000 bytes came" in first.reason
    assert all("more than any file of the archive" in outcome.reason for outcome in bring(root, lake, kinds=("1h",)))


def test_an_altered_record_is_noticed(root, lake):
    bring(root, lake, kinds=("1h",))
    path = lake.path(VENUE, "BTCUSDT", "1h", "x").with_name(RECORD)
    path.write_bytes(path.read_bytes().replace(b"2024-01", b"2023-01", 1))
    with pytest.raises(DataError, match="altered"):
        bring(root, lake)


def test_the_checksum_is_that_of_the_bytes_that_are_read(root, lake):
    path = root / HOURS.file("2024-01").path
    assert hashlib.sha256(path.read_bytes()).hexdigest() in path.with_name(path.name + ".CHECKSUM").read_text()


# ---- the command


def test_the_command_tells_what_became_of_the_files_and_exits_4_where_one_was_refused(root, tmp_path, monkeypatch):
    workspace = Workspace(tmp_path / "workspace")
    answer = workspace.call("data", "archive", str(root), "--kind", "1h", "--json")
    counts = {"stored": 7, "rows": (31 + 29 + 5) * 24, "left_out": 0, "months": 3, "disputed": 0, "known": 0, "covered": 0, "refused": 0}
    assert answer.code == 0 and answer.json["series"] == [{"series": "binanceusdm/BTCUSDT/1h"} | counts]
    put(root, HOURS, "2024-04", checksum=None)
    answer = workspace.call("data", "archive", str(root), "--kind", "1h")
    answer.complains(4, "1 of 8 files refused", "BTCUSDT-1h-2024-04.zip.CHECKSUM", "--unverified")
    assert "archive" in answer.out and "refused" in answer.out
    with Server(root) as server:
        words = ("data", "archive", server.url, "--symbol", "BTCUSDT", "--kind", "funding", "--from", "2024-01", "--until", "2024-03-01")
        assert workspace.call(*words, "--json").json["series"][0]["stored"] == 1
    monkeypatch.setattr("quantalpha.market.archive_sources.TRIES", 1)
    workspace.call(*words).complains(5, "no usable answer")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("https://127.0.0.1:9", 2, "--symbol, --kind, --from: an address gives no list"),
        ("http://example.org --symbol BTCUSDT --kind 1h --from 2024-01", 2, "expected https"),
        ("https://127.0.0.1:9 --symbol BTCUSDT --kind 1h --from 2024-01 --market cm", 2, "--market"),
        ("TREE --kind trades", 2, "--kind: the archive has nothing for 'trades'"),
        ("TREE --symbol NONEUSDT", 4, "nothing there of what was asked for"),
        ("TREE --venue ../x", 2, "--venue"),
        ("nowhere", 2, "no such folder"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(root, tmp_path, words, code, says):
    Workspace(tmp_path / "workspace").call("data", "archive", *words.replace("TREE", str(root)).split()).complains(code, says)
