"""The journal keeps everything, refuses changes, and says so when it is damaged."""

import sqlite3
import subprocess
import sys

import pytest

from quantalpha.errors import DataError, Halted, UsageError
from quantalpha.runner.events import EquityEvent, MarketCloseEvent
from quantalpha.runner.journal import FILE, Journal, read, recorded


def equity(bar, value):
    times = {"event_time": bar + 60_000, "recv_time": bar + 60_005, "symbol": "BTCUSDT", "bar": bar}
    return EquityEvent(**times, equity=value, cash=value, quantity=0.0, price=1.0)


def close(bar, mark=None):
    prices = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 3.0}
    times = {"event_time": bar + 60_000, "recv_time": bar + 60_001, "symbol": "BTCUSDT", "bar": bar}
    return MarketCloseEvent(**times, **prices, mark=mark, funding_rate=0.0, warm_up=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_reads_back_what_was_appended(path, batch):
    events = [equity(60_000 * i, 0.1 * i) for i in range(10)]
    journal = Journal(path, "s", batch=batch)
    for event in events:
        journal.append(event)
    journal.close()
    assert read(path) == events


def test_an_event_that_cannot_be_stored_leaves_no_gap(path):
    journal = Journal(path, "s")
    journal.append(equity(0, 1.0))
    with pytest.raises(TypeError):
        journal.append(equity(1, {1, 2}))
    journal.append(equity(2, 2.0))
    journal.close()
    assert read(path) == [equity(0, 1.0), equity(2, 2.0)]


def test_what_is_committed_is_readable_at_once_while_the_writer_lives(path):
    journal = Journal(path, "s")
    journal.append(equity(0, 1.0))
    assert read(path) == []
    journal.commit()
    assert read(path) == [equity(0, 1.0)]
    journal.close()


def test_a_killed_writer_leaves_all_it_acknowledged(path):
    code = f"""
import os, pathlib, sys
sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
from test_journal import Journal, equity
journal = Journal(pathlib.Path({str(path)!r}), "s")
for i in range(50):
    journal.append(equity(60_000 * i, float(i)))
    journal.commit()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [event.equity for event in read(path)] == [float(i) for i in range(50)]


ROW = "(session, seq, event_time, recv_time, kind, payload) VALUES ('s', 1, 0, 0, 'Equity', '{}')"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET payload = '{}' WHERE seq = 1",
        "UPDATE OR REPLACE events SET seq = 1",
        "DELETE FROM events",
        f"INSERT OR REPLACE INTO events {ROW}",
        f"REPLACE INTO events {ROW}",
        f"INSERT INTO events {ROW} ON CONFLICT DO UPDATE SET payload = '{{}}'",
    ],
)
def test_the_database_refuses_changes(path, change):
    journal = Journal(path, "s")
    journal.append(equity(0, 1.0))
    journal.close()
    with sqlite3.connect(path) as raw, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(change)
    assert read(path) == [equity(0, 1.0)]


def test_no_row_can_be_replaced_by_its_hidden_number(path):
    Journal(path, "s").close()
    with sqlite3.connect(path) as raw, pytest.raises(sqlite3.OperationalError, match="rowid"):
        raw.execute("SELECT rowid FROM events")


def test_a_session_is_written_once(path):
    Journal(path, "s").close()
    with pytest.raises(DataError, match="exists already"):
        Journal(path, "s")


def test_a_journal_that_cannot_store_halts(path):
    journal = Journal(path, "s")
    with sqlite3.connect(path) as raw:
        raw.execute("DROP TABLE events")
    journal.append(equity(0, 1.0))
    with pytest.raises(Halted, match="cannot be stored"):
        journal.commit()


@pytest.mark.parametrize("batch", [1, 3])
def test_what_could_not_be_stored_is_not_stored_later(path, batch):
    journal = Journal(path, "s", batch=batch)
    for i in range(batch):
        journal.append(equity(60_000 * i, float(i)))
        journal.commit()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.payload LIKE '%666%' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(Halted, match="disk full"):
        for _ in range(batch):
            journal.append(equity(60_000, 666.0))
            journal.commit()
    journal.append(equity(120_000, 7.0))
    journal.close()
    assert [event.equity for event in read(path)] == [*map(float, range(batch)), 7.0]


def test_a_journal_that_cannot_be_made_is_one_clear_line(path):
    with pytest.raises(UsageError, match="cannot be made: unable to open") as raised:
        Journal(path.parent / "nowhere" / FILE, "s")
    assert "\n" not in str(raised.value)


def damaged(path, how):
    journal = Journal(path, "s")
    for i in range(400):
        journal.append(equity(60_000 * i, float(i)))
    journal.close()
    how(path)


def lose_one(path):
    with sqlite3.connect(path) as raw:
        raw.executescript("DROP TRIGGER no_delete; DELETE FROM events WHERE seq = 7")


@pytest.mark.parametrize(
    "how",
    [
        lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
        lambda p: p.write_bytes(b"this is no database at all" * 100),
        lambda p: p.write_bytes(b""),
        lose_one,
    ],
    ids=["truncated", "foreign", "empty", "lost an event"],
)
def test_damage_is_a_clear_error(path, how):
    damaged(path, how)
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_a_missing_journal_is_named(path):
    with pytest.raises(DataError, match="does not exist"):
        read(path)


def test_recorded_frames(path):
    journal = Journal(path, "s")
    for event in (close(0, 1.4), equity(0, 10.0), close(60_000), equity(60_000, 11.0)):
        journal.append(event)
    journal.close()
    frames = recorded(path.parent)
    assert frames["equity"]["equity"].tolist() == [10.0, 11.0]
    assert str(frames["bars"].index.dtype) == "datetime64[ms, UTC]" and frames["bars"]["mark"].isna().tolist() == [False, True]
    assert all(frames[name].empty for name in ("decisions", "refusals", "fills", "funding")) and "time" in frames["fills"]


def test_recorded_bars_have_no_mark_column_where_the_venue_has_none(path):
    journal = Journal(path, "s")
    journal.append(close(0))
    journal.close()
    assert "mark" not in recorded(path.parent)["bars"]
