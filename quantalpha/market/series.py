"""Daily series from outside the market, into `data/raw/onchain` as `join_onchain` takes them.

Coin Metrics (github.com/coinmetrics/data, csv/btc.csv): a row a day by `time`, a column a metric. `AssetEODCompletionTime` says when a day
was complete. The fear and greed index (alternative.me/crypto/fear-and-greed-index, api.alternative.me/fng): published as a day begins, it
tells of the day before, under which it is kept here.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import audit, schema, timeframe
from quantalpha.errors import DataError, UsageError
from quantalpha.files import check_last_line, locked, read_parquet, sha256, write_atomic
from quantalpha.market.onchain import KNOWN_AT
from quantalpha.market.passport import keep
from quantalpha.market.times import one_line, read_times
from quantalpha.market.valuation import valuation

DAY = timeframe.UNITS["d"]
COMPLETED, CLOCKS = "AssetEODCompletionTime", ("AssetEODCompletionTime", "AssetCompletionTime")
BACKFILLED = 10 * DAY  # completed this long after its end, a day was computed anew: that says nothing of when it was first known
FEAR_GREED = "fear_greed"
DATED = re.compile(r"^\s*([0-9./-]{8,10})\s*,\s*(\d{1,3})\s*,", re.MULTILINE)
ISO, NUMBERED = re.compile(r"\d{4}[-/.]\d\d[-/.]\d\d"), re.compile(r"\d\d-\d\d-\d{4}")


def import_series(file: Path, name: str, folder: Path, *, replace: bool = False) -> dict:
    """Keep a file's series as `folder`/NAME.parquet; returns what was found, as plain JSON values.

    Values that its provider has corrected since are counted and the file before is kept; NAME.jsonl tells the history. DataError where days
    or series are gone that are stored, unless `replace`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        raise UsageError(f"--name: expected letters, digits, - and _ such as BTC, found {name!r}")
    table, ignored = read_series(file)
    path, history = folder / f"{name}.parquet", folder / "history" / f"{name}.jsonl"
    with locked(folder):
        changes = _changes(_stored(path), table, path, replace)
        data = table.rename_axis("timestamp").reset_index().to_parquet(compression="zstd")
        if changes["corrected"] or changes["gone"]:
            keep(path, sha256(path))
        write_atomic(path, data)
    values = [column for column in table if column != KNOWN_AT]
    found = {"file": file.name, "stored": path.name, "days": len(table), "first": f"{table.index[0]:%Y-%m-%d}"}
    found |= {"last": f"{table.index[-1]:%Y-%m-%d}", "series": values, "ignored_columns": ignored, **changes}
    audit.append(history, lambda _: audit.stamp("") | found | {"file_sha256": sha256(file), "sha256": sha256(path)})
    return found


def read_series(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """(float64 columns by UTC day, with `known_at` where the provider tells; columns left out for want of numbers)."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file; name a CSV or parquet of Coin Metrics, or the answer of api.alternative.me/fng")
    try:
        if file.suffix == ".csv":
            check_last_line(file)
        text = "" if file.name.endswith(".parquet") else file.read_text("utf-8-sig")
        if text.lstrip().startswith("{") or "fng_value" in text[:200]:
            return _fear_greed(text, file), []
        table = read_parquet(file) if not text else pd.read_csv(file, float_precision="round_trip")
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable, truncated or damaged ({one_line(error)}); get the file again") from None
    return _metrics(table.reset_index() if isinstance(table.index, pd.DatetimeIndex) else table, file)


def _metrics(table: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, list[str]]:
    time = next((name for name in ("time", "timestamp", "date") if name in table), None)
    if time is None or table.empty:
        raise DataError(f"{file}: expected days in a column time, timestamp or date, found {', '.join(map(str, table)) or 'nothing'}")
    days = schema.epoch_ms(_days(table[time], file))
    numbers = table.drop(columns=[time, *(name for name in CLOCKS if name in table)]).select_dtypes("number").astype(float)
    told = numbers.dropna(axis=1, how="all").set_axis(schema.from_epoch_ms(days), axis=0)
    if told.empty:
        raise DataError(f"{file}: no column holds numbers")
    if COMPLETED in table:
        told = told.assign(**{KNOWN_AT: _known(table[COMPLETED].to_numpy(float) * 1000, days)})
    order = np.argsort(days, kind="stable")
    told = told.iloc[order]
    _check_days(told.index, file)
    if KNOWN_AT in told:  # what is computed from earlier days is known no sooner than they
        told[KNOWN_AT] = told[KNOWN_AT].cummax()
    ignored = [str(name) for name in table if name not in {time, *CLOCKS, *told}]
    return told.assign(**valuation(told)), ignored


def _days(column: pd.Series, file: Path) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        return read_times(column, file, None)[0]
    try:  # a chain is older than any venue, and its first days are days too
        return pd.DatetimeIndex(pd.to_datetime(column, format=None if column.dtype.kind == "M" else "ISO8601", utc=True))
    except ValueError as error:
        raise DataError(f"{file}: column {column.name!r}: cannot be read as days ({one_line(error)})") from None


def _known(completed: np.ndarray, days: np.ndarray) -> pd.DatetimeIndex:
    """When each day was complete; its end, where that is not told or was told of a later computation."""
    end = days + DAY
    sound = (completed >= end) & (completed <= end + BACKFILLED)
    return schema.from_epoch_ms(np.where(sound, completed, end).astype("int64"))


def _fear_greed(text: str, file: Path) -> pd.DataFrame:
    """The index of each day, by the day it tells of, known from the moment on under which it was published."""
    try:
        rows = [(str(row["timestamp"]), row["value"]) for row in json.loads(text)["data"]]
    except (ValueError, KeyError, TypeError):  # its CSV comes within a shell of JSON
        rows = DATED.findall(text)
    if not rows:
        raise DataError(f"{file}: expected the answer of api.alternative.me/fng: data with timestamp and value; found {text[:80]!r}")
    published = _published([row[0] for row in rows], file)
    values = pd.to_numeric(pd.Series([row[1] for row in rows]), errors="coerce").to_numpy(float)
    if not ((values >= 0) & (values <= 100)).all():
        raise DataError(f"{file}: expected values of 0 to 100, found {rows[int((~((values >= 0) & (values <= 100))).argmax())][1]!r}")
    days = published // DAY * DAY - DAY
    table = pd.DataFrame({FEAR_GREED: values, KNOWN_AT: schema.from_epoch_ms(published)}, index=schema.from_epoch_ms(days))
    table = table.sort_index(kind="stable")
    _check_days(table.index, file)
    return table


def _published(texts: list[str], file: Path) -> np.ndarray:
    """int64[n] ms of seconds since 1970, or of dates; days and months that could be either way round are refused."""
    if all(text.isdigit() and len(text) == 10 for text in texts):
        return np.array(texts, "int64") * 1000
    if all(ISO.fullmatch(text) for text in texts):
        formats = ["%Y-%m-%d"]
    elif all(NUMBERED.fullmatch(text) for text in texts):
        formats = ["%d-%m-%Y", "%m-%d-%Y"]
    else:
        raise DataError(f"{file}: expected seconds since 1970 or dates of one form, found {texts[0]!r}")
    plain = pd.Series(texts).str.replace("[/.]", "-", regex=True)
    readings = [pd.to_datetime(plain, format=form, errors="coerce", utc=True) for form in formats]
    sound = [times for times in readings if times.notna().all()]
    if len(sound) != 1:
        raise DataError(f"{file}: {texts[0]!r}: day and month cannot be told apart; get the file without date_format")
    return schema.epoch_ms(pd.DatetimeIndex(sound[0]))


def _check_days(index: pd.DatetimeIndex, file: Path) -> None:
    if (schema.epoch_ms(index) % DAY).any():
        raise DataError(f"{file}: expected days named by their 00:00 UTC, found {index[schema.epoch_ms(index) % DAY != 0][0]}")
    if index.has_duplicates:
        raise DataError(f"{file}: {index[index.duplicated()][0]:%Y-%m-%d} comes twice; which one holds cannot be known")


def _stored(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return read_parquet(path).set_index("timestamp")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not readable ({one_line(error)}); delete it, then import the file again") from None


def _changes(old: pd.DataFrame | None, new: pd.DataFrame, path: Path, replace: bool) -> dict[str, int]:
    """{added, corrected, gone}: days that are new, values that are others now, days or series that are no longer told."""
    if old is None:
        return {"added": len(new), "corrected": 0, "gone": 0}
    lost = [*(name for name in old if name not in new), *(f"{day:%Y-%m-%d}" for day in old.index.difference(new.index))]
    if lost and not replace:
        raise DataError(
            f"{path.name}: the file has no {lost[0]}, which is stored, nor {len(lost) - 1} more; import the whole, or --replace"
        )
    shared, days = [name for name in old if name in new and name != KNOWN_AT], old.index.intersection(new.index)
    a, b = old.loc[days, shared].to_numpy(float), new.loc[days, shared].to_numpy(float)
    return {"added": len(new.index.difference(old.index)), "corrected": int(((a != b) & ~np.isnan(a)).sum()), "gone": len(lost)}
