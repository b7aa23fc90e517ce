"""The lake into a sink, month by month: a month whose digest is the same on both sides is not sent.

Nothing is remembered between two exports: the sink itself is asked, so a kill anywhere, a changed candle or a row that somebody altered
in the sink are one case. A month of the sink that the lake has not is left alone by `export` and told by `check`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.market.kinds import month_bounds
from quantalpha.market.sinks.base import Change, Digest, Series, Sink, canonical, digest, epoch, require_names
from quantalpha.market.store import Lake

EARLIEST, LATEST = (epoch(day) for day in ("1970-01-01", "2200-01-01"))


class Part(NamedTuple):
    """The rows of one month that were asked for, all of [low, high) in milliseconds."""

    month: str
    low: int
    high: int
    rows: pd.DataFrame


@dataclass(frozen=True)
class Sent:
    """What one series came to. rows: of the lake; repeated: of these, left out because a later one has their time; present: in the sink."""

    venue: str
    symbol: str
    kind: str
    months: int
    rows: int
    repeated: int
    written: int
    removed: int
    present: int
    seconds: float
    rows_per_second: float


@dataclass(frozen=True)
class Check:
    """One month on both sides; extra rows lie in months that the lake has not."""

    venue: str
    symbol: str
    kind: str
    month: str
    lake: int
    sink: int
    agrees: bool


def stored_series(lake: Lake, symbols=(), kinds=()) -> list[Series]:
    """What the lake holds of these symbols and kinds (all where none is named). Raises UsageError for a name that it does not hold."""
    paths = {path.parent.relative_to(lake.root).parts for path in Path(lake.root).glob("*/*/*/????-??.parquet")}
    held = sorted(Series(*parts) for parts in paths)
    for option, wanted, known in (("symbol", symbols, {s.symbol for s in held}), ("kind", kinds, {s.kind for s in held})):
        for name in wanted:
            if name not in known:
                raise UsageError(f"--{option} {name}: the lake has none; {did_you_mean(name, known)}")
    return [s for s in held if (not symbols or s.symbol in symbols) and (not kinds or s.kind in kinds)]


def parts(lake: Lake, series: Series, start: int | None = None, end: int | None = None) -> Iterator[Part]:
    """The lake's months in [start, end) ms, one in memory at a time; an open end is the hold-out."""
    if end is None and lake.holdout is not None:
        end = epoch(lake.holdout)
    for month in lake.stored(*series):
        first, last = month_bounds(month)
        low, high = max(first, EARLIEST if start is None else start), min(last, LATEST if end is None else end)
        rows = None if high <= low else lake.find(*series, *(pd.Timestamp(ms, unit="ms", tz="UTC") for ms in (low, high)))
        if rows is not None:
            yield Part(month, low, high, rows)


def export(lake: Lake, sink: Sink, series: Series, span=(None, None), *, tell: Callable[[str], None] = lambda month: None) -> Sent:
    """Make the sink hold the lake's rows of one series in `span` (ms); only months that differ are sent. tell: hears each month done."""
    began, months, rows, present, written, removed = time.perf_counter(), 0, 0, 0, 0, 0
    for part in parts(lake, series, *span):
        wanted, change = _brought(sink, series, part)
        months, rows, present = months + 1, rows + len(part.rows), present + len(wanted)
        written, removed = written + change.written, removed + change.removed
        tell(part.month)
    seconds = time.perf_counter() - began
    return Sent(*series, months, rows, rows - present, written, removed, present, round(seconds, 3), round(rows / max(seconds, 1e-9)))


def _brought(sink: Sink, series: Series, part: Part) -> tuple[pd.DataFrame, Change]:
    known = sink.columns(series.shape)
    columns = sorted({*known, *part.rows.columns})
    wanted = canonical(part.rows, columns)
    if sink.digest(series, columns, part.low, part.high) == digest(wanted):
        return wanted, Change(0, 0)
    require_names(part.rows, series)
    if columns != known:
        sink.prepare(series.shape, columns)
    return wanted, sink.replace(series, wanted, part.low, part.high)


def check(lake: Lake, sink: Sink, series: Series, span=(None, None)) -> list[Check]:
    """Both sides month by month, by number of rows and digest; changes nothing. Months that only the sink has come last."""
    found, edges = [], [EARLIEST if span[0] is None else span[0]]
    known = sink.columns(series.shape)
    for part in parts(lake, series, *span):
        columns = sorted({*known, *part.rows.columns})
        ours, theirs = digest(canonical(part.rows, columns)), sink.digest(series, columns, part.low, part.high)
        found.append(Check(*series, part.month, ours.rows, theirs.rows, ours == theirs))
        edges += [part.low, part.high]
    edges.append(LATEST if span[1] is None else span[1])
    between = [sink.digest(series, known, low, high) for low, high in zip(edges[::2], edges[1::2]) if low < high]
    return found + _extra(series, between)


def _extra(series: Series, between: list[Digest]) -> list[Check]:
    rows = sum(each.rows for each in between)
    return [Check(*series, "others", 0, rows, False)] if rows else []
