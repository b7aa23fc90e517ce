"""What the practice exchange plays: bars, mark prices and funding of one or more symbols, synthetic or from a parquet file."""

import re
from copy import copy
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_parquet
from quantalpha.market.synthetic import FUNDING_MS, synthetic_bars
from quantalpha.practice.candles import Candles

QUOTES = ("USDT", "USDC", "BUSD", "FDUSD")
DEFAULT_SYMBOL = "BTCUSDT"
MOST_DIGITS = 8
WEEK = 7 * timeframe.UNITS["d"]


class Instrument:
    """One perpetual contract on the tape: last, mark and index price candles, funding settlements, open interest, tick and lot.

    Built from a table of bars (see `schema`). Without `mark` the price itself is the mark, and the mark the index without `index_price`;
    without `funding_rate` nothing is ever settled; without `quote_volume`, `trades`, `taker_buy_volume` they are volume times mean price,
    240 and half the volume; without `open_interest` it swings by a fifth within each week.
    """

    def __init__(self, symbol: str, bars: pd.DataFrame, step: int):
        self.symbol, self.step = symbol, step
        self.base, self.quote = _assets(symbol)
        self.times = schema.epoch_ms(bars.index).copy()
        self.digits = _digits(bars[["open", "high", "low", "close"]].to_numpy(float), symbol)
        self.lot_digits = _lot_digits(bars["volume"].to_numpy(float))
        rows, seed = _rows(bars), crc32(symbol.encode())
        self.last = Candles(self.times, rows, step, (self.digits, self.lot_digits), seed)
        self.mark = Candles(self.times, _mark_rows(bars, rows, "mark"), step, (MOST_DIGITS, MOST_DIGITS), seed)
        self.index = self.mark
        if "index_price" in bars:
            self.index = Candles(self.times, _mark_rows(bars, rows, "index_price"), step, (MOST_DIGITS, MOST_DIGITS), seed)
        self._interest = bars["open_interest"].to_numpy(float) if "open_interest" in bars else None
        self.funding_times, self.funding_rates, self.funding_marks = self._funding(bars)

    @property
    def end(self) -> int:
        return int(self.times[-1]) + self.step

    def settled(self, time: int) -> int:
        """Number of funding settlements at or before `time`."""
        return int(np.searchsorted(self.funding_times, time, side="right"))

    def with_funding(self, more: float) -> "Instrument":
        """The same contract, whose longs pay so much (a fraction) more at each settlement."""
        dearer = copy(self)
        dearer.funding_rates = np.round(self.funding_rates + more, MOST_DIGITS)  # as they are told
        return dearer

    def open_interest(self, time: int) -> float:
        """Contracts held, base currency, as of the last bar opened at `time`, a moment on the tape."""
        if self._interest is not None:
            return float(self._interest[np.searchsorted(self.times, time, side="right") - 1])
        turn = 2 * np.pi * (time % WEEK) / WEEK
        return round((10_000 + crc32(self.symbol.encode()) % 90_000) * (1 + 0.2 * np.sin(turn)), self.lot_digits)

    def _funding(self, bars):
        """Times, rates and marks of the settlements behind the column `funding_rate`.

        A row's rate is the sum over (previous open, open]: settled at the last 8-hour mark in there, or at the open where there is none.
        """
        if "funding_rate" not in bars:
            return np.array([], dtype="int64"), np.array([]), np.array([])
        rate, eighth = bars["funding_rate"].to_numpy(float), self.times - self.times % FUNDING_MS
        on_mark = eighth > np.r_[self.times[0] - 1, self.times[:-1]]
        due = on_mark | (rate != 0)
        return np.where(on_mark, eighth, self.times)[due], rate[due], self.mark.rows[due, 0]


class Tape:
    """The instruments by symbol, all with bars of one length `step` (milliseconds)."""

    def __init__(self, frames: dict[str, pd.DataFrame]):
        steps = {symbol: _step(symbol, bars) for symbol, bars in frames.items()}
        if len(set(steps.values())) != 1:
            raise DataError(f"tape: expected one bar length for all symbols, found (ms) {steps}")
        self.step = next(iter(steps.values()))
        self.instruments = {symbol: Instrument(symbol, bars, self.step) for symbol, bars in frames.items()}

    @property
    def start(self) -> int:
        return min(int(each.times[0]) for each in self.instruments.values())

    @property
    def end(self) -> int:
        return max(each.end for each in self.instruments.values())

    @property
    def opening(self) -> int:
        """Where the clock starts if nobody says otherwise: three quarters through, on a bar's open."""
        moment = self.start + 3 * (self.end - self.start) // 4
        return moment - moment % self.step

    @classmethod
    def synthetic(cls, params: config.Synthetic) -> "Tape":
        """The seeded tape of every symbol named in `params.edge`."""
        return cls({symbol: synthetic_bars(symbol, params) for symbol in params.edge})

    @classmethod
    def from_file(cls, path: Path) -> "Tape":
        """A parquet file of bars: `timestamp` (UTC, bar open) as index or column, OHLCV, optional columns of `schema.OPTIONAL`.

        The symbol stands in a column `symbol` (one or more), or in the file's name, or is BTCUSDT. DataError if the file is not sound.
        """
        frame = _read(path)
        if "symbol" not in frame:
            return cls({_symbol_in(path.stem): schema.check_bars(frame, path.name)})
        return cls({str(name): schema.check_bars(rows, f"{path.name} {name}") for name, rows in frame.groupby("symbol")})


def load(params: config.Params) -> Tape:
    """The tape that `params.exchange.tape` names: `synthetic` or a parquet file."""
    if params.exchange.tape == "synthetic":
        return Tape.synthetic(params.synthetic)
    return Tape.from_file(Path(params.exchange.tape))


def _read(path):
    if not path.is_file():
        raise UsageError(f"exchange.tape: expected 'synthetic' or a parquet file, found no file {str(path)!r}")
    try:
        frame = read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: not a readable parquet file: {' '.join(str(error).split())[:200]}") from None
    if "timestamp" in frame:
        frame = frame.set_index("timestamp")
    if frame.empty:
        raise DataError(f"{path.name}: expected bars, found none")
    if {"mark", "close"} <= set(frame) and pd.api.types.is_numeric_dtype(frame["mark"]):
        frame["mark"] = frame["mark"].fillna(frame["close"])  # an exchange always has a mark; where none is known it is the price
    for name in [name for name in (*schema.REQUIRED, *schema.OPTIONAL) if name in frame]:
        if not pd.api.types.is_numeric_dtype(frame[name]) or not np.isfinite(frame[name].to_numpy(float)).all():
            raise DataError(f"{path.name}: column {name!r} must hold finite numbers only; run the clean stage first")
    return frame


def _symbol_in(stem):
    found = re.search(rf"[A-Z0-9]+(?:{'|'.join(QUOTES)})(?![A-Z0-9])", stem)
    return DEFAULT_SYMBOL if found is None else found[0]


def _step(symbol, bars):
    """Bar length: the commonest spacing, on whose grid every bar must open."""
    times = schema.epoch_ms(bars.index)
    if times.size < 2:
        raise DataError(f"tape {symbol}: expected two bars or more, found {times.size}")
    spacings, counts = np.unique(np.diff(times), return_counts=True)
    step = int(spacings[counts.argmax()])
    off = np.flatnonzero(times % step)
    if off.size or step % timeframe.UNITS["m"]:
        where = bars.index[off[0] if off.size else 0]
        raise DataError(f"tape {symbol}: expected bars on one grid of whole minutes, found {step / 1000:g} s apart, one at {where}")
    return step


def _assets(symbol):
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise DataError(f"tape: expected a symbol that ends in {', '.join(QUOTES)}, found {symbol!r}")


def _digits(prices, symbol):
    """Fewest decimals that write every price exactly."""
    for digits in range(MOST_DIGITS + 1):
        if np.array_equal(np.round(prices, digits), prices):
            return digits
    raise DataError(f"tape {symbol}: expected prices in ticks of 1e-{MOST_DIGITS} or coarser; round them to the contract's tick")


def _lot_digits(volume):
    """Fewest decimals that write every volume exactly; volumes that are sums with float dust say nothing: three."""
    for digits in range(MOST_DIGITS + 1):
        if np.array_equal(np.round(volume, digits), volume):
            return digits
    return 3


def _rows(bars):
    """[n, len(COLUMNS)] last price and totals."""
    prices = bars[["open", "high", "low", "close"]].to_numpy(float)
    volume = bars["volume"].to_numpy(float)
    quote = bars["quote_volume"].to_numpy(float) if "quote_volume" in bars else np.round(volume * prices.mean(axis=1), MOST_DIGITS)
    trades = bars["trades"].to_numpy(float) if "trades" in bars else np.full(len(bars), 240.0)
    buy = bars["taker_buy_volume"].to_numpy(float) if "taker_buy_volume" in bars else np.round(volume / 2, MOST_DIGITS)
    buy_quote = np.round(quote * np.divide(buy, volume, out=np.zeros_like(buy), where=volume > 0), MOST_DIGITS)
    return np.column_stack([prices, volume, quote, trades, buy, buy_quote])


def _mark_rows(bars, rows, column):
    """[n, len(COLUMNS)] mark or index price: from the previous bar's to this one's, reaching as far as the price did; no totals."""
    marked = np.zeros_like(rows)
    marked[:, :4] = rows[:, :4]
    if column in bars:
        mark = bars[column].to_numpy(float)
        ratio = mark / rows[:, 3]
        marked[:, 0] = np.r_[rows[0, 0], mark[:-1]]
        marked[:, 3] = mark
        marked[:, 1] = np.maximum(np.round(rows[:, 1] * ratio, MOST_DIGITS), np.maximum(marked[:, 0], mark))
        marked[:, 2] = np.minimum(np.round(rows[:, 2] * ratio, MOST_DIGITS), np.minimum(marked[:, 0], mark))
    return marked
