"""Streams on disk: parquet that a kill -9 cannot tear, and the one function that reads it back. The streams' door to pyarrow.

    data/ticks/{venue}/{symbol}/{kind}/2024-01-31/00000012-00000019.parquet

Every flush is a whole file of its own, numbered in order and renamed into place; from time to time a day's small files become one, named by
the numbers it holds. A file whose numbers lie inside another's is superseded: it is read by nobody, and the next start removes it.
"""

import fcntl
import io
import os
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from threading import Lock

import pandas as pd

from quantalpha import config
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.files import read_parquet, write_atomic
from quantalpha.market.ticks.messages import KIND, KINDS, Bar, Depth, Mark, Message, Quote, Trade

LEVELS = ("bids", "asks")  # of a Depth; on disk a list of prices and one of quantities each
FIELDS = {KIND[shape]: ("received", *(name for name in shape._fields if name != "symbol")) for shape in (Quote, Depth, Trade, Mark, Bar)}


class Recorder:
    """Keeps every message it is given; what was not flushed dies with the process. One recorder a venue and symbol.

    also: is given what is kept, at once (see `ticks.publish`); it must not wait.
    """

    def __init__(self, root: Path, symbols, settings: config.Stream, also: Callable[[int, Message], None] | None = None):
        self.root, self.settings, self.also = Path(root), settings, also
        self.rows, self._symbols = 0, frozenset(symbols)
        self._buffers: dict[tuple[str, str, str], list] = defaultdict(list)
        self._unwritten: dict[tuple[str, str, str], list] = defaultdict(list)  # taken, and not on disk yet
        self._recorded: set[str] = set()  # text ids of the last trades there: asked for by time, they come again
        self._writing = Lock()
        self._locks = [_lock(self.root / symbol) for symbol in symbols]
        self._join_days()

    def known(self, symbols) -> dict[tuple[str, str], int]:
        """What was recorded before, as `Subscription.since` wants it: the last trade's number (or time), the last bar's open time."""
        found = {}
        for symbol in symbols:
            for kind, column in (("trades", "id"), ("bars", "time")):
                last = _last(self.root / symbol / kind)
                if last is not None:
                    numbered = pd.api.types.is_integer_dtype(last[column])
                    found[symbol, kind] = int(last[column if numbered else "time"].max())
                    self._recorded |= set() if numbered else set(last[column])
        return found

    def add(self, received_ns: int, message: Message) -> None:
        """Unfinished bars are not kept: the closed one holds all they said. ExchangeError for a symbol that nobody asked for: it would be a
        folder's name."""
        if message.symbol not in self._symbols:
            raise ExchangeError(f"ticks: the venue sends {message.symbol[:40]!r}, asked for were {', '.join(sorted(self._symbols))}")
        kind = KIND[type(message)]
        if (kind == "bars" and not message.closed) or (kind == "trades" and message.id in self._recorded):
            return
        self._buffers[message.symbol, kind, _day(message.time)].append((received_ns, *message[1:]))
        self.rows += 1
        if self.also is not None:
            self.also(received_ns, message)

    def take(self) -> dict:
        """What is to be written now; for `write`, which may run in another thread."""
        buffers, self._buffers = self._buffers, defaultdict(list)
        return buffers

    def write(self, buffers: dict) -> None:
        """Each buffer as a file, one call at a time; every `settings.rotate` seconds, or `rotate_mb`, a day's small files become one.

        What cannot be written is kept for the next call, and the first fault raised once all else is written.
        """
        with self._writing:
            for key, rows in buffers.items():
                self._unwritten[key] += rows
            faults = [fault for key in list(self._unwritten) if (fault := self._append(key)) is not None]
            if faults:
                raise faults[0]
            if time.monotonic() - self._rotated >= self.settings.rotate or self._written >= self.settings.rotate_mb * 2**20:
                self._join_days()

    def _append(self, key: tuple[str, str, str]) -> OSError | None:
        """One buffer as the next file of its day; why not, where the disk refuses it."""
        symbol, kind, day = key
        folder = self.root / symbol / kind / day
        try:
            number = 1 + max((_numbers(path)[1] for path in folder.glob("*.parquet")), default=0)
            path = write_atomic(folder / f"{number:08d}-{number:08d}.parquet", _parquet(kind, self._unwritten[key]))
            self._written += path.stat().st_size
        except OSError as fault:
            return fault
        del self._unwritten[key]
        return None

    def close(self) -> None:
        """Write what is left, join each day's files, and let the next recorder in."""
        self.write(self.take())
        self._join_days()
        for handle, _ in self._locks:
            os.close(handle)

    def _join_days(self) -> None:
        self._rotated, self._written = time.monotonic(), 0
        for _, folder in self._locks:
            for day in (day for kind in KINDS for day in (folder / kind).glob("*")):
                compact(day)


def read_ticks(root: Path, symbol: str, kind: str, days=None) -> pd.DataFrame:
    """What was recorded of a symbol, in the order of arrival. root: data/ticks/{venue}; days: '2024-01-31' and others, None: all.

    Columns as the fields of `messages`, times int64 ms of the venue's clock, and `received`, int64 ns of ours. A depth row is a message:
    bid_price, bid_qty, ask_price, ask_qty are arrays. DataError where nothing is recorded, or a file is damaged.
    """
    folders = sorted((Path(root) / symbol / kind).glob("*"))
    tables = [_read(path) for folder in folders if days is None or folder.name in days for path in live_files(folder)]
    if not tables:
        kinds = ", ".join(sorted(path.name for path in (Path(root) / symbol).glob("*") if path.is_dir())) or "nothing"
        raise DataError(f"ticks: no {kind} of {symbol} in {root}; recorded of it: {kinds}; run `quantalpha data record`")
    return pd.concat(tables, ignore_index=True)


def depth_messages(symbol: str, rows: pd.DataFrame) -> list[Depth]:
    """Recorded depth as the messages it came in: for `book.Book`."""
    columns = [rows[name].tolist() for name in ("time", "event", "first", "last", "previous")]
    sides = [[list(zip(p, q)) for p, q in zip(rows[f"{side[:-1]}_price"], rows[f"{side[:-1]}_qty"])] for side in LEVELS]
    return [Depth(symbol, *row) for row in zip(*columns, *sides, rows["snapshot"].tolist())]


def live_files(folder: Path) -> list[Path]:
    """The files of a day that count, in order."""
    paths = sorted(folder.glob("*.parquet"), key=lambda path: (_numbers(path)[0], -_numbers(path)[1]))
    found, reached = [], 0
    for path in paths:
        first, last = _numbers(path)
        if first > reached:
            found.append(path)
            reached = last
    return found


def compact(folder: Path) -> None:
    """Join each run of files of a single flush into one; remove superseded and half-written ones."""
    live = live_files(folder)
    for path in [*(set(folder.glob("*.parquet")) - set(live)), *folder.glob(".*.tmp")]:
        path.unlink()
    for single, run in groupby(live, key=lambda path: _numbers(path)[0] == _numbers(path)[1]):
        group = list(run)
        if single and len(group) > 1:
            _join(folder, group)


def _join(folder: Path, group: list[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False) for path in group]
    name = f"{_numbers(group[0])[0]:08d}-{_numbers(group[-1])[1]:08d}.parquet"
    write_atomic(folder / name, _bytes(pa.concat_tables(tables)))
    for path in group:
        path.unlink()


def _parquet(kind: str, rows: list) -> bytes:
    import pyarrow as pa

    columns = dict(zip(FIELDS[kind], map(list, zip(*rows))))
    for side in LEVELS if kind == "depth" else ():
        levels = columns.pop(side)
        for place, name in enumerate(("price", "qty")):
            values = [[float(level[place]) for level in each] for each in levels]
            columns[f"{side[:-1]}_{name}"] = pa.array(values, pa.list_(pa.float64()))
    return _bytes(pa.table(columns))


def _bytes(table) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _read(path: Path) -> pd.DataFrame:
    try:
        return read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"ticks: {path}: damaged ({' '.join(str(error).split())[:120]}); move it away to read the rest") from None


def _last(folder: Path) -> pd.DataFrame | None:
    """The newest file of a kind."""
    paths = [path for day in sorted(folder.glob("*"))[-1:] for path in live_files(day)]
    return _read(paths[-1]) if paths else None


def _lock(folder: Path) -> tuple[int, Path]:
    """`folder` for this process alone, until it ends in whatever way."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(
            f"record: another process records {folder.name} of {folder.parent.name}; stop it, or record other symbols"
        ) from None
    return handle, folder


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _numbers(path: Path) -> tuple[int, int]:
    first, _, last = path.stem.partition("-")
    return int(first), int(last)
