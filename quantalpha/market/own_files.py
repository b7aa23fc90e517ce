"""The user's own parquet and CSV files as tables of one symbol's rows, piece by piece, so that the largest fits into memory.

Refused, with the first bad row: an unreadable file, missing columns, text where a number belongs, times in another zone, off the grid, or
of another timeframe.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import check_last_line, read_parquet
from quantalpha.market import kinds
from quantalpha.market.layouts import plain, recognise, renamed
from quantalpha.market.times import one_line, read_times, row_of

CHUNK = 200_000  # rows of a CSV in memory at a time, besides those of the month they begin in
ENDINGS = (".parquet", ".csv", ".csv.gz")
TIMES = ("timestamp", "time", "open_time", "opentime", "datetime", "date", "funding_time", "fundingtime", "calc_time", "ts", "unix")
NAMES = {
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "vol", "v", "base_volume"),
    "quote_volume": ("quote_volume", "quote_asset_volume"),
    "trades": ("trades", "n_trades", "number_of_trades", "num_trades", "count", "tradecount"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base", "taker_buy_base_asset_volume", "taker_buy_base_volume"),
    "mark": ("mark", "mark_price"),
    "funding_rate": ("funding_rate", "fundingrate", "last_funding_rate", "rate"),
    "open_interest": ("open_interest", "sum_open_interest"),
    "index_price": ("index_price",),
} | {name: (name,) for name in schema.ORDER_FLOW}


def column_names(text: str | None) -> dict[str, str]:
    """'open=price_open,timestamp=t' -> {'open': 'price_open', 'timestamp': 't'}; UsageError for names that are none of ours, or twice."""
    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    for ours, equals, theirs in pairs:
        if not equals or not theirs:
            raise UsageError(f"--columns: expected NAME=COLUMN,..., found {ours + equals!r}")
        if ours not in NAMES and ours != "timestamp":
            raise UsageError(f"--columns: no name {ours!r}; {did_you_mean(ours, ['timestamp', *NAMES])}")
    found = {ours: theirs for ours, _, theirs in pairs}
    if len(found) != len(pairs) or len(set(found.values())) != len(pairs):
        raise UsageError(f"--columns: a name or a column comes twice in {text!r}; give each once")
    return found


@dataclass(frozen=True)
class Piece:
    """Some rows in the order of the file: float64 columns by the field's names on a UTC index, and what was seen on the way."""

    rows: pd.DataFrame
    times: str
    ignored: list[str]
    others: frozenset[str]


@dataclass(frozen=True)
class OwnFiles:
    """One symbol's bars (or funding rates) in a file, or in all files of a folder.

    timezone: that of times that are not UTC. layout: of `market.layouts`. columns: {ours: theirs} where names are not the usual ones.
    """

    path: Path
    symbol: str
    bar: str
    funding: bool = False
    timezone: str | None = None
    layout: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return kinds.FUNDING if self.funding else self.bar

    def pieces(self) -> Iterator[Piece]:
        """Every row, file by file, in the order of time or against it where files and rows follow one."""
        for path in self.files():
            yield from replace(self, path=path)._pieces()

    def files(self) -> list[Path]:
        """Those of the folder in the order in which their rows follow each other."""
        if not self.path.is_dir():
            return [self.path]
        found = sorted(path for path in self.path.rglob("*") if path.is_file() and path.name.lower().endswith(ENDINGS))
        if not found:
            raise UsageError(f"{self.path}: no file in it ends in {', '.join(ENDINGS)}")
        heads = {path: next(replace(self, path=path)._pieces()).rows.index for path in found}
        down = any(head[0] > head[-1] for head in heads.values())
        return sorted(found, key=lambda path: heads[path][0], reverse=down)

    def _pieces(self) -> Iterator[Piece]:
        path, others, empty = self.path, frozenset(), True
        for table in self._tables():
            mine, more = _choose_symbol(table, self.symbol)
            others |= more
            if len(mine):
                empty = False
                yield self._piece(mine, others)
        if empty:
            raise DataError(f"{path}: holds no rows{f' of {self.symbol}; {did_you_mean(self.symbol, others)}' if others else ''}")

    def _tables(self) -> Iterator[pd.DataFrame]:
        """The file's own tables, their index counting its rows from 0."""
        path, name = self.path, self.path.name.lower()
        if not path.is_file():
            raise UsageError(f"{path}: no such file; name a parquet or CSV file of bars")
        if not name.endswith(ENDINGS):
            raise UsageError(f"{path}: expected a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
        try:
            if name.endswith(".parquet"):
                table = _index_as_columns(read_parquet(path))
                yield renamed(table, self.columns, path) if self.columns else table
            else:
                yield from self._csv_tables()
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: not readable, truncated or damaged ({one_line(error)}); get the file again") from None

    def _csv_tables(self) -> Iterator[pd.DataFrame]:
        form = recognise(self.path, self.layout)
        if self.path.suffix.lower() == ".csv":
            check_last_line(self.path)
        options = {"sep": form.separator, "skiprows": form.skip, "float_precision": "round_trip", "chunksize": CHUNK}
        if form.names is not None:
            options |= {"header": None, "names": form.names}
        columns = {**form.layout.columns, **self.columns} if form.names is None else self.columns
        seen = 0
        with pd.read_csv(self.path, **options) as chunks:
            for table in chunks:
                if not table.index.equals(pd.RangeIndex(seen, seen + len(table))):  # pandas has taken what is over for an index
                    raise DataError(f"{self.path}: rows have more cells than the first line names; name all columns there")
                seen += len(table)
                table = renamed(table, columns, self.path)
                yield table if form.layout.mend is None else form.layout.mend(table, self.symbol, self.path)

    def _piece(self, table: pd.DataFrame, others: frozenset[str]) -> Piece:
        known = {}
        for name in table:
            known.setdefault(plain(name), name)
        required = ("funding_rate",) if self.funding else schema.REQUIRED
        wanted = required if self.funding else (*required, *schema.OPTIONAL)
        source = {name: next(known[alias] for alias in NAMES[name] if alias in known) for name in wanted if known.keys() & set(NAMES[name])}
        time = next((known[alias] for alias in TIMES if alias in known), None)
        absent = [name for name in required if name not in source] + (["timestamp"] if time is None else [])
        if absent:
            found = f"missing column(s) {', '.join(absent)}; found {', '.join(map(str, table))}"
            raise DataError(f"{self.path}: {found}; rename them, or say which they are: --columns NAME=COLUMN")
        index, note = read_times(table[time], self.path, self.timezone)
        if not self.funding:
            _check_timeframe(index, table[time], self.bar, self.path)
        rows = pd.DataFrame({name: _numbers(table[column], self.path) for name, column in source.items()})
        rows.index = index
        return Piece(rows, note, [str(name) for name in table if name not in {time, *source.values()}], others)


def _index_as_columns(table: pd.DataFrame) -> pd.DataFrame:
    """An index that has a name or holds times becomes a column, unless there is one of that name; the numbers of a filter's rows go."""
    index = table.index
    names = ["timestamp"] if isinstance(index, pd.DatetimeIndex) and index.name is None else index.names
    flat = table.reset_index(drop=True)
    for level, name in enumerate(names):
        if name is not None and name not in table:
            flat[name] = index.get_level_values(level)
    return flat


def _choose_symbol(table: pd.DataFrame, symbol: str) -> tuple[pd.DataFrame, frozenset[str]]:
    """The rows of `symbol` where the table names symbols in a column ('BTC/USDT' is BTCUSDT), and the other symbols."""
    columns = [name for name in table if plain(name) == "symbol"]
    if not columns:
        return table, frozenset()
    named = table[columns[0]].astype(str).str.upper().str.replace(r"[/_-]", "", regex=True)
    return table[named == symbol].drop(columns=columns), frozenset(named.unique()) - {symbol}


def _numbers(column: pd.Series, path) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64)
    values = pd.to_numeric(column, errors="coerce")
    text = values.isna() & column.notna() & ~column.astype(str).str.strip().str.lower().isin(["nan", ""])
    if text.any():
        found = f"expected a number, found {str(column[text].iloc[0])!r}"
        raise DataError(f"{path}: column {column.name!r}, row {row_of(column, text)}: {found}")
    return values.to_numpy(np.float64)


def _check_timeframe(index: pd.DatetimeIndex, column: pd.Series, bar: str, path) -> None:
    step, times = timeframe.milliseconds(bar), schema.epoch_ms(index)
    spacing = np.diff(np.unique(times))
    if spacing.size:
        usual = int(pd.Series(spacing).mode()[0])
        if usual != step:
            found = f"bars are {usual / 60_000:g} minutes apart, expected {step / 60_000:g}"
            raise DataError(f"{path}: {found} for --timeframe {bar}; first {index[0]}; name the file's own timeframe")
    off = times % step != 0
    if off.any():
        where = f"row {row_of(column, off)} at {index[off][0]}"
        raise DataError(f"{path}: {off.sum()} bars do not open on a whole {bar} UTC, first {where}; give OPEN times in UTC, or --timezone")
