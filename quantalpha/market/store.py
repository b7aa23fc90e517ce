"""The raw lake: write-once months of market data as parquet, each with a passport beside it.

    data/raw/{venue}/{symbol}/{kind}/2024-01.parquet  2024-01.json

`kind` is a timeframe ('1h': bars), 'mark-1h' (mark-price bars) or 'funding' (settled rates). Rows are in time order, as the source gave
them; duplicates and impossible rows are kept for the clean stage to judge. A month never changes once complete; an unfinished one may only
grow. The passport is renamed into place before its data, and names the file it replaces: a kill between the two leaves the old month valid.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import DataError
from quantalpha.files import locked, read_parquet, write_atomic

FUNDING = "funding"
MARK = "mark-"


def mark_kind(bar: str) -> str:
    """The kind that holds mark-price bars of a timeframe: '1h' -> 'mark-1h'."""
    return MARK + bar


def bar_length(kind: str) -> int | None:
    """Milliseconds between rows of a kind; None for funding, which has no grid."""
    return None if kind == FUNDING else timeframe.milliseconds(kind.removeprefix(MARK))


def months(start_ms: int, end_ms: int) -> list[str]:
    """Names of the UTC months that overlap [start, end): ['2023-12', '2024-01']."""
    if end_ms <= start_ms:
        return []
    first, last = (np.datetime64(int(ms), "ms").astype("datetime64[M]") for ms in (start_ms, end_ms - 1))
    return [str(month) for month in np.arange(first, last + 1)]


def month_bounds(month: str) -> tuple[int, int]:
    """[first millisecond, first millisecond of the next month)."""
    first = np.datetime64(month, "M")
    return tuple(int(m.astype("datetime64[ms]").astype("int64")) for m in (first, first + 1))


@dataclass(frozen=True)
class Passport:
    """Where a month came from and what it holds. `complete`: no later row can belong to it. `replaces`: sha256 of the file it extends."""

    source: str
    fetched_at: str
    rows: int
    first: str
    last: str
    gaps: list
    complete: bool
    sha256: str
    replaces: str | None


@dataclass(frozen=True)
class Month:
    """A verified month: its rows, the sha256 of its file, and whether it can still grow."""

    rows: pd.DataFrame
    sha256: str
    complete: bool


class Lake:
    """Months under `root` (data/raw). Every read checks the file against its passport.

    holdout: where the sealed rows begin, None: there are none. An open end of a read is the hold-out; to ask for more is a DataError.
    """

    def __init__(self, root: Path, holdout: datetime | None = None):
        self.root, self.holdout = Path(root), holdout

    def path(self, venue: str, symbol: str, kind: str, month: str) -> Path:
        return self.root / venue / symbol / kind / f"{month}.parquet"

    def stored(self, venue: str, symbol: str, kind: str) -> list[str]:
        """Names of the months present, in order."""
        return sorted(path.stem for path in self.path(venue, symbol, kind, "x").parent.glob("????-??.parquet"))

    def month(self, venue: str, symbol: str, kind: str, month: str) -> Month | None:
        """One verified month, or None where there is none."""
        self._check_sealed(month_bounds(month)[1])
        path = self.path(venue, symbol, kind, month)
        return _load(path) if path.exists() else None

    def read(self, venue: str, symbol: str, kind: str, start=None, end=None) -> pd.DataFrame:
        """Rows with start <= timestamp < end (datetimes or None). Raises DataError when there are none, or a file is damaged."""
        rows = self.find(venue, symbol, kind, start, end)
        if rows is None:
            names = self.stored(venue, symbol, kind)
            found = f"nothing between {start} and {end}; stored: {names[0]} to {names[-1]}" if names else "no data"
            remedy = f"run the download stage or `quantalpha import FILE --symbol {symbol}`"
            raise DataError(f"{self.root / venue / symbol / kind}: {found}; {remedy}")
        return rows

    def read_all(self, venue: str, symbol: str, bar: str, start=None, end=None) -> tuple[pd.DataFrame, *tuple[pd.DataFrame | None, ...]]:
        """(bars, funding, mark) as `clean_bars` takes them; funding and mark are None where the lake has none."""
        bars = self.read(venue, symbol, bar, start, end)
        return bars, self.find(venue, symbol, FUNDING, start, end), self.find(venue, symbol, mark_kind(bar), start, end)

    def find(self, venue: str, symbol: str, kind: str, start=None, end=None) -> pd.DataFrame | None:
        """As `read`, but None where there are no rows."""
        names = self.stored(venue, symbol, kind)
        low, high = self._span(names, start, end) if names else (0, 0)
        wanted = set(months(low, high))
        parts = [_load(self.path(venue, symbol, kind, name)).rows for name in names if name in wanted]
        if not parts:
            return None
        rows = pd.concat(parts)
        times = schema.epoch_ms(rows.index)
        rows = rows[(times >= low) & (times < high)]
        return None if rows.empty else rows

    def manifest(self, venue: str, symbol: str, kinds, start=None, end=None) -> dict:
        """{kind: [{file, rows, sha256}]} of every month that overlaps [start, end): the same for the same data, whenever it was fetched."""
        return {kind: self._listing(venue, symbol, kind, start, end) for kind in kinds}

    def read_listed(self, listing: dict, venue: str, symbol: str, start=None, end=None) -> tuple:
        """`read_all` of exactly what a manifest lists; DataError where the lake holds something else by now."""
        if self.manifest(venue, symbol, listing, start, end) != listing:
            raise DataError(f"{venue}/{symbol}: the lake is not what its manifest lists; run the download stage again")
        return self.read_all(venue, symbol, next(iter(listing)), start, end)

    def _listing(self, venue, symbol, kind, start, end) -> list[dict]:
        names = self.stored(venue, symbol, kind)
        wanted = set(months(*self._span(names, start, end))) if names else set()
        held = {name: _load(self.path(venue, symbol, kind, name)) for name in names if name in wanted}
        file = "{}/{}/{}/{}.parquet".format
        return [{"file": file(venue, symbol, kind, name), "rows": len(m.rows), "sha256": m.sha256} for name, m in held.items()]

    def _span(self, names: list[str], start, end) -> tuple[int, int]:
        """[start, end) in milliseconds, an open end being that of the stored months or the hold-out."""
        low = month_bounds(names[0])[0] if start is None else _ms(start)
        high = month_bounds(names[-1])[1] if end is None else _ms(end)
        if end is None and self.holdout is not None:
            high = min(high, _ms(self.holdout))
        self._check_sealed(max(low + 1, high))
        return low, high

    def _check_sealed(self, end: int) -> None:
        """DataError if rows before `end` (ms) lie in the hold-out."""
        if self.holdout is not None and end > _ms(self.holdout):
            raise DataError(
                f"{self.root.name}: the rows from {_iso(_ms(self.holdout))} on are sealed (holdout.start), asked for were those up to "
                f"{_iso(end)}; end before, or have the champion scored on them: `quantalpha holdout open --reason WHY`"
            )

    def write(
        self, venue: str, symbol: str, kind: str, rows: pd.DataFrame, *, source: str, complete_before: int, replace: bool = False
    ) -> list[str]:
        """Store whole months; returns those written or grown (an identical one is left alone).

        Months ending at or before `complete_before` (ms) are closed for good. All months are checked before the first is written: one that
        differs from what is stored is refused unless it only adds newer rows to an unfinished month, or `replace` is set.
        """
        with locked(self.path(venue, symbol, kind, "x").parent):
            return self._write((venue, symbol, kind), rows, source, complete_before, replace)

    def append(self, venue: str, symbol: str, kind: str, rows: pd.DataFrame, *, source: str, complete_before: int) -> list[str]:
        """`write` the newer rows of a month after those stored, by this or another process: a scheduled run and a notebook may meet."""
        first = str(rows.index[0].tz_localize(None).to_numpy().astype("datetime64[M]"))
        with locked(self.path(venue, symbol, kind, "x").parent):
            old = self.month(venue, symbol, kind, first)
            joined = rows if old is None else pd.concat([old.rows, rows[rows.index > old.rows.index[-1]]])
            return self._write((venue, symbol, kind), joined, source, complete_before, replace=False)

    def _write(self, key: tuple[str, str, str], rows: pd.DataFrame, source: str, complete_before: int, replace: bool) -> list[str]:
        _check_order(rows, self.path(*key, "x").parent)
        names = schema.epoch_ms(rows.index).astype("datetime64[ms]").astype("datetime64[M]").astype(str)
        plan = []
        for name, part in rows.groupby(names):
            old = None if replace else self.month(*key, name)
            complete = month_bounds(name)[1] <= complete_before
            if old is None or not _same(old, part, complete, self.path(*key, name)):
                plan.append((name, part, complete, old))
        for name, part, complete, old in plan:
            self._store(self.path(*key, name), part, bar_length(key[2]), source, complete, old)
        return [name for name, *_ in plan]

    def _store(self, path: Path, rows, step, source, complete, old: Month | None) -> None:
        data = _encode(rows)
        passport = Passport(
            source=source,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            rows=len(rows),
            first=rows.index[0].isoformat(),
            last=rows.index[-1].isoformat(),
            gaps=gaps(rows.index, step),
            complete=complete,
            sha256=hashlib.sha256(data).hexdigest(),
            replaces=hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None,
        )
        write_atomic(path.with_suffix(".json"), json.dumps(asdict(passport), indent=1).encode())
        if old is None or old.sha256 != passport.sha256:
            write_atomic(path, data)

    def discard(self, venue: str, symbol: str, kind: str, keep) -> list[str]:
        """Delete the months not named in `keep` (after a replacing import); returns their names."""
        gone = [name for name in self.stored(venue, symbol, kind) if name not in set(keep)]
        for name in gone:
            path = self.path(venue, symbol, kind, name)
            path.unlink()
            path.with_suffix(".json").unlink()
        return gone


def research_lake(settings: config.Params) -> Lake:
    """The workspace's raw lake as research reads it: up to the hold-out. settings: at least the section holdout."""
    return Lake(config.path("data/raw"), settings.holdout.start)


def gaps(index: pd.DatetimeIndex, step: int | None) -> list[dict]:
    """[{start, bars}] of the bars absent between the first and the last; `start` is the first absent open time."""
    if step is None or len(index) < 2:
        return []
    times = schema.epoch_ms(index)
    absent = np.diff(times) // step - 1
    return [{"start": _iso(times[i] + step), "bars": int(absent[i])} for i in np.flatnonzero(absent > 0)]


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat().replace("+00:00", "Z")


def _ms(instant) -> int:
    stamp = pd.Timestamp(instant)
    return int((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).timestamp() * 1000)


def _check_order(rows: pd.DataFrame, where: Path) -> None:
    if str(rows.index.dtype) != schema.INDEX_DTYPE or not rows.index.is_monotonic_increasing or rows.empty:
        found = f"{len(rows)} rows with {rows.index.dtype}"
        raise DataError(f"{where}: expected rows in time order with a {schema.INDEX_DTYPE} index, found {found}; sort them")


def _same(old: Month, new: pd.DataFrame, complete: bool, path: Path) -> bool:
    """True where nothing is to be done, False where an unfinished month grows or closes; anything else is refused."""
    differs = _first_difference(old.rows, new)
    if differs is None:
        return old.complete or not complete
    grows = len(new) > len(old.rows) and _first_difference(old.rows, new.iloc[: len(old.rows)]) is None
    if old.complete or not grows:
        raise DataError(f"{path}: raw months are write-once, and the new rows differ from {differs} on; import with --replace to overwrite")
    return False


def _first_difference(old: pd.DataFrame, new: pd.DataFrame) -> pd.Timestamp | None:
    if list(old.columns) != list(new.columns):
        return old.index[0]
    n = min(len(old), len(new))
    a, b = old.iloc[:n], new.iloc[:n]
    same = (a.index == b.index) & ((a.to_numpy() == b.to_numpy()) | (a.isna().to_numpy() & b.isna().to_numpy())).all(axis=1)
    if not same.all():
        return min(a.index[~same][0], b.index[~same][0])
    return None if len(old) == len(new) else (old.index if len(old) > n else new.index)[n]


def _encode(rows: pd.DataFrame) -> bytes:
    """Parquet bytes that depend on the rows alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"timestamp": pa.array(schema.epoch_ms(rows.index), pa.timestamp("ms", "UTC"))}
    columns |= {name: pa.array(rows[name].to_numpy(np.float64)) for name in rows.columns}
    sink = io.BytesIO()
    floats = list(rows.columns)
    options = {"compression": "zstd", "compression_level": 3, "version": "2.6", "use_dictionary": False, "use_byte_stream_split": floats}
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def _load(path: Path) -> Month:
    remedy = f"delete {path.name} and {path.stem}.json, then download or import the month again"
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    try:
        passport = Passport(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: its passport {path.stem}.json is missing or unreadable ({error}); {remedy}") from None
    if digest not in (passport.sha256, passport.replaces):
        raise DataError(f"{path}: truncated or altered: sha256 is {digest[:12]}..., its passport says {passport.sha256[:12]}...; {remedy}")
    try:
        table = read_parquet(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable parquet ({error}); {remedy}") from None
    rows = table.drop(columns="timestamp")
    rows.index = schema.from_epoch_ms(schema.epoch_ms(pd.DatetimeIndex(table["timestamp"])))
    return Month(rows, digest, passport.complete and digest == passport.sha256)
