"""Recordings: whole whatever kills them, read back as they came, never doubled."""

import os
import signal
import subprocess
import sys
import time

import pytest

from quantalpha import config, files
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.ticks.book import Book
from quantalpha.market.ticks.messages import FETCHED, Bar, Depth, Mark, Quote, Trade
from quantalpha.market.ticks.record import Recorder, compact, depth_messages, live_files, read_ticks

DAY = 1_700_006_400_000  # 2023-11-15
SETTINGS = config.load("demo").stream


def trade(number: int, time: int = DAY) -> Trade:
    return Trade("BTCUSDT", time + number, time + number, number, 100.5 + number, 0.25, 1 if number % 2 else -1)


def record(root, messages, symbols=("BTCUSDT",)) -> None:
    recorder = Recorder(root, symbols, SETTINGS)
    for n, message in enumerate(messages):
        recorder.add(n, message)
    recorder.close()


def test_every_kind_comes_back_as_it_came(tmp_path):
    messages = [
        Quote("BTCUSDT", DAY, DAY + 1, 7, 10.1, 1.0, 10.2, 2.0),
        Mark("BTCUSDT", DAY, DAY, 10.0, 10.1, 0.0001, DAY + 99),
        Bar("BTCUSDT", DAY, DAY + 60_000, "1m", 1.0, 3.0, 0.5, 2.0, 7.0, True),
        Bar("BTCUSDT", DAY + 60_000, DAY + 60_001, "1m", 1.0, 3.0, 0.5, 2.0, 7.0, False),
        trade(5),
    ]
    record(tmp_path, messages)
    for kind, message in zip(("book", "mark", "bars", "trades"), [*messages[:3], messages[4]]):
        rows = read_ticks(tmp_path, "BTCUSDT", kind)
        assert len(rows) == 1 and tuple(rows.iloc[0].drop("received")) == message[1:]
        assert rows["received"].dtype == rows["time"].dtype == "int64"


def test_a_recorded_book_is_built_again_from_what_was_recorded(tmp_path):
    messages = [
        Depth("BTCUSDT", DAY, DAY, 9, 12, 8, [["100", "3"]], []),
        Depth("BTCUSDT", DAY, DAY, 11, 11, 11, [["100", "1"], ["99", "4"]], [["101", "2"]], FETCHED),
        Depth("BTCUSDT", DAY, DAY, 13, 15, 12, [], [["101", "0"], ["101.5", "7"]]),
    ]
    record(tmp_path, messages)
    book, again = Book("BTCUSDT"), Book("BTCUSDT")
    rows = depth_messages("BTCUSDT", read_ticks(tmp_path, "BTCUSDT", "depth"))
    assert [book.apply(each) for each in messages] == [again.apply(each) for each in rows]
    assert again.synced and (again.bids.quantity, again.asks.quantity) == (book.bids.quantity, book.asks.quantity)


def test_what_a_full_disk_refused_is_written_later(tmp_path, monkeypatch):
    recorder, full = Recorder(tmp_path, ("BTCUSDT",), SETTINGS), [True]

    def write(path, data):
        if full[0] and "trades" in path.parts:
            raise OSError(28, "No space left on device")
        return files.write_atomic(path, data)

    monkeypatch.setattr(sys.modules[Recorder.__module__], "write_atomic", write)
    for number in range(3):
        recorder.add(number, trade(number))
        recorder.add(number, Quote("BTCUSDT", DAY, DAY, number, 10.1, 1.0, 10.2, 2.0))
        if number < 2:
            with pytest.raises(OSError, match="No space left"):
                recorder.write(recorder.take())
            assert len(read_ticks(tmp_path, "BTCUSDT", "book")) == number + 1  # what could be written is
    full[0] = False
    recorder.close()
    assert read_ticks(tmp_path, "BTCUSDT", "trades")["id"].tolist() == [0, 1, 2]
    assert read_ticks(tmp_path, "BTCUSDT", "book")["update"].tolist() == [0, 1, 2] and recorder.rows == 6


def test_days_are_folders_and_can_be_read_alone(tmp_path):
    record(tmp_path, [trade(1, DAY - 5), trade(2), trade(3)])
    assert sorted(path.name for path in (tmp_path / "BTCUSDT" / "trades").iterdir()) == ["2023-11-14", "2023-11-15"]
    assert read_ticks(tmp_path, "BTCUSDT", "trades")["id"].tolist() == [1, 2, 3]
    assert read_ticks(tmp_path, "BTCUSDT", "trades", ["2023-11-15"])["id"].tolist() == [2, 3]


def test_small_files_become_one_and_a_kill_in_between_doubles_nothing(tmp_path):
    recorder = Recorder(tmp_path, ("BTCUSDT",), SETTINGS)
    folder = tmp_path / "BTCUSDT" / "trades" / "2023-11-15"
    for number in range(4):
        recorder.add(0, trade(number))
        recorder.write(recorder.take())
    parts = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(parts) == 4
    recorder.close()
    assert [path.name for path in folder.iterdir()] == ["00000001-00000004.parquet"]
    for name, data in parts.items():  # as a kill left them: joined, and not yet removed
        (folder / name).write_bytes(data)
    (folder / ".00000005-00000005.parquet.77.tmp").write_bytes(b"half")
    assert read_ticks(tmp_path, "BTCUSDT", "trades")["id"].tolist() == [0, 1, 2, 3]
    record(tmp_path, [trade(4)])
    assert read_ticks(tmp_path, "BTCUSDT", "trades")["id"].tolist() == [0, 1, 2, 3, 4]
    names = ["00000001-00000004.parquet", "00000005-00000005.parquet"]
    assert [path.name for path in live_files(folder)] == names == sorted(os.listdir(folder))
    compact(folder)
    assert len(live_files(folder)) == 2  # a file once joined is not written again


def test_the_next_start_knows_what_there_is(tmp_path):
    record(tmp_path, [trade(1), trade(2), Bar("BTCUSDT", DAY, DAY, "1m", 1.0, 1.0, 1.0, 1.0, 1.0, True)])
    named = Trade("ETHUSDT", DAY + 9, DAY, "x-1", 1.0, 1.0, 1)
    record(tmp_path, [named], ("ETHUSDT",))
    recorder = Recorder(tmp_path, ("BTCUSDT", "ETHUSDT"), SETTINGS)
    known = {("BTCUSDT", "trades"): 2, ("BTCUSDT", "bars"): DAY, ("ETHUSDT", "trades"): DAY + 9}
    assert recorder.known(("BTCUSDT", "ETHUSDT")) == known
    recorder.close()


def test_one_recorder_a_symbol(tmp_path):
    recorder = Recorder(tmp_path, ("BTCUSDT",), SETTINGS)
    with pytest.raises(UsageError, match="another process records BTCUSDT"):
        Recorder(tmp_path, ("BTCUSDT",), SETTINGS)
    recorder.close()
    Recorder(tmp_path, ("BTCUSDT",), SETTINGS).close()


def test_what_is_not_there_or_damaged_is_said(tmp_path):
    with pytest.raises(DataError, match="no depth of BTCUSDT in .*recorded of it: nothing"):
        read_ticks(tmp_path, "BTCUSDT", "depth")
    record(tmp_path, [trade(1)])
    with pytest.raises(DataError, match="recorded of it: trades"):
        read_ticks(tmp_path, "BTCUSDT", "depth")
    next(tmp_path.rglob("*.parquet")).write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="damaged"):
        read_ticks(tmp_path, "BTCUSDT", "trades")


KILLED = """
import itertools, sys, time
sys.path[:0] = {path!r}
from test_record import SETTINGS, Recorder, trade
recorder = Recorder({root!r}, ("BTCUSDT",), SETTINGS.model_copy(update={{"rotate": 0.02}}))
first = 1 + max(recorder.known(("BTCUSDT",)).values(), default=-1)
for number in itertools.count(first):
    recorder.add(0, trade(number))
    if number % 50 == 49:
        recorder.write(recorder.take())
        print(number, flush=True)
"""


def test_killed_at_any_moment_it_keeps_what_it_wrote_and_goes_on_behind_it(tmp_path):
    code = KILLED.format(path=[os.path.dirname(__file__), *sys.path], root=str(tmp_path))
    for delay in (0.0, 0.013, 0.04, 0.08):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        written = int(process.stdout.readline())
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        written = max([written, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        found = read_ticks(tmp_path, "BTCUSDT", "trades")["id"].tolist()
        assert found == list(range(len(found))) and len(found) > written


def test_a_symbol_that_nobody_asked_for_makes_no_folder(tmp_path):
    recorder = Recorder(tmp_path / "ticks", ("BTCUSDT",), SETTINGS)
    with pytest.raises(ExchangeError, match="asked for were BTCUSDT"):
        recorder.add(1, Trade("../escaped", 1, 1, 1, 1.0, 1.0, 1))
    recorder.close()
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["ticks", "BTCUSDT"]
