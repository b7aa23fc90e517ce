"""The raw lake: months of market data as parquet, each with a passport beside it.

    data/raw/{venue}/{symbol}/{kind}/2024-01.parquet  2024-01.json        kinds: see `quantalpha.market.kinds`

Rows are in time order, as the source gave them; duplicates and impossible rows are kept for the clean stage to judge. Nothing stored is
lost: a value that its source gives otherwise later is a recorded revision, and the file before it is kept.
"""

from datetime import datetime
from pathlib import Path

import pandas as pd

from quantalpha import config, schema
from quantalpha.errors import DataError
from quantalpha.files import locked, sha256
from quantalpha.market import merge, passport
from quantalpha.market.kinds import FUNDING, bar_length, mark_kind, month_bounds, month_names, months
from quantalpha.market.merge import Merged
from quantalpha.market.passport import COMPARED, REVISED, Month, Passport


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

    def kinds(self, venue: str, symbol: str) -> list[str]:
        """The kinds of which any month of a symbol is present."""
        folders = (path.name for path in sorted((self.root / venue / symbol).glob("*")) if path.is_dir())
        return [name for name in folders if self.stored(venue, symbol, name)]

    def passports(self, venue: str, symbol: str, kind: str) -> dict[str, Passport]:
        """Month -> passport, of every stored month that begins before the hold-out, each file checked against it.

        That of the month which the hold-out cuts tells neither its last row nor its history: they may lie behind the seal.
        """
        seal = 2**62 if self.holdout is None else _ms(self.holdout)
        names = [name for name in self.stored(venue, symbol, kind) if month_bounds(name)[0] < seal]
        told = {name: passport.verify(self.path(venue, symbol, kind, name))[1] for name in names}
        return {name: each if month_bounds(name)[1] <= seal else passport.sealed(each) for name, each in told.items()}

    def month(self, venue: str, symbol: str, kind: str, month: str) -> Month | None:
        """One verified month, or None where there is none."""
        self._check_sealed(month_bounds(month)[1])
        path = self.path(venue, symbol, kind, month)
        return passport.load(path) if path.exists() else None

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
        parts = [passport.load(self.path(venue, symbol, kind, name)).rows for name in names if name in wanted]
        if not parts:
            return None
        rows = pd.concat(parts)
        times = schema.epoch_ms(rows.index)
        rows = rows[(times >= low) & (times < high)]
        return None if rows.empty else rows

    def manifest(self, venue: str, symbol: str, kinds, start=None, end=None) -> dict:
        """{kind: [{file, rows, sha256, passport}]} of every month that overlaps [start, end): the same for the same data, whenever it was
        fetched. A kind such as 'bybit/1h' is another venue's."""
        return {kind: self._listing(venue, symbol, kind, start, end) for kind in kinds}

    def read_listed(self, listing: dict, venue: str, symbol: str, start=None, end=None) -> tuple:
        """`read_all` of exactly what a manifest lists; DataError where the lake holds something else by now."""
        if self.manifest(venue, symbol, listing, start, end) != listing:
            raise DataError(f"{venue}/{symbol}: the lake is not what its manifest lists; run the download stage again")
        return self.read_all(venue, symbol, next(iter(listing)), start, end)

    def _listing(self, venue, symbol, kind, start, end) -> list[dict]:
        venue, kind = kind.split("/") if "/" in kind else (venue, kind)
        names = self.stored(venue, symbol, kind)
        wanted = set(months(*self._span(names, start, end))) if names else set()
        held = {name: passport.load(self.path(venue, symbol, kind, name)) for name in names if name in wanted}
        file = "{}/{}/{}/{}.parquet".format
        told = ((file(venue, symbol, kind, name), month) for name, month in held.items())
        return [{"file": name, "rows": len(m.rows), "sha256": m.sha256, "passport": m.passport.id} for name, m in told]

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
            seal = schema.iso(_ms(self.holdout))
            raise DataError(
                f"{self.root.name}: the rows from {seal} on are sealed (holdout.start), asked for were those up to {schema.iso(end)}; "
                f"end before, or have the champion scored on them: `quantalpha holdout open --reason WHY`"
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

    def merge(self, venue: str, symbol: str, kind: str, rows: pd.DataFrame, *, source: str, complete_before: int) -> Merged:
        """Bring fetched or archived rows in, whatever is stored of their months already.

        A row of a new time is added. At a time that is stored, a row of the SAME source as the month's takes the place of the stored one:
        where it differs that is a recorded revision, and the file before is kept. Another source's is compared: the stored one stands, and
        the passport tells where they differ. Months ending at or before `complete_before` (ms) are closed for good.
        """
        key = venue, symbol, kind
        with locked(self.path(*key, "x").parent):
            _check_order(rows, self.path(*key, "x").parent)
            done = [self._merge(key, str(name), part, source, complete_before) for name, part in rows.groupby(month_names(rows.index))]
        counts = [sum(each) for each in zip(*(numbers for _, _, numbers in done))]
        return Merged(tuple(name for name, written, _ in done if written), *counts)

    def _merge(self, key: tuple[str, str, str], name: str, new: pd.DataFrame, source: str, closed: int) -> tuple[str, bool, list[int]]:
        """(month, whether it was written, [rows added, revised, disputed])."""
        path, old = self.path(*key, name), self.month(*key, name)
        complete = month_bounds(name)[1] <= closed or (old is not None and old.complete)
        if old is None:
            passport.store(path, new, bar_length(key[2]), source, complete, None, [])
            return name, True, [len(new), 0, 0]
        act = merge.revise if source == old.passport.source else merge.compare
        rows, events = act(old.rows, new, source)
        fresh = [event for event in events if not merge.is_told(event, old.passport.history)]
        if fresh or complete != old.complete or not rows.equals(old.rows):
            passport.store(path, rows, bar_length(key[2]), old.passport.source, complete, old, fresh)
        revised = sum(event["rows"] for event in fresh if event["act"] == REVISED)
        disputed = sum(event["differ"] for event in fresh if event["act"] == COMPARED)
        return name, bool(fresh) or len(rows) > len(old.rows), [len(rows) - len(old.rows), revised, disputed]

    def version(self, venue: str, symbol: str, kind: str, month: str, digest: str) -> pd.DataFrame | None:
        """The rows of a month as they were in the file with that hash, which a revision has replaced; None where none is kept."""
        return passport.load_kept(self.path(venue, symbol, kind, month), digest)

    def disputed(self, venue: str, symbol: str, kind: str, start=None, end=None) -> pd.DatetimeIndex:
        """Times within [start, end) at which a second source gave other values than those stored."""
        names = self.stored(venue, symbol, kind)
        wanted = set(months(*self._span(names, start, end))) if names else set()
        told = (passport.verify(self.path(venue, symbol, kind, name))[1] for name in names if name in wanted)
        times = pd.DatetimeIndex([time for each in told for time in each.disputed], tz="UTC").as_unit("ms")
        low, high = self._span(names, start, end) if names else (0, 0)
        return times[(schema.epoch_ms(times) >= low) & (schema.epoch_ms(times) < high)]

    def _write(self, key: tuple[str, str, str], rows: pd.DataFrame, source: str, complete_before: int, replace: bool) -> list[str]:
        _check_order(rows, self.path(*key, "x").parent)
        plan = []
        for name, part in rows.groupby(month_names(rows.index)):
            old = self._sound(key, name) if replace else self.month(*key, name)
            complete = month_bounds(name)[1] <= complete_before
            if old is None or replace or not _same(old, part, complete, self.path(*key, name)):
                plan.append((name, part, complete, old))
        for name, part, complete, old in plan:
            events = merge.replace(old.rows, part, source) if replace and old is not None else []
            passport.store(self.path(*key, name), part, bar_length(key[2]), source, complete, old, events)
        return [name for name, *_ in plan]

    def _sound(self, key: tuple[str, str, str], name: str) -> Month | None:
        """The month that is to be replaced, None where there is none or it is damaged: then there is nothing to keep."""
        try:
            return self.month(*key, name)
        except DataError:
            return None

    def discard(self, venue: str, symbol: str, kind: str, keep) -> list[str]:
        """Take away the months not named in `keep` (after a replacing import), but for a copy of their files; returns their names."""
        gone = [name for name in self.stored(venue, symbol, kind) if name not in set(keep)]
        for name in gone:
            path = self.path(venue, symbol, kind, name)
            passport.keep(path, sha256(path))
            path.unlink()
            path.with_suffix(".json").unlink()
        return gone


def research_lake(settings: config.Params) -> Lake:
    """The workspace's raw lake as research reads it: up to the hold-out. settings: at least the section holdout."""
    return Lake(config.path("data/raw"), settings.holdout.start)


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
