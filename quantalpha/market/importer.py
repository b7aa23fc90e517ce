"""The user's own files into the raw lake, as they are: only what would make their rows unreadable is refused (`market.own_files`).

Kept and counted for the clean stage to judge: NaN and impossible prices, duplicates, disorder, gaps. A file of any size is read twice: once
to find out whether it is sound, once to store it, a month at a time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.market.kinds import bar_length, month_bounds
from quantalpha.market.own_files import OwnFiles, Piece
from quantalpha.market.store import Lake
from quantalpha.market.times import check_zone


def import_files(own: OwnFiles, lake: Lake, *, venue: str = "import", replace: bool = False, found: dict | None = None) -> dict:
    """Store a symbol's rows of one kind; returns what was found, as plain JSON values. replace: overwrite what the lake holds of this kind.
    found: what `check_files` has said of them, where it was asked already.

    All is read and checked before the first month is written. A month that differs from what is stored is refused unless it only adds newer
    rows to an unfinished one; of a file too large to be read at once those before it stay written.
    """
    found = check_files(own) if found is None else found
    closed = _complete_before(pd.Timestamp(found["last"]), own.kind)
    written, held = [], []
    for rows in _spans(own.pieces(), own.path):
        source = f"import {own.path.name}"
        written += lake.write(venue, own.symbol, own.kind, rows, source=source, complete_before=closed, replace=replace)
        held += _months(rows.index)
    if replace:
        lake.discard(venue, own.symbol, own.kind, keep=held)
    return {"file": own.path.name, "stored": f"{venue}/{own.symbol}/{own.kind}", "months_written": len(written), **found}


def import_file(path: Path, symbol: str, bar: str, lake: Lake, *, venue: str = "import", replace: bool = False, **how) -> dict:
    """`import_files` of one file; how: `funding`, `timezone`, `layout`, `columns` of `OwnFiles`."""
    return import_files(OwnFiles(Path(path), symbol, bar, **how), lake, venue=venue, replace=replace)


def check_files(own: OwnFiles) -> dict:
    """All that comes before the storing: what was found, as plain JSON values."""
    if not re.fullmatch(r"[A-Z0-9]{2,30}", own.symbol):
        raise UsageError(f"--symbol: expected capitals and digits such as BTCUSDT, found {own.symbol!r}")
    tally = _Tally(own.funding, bar_length(own.kind))
    check_zone(own.timezone)
    for rows in _spans(map(tally.see, own.pieces()), own.path):
        tally.count(rows)
    return tally.told()


def _spans(pieces: Iterator[Piece], path: Path) -> Iterator[pd.DataFrame]:
    """The rows in time order within spans that share no month; the spans follow the files, up or down.

    Only rows of the month at the border of two pieces are held back. Rows of a month that was given up already are refused.
    """
    held, order, done = None, 1, None
    for piece in pieces:
        if held is None:
            held, order = piece.rows, 1 if piece.rows.index[0] <= piece.rows.index[-1] else -1
            continue
        border = order * (order * _month_numbers(piece.rows.index)).min()
        ready = order * _month_numbers(held.index) < order * border
        if done is not None and order * border <= order * done:
            raise DataError(
                f"{path}: too large to be sorted here, and its rows run neither up nor down in time: after those of "
                f"{_month_name(done)} come rows of {_month_name(border)}; sort it by time"
            )
        if ready.any():
            done = order * (order * _month_numbers(held.index[ready])).max()
            yield held[ready].sort_index(kind="stable")
        held = pd.concat([held[~ready], piece.rows])
    if held is not None:
        yield held.sort_index(kind="stable")


@dataclass
class _Tally:
    """What is counted while the rows go by."""

    funding: bool
    step: int | None
    notes: list[Piece] = field(default_factory=list)
    edges: list[pd.Timestamp] = field(default_factory=list)
    months: set[str] = field(default_factory=set)
    latest: int | None = None
    rows: int = 0
    distinct: int = 0
    out_of_order: int = 0
    impossible: int = 0

    def see(self, piece: Piece) -> Piece:
        """A piece in the order of its file."""
        times = schema.epoch_ms(piece.rows.index)
        self.out_of_order += int((np.diff(times, prepend=times[0] if self.latest is None else self.latest) < 0).sum())
        self.latest = int(times[-1])
        self.notes = [self.notes[0] if self.notes else piece, piece]
        return piece

    def count(self, rows: pd.DataFrame) -> None:
        """A span in the order of time."""
        self.rows += len(rows)
        self.distinct += rows.index.nunique()
        self.impossible += int((rows.isna().any(axis=1) if self.funding else schema.impossible(rows)).sum())
        self.months |= set(_months(rows.index))
        self.edges = [min([rows.index[0], *self.edges]), max([rows.index[-1], *self.edges])]

    def told(self) -> dict:
        first, last = self.edges
        span = 0 if self.step is None else (last - first) // pd.Timedelta(self.step, "ms") + 1
        return {
            "rows": self.rows,
            "first": first.isoformat(),
            "last": last.isoformat(),
            "months": len(self.months),
            "missing": max(0, span - self.distinct),
            "duplicates": self.rows - self.distinct,
            "out_of_order": self.out_of_order,
            "impossible": self.impossible,
            "times": self.notes[0].times,
            "ignored_columns": self.notes[0].ignored,
            "ignored_symbols": sorted(self.notes[1].others),
        }


def _month_numbers(index: pd.DatetimeIndex) -> np.ndarray:
    """int64[n]: months since 1970."""
    return schema.epoch_ms(index).astype("datetime64[ms]").astype("datetime64[M]").astype("int64")


def _month_name(number: int) -> str:
    return str(np.datetime64(int(number), "M"))


def _months(index: pd.DatetimeIndex) -> list[str]:
    return [_month_name(number) for number in np.unique(_month_numbers(index))]


def _complete_before(last: pd.Timestamp, kind: str) -> int:
    """Months ending at or before this are closed: all but the last, and that too when its last bar is there."""
    begin, end = month_bounds(f"{last:%Y-%m}")
    step = bar_length(kind)
    return end if step is not None and int(last.timestamp() * 1000) + step >= end else begin
