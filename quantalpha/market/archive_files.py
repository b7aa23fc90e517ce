"""One file of the archive: proved by its checksum, opened with suspicion, read into rows. Whatever is not as its name says is refused."""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.market.archive_names import METRICS, ArchiveFile, Columns, columns
from quantalpha.market.times import epoch_unit, to_milliseconds

CHECKSUM = ".CHECKSUM"
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](\S+)\s*")
LONGEST_LINE = 512  # bytes of a row and of the header, with room
MOST_ZIPPED = 256 << 20  # bytes; a month of minutes has 3 MB
BLOCK = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Content:
    """Rows of one file on a UTC index, and how many were left out: said twice in the same words, or saying nothing of this kind."""

    rows: pd.DataFrame
    left_out: int


def digest_in(text: str, name: str) -> str:
    """The sha256 that a checksum file gives for `name`; DataError where it gives none."""
    found = LINE.fullmatch(text)
    if found is None or found[2] != name:
        raise DataError(f"{name}{CHECKSUM}: expected one line 'sha256  {name}', found {text[:100]!r}; get both files again")
    return found[1].lower()


def check_digest(path: Path, expected: str, name: str) -> None:
    """DataError unless the file's bytes are those of its checksum."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DataError(f"{name}: sha256 is {found[:12]}..., its checksum says {expected[:12]}...: truncated or altered; get it again")


def read(path: Path, file: ArchiveFile) -> Content:
    """The rows of a zip whose name says what must be in it; nothing is unpacked to disk, and no more is read than its name allows."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, file)) as stream:
            return _content(_table(stream, file), file)
    except DAMAGED as error:
        raise DataError(f"{file.name}: not a sound zip ({' '.join(str(error).split())[:120]}); get it again") from None


def _member(archive: zipfile.ZipFile, file: ArchiveFile) -> zipfile.ZipInfo:
    """The one CSV of the zip, named as the zip is and of a size that its span can fill."""
    held, expected = archive.infolist(), file.name.removesuffix(".zip") + ".csv"
    names = [member.filename for member in held]
    if names != [expected]:
        raise DataError(f"{file.name}: expected the one member {expected}, found {', '.join(map(repr, names[:3])) or 'none'}")
    most = (file.most_rows + 1) * LONGEST_LINE
    if held[0].file_size > most:
        raise DataError(f"{file.name}: its CSV claims {held[0].file_size:,} bytes; {file.most_rows:,} rows need no more than {most:,}")
    if held[0].flag_bits & 1 or held[0].compress_type not in METHODS:
        raise DataError(f"{file.name}: encrypted, or compressed by another method than deflate; get it again")
    return held[0]


def _table(stream: BinaryIO, file: ArchiveFile) -> pd.DataFrame:
    """The columns wanted, by the archive's names, of a CSV with or without a header."""
    layout = columns(file.series.dataset)
    parts = list(_parts(stream, layout, file))
    if not parts or not sum(map(len, parts)):
        raise DataError(f"{file.name}: holds no rows")
    return pd.concat(parts, ignore_index=True)


def _parts(stream: BinaryIO, layout: Columns, file: ArchiveFile) -> Iterator[pd.DataFrame]:
    """Block after block, so that a file of too many rows is given up early. Decimals are read to the nearest float."""
    import pyarrow as pa
    from pyarrow import csv

    first = stream.peek(BLOCK)[:LONGEST_LINE].partition(b"\n")[0].decode("ascii", "replace")
    names = [name.strip().strip('"') for name in first.split(",")]
    headed = layout.time in names
    missing = [name for name in (layout.time, *layout.taken.values()) if name not in names]
    if missing if headed else len(names) != len(layout.names):
        raise DataError(f"{file.name}: expected the columns {', '.join(layout.names)}, found {first.strip()[:120]!r}")
    types = {name: pa.float64() for name in layout.taken.values()}
    types |= {layout.time: pa.timestamp("s") if file.series.dataset == METRICS else pa.int64()}
    own = {"symbol": pa.string()} if "symbol" in layout.names else {}
    options = csv.ConvertOptions(column_types=types | own, include_columns=[*types, *own], strings_can_be_null=False)
    reading = csv.ReadOptions(use_threads=False, block_size=BLOCK, skip_rows=int(headed), column_names=names if headed else layout.names)
    seen = 0
    try:
        for batch in csv.open_csv(stream, read_options=reading, convert_options=options):
            seen += batch.num_rows
            if seen > file.most_rows:
                raise DataError(f"{file.name}: more than the {file.most_rows:,} rows that its span can hold")
            yield batch.to_pandas()
    except pa.ArrowException as error:
        raise DataError(f"{file.name}: its CSV cannot be read ({' '.join(str(error).split())[:160]}); get it again") from None


def _content(table: pd.DataFrame, file: ArchiveFile) -> Content:
    """The lake's columns in time order; DataError for rows of another symbol or span, off the grid, or in two versions."""
    layout = columns(file.series.dataset)
    if "symbol" in table and (table["symbol"] != file.series.symbol).any():
        raise DataError(f"{file.name}: holds rows of {table['symbol'][table['symbol'] != file.series.symbol].iloc[0]!r}")
    times = _times(table[layout.time], file)
    rows = pd.DataFrame({ours: table[theirs].to_numpy(float) for ours, theirs in layout.taken.items()}, index=schema.from_epoch_ms(times))
    if file.series.dataset == METRICS:  # an empty cell is no observation, and other grids are taken from that of five minutes
        rows = rows[rows["open_interest"].notna() & (times % file.series.step == 0)]
    else:
        _check_grid(times, file)
    if rows.empty:
        raise DataError(f"{file.name}: {len(table)} rows, and none says anything")
    kept = rows.sort_index(kind="stable")
    if kept.index.has_duplicates:
        kept = kept[~kept.reset_index().duplicated().to_numpy()]
    twice = kept.index[kept.index.duplicated()]
    if len(twice):
        raise DataError(f"{file.name}: {twice[0]} comes twice with different values; which one holds cannot be known")
    return Content(kept, len(table) - len(kept))


def _times(column: pd.Series, file: ArchiveFile) -> np.ndarray:
    """int64[n] ms, each within the file's span."""
    if column.isna().any():
        raise DataError(f"{file.name}: row {int(column.isna().argmax()) + 1} has no time")
    if column.dtype.kind == "M":
        times = schema.epoch_ms(pd.DatetimeIndex(column))
    else:
        values = column.to_numpy("int64")
        times = to_milliseconds(values, epoch_unit(float(np.abs(values).max())) or "ns", file.name)
    begin, last = file.span
    outside = np.flatnonzero((times < begin) | (times > last))
    if outside.size:
        found = f"row {outside[0] + 1} is of {schema.iso(times[outside[0]])}"
        raise DataError(f"{file.name}: expected rows from {schema.iso(begin)} to {schema.iso(last)}, {found}")
    return times


def _check_grid(times: np.ndarray, file: ArchiveFile) -> None:
    if file.series.step is not None and (times % file.series.step).any():
        row = int((times % file.series.step != 0).argmax())
        raise DataError(f"{file.name}: row {row + 1} at {schema.iso(times[row])} does not open on a whole {file.series.interval}")
