"""A few of the schedules of which benchmarks/survival.py plays ten thousand; and a journal that was hurt loses nothing that was told."""

import sqlite3
from dataclasses import replace

import pytest
from survival import tally
from survival.laws import NAMES

from quantalpha.errors import DataError, Halted
from quantalpha.runner.events import EquityEvent, FillEvent, FundingEvent, MarketCloseEvent, MarketOpenEvent, SessionEvent
from quantalpha.runner.journal import FILE, Journal, Retold, read


def test_sessions_survive_faults_and_kills(tmp_path):
    """Real processes, killed by SIGKILL, on a venue in another process, with the journal on the disk."""
    verdicts = list(tally.verdicts(500_000, 6, 6, tmp_path))
    assert [line for each in verdicts for line in each.broken] == []
    assert sum(each.kills for each in verdicts) >= 4 and sum(each.orders for each in verdicts) > 0
    assert f"{len(verdicts)} schedules" in tally.tally(verdicts) and all(name in tally.tally(verdicts) for name in NAMES)


def event(number: int) -> SessionEvent:
    return SessionEvent(event_time=number, recv_time=number, symbol="BTCUSDT", phase="start", reason="x" * 500)


def kept(path, journal: Journal, count: int) -> int:
    for number in range(count):
        journal.append(event(number))
        journal.commit()
    return len(read(path))


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path):
    path = tmp_path / FILE
    journal = Journal(path, "s")
    assert kept(path, journal, 20) == 20
    journal._connection.exec_driver_sql(f"PRAGMA max_page_count = {journal._connection.exec_driver_sql('PRAGMA page_count').scalar()}")
    journal._connection.rollback()
    with pytest.raises(Halted, match="full"):
        kept(path, journal, 200)
    found = read(path)
    assert len(found) >= 20 and len(found) == journal.seq


def test_a_database_that_another_process_holds_halts_and_keeps_what_was_committed(tmp_path):
    path = tmp_path / FILE
    journal = Journal(path, "s")
    journal._connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    journal._connection.rollback()
    assert kept(path, journal, 3) == 3
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.append(event(3))
        with pytest.raises(Halted, match="locked"):
            journal.commit()
    assert len(read(path)) == 3 == journal.seq


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_of_a_log_whose_end_is_damaged_the_sound_part_is_whole(tmp_path, harm):
    """The last commit of a machine that lost power may be half written: it is as if it had never been, and what came before stands."""
    path = tmp_path / FILE
    journal = Journal(path, "s")
    kept(path, journal, 5)
    copy = tmp_path / "copy" / FILE  # as a power cut leaves it: nothing is checked in
    copy.parent.mkdir()
    wal = bytearray((tmp_path / f"{FILE}-wal").read_bytes())
    copy.write_bytes(path.read_bytes())
    if harm == "cut":
        del wal[-100:]
    else:
        wal[-100] ^= 0xFF
    (copy.parent / f"{FILE}-wal").write_bytes(wal)
    assert [each.event_time for each in read(copy)] == [0, 1, 2, 3]
    again = Journal.reopen(copy, "s", 4)
    assert kept(copy, again, 1) == 5


def test_a_journal_of_which_a_page_is_gone_is_refused(tmp_path):
    path = tmp_path / FILE
    journal = Journal(path, "s")
    kept(path, journal, 50)
    journal.close()
    harmed = bytearray(path.read_bytes())
    harmed[8192:12288] = bytes(4096)
    path.write_bytes(harmed)
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_the_end_of_a_moment_is_retold_by_the_bar_that_overtook_it(tmp_path):
    """Of two symbols one has no bar: the equity of that moment stands in the record before the bar that ended it."""
    times = {"recv_time": 1, "symbol": "BTCUSDT", "bar": 0}
    equity = EquityEvent(event_time=60, **times, equity=1.0, cash=1.0, quantity=0.0, price=1.0)
    opening = MarketOpenEvent(event_time=60, **times, open=1.0, funding_rate=0.0)
    prices = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0, "mark": None, "funding_rate": 0.0}
    close = MarketCloseEvent(event_time=60, **times, **prices, warm_up=False)
    journal = Journal(tmp_path / FILE, "s")
    assert Retold([equity, opening], journal).cause is opening
    assert Retold([close, equity], journal).cause is close
    assert Retold([equity, event(0)], journal).cause is equity  # an error cut it off


def test_what_a_venue_has_paid_or_traded_is_its_own_cause(tmp_path):
    """On paper both follow from the next bar."""
    times = {"event_time": 60, "recv_time": 1, "symbol": "BTCUSDT", "bar": 60}
    opening = MarketOpenEvent(**times, open=1.0, funding_rate=0.0)
    funding = FundingEvent(**times, amount=-0.1, rate=0.0001, mark=1000.0, quantity=1.0)
    fill = FillEvent(**times, client_id="qa-1", quantity=1.0, price=1.0, fee=0.0, realised=0.0, reason="order")
    journal = Journal(tmp_path / FILE, "s")
    for paper, told in ((funding, replace(funding, payment="7")), (fill, replace(fill, trade="7"))):
        assert Retold([paper, opening], journal).cause is opening
        assert Retold([told, opening], journal).cause is told
