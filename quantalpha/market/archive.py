"""A venue's bulk files into the lake: verified, read, merged, month by month, in the memory of one month.

    from quantalpha.market.archive import Folder, Wanted, import_archive
    for outcome in import_archive(Folder(Path("/mnt/binance")), Lake(config.path("data/raw")), Wanted(kinds=("1h",))):
        print(outcome)

A monthly file stands for its days; where there is none yet, or none that is sound, the days are taken. What is in the lake is written
down by the sha256 of the file it came from (archive.jsonl beside the months, one line a month), so that it is not read again: interrupted
anywhere and run again, the lake is the same as without. A month is closed once its files have told all its bars; where some are missing
in them it stays unfinished, so that a download asks the venue for it. A file that the archive has replaced has another checksum: it is
read, and what it changes is a revision in the month's passport.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import audit, schema
from quantalpha.errors import DataError
from quantalpha.files import sha256
from quantalpha.market.archive_files import CHECKSUM, check_digest, digest_in, read
from quantalpha.market.archive_names import VENUES, ArchiveFile, Series, days, series_for
from quantalpha.market.archive_sources import Folder, Site, Source
from quantalpha.market.kinds import INTEREST, month_bounds
from quantalpha.market.merge import Merged
from quantalpha.market.store import Lake

__all__ = ["VENUES", "Folder", "Outcome", "Site", "Wanted", "import_archive", "series_for"]

SOURCE = "archive, Binance layout"  # wherever its files lay: the venue's own address, a copy of it, or a folder
RECORD = "archive.jsonl"
FORGOTTEN = "forgotten"  # in the record: the month was taken out of the lake
STORED, KNOWN, COVERED, REFUSED = "stored", "known", "covered", "refused"


@dataclass(frozen=True)
class Wanted:
    """What to take of a source; None: all it has. venue: the lake's name for it; None: ccxt's. unverified: files without a checksum too."""

    symbols: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    start: int | None = None
    end: int | None = None
    venue: str | None = None
    unverified: bool = False

    def series(self, source: Source) -> list[Series]:
        """What is wanted of what the source has."""
        held = [each for each in source.all_series() if self.symbols is None or each.symbol in self.symbols]
        if self.kinds is None:
            return held
        named = [series_for(kind, "ANY", "futures/um") for kind in self.kinds]
        asked = (replace(name, market=each.market, symbol=each.symbol) for each in held for name in named)
        return [each for each in dict.fromkeys(asked) if each.as_filed in held]

    def within(self, file: ArchiveFile) -> bool:
        begin, last = file.span
        return (self.end is None or begin < self.end) and (self.start is None or last >= self.start)


@dataclass(frozen=True)
class Outcome:
    """What became of one file. known: in the lake already; covered: by its month's file. months: those of the lake that were written.

    disputed: rows that the lake has otherwise from another source, told with the first of the files that were merged together.
    """

    file: ArchiveFile
    venue: str
    status: str
    rows: int = 0
    left_out: int = 0
    months: tuple[str, ...] = ()
    disputed: int = 0
    reason: str = ""


@dataclass
class _Found:
    """A file that passed all checks, on its way into the lake."""

    file: ArchiveFile
    sha256: str
    verified: bool
    rows: pd.DataFrame = field(repr=False)
    left_out: int


def import_archive(source: Source, lake: Lake, wanted: Wanted) -> Iterator[Outcome]:
    """Imports while it is iterated over: one Outcome for each file. ExchangeError: the site does not answer; what is stored stays."""
    for series in wanted.series(source):
        held = _Held(lake, wanted.venue or VENUES[series.market], series)
        files = [ArchiveFile(series, file.label) for file in source.files(series) if wanted.within(file)]
        for month, group in groupby(files, key=lambda file: file.month):
            yield from _month(source, held, month, list(group), wanted.unverified)


def _month(source: Source, held: "_Held", month: str, files: list[ArchiveFile], unverified: bool) -> Iterator[Outcome]:
    whole = [file for file in files if file.period == "monthly"]
    daily = [file for file in files if file.period == "daily"]
    outcomes = list(_taken(source, held, month, whole, unverified))
    yield from outcomes
    if any(outcome.status in (STORED, KNOWN) for outcome in outcomes):
        yield from (Outcome(file, held.venue, COVERED) for file in daily if source.lists)
    else:
        yield from _taken(source, held, month, daily, unverified)


def _taken(source: Source, held: "_Held", month: str, files: list[ArchiveFile], unverified: bool) -> Iterator[Outcome]:
    """Reads those that are new, and merges them at once."""
    new = []
    for file in files:
        try:
            found = _read(source, held, file, unverified)
        except FileNotFoundError:
            continue
        except DataError as error:
            yield Outcome(file, held.venue, REFUSED, reason=str(error))
        else:
            new += [found] if found else []
            if not found:
                yield Outcome(file, held.venue, KNOWN)
    if new:
        merged = held.merge(month, new)
        first, *others = (Outcome(each.file, held.venue, STORED, len(each.rows), each.left_out) for each in new)
        yield replace(first, months=merged.months, disputed=merged.disputed)
        yield from others


def _read(source: Source, held: "_Held", file: ArchiveFile, unverified: bool) -> _Found | None:
    """The file's rows; None where the lake has them already. DataError says why it is refused."""
    text = source.checksum(file)
    if text is None and not unverified:
        raise DataError(f"{file.name}{CHECKSUM}: there is none, and nothing else proves the file; get it, or pass --unverified")
    digest = None if text is None else digest_in(text, file.name)
    if digest is not None and held.knows(file, digest):
        return None
    with source.opened(file) as path:
        if digest is not None:
            check_digest(path, digest, file.name)
        found = digest or sha256(path)
        if held.knows(file, found):
            return None
        content = read(path, file)
    return _Found(file, found, digest is not None, content.rows, content.left_out)


class _Held:
    """What the lake has of one series, and from which files."""

    def __init__(self, lake: Lake, venue: str, series: Series):
        self.lake, self.venue, self.series = lake, venue, series
        self.record: Path = lake.path(*self._key, "x").with_name(RECORD)
        self.files: dict[str, dict[str, str]] = {}  # by month: path -> sha256
        for line in audit.read(self.record):
            self.files[line["month"]] = {} if line.get("act") == FORGOTTEN else self.files.get(line["month"], {}) | line["files"]

    @property
    def _key(self) -> tuple[str, str, str]:
        return self.venue, self.series.symbol, self.series.kind

    def knows(self, file: ArchiveFile, digest: str) -> bool:
        """Whether these bytes were imported, and the month that they went into was not taken away since."""
        return self.files.get(file.month, {}).get(file.path) == digest and self.lake.path(*self._key, file.month).exists()

    def merge(self, month: str, found: list[_Found]) -> Merged:
        """Rows first, then the record of them: a kill between the two merges the same rows again, which changes nothing."""
        rows = pd.concat([each.rows for each in found]).sort_index(kind="stable")
        rows = rows[~rows.index.duplicated(keep="last")]  # a midnight may end one day's file and begin the next one's, where it belongs
        source = SOURCE if all(each.verified for each in found) else f"{SOURCE} (unverified)"
        done = {each.file.path: each.sha256 for each in found}
        self._forget_absent(month)
        files = self.files.get(month, {}) | done
        closed = month_bounds(month)[self._is_whole(month, files) and self._has_all(month, rows)]
        merged = self.lake.merge(*self._key, rows, source=source, complete_before=closed)
        span = [schema.iso(ms) for ms in schema.epoch_ms(rows.index[[0, -1]])]
        told = {"source": source, "month": month, "rows": len(rows), "first": span[0], "last": span[1]}
        audit.append(self.record, lambda _: audit.stamp("") | told | {"files": done})
        self.files[month] = files
        return merged

    def _forget_absent(self, month: str) -> None:
        """Of a month that was taken away no file is known: written down before it comes again, lest a kill leave both."""
        if self.files.get(month) and not self.lake.path(*self._key, month).exists():
            audit.append(self.record, lambda _: audit.stamp("") | {"act": FORGOTTEN, "month": month, "files": {}})
            self.files[month] = {}

    def _is_whole(self, month: str, files: dict[str, str]) -> bool:
        """By its own file, or by those of all its days."""
        path = [self.series.file(label).path for label in (month, *days(month))]
        return path[0] in files or all(each in files for each in path[1:])

    def _has_all(self, month: str, rows: pd.DataFrame) -> bool:
        """Whether no bar of the month is missing in `rows` and the lake; open interest of its first midnight is told by the day before."""
        (begin, end), step = month_bounds(month), self.series.step
        if step is None:
            return True
        stored = self.lake.month(*self._key, month)
        index = rows.index if stored is None else rows.index.union(stored.rows.index)
        first = begin + step if self.series.kind.startswith(INTEREST) else begin
        return bool(np.isin(np.arange(first, end, step), schema.epoch_ms(index)).all())
