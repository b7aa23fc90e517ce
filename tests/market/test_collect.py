"""What a download fetches besides bars, what it says of it, and the commands."""

import asyncio
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from collecting import HOUR, contents, data, fetch, minutes, ms, process, venue
from workspace import Workspace, at, words

from quantalpha import config
from quantalpha.errors import DataError, UsageError
from quantalpha.market import instruments, seen_brackets
from quantalpha.market.download import verify
from quantalpha.market.lacking import kind_names
from quantalpha.market.store import Lake
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Account, bracket_schedule
from quantalpha.practice import Limits, Tape
from quantalpha.practice.background import played
from quantalpha.practice.query import KEY, SECRET

ALL = list(config.COLLECTED)


def hours(bars: int, start: str, *symbols: str) -> dict[str, pd.DataFrame]:
    params = config.Synthetic(seed=11, start=start, bars=bars, timeframe="1h", edge=dict.fromkeys(symbols, 0.0))
    return {symbol: synthetic_bars(symbol, params) for symbol in symbols}


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Ninety days to October 2023, within which BTCUSDT's maintenance table changes; OLDUSDT is delisted in September."""
    frames = hours(90 * 24, "2023-07-10", "BTCUSDT", "ETHUSDT")
    frames["BTCUSDT"]["index_price"] = frames["BTCUSDT"]["close"] * 1.0001
    return Tape(frames | hours(60 * 24, "2023-07-10", "OLDUSDT"))


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("BINANCE_KEY", KEY)
    monkeypatch.setenv("BINANCE_SECRET", SECRET)
    config.environment.cache_clear()
    yield
    config.environment.cache_clear()


def said(table: pd.DataFrame, symbol: str = "BTCUSDT") -> pd.DataFrame:
    return table[table["symbol"] == symbol].set_index("kind")


def test_every_kind_of_several_symbols_is_fetched_and_told(tape, tmp_path, keys):
    wanted = data("2023-07-10", None, symbols=("BTCUSDT", "ETHUSDT"), kinds=ALL)
    with played(tape, speed=0.0, now=tape.end) as server:
        table = fetch(venue(server), wanted, tmp_path)
    lines, btc = said(table), tape.instruments["BTCUSDT"]
    assert lines.index.tolist() == ["1h", "mark-1h", "index-1h", "funding", "interest-1h", "rules", "brackets"]
    lake = Lake(tmp_path)
    index = lake.read("practice", "BTCUSDT", "index-1h")
    assert index["close"].tolist() == btc.index.rows[:, 3].tolist() and list(index.columns) == ["open", "high", "low", "close"]
    assert lines["rows"]["1h"] == len(btc.times) and lines["gaps"]["1h"] > 0
    assert "last 30 days" in lines["note"]["interest-1h"] and 29 * 24 < lines["rows"]["interest-1h"] <= 30 * 24
    assert lines["rows"]["rules"] == 1 and lines["note"]["rules"] == ""
    bars = lake.read("practice", "BTCUSDT", "1h")
    assert list(bars.columns) == [*config_columns(), "quote_volume", "trades", "taker_buy_volume"]
    assert (bars["quote_volume"] > 0).all() and (bars["taker_buy_volume"] <= bars["volume"]).all()


def config_columns():
    return ["open", "high", "low", "close", "volume"]


def test_rules_are_kept_with_the_day_they_were_seen_and_only_when_they_change(tape, tmp_path):
    wanted = data("2023-07-10", None, kinds=["rules"])
    with played(tape, speed=0.0, now=tape.start + 24 * HOUR) as server:
        for _ in range(2):
            fetch(venue(server), wanted, tmp_path)
        path = instruments.record_path(Lake(tmp_path), "practice", "BTCUSDT", "rules")
        found = instruments.history(Lake(tmp_path), "practice", "BTCUSDT", "rules")
        assert instruments.record(path, "rules", found[0]["rules"] | {"tick": 0.5}, tape.end)
        fetch(venue(server), wanted, tmp_path)
    lines = instruments.history(Lake(tmp_path), "practice", "BTCUSDT", "rules")
    assert [line["rules"]["tick"] for line in lines] == [0.1, 0.5, 0.1]
    assert lines[0]["seen"] == "2023-07-11T00:00:00Z" and lines[0]["rules"]["status"] == "TRADING"
    assert lines[0]["rules"] | {"lot": 0.001, "min_notional": 5.0, "delivery": None, "onboard": "2023-07-10T00:00:00Z"} == lines[0]["rules"]


def test_brackets_are_dated_tables_an_account_takes(tape, tmp_path, keys):
    wanted = data("2023-07-10", None, symbols=("BTCUSDT", "ETHUSDT"), kinds=["brackets"])
    for day in ("2023-08-01", "2023-08-02", "2023-10-01"):
        with played(tape, speed=0.0, now=ms(day)) as server:
            fetch(venue(server), wanted, tmp_path)
    known = bracket_schedule("BTCUSDT")
    seen = seen_brackets(Lake(tmp_path), "practice", "BTCUSDT")
    assert [str(start.date()) for start, _ in seen] == ["2023-08-01", "2023-10-01"], "a table is written down when it is another"
    in_force = {str(start.date()): table for start, table in known}
    assert [table for _, table in seen] == [in_force["2021-06-22"], in_force["2023-09-29"]]
    assert Account(10_000, brackets=seen).brackets == seen


def test_brackets_without_a_key_or_with_a_wrong_one_are_told_as_skipped(tape, tmp_path, monkeypatch):
    wanted = data("2023-07-10", None, kinds=["bars", "brackets"])
    with played(tape, speed=0.0, now=tape.end) as server:
        config.environment.cache_clear()
        table = fetch(venue(server), wanted, tmp_path)
        assert "skipped: brackets: BINANCE_KEY and BINANCE_SECRET not set" in said(table)["note"]["brackets"]
        with pytest.raises(DataError, match="data download --kind brackets --symbol BTCUSDT"):
            seen_brackets(Lake(tmp_path), "practice", "BTCUSDT")
        for secret, says in (("wrong-secret", "-1022"), (SECRET, "-2015")):
            monkeypatch.setenv("BINANCE_KEY", KEY if secret != SECRET else "another-key")
            monkeypatch.setenv("BINANCE_SECRET", secret)
            config.environment.cache_clear()
            note = said(fetch(venue(server), wanted, tmp_path))["note"]["brackets"]
            assert note.startswith("skipped: ") and says in note
        config.environment.cache_clear()


def test_a_delisted_symbol_stays(tape, tmp_path):
    wanted, gone = data("2023-07-10", None, symbols=("BTCUSDT", "OLDUSDT")), tape.instruments["OLDUSDT"].end
    with played(tape, speed=0.0, now=gone + HOUR) as server:  # settling: listed, traded no more, its history served
        table = fetch(venue(server), wanted, tmp_path)
        rules = fetch(venue(server), data("2023-07-10", None, symbols=("OLDUSDT",), kinds=["rules"]), tmp_path)
    assert said(table, "OLDUSDT")["last"]["1h"] == pd.Timestamp(gone - HOUR, unit="ms", tz="UTC") and len(rules) == 1
    assert instruments.history(Lake(tmp_path), "practice", "OLDUSDT", "rules")[0]["rules"]["status"] == "SETTLING"
    held = {name: content for name, content in contents(tmp_path).items() if "OLDUSDT" in name}
    with played(tape, speed=0.0, now=tape.end) as server:
        table = fetch(venue(server), wanted, tmp_path)
        with pytest.raises(UsageError, match="no linear perpetual 'NEVERUSDT'"):
            fetch(venue(server), data("2023-07-10", None, symbols=("NEVERUSDT",)), tmp_path)
    assert {name: content for name, content in contents(tmp_path).items() if "OLDUSDT" in name} == held
    assert said(table, "OLDUSDT")["note"]["1h"] == "delisted; what is stored stays"
    assert said(table)["last"]["1h"] == pd.Timestamp(tape.end - HOUR, unit="ms", tz="UTC")


@pytest.mark.parametrize(
    ("name", "bar", "kind"), [("binanceusdm", "1m", "5m"), ("binanceusdm", "12h", "12h"), ("bybit", "12h", "4h"), ("bybit", "1h", "1h")]
)
def test_open_interest_comes_in_the_longest_period_that_fits(name, bar, kind):
    assert kind_names(name, data("2024-01-01", None, timeframe=bar, kinds=["open_interest"])) == {"open_interest": f"interest-{kind}"}


def test_coarse_bars_come_too(tape, tmp_path):
    with played(tape, speed=0.0, now=tape.end) as server:
        table = fetch(venue(server), data("2023-07-10", "2023-08-01", timeframe="1d"), tmp_path)
    assert said(table)["rows"]["1d"] == 22


def test_the_venues_limit_is_learnt_and_kept_by_several_downloads_at_once(tape, tmp_path):
    """A small version of benchmarks/collect.py: more than the limit allows at once, and not one refusal."""
    limits = Limits(limit=60, interval=2)
    small = minutes(4_000, symbols=("BTCUSDT", "ETHUSDT"))
    wanted = [data("2024-01-20", None, timeframe="1m", symbols=(name,), kinds=["bars", "mark"]) for name in small.instruments]
    with played(small, speed=0.0, now=small.end, limits=limits) as server:

        async def both():
            from quantalpha.market.download import download_symbols

            await asyncio.gather(*(download_symbols(venue(server), each, Lake(tmp_path)) for each in wanted))

        asyncio.run(both())
    assert limits.admitted > limits.limit and not limits.refused


def test_the_limit_is_kept_by_several_processes_that_download_at_once(tmp_path):
    small = minutes(4_000, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    limits = Limits(limit=60, interval=2)
    with played(small, speed=0.0, now=small.end, limits=limits) as server:
        wanted = [data("2024-01-20", None, timeframe="1m", symbols=(name,), kinds=["bars", "mark"]) for name in small.instruments]
        crowd = [process(venue(server), each, tmp_path / "lake") for each in wanted]
        for worker in crowd:
            worker.join()
    assert [worker.exitcode for worker in crowd] == [0, 0, 0]
    assert limits.admitted > limits.limit and not limits.refused
    held = {name: len(Lake(tmp_path / "lake").read("practice", name, "1m")) for name in small.instruments}
    assert held == {name: len(instrument.times) for name, instrument in small.instruments.items()}


def test_verify_asks_for_open_interest_as_far_back_as_it_is_served(tmp_path):
    """Stored over three months, of which the venue serves thirty days still; by then it has forgotten the months before."""
    long = Tape(hours(100 * 24, "2023-07-01", "BTCUSDT"))
    wanted, lake = data("2023-07-01", None, kinds=["bars", "open_interest"]), Lake(tmp_path)
    for day in (25, 50, 75, 100):
        with played(long, speed=0.0, now=long.start + day * 24 * HOUR) as server:
            fetch(venue(server), wanted, tmp_path)
            told = asyncio.run(verify(venue(server), wanted, lake)).set_index("kind")
    assert told["months"].to_dict() == {"1h": 4, "interest-1h": 2}
    assert told["note"]["interest-1h"] == "served for the last 30 days only" and told["note"]["1h"] == ""
    assert 29 * 24 < told["rows"]["interest-1h"] <= 30 * 24 and told[["revised", "withdrawn"]].sum().sum() == 0
    for name in lake.stored("practice", "BTCUSDT", "interest-1h")[-2:]:
        lake.path("practice", "BTCUSDT", "interest-1h", name).unlink()
    with played(long, speed=0.0, now=long.end) as server:
        told = asyncio.run(verify(venue(server), wanted, lake)).set_index("kind")
    assert told.loc["interest-1h", ["months", "rows", "withdrawn"]].tolist() == [0, 0, 0]


def test_verify_of_a_month_of_which_the_venue_gives_no_page(tmp_path, tape):
    """All stored rows of the month are older than what is served: nothing is asked for, and nothing is withdrawn."""
    wanted, lake = data("2023-07-10", None, kinds=["open_interest"]), Lake(tmp_path)
    with played(tape, speed=0.0, now=ms("2023-08-05")) as server:
        fetch(venue(server), data("2023-07-10", None, kinds=["bars", "open_interest"]), tmp_path)
    with played(tape, speed=0.0, now=ms("2023-09-20")) as server:
        told = asyncio.run(verify(venue(server), wanted, lake)).to_dict("records")
    assert [(line["months"], line["rows"], line["withdrawn"]) for line in told] == [(1, 0, 0)]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def settings(server, **changes) -> list[str]:
    return words({"venue.source": "practice", "data.symbols": ["BTCUSDT"], "data.start": "2023-09-01"} | at(server.url) | changes)


def test_the_command_downloads_extends_and_verifies(tape, workspace):
    with played(tape, speed=0.0, now=tape.end) as server:
        first = workspace.call("data", "download", "--kind", "bars", "--kind", "rules", *settings(server))
        again = workspace.call("data", "download", "--symbol", "BTCUSDT", "--prepend", "2023-08-05", "--json", *settings(server))
        checked = workspace.call("data", "verify", "--kind", "bars", "--json", *settings(server))
        wrong = workspace.call("data", "download", "--kind", "candles", *settings(server))
    assert first.code == again.code == checked.code == 0, (first, again, checked)
    assert "BTCUSDT 1h: 100%" in first.err and "practice: what the lake holds" in first.out
    assert again.err == "" and {row["kind"]: row["first"] for row in again.json}["1h"] == "2023-08-05 00:00"
    assert [(row["kind"], row["months"], row["revised"]) for row in checked.json["verified"]] == [("1h", 3, 0)]
    wrong.complains(2, "data.kinds")


def test_a_venue_that_says_otherwise_by_now_is_bad_data_and_all_of_it_is_kept(tape, workspace):
    other = Tape(hours(90 * 24, "2023-07-10", "BTCUSDT") | {"BTCUSDT": tape_of_another_seed()})
    with played(tape, speed=0.0, now=tape.end) as server:
        workspace.call("data", "download", "--kind", "bars", *settings(server))
    with played(other, speed=0.0, now=other.end) as server:
        checked = workspace.call("data", "verify", "--kind", "bars", "--json", *settings(server))
    assert checked.code == 4 and "rows are otherwise by now" in checked.json["message"]
    assert checked.json["verified"][0]["revised"] > 600
    passports = workspace.call("data", "passport", "--json", "--set", "venue.source=practice", "--symbol", "BTCUSDT").json
    assert all(month["history"][-1]["act"] == "revised" for month in passports)


def tape_of_another_seed() -> pd.DataFrame:
    params = config.Synthetic(seed=99, start="2023-07-10", bars=90 * 24, timeframe="1h", edge={"BTCUSDT": 0.0})
    return synthetic_bars("BTCUSDT", params)


def test_interrupted_it_says_so_and_loses_nothing(workspace):
    small = minutes(20_000)
    limits = Limits(limit=40, interval=1)
    with played(small, speed=0.0, now=small.end, limits=limits) as server:
        command = [*settings(server), *words({"data.timeframe": "1m", "data.start": "2024-01-20"})]
        running = subprocess.Popen(
            [sys.executable, "-m", "quantalpha", "data", "download", "--kind", "bars", *command],
            cwd=workspace.root, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while limits.admitted < 50 and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=30)
        assert running.returncode == 130 and "interrupted: nothing is left half-written" in error, error
        assert workspace.leftovers() == []
        limits.limit = 2400
        assert workspace.call("data", "download", "--kind", "bars", "--json", *command).code == 0
    lake = Lake(workspace.root / "data" / "raw")
    assert len(lake.read("practice", "BTCUSDT", "1m")) == len(small.instruments["BTCUSDT"].times)
