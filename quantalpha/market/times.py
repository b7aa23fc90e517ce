"""Times as people write them, into UTC milliseconds: counts since 1970 in any unit, dates with or without a zone. Nothing is guessed."""

import re
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError

EPOCHS = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", 1e20))  # a unit's numbers stay below the bound until the year 5138
PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
EARLIEST = 2010  # no venue traded before: earlier times were written in another unit


def check_zone(zone: str | None) -> None:
    from difflib import get_close_matches

    if zone is None or zone in available_timezones():
        return
    plain = {name.lower(): name for name in sorted(available_timezones())}
    near = plain[get_close_matches(zone.lower(), plain, n=1, cutoff=0.0)[0]]
    raise UsageError(f"--timezone: expected the name of a time zone such as 'Europe/Berlin', found {zone!r}; did you mean {near!r}?")


def epoch_unit(largest: float) -> str | None:
    """The unit of counts since 1970 of which this is the largest; None beyond nanoseconds."""
    return next((unit for unit, bound in EPOCHS if largest < bound), None)


def to_milliseconds(values: np.ndarray, unit: str, where: str) -> np.ndarray:
    """int64[n] of int64[n]; DataError where a time is finer than a millisecond."""
    if unit == "s":
        return values * 1000
    if (values % PER_MS[unit]).any():
        raise DataError(f"{where}: times finer than a millisecond, first {values[values % PER_MS[unit] != 0][0]} {unit} since 1970")
    return values // PER_MS[unit]


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def row_of(column: pd.Series, wrong) -> int:
    """The row of the file, from 1, in which `wrong` (bool[n]) is first true. A column's index counts the rows of its file."""
    return int(column.index[np.flatnonzero(wrong)[0]]) + 1


def read_times(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    """The column as a UTC millisecond index, and how it was read."""
    if column.isna().any():
        raise DataError(f"{path}: column {column.name!r}, row {row_of(column, column.isna())}: expected a time, found none")
    if pd.api.types.is_numeric_dtype(column):
        times, note = _epoch(column, path, zone)
    else:
        times, note = _zoned(column, path, zone)
    if (times != times.floor("ms")).any():
        raise DataError(f"{path}: times finer than a millisecond, first {times[times != times.floor('ms')][0]}")
    if times.min().year < EARLIEST:
        found = f"row {int(column.index[times.argmin()]) + 1} holds {column.iloc[times.argmin()]!s}"
        says = f"times begin in {times.min().year}: wrong unit? {found}"
        raise DataError(f"{path}: column {column.name!r}: {says}; expected dates, or whole s, ms, us or ns since 1970 UTC")
    return pd.DatetimeIndex(times.as_unit("ms"), name="timestamp"), note


def _epoch(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    if zone is not None:
        raise UsageError(f"--timezone: column {column.name!r} counts from 1970 UTC, so that no time zone applies; leave the option out")
    unit = epoch_unit(float(column.abs().max()))
    if unit is None or (column % 1 != 0).any():
        raise DataError(f"{path}: column {column.name!r}: expected whole s, ms, us or ns since 1970 UTC, found {column.iloc[0]!r}")
    return pd.DatetimeIndex(pd.to_datetime(column.astype("int64"), unit=unit, utc=True)), f"epoch {unit}, UTC"


def _zoned(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    """Dates, with or without a zone. A zone other than UTC must be owned to by `zone`: its name, or UTC."""
    aware, utc = _zone_kind(column, path)
    try:
        times = _dates(column, utc=aware)
    except ValueError as error:
        raise DataError(f"{path}: column {column.name!r}: cannot be read as times ({one_line(error)})") from None
    if not aware:
        local = times.tz_localize("UTC") if zone is None else _localized(times, column, zone, path)
        return local.tz_convert("UTC"), "no zone given, taken as UTC" if zone is None else f"{zone}, converted to UTC"
    if zone is None and not utc:
        raise DataError(f"{path}: times carry the zone of {column.iloc[0]}, expected UTC; pass --timezone UTC to convert them")
    if zone not in (None, "UTC") and (times.tz_convert(zone).tz_localize(None) != _wall(column)).any():
        found = f"the file's times already carry a zone, first {column.iloc[0]}, found --timezone {zone}"
        raise DataError(f"{path}: {found}; {'leave the option out' if utc else 'pass --timezone UTC to convert them'}")
    return times, "UTC" if utc else "own zone, converted to UTC"


def _dates(column: pd.Series, utc: bool) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(column, format=None if column.dtype.kind == "M" else "ISO8601", utc=utc))


def _wall(column: pd.Series) -> pd.DatetimeIndex:
    """What a clock on the wall showed at times that carry a zone."""
    if column.dtype.kind == "M":
        return pd.DatetimeIndex(column.dt.tz_localize(None))
    return _dates(column.astype(str).str.strip().str.replace(OFFSET, "", regex=True).str.strip(), utc=False)


def _localized(times: pd.DatetimeIndex, column: pd.Series, zone: str, path) -> pd.DatetimeIndex:
    """Local times with their zone. The hour that a change of the clocks repeats is told apart by the order of the rows, up or down."""
    local = times.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if not local.hasnans:
        return local
    where = f"row {row_of(column, local.isna())} at {times[local.isna()][0]} does not exist, or exists twice, on the clocks of {zone}"
    refused = DataError(f"{path}: {where} and the order of the rows does not tell which is meant; export the file in UTC")
    order = 1 if times[0] <= times[-1] else -1
    try:
        local = times[::order].tz_localize(zone, ambiguous="infer")
    except ValueError:
        raise refused from None
    if not local.is_monotonic_increasing:
        raise refused
    return local[::order]


def _zone_kind(column: pd.Series, path) -> tuple[bool, bool]:
    """(whether the times carry a zone, whether that zone is UTC)."""
    if column.dtype.kind == "M":
        tz = getattr(column.dt, "tz", None)
        return tz is not None, tz is not None and str(tz) in ("UTC", "UTC+00:00", "+00:00", "tzutc()")
    offsets = column.astype(str).str.strip().str.extract(OFFSET, expand=False)
    if offsets.notna().any() and offsets.isna().any():
        changed = offsets.isna() != offsets.isna().iloc[0]
        where = f"row {row_of(column, changed)}: {column[changed].iloc[0]!r}"
        raise DataError(f"{path}: some times carry a zone and some do not, first change at {where}")
    aware = bool(offsets.notna().all())
    return aware, aware and bool(offsets.str.replace(":", "").isin(["Z", "+0000", "-0000"]).all())
