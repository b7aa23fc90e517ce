"""The user's own parquet or CSV into the raw lake, as it is: only what would make its rows unreadable is refused.

Refused, with the first bad row: an unreadable file, missing columns, text where a number belongs, times in another zone, off the grid, or
of another timeframe. Kept and counted for the clean stage to judge: NaN and impossible prices, duplicates, disorder, gaps.
"""

import re
import zlib
from pathlib import Path
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_parquet
from quantalpha.market.kinds import FUNDING, bar_length, gaps, month_bounds
from quantalpha.market.store import Lake

TIMES = ("timestamp", "time", "open_time", "opentime", "datetime", "date", "funding_time", "fundingtime", "calc_time", "ts", "unix")
NAMES = {
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "vol", "v", "base_volume"),
    "quote_volume": ("quote_volume", "quote_asset_volume"),
    "trades": ("trades", "n_trades", "number_of_trades", "num_trades", "count"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base", "taker_buy_base_asset_volume", "taker_buy_base_volume"),
    "mark": ("mark", "mark_price"),
    "funding_rate": ("funding_rate", "fundingrate", "last_funding_rate", "rate"),
    "open_interest": ("open_interest", "sum_open_interest"),
    "index_price": ("index_price",),
} | {name: (name,) for name in schema.ORDER_FLOW}
EPOCHS = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", 1e20))  # a unit's numbers stay below the bound until the year 5138
OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
EARLIEST = 2010  # no venue traded before: earlier times were written in another unit


def import_file(
    path: Path,
    symbol: str,
    bar: str,
    lake: Lake,
    *,
    venue: str = "import",
    funding: bool = False,
    replace: bool = False,
    timezone: str | None = None,
) -> dict:
    """Store one symbol's bars of timeframe `bar` (or its funding rates); returns what was found, as plain JSON values.

    timezone: that of the file's times where they are not UTC, such as 'Europe/Berlin'. replace: overwrite what the lake holds of this kind.
    """
    rows, found = check_file(path, symbol, bar, funding=funding, timezone=timezone)
    kind, name = FUNDING if funding else bar, Path(path).name
    complete = _complete_before(rows.index, kind)
    names = lake.write(venue, symbol, kind, rows, source=f"import {name}", complete_before=complete, replace=replace)
    if replace:
        lake.discard(venue, symbol, kind, keep=_months(rows.index))
    return {"file": name, "stored": f"{venue}/{symbol}/{kind}", "months_written": len(names), **found}


def check_file(path: Path, symbol: str, bar: str, *, funding: bool = False, timezone: str | None = None) -> tuple[pd.DataFrame, dict]:
    """All that comes before the storing: (the rows in order of time, what was found in the file as plain JSON values)."""
    if not re.fullmatch(r"[A-Z0-9]{2,30}", symbol):
        raise UsageError(f"--symbol: expected capitals and digits such as BTCUSDT, found {symbol!r}")
    step = bar_length(FUNDING if funding else bar)
    _check_zone(timezone)
    table, others = _choose_symbol(_read(Path(path)), symbol, path)
    rows, ignored, note = _rows(table, funding, path, timezone)
    if not funding:
        _check_timeframe(rows.index, bar, path)
    disorder = int((np.diff(schema.epoch_ms(rows.index)) < 0).sum())
    rows = rows.sort_index(kind="stable")
    return rows, {
        "rows": len(rows),
        "first": rows.index[0].isoformat(),
        "last": rows.index[-1].isoformat(),
        "months": len(_months(rows.index)),
        "missing": sum(gap["bars"] for gap in gaps(rows.index.unique(), step)),
        "duplicates": int(rows.index.duplicated().sum()),
        "out_of_order": disorder,
        "impossible": int((rows.isna().any(axis=1) if funding else schema.impossible(rows)).sum()),
        "times": note,
        "ignored_columns": ignored,
        "ignored_symbols": others,
    }


def _check_zone(zone: str | None) -> None:
    from difflib import get_close_matches

    if zone is None or zone in available_timezones():
        return
    plain = {name.lower(): name for name in sorted(available_timezones())}
    near = plain[get_close_matches(zone.lower(), plain, n=1, cutoff=0.0)[0]]
    raise UsageError(f"--timezone: expected the name of a time zone such as 'Europe/Berlin', found {zone!r}; did you mean {near!r}?")


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name a parquet or CSV file of bars")
    endings = path.name.lower()
    try:
        if endings.endswith(".parquet"):
            table = read_parquet(path)
        elif endings.endswith((".csv", ".csv.gz")):
            table = pd.read_csv(path)
        else:
            raise UsageError(f"{path}: expected a name that ends in .parquet, .csv or .csv.gz")
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable, truncated or damaged ({_line(error)}); get the file again") from None
    if table.empty:
        raise DataError(f"{path}: holds no rows")
    return _index_as_columns(table)


def _index_as_columns(table: pd.DataFrame) -> pd.DataFrame:
    """An index that has a name or holds times becomes a column, unless there is one of that name; the numbers of a filter's rows go."""
    index = table.index
    names = ["timestamp"] if isinstance(index, pd.DatetimeIndex) and index.name is None else index.names
    flat = table.reset_index(drop=True)
    for level, name in enumerate(names):
        if name is not None and name not in table:
            flat[name] = index.get_level_values(level)
    return flat


def _choose_symbol(table: pd.DataFrame, symbol: str, path) -> tuple[pd.DataFrame, list[str]]:
    """The rows of `symbol` where the file names symbols in a column, and the other symbols."""
    columns = [name for name in table if _plain(name) == "symbol"]
    if not columns:
        return table, []
    named = table[columns[0]].astype(str).str.upper()
    known = sorted(named.unique())
    if symbol not in known:
        raise DataError(f"{path}: holds no rows of {symbol}; {did_you_mean(symbol, known)}")
    return table[named == symbol].drop(columns=columns), [other for other in known if other != symbol]


def _rows(table: pd.DataFrame, funding: bool, path, zone: str | None) -> tuple[pd.DataFrame, list[str], str]:
    """(float64 columns by the field's names on a UTC index, the columns left out, how the times were read)."""
    plain = {}
    for name in table:
        plain.setdefault(_plain(name), name)
    required = ("funding_rate",) if funding else schema.REQUIRED
    wanted = required if funding else (*required, *schema.OPTIONAL)
    source = {name: next(plain[alias] for alias in NAMES[name] if alias in plain) for name in wanted if plain.keys() & set(NAMES[name])}
    time = next((plain[alias] for alias in TIMES if alias in plain), None)
    absent = [name for name in required if name not in source] + (["timestamp"] if time is None else [])
    if absent:
        raise DataError(f"{path}: missing column(s) {', '.join(absent)}; found {', '.join(map(str, table))}; rename them")
    index, note = _times(table[time], path, zone)
    rows = pd.DataFrame({name: _numbers(table[column], path) for name, column in source.items()})
    rows.index = index
    return rows, [str(name) for name in table if name not in {time, *source.values()}], note


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _plain(name) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(name).strip().lower()).strip("_")


def _numbers(column: pd.Series, path) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce")
    text = values.isna() & column.notna() & ~column.astype(str).str.strip().str.lower().isin(["nan", ""])
    if text.any():
        row = int(np.flatnonzero(text)[0])
        raise DataError(f"{path}: column {column.name!r}, row {row + 1}: expected a number, found {str(column.iloc[row])!r}")
    return values.to_numpy(np.float64)


def _times(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    """The column as a UTC millisecond index, and how it was read."""
    if column.isna().any():
        raise DataError(f"{path}: column {column.name!r}, row {int(np.flatnonzero(column.isna())[0]) + 1}: expected a time, found none")
    if pd.api.types.is_numeric_dtype(column):
        times, note = _epoch(column, path, zone)
    else:
        times, note = _zoned(column, path, zone)
    if (times != times.floor("ms")).any():
        raise DataError(f"{path}: times finer than a millisecond, first {times[times != times.floor('ms')][0]}")
    if times.min().year < EARLIEST:
        found = f"row {int(times.argmin()) + 1} holds {column.iloc[times.argmin()]!s}"
        says = f"times begin in {times.min().year}: wrong unit? {found}"
        raise DataError(f"{path}: column {column.name!r}: {says}; expected dates, or whole s, ms, us or ns since 1970 UTC")
    return pd.DatetimeIndex(times.as_unit("ms"), name="timestamp"), note


def _epoch(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    if zone is not None:
        raise UsageError(f"--timezone: column {column.name!r} counts from 1970 UTC, so that no time zone applies; leave the option out")
    largest = float(column.abs().max())
    unit = next((unit for unit, bound in EPOCHS if largest < bound), None)
    if unit is None or (column % 1 != 0).any():
        raise DataError(f"{path}: column {column.name!r}: expected whole s, ms, us or ns since 1970 UTC, found {column.iloc[0]!r}")
    return pd.DatetimeIndex(pd.to_datetime(column.astype("int64"), unit=unit, utc=True)), f"epoch {unit}, UTC"


def _zoned(column: pd.Series, path, zone: str | None) -> tuple[pd.DatetimeIndex, str]:
    """Dates, with or without a zone. A zone other than UTC must be owned to by `zone`: its name, or UTC."""
    aware, utc = _zone_kind(column, path)
    try:
        times = _dates(column, utc=aware)
    except ValueError as error:
        raise DataError(f"{path}: column {column.name!r}: cannot be read as times ({_line(error)})") from None
    if not aware:
        local = times.tz_localize("UTC") if zone is None else _localized(times, zone, path)
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


def _localized(times: pd.DatetimeIndex, zone: str, path) -> pd.DatetimeIndex:
    """Local times with their zone. The hour that a change of the clocks repeats is told apart by the order of the rows, up or down."""
    local = times.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if not local.hasnans:
        return local
    row = int(local.isna().argmax())
    where = f"row {row + 1} at {times[row]} does not exist, or exists twice, on the clocks of {zone}"
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
        row = int(np.flatnonzero(offsets.isna() != offsets.isna().iloc[0])[0])
        raise DataError(f"{path}: some times carry a zone and some do not, first change at row {row + 1}: {column.iloc[row]!r}")
    aware = bool(offsets.notna().all())
    return aware, aware and bool(offsets.str.replace(":", "").isin(["Z", "+0000", "-0000"]).all())


def _check_timeframe(index: pd.DatetimeIndex, bar: str, path) -> None:
    step, times = timeframe.milliseconds(bar), schema.epoch_ms(index)
    spacing = np.diff(np.unique(times))
    if spacing.size:
        usual = int(pd.Series(spacing).mode()[0])
        if usual != step:
            found = f"bars are {usual / 60_000:g} minutes apart, expected {step / 60_000:g}"
            raise DataError(f"{path}: {found} for --timeframe {bar}; first {index[0]}; name the file's own timeframe")
    off = np.flatnonzero(times % step != 0)
    if off.size:
        where = f"row {off[0] + 1} at {index[off[0]]}"
        raise DataError(f"{path}: {off.size} bars do not open on a whole {bar} UTC, first {where}; give OPEN times in UTC, or --timezone")


def _months(index: pd.DatetimeIndex) -> list[str]:
    return sorted(set(index.strftime("%Y-%m")))


def _complete_before(index: pd.DatetimeIndex, kind: str) -> int:
    """Months ending at or before this are closed: all but the last, and that too when its last bar is there."""
    begin, end = month_bounds(_months(index)[-1])
    step = bar_length(kind)
    last = int(schema.epoch_ms(index[-1:])[0])
    return end if step is not None and last + step >= end else begin
