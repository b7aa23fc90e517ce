"""A month of the lake as a file, and the passport beside it: where its rows came from, and everything that has happened to them since.

A file is never lost: what replaces it is renamed over it after a copy was kept under the first letters of its hash. The passport is renamed
into place before its data and names the file it replaces: a kill between the two leaves the old month valid, with its own history.
"""

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.files import digest_of, read_parquet, write_atomic
from quantalpha.market.kinds import gaps

REVISED, REPAIRED, COMPARED = "revised", "repaired", "compared"


@dataclass(frozen=True)
class Passport:
    """Where a month came from and what it holds. `complete`: no later row can belong to it. `replaces`: sha256 of the file it extends.

    history: what has happened, in order; each {at, act, source, rows, first, last, made} and more by its act:
        revised    rows whose source gave other values later: was (sha256 of the file before, kept), examples [{time, column, was, now}]
        repaired   rows, or of stored rows the numbers of these columns, that were absent and came later, from this source: was
        compared   rows that another source gave too: differ, largest (relative difference), times (of those that differ)
    """

    source: str
    fetched_at: str
    rows: int
    first: str
    last: str
    gaps: list
    complete: bool
    sha256: str
    replaces: str | None
    history: list = field(default_factory=list)

    @property
    def id(self) -> str:
        """Hash of all that the month's rows rest on, hex: the same whenever they were fetched."""
        told = [{name: value for name, value in event.items() if name != "at"} for event in self.history]
        return digest_of([self.source, self.sha256, told])

    @property
    def disputed(self) -> list[str]:
        """Times, ISO, at which two sources differ, by the last comparison of each."""
        found = {}
        for event in self.history:
            if event["act"] == COMPARED:
                others = {time for time in found.get(event["source"], ()) if not event["first"] <= time <= event["last"]}
                found[event["source"]] = others | set(event["times"])
        return sorted(set().union(*found.values()))


@dataclass(frozen=True)
class Month:
    """A verified month: its rows, the sha256 of its file, whether it can still grow, and what has happened to it."""

    rows: pd.DataFrame
    sha256: str
    complete: bool
    passport: Passport


def load(path: Path) -> Month:
    """The month at `path`, checked against its passport; DataError for a file that is damaged, altered or without one."""
    data, passport = verify(path)
    return Month(_decode(data, path, _remedy(path)), passport.sha256, passport.complete, passport)


def verify(path: Path) -> tuple[bytes, Passport]:
    """(the file's bytes, its passport); DataError where the passport knows no such file."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    passport = _passport(path, _remedy(path))
    if found not in (passport.sha256, passport.replaces):
        says = f"sha256 is {found[:12]}..., its passport says {passport.sha256[:12]}..."
        raise DataError(f"{path}: truncated or altered: {says}; {_remedy(path)}")
    if found != passport.sha256:  # killed before the file this passport announces was there
        before = [event for event in passport.history if event["made"] != passport.sha256]
        passport = replace(passport, sha256=found, complete=False, history=before)
    return data, passport


def _remedy(path: Path) -> str:
    return f"delete {path.name} and {path.stem}.json, then download or import the month again"


def store(path: Path, rows: pd.DataFrame, step: int | None, source: str, complete: bool, old: Month | None, events: list[dict]) -> None:
    """Writes the month and its passport. old: the month it takes the place of; events: what is new of it."""
    data = encode(rows)
    made = hashlib.sha256(data).hexdigest()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    altered = [event for event in events if event["act"] in (REVISED, REPAIRED)]
    if altered:
        keep(path, old.sha256)
    told = [event | ({"was": old.sha256} if event in altered else {}) for event in events]
    history = [] if old is None else old.passport.history
    passport = Passport(
        source=source,
        fetched_at=now,
        rows=len(rows),
        first=rows.index[0].isoformat(),
        last=rows.index[-1].isoformat(),
        gaps=gaps(rows.index, step),
        complete=complete,
        sha256=made,
        replaces=old.sha256 if old is not None else hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None,
        history=[*history, *({"at": now} | event | {"made": made} for event in told)],
    )
    write_atomic(path.with_suffix(".json"), json.dumps(asdict(passport), indent=1).encode())
    if old is None or old.sha256 != made:
        write_atomic(path, data)


def keep(path: Path, sha256: str) -> None:
    """A second name for the file that is about to be replaced."""
    kept = kept_as(path, sha256)
    if not kept.exists():
        os.link(path, kept)


def kept_as(path: Path, sha256: str) -> Path:
    """Where a revised month's earlier file lies: 2024-01.<first letters of its sha256>.parquet."""
    return path.with_name(f"{path.stem}.{sha256[:12]}{path.suffix}")


def load_kept(path: Path, sha256: str) -> pd.DataFrame | None:
    """The rows of the month as they were in the file with that sha256; None where it is not kept. DataError where it was altered."""
    kept = kept_as(path, sha256)
    if not kept.exists():
        return None
    data = kept.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{kept}: altered: its name says sha256 {sha256[:12]}...; restore it from a copy")
    return _decode(data, kept, "restore it from a copy")


def retell(path: Path, history: list[dict]) -> None:
    """Give the month's passport another history: in a copy of a lake as it was when less had happened."""
    told = replace(_passport(path, _remedy(path)), history=history)
    write_atomic(path.with_suffix(".json"), json.dumps(asdict(told), indent=1).encode())


def sealed(told: Passport) -> Passport:
    """What may be known of a month that the hold-out cuts."""
    return replace(told, rows=0, last="sealed", gaps=[], history=[])


def digest(rows: pd.DataFrame) -> str:
    """sha256 of the file that holds these rows."""
    return hashlib.sha256(encode(rows)).hexdigest()


def encode(rows: pd.DataFrame) -> bytes:
    """Parquet bytes that depend on the rows alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"timestamp": pa.array(schema.epoch_ms(rows.index), pa.timestamp("ms", "UTC"))}
    table |= {name: pa.array(rows[name].to_numpy(np.float64)) for name in rows.columns}
    sink = io.BytesIO()
    floats = list(rows.columns)
    options = {"compression": "zstd", "compression_level": 3, "version": "2.6", "use_dictionary": False, "use_byte_stream_split": floats}
    pq.write_table(pa.table(table), sink, **options)
    return sink.getvalue()


def _passport(path: Path, remedy: str) -> Passport:
    try:
        return Passport(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: its passport {path.stem}.json is missing or unreadable ({error}); {remedy}") from None


def _decode(data: bytes, path: Path, remedy: str) -> pd.DataFrame:
    try:
        table = read_parquet(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable parquet ({error}); {remedy}") from None
    rows = table.drop(columns="timestamp")
    rows.index = schema.from_epoch_ms(schema.epoch_ms(pd.DatetimeIndex(table["timestamp"])))
    return rows
