"""How sellers of bars lay their files out: which of their columns is which, and what must be mended before the values mean what they say.

Sources: docs.kaiko.com (CSV, trade count, OHLCV and VWAP; OHLCV), docs.coinapi.io and coinapi.io/datasets (OHLCV; API and flat files),
cryptodatadownload.com (the files themselves).
"""

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.market.times import epoch_unit

BANNER = "cryptodatadownload"
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d-[AP]M")  # their hours of old: 2019-10-17 09-AM
SECONDS_BELOW = 1e11


@dataclass(frozen=True)
class Layout:
    """columns: {ours: theirs}, in letters and digits alone. unnamed: the columns of files without a header, by their number.

    mend: what turns their table into one whose columns mean what they are called; (table, symbol, path) -> table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    unnamed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    mend: Callable[[pd.DataFrame, str, Path], pd.DataFrame] | None = None


@dataclass(frozen=True)
class Format:
    """How a CSV is to be read: lines above the header, the separator, and the names of its columns where it has no header."""

    skip: int
    separator: str
    names: tuple[str, ...] | None
    layout: Layout


def plain(name) -> str:
    """'Volume BTC' -> 'volume_btc'."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).strip().lower()).strip("_")


def named(layout: str | None) -> Layout:
    """The layout of that name; None: columns are found by their usual names. UsageError: there is none."""
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout: no layout {layout!r}; {did_you_mean(layout, LAYOUTS)}")
    return Layout() if layout is None else LAYOUTS[layout]


def recognise(path: Path, layout: str | None) -> Format:
    """How to read a CSV, by its first lines. Files of CryptoDataDownload are known by the address in the first."""
    chosen, lines = named(layout), _first_lines(path)
    banner = bool(lines) and BANNER in lines[0].lower()
    if banner and layout is None:
        chosen = LAYOUTS[BANNER]
    header = lines[int(banner)] if len(lines) > banner else ""
    separator = ";" if ";" in header and "," not in header else ","
    cells = header.split(separator)
    headless = bool(chosen.unnamed) and re.fullmatch(r"\s*\d+\s*", cells[0]) is not None
    if headless and len(cells) not in chosen.unnamed:
        widths = " or ".join(map(str, chosen.unnamed))
        raise DataError(f"{path}: expected {widths} columns of {layout}, found {len(cells)} and no header; name them in a first line")
    return Format(int(banner), separator, chosen.unnamed[len(cells)] if headless else None, chosen)


def _first_lines(path: Path) -> list[str]:
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        head = file.read(1 << 16).decode("utf-8-sig", "replace")
    return list(islice(head.splitlines(), 2))


def renamed(table: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    """`table` with each column theirs of {ours: theirs} called ours, in place of another of that name. DataError: it is not there."""
    known = {plain(name): name for name in table}
    absent = [theirs for theirs in columns.values() if plain(theirs) not in known]
    if absent:
        raise DataError(f"{path}: no column {absent[0]!r}; {did_you_mean(absent[0], list(table))}")
    names = {known[plain(theirs)]: ours for ours, theirs in columns.items()}
    others = [name for name in table if plain(name) in columns and name not in names]
    return table.drop(columns=others).rename(columns=names)


def _cryptodatadownload(table: pd.DataFrame, symbol: str, path: Path) -> pd.DataFrame:
    """Seconds and milliseconds change within one file, and volumes are named after the coins they are counted in."""
    known = {plain(name): name for name in table}
    if "volume" not in known:
        table = table.rename(columns={known[name]: ours for name, ours in _volumes(known, symbol, path).items()})
    unix, dates = (known.get(name) for name in ("unix", "date"))
    if "timestamp" in known or (unix is None and dates is None):
        return table
    if unix is None:
        return table.assign(timestamp=_read_dates(table[dates])).drop(columns=dates)
    times = _one_unit(table[unix], path)
    if dates is not None:
        _check_dates(times, table[dates], path)
    return table.assign(timestamp=times).drop(columns=[name for name in (unix, dates) if name is not None])


def _volumes(known: Mapping[str, str], symbol: str, path: Path) -> dict[str, str]:
    """{their plain name: ours} of the volumes in coins: that of the symbol's first coin is its volume."""
    coins = {name: name.removeprefix("volume_").upper() for name in known if name.startswith("volume_")}
    first = [name for name, coin in coins.items() if symbol.startswith(coin)]
    if coins and len(first) != 1:
        raise DataError(f"{path}: volumes in {', '.join(coins.values())}: which is that of {symbol}? name it with --columns volume=...")
    return {name: "volume" if name in first else "quote_volume" for name in coins if name in first or symbol.endswith(coins[name])}


def _one_symbol(table: pd.DataFrame, symbol: str, path: Path) -> pd.DataFrame:
    """A flat file holds all symbols of an exchange, by numbers of CoinAPI's own."""
    if "symbol_id_int" in table and table["symbol_id_int"].nunique() > 1:
        raise DataError(f"{path}: holds {table['symbol_id_int'].nunique()} symbols by symbol_id_int; keep the rows of {symbol} alone")
    return table


def _one_unit(column: pd.Series, path: Path) -> pd.Series:
    """Milliseconds, each row's unit told by its size."""
    values = pd.to_numeric(column, errors="coerce")
    if values.isna().any() or (values % 1 != 0).any() or epoch_unit(float(values.abs().max())) not in ("s", "ms"):
        wrong = column[values.isna() | (values % 1 != 0) | (values.abs() >= 1e14)]
        raise DataError(f"{path}: column {column.name!r}, row {wrong.index[0] + 1}: expected s or ms since 1970, found {wrong.iloc[0]!r}")
    return pd.Series(np.where(values < SECONDS_BELOW, values * 1000, values).astype("int64"), column.index)


def _check_dates(times: pd.Series, dates: pd.Series, path: Path) -> None:
    """Both columns name the same moment, or which one lies cannot be known."""
    said = pd.Series(pd.DatetimeIndex(pd.to_datetime(_read_dates(dates), errors="coerce", utc=True, format="ISO8601")), dates.index)
    apart = said.notna() & (schema.epoch_ms(pd.DatetimeIndex(said.fillna(pd.Timestamp(0, tz="UTC")))) != times)
    if apart.any():
        row = int(apart.to_numpy().argmax())
        raise DataError(
            f"{path}: row {dates.index[row] + 1}: its date is {dates.iloc[row]}, its unix time {schema.iso(times.iloc[row])}; "
            "name the column to trust with --columns timestamp=..."
        )


def _read_dates(dates: pd.Series) -> pd.Series:
    """Their hours by half days ('2019-10-17 09-AM') as others write them."""
    text = dates.astype(str).str.strip()
    if not text.map(lambda each: CLOCK.fullmatch(each) is not None).all():
        return text
    return pd.to_datetime(text, format="%Y-%m-%d %I-%p").dt.strftime("%Y-%m-%d %H:%M:%S")


COINAPI = {
    "timestamp": "time_period_start",
    "open": "price_open",
    "high": "price_high",
    "low": "price_low",
    "close": "price_close",
    "volume": "volume_traded",
    "trades": "trades_count",
}
COINAPI_FLAT = {
    "timestamp": "time_period_start",
    "open": "px_open",
    "high": "px_high",
    "low": "px_low",
    "close": "px_close",
    "volume": "sx_sum",
    "trades": "sx_cnt",
}
BARS = ("timestamp", "open", "high", "low", "close", "volume")
LAYOUTS = {
    BANNER: Layout(mend=_cryptodatadownload),
    "coinapi": Layout(COINAPI),
    "coinapi-flat": Layout(COINAPI_FLAT, mend=_one_symbol),
    "kaiko": Layout(unnamed={6: BARS, 8: ("timestamp", "count", *BARS[1:], "price")}),
}
