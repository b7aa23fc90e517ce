"""Recorded ticks as the tables that `orderbook` and `ticks.trades` read: from a recording of ours, or from captures in long format."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.files import read_parquet
from quantalpha.market.orderbook import QUOTES
from quantalpha.market.ticks.record import read_ticks

SERIES = ["market", "symbol", "session"]
FILES = {"quotes": "lob_binance_bookticker", "levels": "lob_binance_l2_top10", "trades": "lob_binance_trades"}


@dataclass(frozen=True)
class Capture:
    """One symbol's. quotes: best bid and ask; levels: several of them, None where they were not recorded; trades: price, qty, side."""

    quotes: pd.DataFrame
    trades: pd.DataFrame
    levels: pd.DataFrame | None = None

    @property
    def tick(self) -> float:
        """The smallest step between two prices quoted."""
        prices = np.unique(np.concatenate([self.quotes["bid"], self.quotes["ask"]]))
        return float(np.round(np.diff(prices), 10).min())


def read_captures(folder: Path) -> dict[str, Capture]:
    """By name, 'um BTCUSDT 20240808' or the symbol. folder: data/ticks/{venue}, or one with lob_binance_bookticker.parquet and its kin.

    Updates are in the order of arrival, with the exchange's times; Binance's spot book ticker tells none: there our own clock stands.
    UsageError where the folder holds neither.
    """
    folder = Path(folder)
    if all((folder / f"{name}.parquet").is_file() for name in FILES.values()):
        return _long(folder)
    symbols = sorted(path.parent.name for path in folder.glob("*/book") if (path.parent / "trades").is_dir())
    if not symbols:
        wanted = "run `quantalpha data record --stream book --stream trades`, then name data/ticks/VENUE"
        raise UsageError(f"captures: {folder} holds neither a recording of book and trades nor lob_binance_*.parquet; {wanted}")
    return {symbol: Capture(*(_timed(read_ticks(folder, symbol, kind)) for kind in ("book", "trades"))) for symbol in symbols}


def _long(folder: Path) -> dict[str, Capture]:
    tables = {kind: dict(iter(read_parquet(folder / f"{name}.parquet").groupby(SERIES))) for kind, name in FILES.items()}
    found = {}
    for key, quotes in tables["quotes"].items():
        told = quotes["ts_exch_ms"].notna().all()
        struck = tables["trades"][key]
        trades = struck.assign(side=np.where(struck["is_buyer_maker"], -1, 1))
        levels = tables["levels"][key].rename(columns=_level_name)
        times = ("ts_exch_ms", "ts_trade_ms") if told else (None, None)
        found[" ".join(key)] = Capture(_timed(quotes, times[0]), _timed(trades, times[1]), _timed(levels, "ts_exch_ms"))
    return found


def _timed(rows: pd.DataFrame, column: str | None = "time") -> pd.DataFrame:
    """Rows in the order of arrival, timed by a column (ms), or None: by our own clock; one that is late has the time of the one before."""
    if column is None:
        rows = rows.sort_values("timestamp", kind="stable")
        times = schema.epoch_ms(pd.DatetimeIndex(rows["timestamp"]))
    else:
        rows = rows.sort_values("timestamp", kind="stable") if "timestamp" in rows else rows
        times = np.maximum.accumulate(rows[column].to_numpy("int64"))
    kept = [name for name in rows if name in (*QUOTES, "price", "qty", "side") or name.startswith(("bid_", "ask_"))]
    return rows[kept].set_axis(schema.from_epoch_ms(times))


def _level_name(name: str) -> str:
    """'bid_px_3' -> 'bid_3', 'bid_sz_3' -> 'bid_qty_3'."""
    return name.replace("_px_", "_").replace("_sz_", "_qty_")
