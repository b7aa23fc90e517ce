"""Bought files: recognised or named layouts, folders, files too large to be read at once."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workspace import Workspace

from quantalpha.errors import DataError, UsageError
from quantalpha.market import own_files
from quantalpha.market.importer import check_files, import_files
from quantalpha.market.own_files import OwnFiles, column_names
from quantalpha.market.store import Lake

BANNER = "https://www.CryptoDataDownload.com\n"


def hours(count=48, start="2024-01-30") -> pd.DataFrame:
    close = 100.0 + np.arange(count) / 7
    values = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": np.arange(count) / 3}
    return pd.DataFrame({"timestamp": pd.date_range(start, periods=count, freq="1h", tz="UTC", unit="ms"), **values})


def bring(path, tmp_path, symbol="BTCUSDT", **how):
    lake = Lake(tmp_path / "raw")
    return import_files(OwnFiles(path, symbol, "1h", **how), lake), lake


def same(lake: Lake, table: pd.DataFrame, symbol="BTCUSDT") -> None:
    """The lake holds just these bars, bit for bit."""
    stored, expected = lake.read("import", symbol, "1h"), table.set_index("timestamp").sort_index()
    assert (stored.index == expected.index).all() and np.array_equal(stored[expected.columns], expected)


# ---- CryptoDataDownload


def downloaded(table, unix="ms", symbol="BTC/USDT", coins=("BTC", "USDT")) -> str:
    """Newest first; unix: 's', 'ms', or 'both': seconds for the older half."""
    times = table["timestamp"].astype("int64")
    seconds = {"s": np.full(len(table), True), "ms": np.full(len(table), False), "both": np.arange(len(table)) < len(table) // 2}[unix]
    out = pd.DataFrame({"Unix": np.where(seconds, times // 1000, times), "Date": table["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")})
    out["Symbol"] = symbol
    for name in ("open", "high", "low", "close"):
        out[name.title()] = table[name]
    out[f"Volume {coins[0]}"], out[f"Volume {coins[1]}"], out["tradecount"] = table["volume"], table["volume"] * table["close"], 5
    return BANNER + out[::-1].to_csv(index=False)


@pytest.mark.parametrize("unix", ["s", "ms", "both"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_cryptodatadownload_is_recognised(tmp_path, unix, ending):
    path, text = tmp_path / f"Binance_BTCUSDT_1h{ending}", downloaded(hours(), unix)
    path.write_bytes(gzip.compress(text.encode()) if ending == ".csv.gz" else text.encode())
    found, lake = bring(path, tmp_path)
    same(lake, hours())
    stored = lake.read("import", "BTCUSDT", "1h")
    assert (stored["trades"] == 5).all() and np.allclose(stored["quote_volume"], hours()["volume"] * hours()["close"])
    assert found["out_of_order"] == 47 and found["duplicates"] == found["missing"] == 0 and found["ignored_symbols"] == []


def test_volumes_are_told_apart_by_the_coins_they_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(downloaded(hours(), symbol="BTCUSDT", coins=("USDT", "BTC")))
    stored = bring(path, tmp_path)[1].read("import", "BTCUSDT", "1h")
    assert np.allclose(stored["quote_volume"], hours()["volume"]), "the column called Volume USDT is the quote volume wherever it stands"
    path.write_text(downloaded(hours(), coins=("XBT", "EUR")))
    with pytest.raises(DataError, match="volumes in XBT, EUR: which is that of BTCUSDT"):
        bring(path, tmp_path)
    same(bring(path, tmp_path / "named", columns={"volume": "Volume XBT"})[1], hours())


def test_their_older_files_without_unix_times(tmp_path):
    table = hours(24, "2019-10-17")
    out = table.assign(date=table["timestamp"].dt.strftime("%Y-%m-%d %I-%p"), symbol="BTCUSD")
    out = out.rename(columns={"volume": "Volume BTC"}).drop(columns="timestamp").assign(**{"Volume USD": 1.0})
    path = tmp_path / "gemini.csv"
    path.write_text("Timestamps are UTC timezone,https://www.CryptoDataDownload.com\n" + out[::-1].to_csv(index=False))
    same(bring(path, tmp_path, "BTCUSD")[1], table, "BTCUSD")


def test_a_date_that_contradicts_the_unix_time_is_refused_unless_one_is_chosen(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(downloaded(hours()).replace("2024-01-31 20:00:00", "2024-01-31 21:00:00"))
    with pytest.raises(DataError, match="row 4: its date is 2024-01-31 21:00:00, its unix time 2024-01-31T20:00:00Z"):
        bring(path, tmp_path)
    found, _ = bring(path, tmp_path, columns={"timestamp": "date"})
    assert found["duplicates"] == 1 and found["missing"] == 1
    path.write_text(downloaded(hours()).replace("1706659200000,", "17067,"))
    with pytest.raises(DataError, match="row 24: its date is 2024-01-31 00:00:00, its unix time 1970"):
        bring(path, tmp_path / "other")


# ---- sellers' layouts and the user's own


def coinapi(table) -> pd.DataFrame:
    times = table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    names = {"open": "price_open", "high": "price_high", "low": "price_low", "close": "price_close", "volume": "volume_traded"}
    return table.rename(columns=names).drop(columns="timestamp").assign(time_period_start=times, time_open=times, trades_count=3)


def flat(table) -> pd.DataFrame:
    names = {"open": "px_open", "high": "px_high", "low": "px_low", "close": "px_close", "volume": "sx_sum"}
    times = table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.0000000")
    return table.rename(columns=names).drop(columns="timestamp").assign(time_period_start=times, sx_cnt=3, symbol_id_int=12345)


def kaiko(table, width) -> pd.DataFrame:
    out = table.assign(timestamp=table["timestamp"].astype("int64"), count=3, price=table["close"])
    six = ["timestamp", "open", "high", "low", "close", "volume"]
    return out[six if width == 6 else ["timestamp", "count", *six[1:], "price"]]


SOLD = {  # name: (layout, file's text of a table)
    "coinapi": ("coinapi", lambda t: coinapi(t).to_csv(index=False)),
    "coinapi by semicolons": ("coinapi", lambda t: coinapi(t).to_csv(index=False, sep=";")),
    "coinapi flat": ("coinapi-flat", lambda t: flat(t).to_csv(index=False)),
    "kaiko": ("kaiko", lambda t: kaiko(t, 6).to_csv(index=False, header=False)),
    "kaiko with counts": ("kaiko", lambda t: kaiko(t, 8).to_csv(index=False, header=False)),
    "kaiko with a header": ("kaiko", lambda t: kaiko(t, 8).to_csv(index=False)),
    "cryptodatadownload": ("cryptodatadownload", downloaded),
    "cryptodatadownload without its banner": ("cryptodatadownload", lambda t: downloaded(t).removeprefix(BANNER)),
}


@pytest.mark.parametrize("name", SOLD)
def test_sold_layouts(tmp_path, name):
    layout, write = SOLD[name]
    path = tmp_path / "bought.csv"
    path.write_text(write(hours()))
    same(bring(path, tmp_path, layout=layout)[1], hours())


def test_columns_that_the_user_names(tmp_path):
    odd = hours().rename(columns={"timestamp": "Bar Start", "open": "first", "volume": "Contracts"}).assign(open=-1.0)
    chosen = column_names("timestamp=Bar Start,open=first,volume=contracts")
    for ending in (".csv", ".parquet"):
        path = tmp_path / f"odd{ending}"
        odd.to_csv(path, index=False) if ending == ".csv" else odd.to_parquet(path)
        same(bring(path, tmp_path / ending[1:], columns=chosen)[1], hours())
        with pytest.raises(DataError, match="no column 'frist'; did you mean 'first'"):
            bring(path, tmp_path, columns={"open": "frist"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("open", "NAME=COLUMN"),
        ("open=", "NAME=COLUMN"),
        ("opne=a", "did you mean 'open'"),
        ("open=a,open=b", "twice"),
        ("open=a,low=a", "twice"),
    ],
)
def test_columns_that_make_no_sense_are_usage_errors(text, says):
    with pytest.raises(UsageError, match=f"--columns: .*{says}"):
        column_names(text)


def test_refusals(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(coinapi(hours()).drop(columns="price_open").to_csv(index=False))
    with pytest.raises(DataError, match="no column 'price_open'"):
        bring(path, tmp_path, layout="coinapi")
    with pytest.raises(UsageError, match="--layout: no layout 'kaikoo'; did you mean 'kaiko'"):
        bring(path, tmp_path, layout="kaikoo")
    path.write_text(kaiko(hours(), 8).iloc[:, :7].to_csv(index=False, header=False))
    with pytest.raises(DataError, match="expected 6 or 8 columns of kaiko, found 7 and no header"):
        bring(path, tmp_path, layout="kaiko")
    path.write_text(pd.concat([flat(hours()), flat(hours()).assign(symbol_id_int=9)]).to_csv(index=False))
    with pytest.raises(DataError, match="holds 2 symbols by symbol_id_int"):
        bring(path, tmp_path, layout="coinapi-flat")
    path.write_text("timestamp,open,high,low,close\n" + kaiko(hours(), 6).to_csv(index=False, header=False))
    with pytest.raises(DataError, match="more cells than the first line names"):
        bring(path, tmp_path)


# ---- folders, and files too large for memory


@pytest.mark.parametrize("order", [1, -1])
def test_a_folder_is_one_table_in_whatever_order_its_files_are_named(tmp_path, order):
    whole, folder = hours(24 * 90, "2024-01-10"), tmp_path / "bought"
    folder.mkdir()
    for name, begin in zip("cab", (0, 700, 1500)):
        whole[begin : begin + 700 if begin == 0 else 1500 if begin == 700 else None][::order].to_csv(folder / f"{name}.csv", index=False)
    (folder / "readme.txt").write_text("no table")
    found, lake = bring(folder, tmp_path)
    same(lake, whole)
    assert found["rows"] == len(whole) and found["missing"] == found["duplicates"] == 0 and found["file"] == "bought"
    assert bring(folder, tmp_path)[0]["months_written"] == 0
    with pytest.raises(UsageError, match="no file in it ends in"):
        check_files(OwnFiles(tmp_path / "empty", "BTCUSDT", "1h")) if (tmp_path / "empty").mkdir() is None else None


@settings(max_examples=15)
@given(st.integers(40, 900), st.sampled_from([1, -1]), st.integers(0, 2**32 - 1))
def test_a_file_in_pieces_gives_the_lake_and_the_findings_of_the_whole(tmp_path_factory, size, order, seed):
    """Whatever the size of the pieces: holes, twins and rows out of place within a month."""
    tmp_path, rng = tmp_path_factory.mktemp("pieces"), np.random.default_rng(seed)
    table = hours(2000, "2024-01-10").drop(index=rng.choice(2000, 40, replace=False))
    table = pd.concat([table, table[100:103], table[900:902]]).sort_values("timestamp", kind="stable")[::order].reset_index(drop=True)
    swap = rng.integers(0, len(table) - 1)
    if table["timestamp"].dt.month[swap] == table["timestamp"].dt.month[swap + 1]:
        table.iloc[[swap, swap + 1]] = table.iloc[[swap + 1, swap]].to_numpy()
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    whole, first = bring(path, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_files, "CHUNK", size)
        pieces, second = bring(path, tmp_path / "pieces")
    assert pieces == whole and second.read("import", "BTCUSDT", "1h").equals(first.read("import", "BTCUSDT", "1h"))
    assert [second.month("import", "BTCUSDT", "1h", name).complete for name in second.stored("import", "BTCUSDT", "1h")] == [
        first.month("import", "BTCUSDT", "1h", name).complete for name in first.stored("import", "BTCUSDT", "1h")
    ]


def test_what_runs_neither_up_nor_down_is_refused_before_anything_is_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "CHUNK", 500)
    table = hours(24 * 150, "2024-01-01")
    path = tmp_path / "own.csv"
    pd.concat([table[1500:], table[:1500]]).to_csv(path, index=False)
    with pytest.raises(DataError, match="neither up nor down in time: after those of 2024-0. come rows of 2024-01; sort it"):
        bring(path, tmp_path)
    assert not (tmp_path / "raw").exists()


def test_errors_name_the_row_of_the_file_in_whichever_piece_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "CHUNK", 100)
    table = hours(1000).astype({"close": object})
    table.loc[777, "close"] = "abc"
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match="column 'close', row 778: expected a number, found 'abc'"):
        bring(path, tmp_path)


def test_rows_of_the_symbol_may_be_in_some_pieces_only(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "CHUNK", 30)
    path = tmp_path / "own.csv"
    pd.concat([hours().assign(symbol="ETH-USDT"), hours().assign(symbol="BTC-USDT")]).to_csv(path, index=False)
    found, lake = bring(path, tmp_path)
    same(lake, hours())
    assert found["ignored_symbols"] == ["ETHUSDT"]
    with pytest.raises(DataError, match="no rows of SOLUSDT"):
        bring(path, tmp_path, "SOLUSDT")


def test_decimals_are_read_to_the_nearest_number(tmp_path):
    written = ["0.1234567890123456789", "100000.00000000001", "9007199254740993.0", *["1.1"] * 45]
    path = tmp_path / "own.csv"
    hours().astype({"open": object}).assign(open=written).to_csv(path, index=False)
    assert bring(path, tmp_path)[1].read("import", "BTCUSDT", "1h")["open"].tolist() == [float(text) for text in written]


def test_the_command_takes_a_layout_columns_and_a_folder(tmp_path):
    workspace, folder = Workspace(tmp_path / "workspace"), tmp_path / "bought"
    folder.mkdir()
    (folder / "a.csv").write_text(coinapi(hours()).to_csv(index=False, sep=";"))
    words = ("import", str(folder), "--symbol", "BTCUSDT", "--timeframe", "1h", "--json")
    workspace.call(*words).complains(4, "missing column(s)", "--columns NAME=COLUMN")
    assert workspace.call(*words, "--layout", "coinapi").json[0]["rows"] == 48
    workspace.call(*words, "--layout", "none").complains(2, "--layout")
    workspace.call(*words, "--columns", "opne=x").complains(2, "--columns")
