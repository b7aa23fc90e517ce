"""A download killed at any moment goes on and ends with the same lake; what changes at the venue meanwhile is a recorded revision."""

import asyncio
import random

import pandas as pd
import pytest
from collecting import KINDS, contents, data, fetch, kill_after, minutes, ms, process, venue

from quantalpha.market.download import verify
from quantalpha.market.kinds import bar_length
from quantalpha.market.store import Lake
from quantalpha.practice import Faults
from quantalpha.practice.background import played

BARS = 16_000  # eleven days of minutes over a month's end
SPAN = ("2024-01-20", "2024-01-31")
POINTS = 8


@pytest.fixture(scope="module")
def tape():
    return minutes(BARS)


@pytest.fixture(scope="module")
def undisturbed(tape, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    with played(tape, speed=0.0, now=tape.end) as server:
        fetch(venue(server), data("2024-01-20", None, timeframe="1m", kinds=KINDS), folder)
    return folder


@pytest.mark.parametrize("point", range(POINTS))
def test_killed_anywhere_it_ends_with_the_same_lake(tape, undisturbed, tmp_path, point):
    moments = random.Random(point)
    wanted, folder = data("2024-01-20", None, timeframe="1m", kinds=KINDS), tmp_path / "cut"
    with played(tape, speed=0.0, now=tape.end) as server:
        worker = process(venue(server), wanted, folder)
        assert kill_after(worker, server, moments.randrange(2, 100), moments.random() * 0.02)
        fetch(venue(server), wanted, folder)
    assert contents(folder) == contents(undisturbed)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    lake, whole = Lake(folder), Lake(undisturbed)
    kinds = ["1m", "mark-1m", "index-1m", "interest-5m", "funding"]
    assert lake.manifest("practice", "BTCUSDT", kinds) == whole.manifest("practice", "BTCUSDT", kinds)
    rows = lake.read("practice", "BTCUSDT", "1m")
    assert rows.index.is_unique and len(rows) == (tape.instruments["BTCUSDT"].times >= ms("2024-01-20")).sum()


def test_a_long_month_is_stored_in_pieces(tape, tmp_path):
    wanted = data("2024-01-20", None, timeframe="1m", kinds=["bars"])
    with played(tape, speed=0.0, now=tape.end) as server:
        worker = process(venue(server), wanted, tmp_path)
        kill_after(worker, server, 17, 0.0)
        held = len(Lake(tmp_path).read("practice", "BTCUSDT", "1m"))
        before = server.faults.number
        fetch(venue(server), wanted, tmp_path)
        again = server.faults.number - before
    assert held >= 5_000 and again < 33, "what is stored is not fetched again"


class Changing:
    """A tape whose exchange has corrected a candle since."""

    @staticmethod
    def after(tape, symbol: str, row: int):
        bars = tape.instruments[symbol].last.rows
        bars[row, 3] = bars[row, 2]  # the close, to the bar's low
        tape.instruments[symbol].last.chart.cache_clear()


def test_a_candle_that_changes_among_the_last_ones_is_a_recorded_revision(tmp_path):
    tape = minutes(3_000)
    wanted = data("2024-01-20", None, timeframe="1m", kinds=["bars"])
    at = 2_000
    with played(tape, speed=0.0, now=tape.start + at * 60_000) as server:
        fetch(venue(server), wanted, tmp_path)
    before = Lake(tmp_path).read("practice", "BTCUSDT", "1m")
    last = int((tape.instruments["BTCUSDT"].times < tape.start + at * 60_000).sum()) - 2
    Changing.after(tape, "BTCUSDT", last)
    with played(tape, speed=0.0, now=tape.end) as server:
        fetch(venue(server), wanted, tmp_path)
    month = Lake(tmp_path).month("practice", "BTCUSDT", "1m", "2024-01")
    event = next(event for event in month.passport.history if event["act"] == "revised")
    assert event["rows"] == 1 and event["examples"][0]["column"] == "close"
    assert month.rows["close"].iloc[last] == before["low"].iloc[last] != before["close"].iloc[last]
    kept = Lake(tmp_path).version("practice", "BTCUSDT", "1m", "2024-01", month.passport.replaces)
    assert kept["close"].iloc[last] == before["close"].iloc[last]


def test_verify_finds_what_the_venue_says_otherwise_by_now(tmp_path):
    tape = minutes(3_000)
    wanted = data("2024-01-20", None, timeframe="1m", kinds=["bars", "mark"])
    with played(tape, speed=0.0, now=tape.end) as server:
        fetch(venue(server), wanted, tmp_path)
        stored = contents(tmp_path)
        same = asyncio.run(verify(venue(server), wanted, Lake(tmp_path)))
        assert contents(tmp_path) == stored and same["revised"].sum() == same["withdrawn"].sum() == 0
        Changing.after(tape, "BTCUSDT", 700)
        found = asyncio.run(verify(venue(server), wanted, Lake(tmp_path)))
    assert found.set_index("kind")["revised"].to_dict() == {"1m": 1, "mark-1m": 0}
    assert bar_length("1m") == 60_000 and len(Lake(tmp_path).month("practice", "BTCUSDT", "1m", "2024-01").passport.history) == 1


def test_prepend_extends_backwards_and_nothing_else_is_fetched(tmp_path):
    tape = minutes(60 * 24 * 45, start="2024-01-01")
    with played(tape, speed=0.0, now=ms("2024-02-10")) as server:
        at = venue(server)
        fetch(at, data("2024-02-01", "2024-02-05", timeframe="1m", kinds=["bars"]), tmp_path / "grown")
        before = server.faults.number
        fetch(at, data("2024-01-25", "2024-02-05", timeframe="1m", kinds=["bars"]), tmp_path / "grown")
        asked = server.faults.number - before
        fetch(at, data("2024-01-01", "2024-02-05", timeframe="1m", kinds=["bars"]), tmp_path / "whole")
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")
    assert asked <= 2 + 31 * 24 * 60 / 490, "the earlier month alone"


def test_faults_that_come_and_go_leave_no_trace(tape, undisturbed, tmp_path):
    faults = Faults({"http_503": 0.02, "malformed": 0.05, "truncated": 0.05, "duplicates": 0.05, "disorder": 0.05, "empty": 0.05}, seed=3)
    wanted = data("2024-01-20", None, timeframe="1m", kinds=KINDS)
    with played(tape, speed=0.0, now=tape.end, faults=faults) as server:
        worker = process(venue(server), wanted, tmp_path)
        worker.join()
    assert worker.exitcode == 0 and faults.met.total() > 20
    assert contents(tmp_path) == contents(undisturbed)


def test_rows_that_come_twice_cut_none_off_at_the_end(tape, undisturbed, tmp_path):
    """ccxt keeps as many rows as were asked for: of the last page, which no other follows, the last would be lost."""
    wanted = data("2024-01-20", None, timeframe="1m", kinds=["bars"])
    with played(tape, speed=0.0, now=tape.end) as server:
        fetch(venue(server), wanted, tmp_path / "plain")
        last = server.faults.number
    with played(tape, speed=0.0, now=tape.end, faults=Faults(plan={last - 1: "duplicates"})) as server:
        fetch(venue(server), wanted, tmp_path / "doubled")
        assert server.faults.met.total() == 1
    assert contents(tmp_path / "plain") == contents(tmp_path / "doubled")


def test_open_interest_is_what_the_exchange_holds(tape, undisturbed):
    rows = Lake(undisturbed).read("practice", "BTCUSDT", "interest-5m")
    instrument = tape.instruments["BTCUSDT"]
    assert rows["open_interest"].tolist() == [instrument.open_interest(int(time.timestamp() * 1000)) for time in rows.index]
    assert (pd.Series(rows.index).diff().dropna() == pd.Timedelta("5min")).all()
