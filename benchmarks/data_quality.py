"""The quality of recorded market data, file by file: what `quantalpha data check` finds in bars, and the like for what is not bars.

    python benchmarks/data_quality.py [folder]

The folder holds recorded files beside the checkout (see tests/conftest.py); nothing of it is copied.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config, schema
from quantalpha.files import read_parquet
from quantalpha.market import inspection, kinds

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
PARAMS = config.load("default", ())
SHOWN = ("rows", "first", "last", "gaps", "missing", "duplicates", "out of order", "violations", "frozen", "zero volume", "outlier", "jump")
TIMEFRAMES = ("1m", "5m", "15m", "1h", "8h", "1d")


def bars(table: pd.DataFrame, bar: str, witness: dict | None = None) -> dict:
    """`inspect` of a table of bars, or the sum over its symbols; first and last over all."""
    found = [
        inspection.inspect(rows.set_index("timestamp")[list(schema.REQUIRED)].astype(float), bar, PARAMS.quality, witness)
        for _, rows in (table.groupby("symbol") if "symbol" in table else [(None, table)])
    ]
    ends = {"first": min(one["first"] for one in found), "last": max(one["last"] for one in found)}
    return {name: sum(one[name] for one in found) for name in SHOWN if name not in ends} | ends | {"tables": len(found)}


def funding(table: pd.DataFrame) -> dict:
    groups = [name for name in ("venue", "symbol") if name in table]
    tables = table.groupby(groups) if groups else [(None, table)]
    found = [inspection.inspect(rows.set_index("timestamp")[["funding_rate"]], kinds.FUNDING, PARAMS.quality) for _, rows in tables]
    ends = {"first": min(one["first"] for one in found), "last": max(one["last"] for one in found)}
    return {name: sum(one[name] for one in found) for name in SHOWN[:8] if name not in ends} | ends | {"tables": len(found)}


def ticks(table: pd.DataFrame) -> dict:
    """Captured messages: repeated or falling numbers, exchange times that run back, crossed books, what is not a positive number."""
    number = "trade_id" if "trade_id" in table else "update_id"
    time = next((name for name in ("ts_trade_ms", "ts_exch_ms") if name in table), "timestamp")
    sessions = table.sort_values("timestamp", kind="stable").groupby(["market", "symbol", "session"], observed=True)
    numbers = [np.diff(rows[number].to_numpy(float)) for _, rows in sessions]
    times = [np.diff(rows[time].dropna().to_numpy(float)) for _, rows in sessions]
    bid, ask = (next((name for name in names if name in table), None) for names in (("bid", "bid_px_1"), ("ask", "ask_px_1")))
    prices = [name for name in ("price", bid, ask) if name in table.columns]
    spaces = [rows["timestamp"].diff().max().total_seconds() for _, rows in sessions]
    return {
        "rows": len(table),
        "first": table["timestamp"].min().isoformat(),
        "last": table["timestamp"].max().isoformat(),
        "tables": len(numbers),
        "duplicates": int(sum((step == 0).sum() for step in numbers)),
        "out of order": int(sum((step < 0).sum() for step in numbers)),
        "time runs back": int(sum((step < 0).sum() for step in times)),
        "no exchange time": int(table[time].isna().sum()),
        "longest silence (s)": round(max(spaces), 1),
        "crossed": int((table[bid] >= table[ask]).sum()) if bid in table.columns else 0,
        "violations": int((~(table[prices] > 0)).any(axis=1).sum()),
    }


def daily(table: pd.DataFrame) -> dict:
    index = pd.DatetimeIndex(table.get("timestamp", table.index)).as_unit("ms")
    holes = kinds.gaps(index, 86_400_000)
    return {
        "rows": len(table),
        "first": index[0].isoformat(),
        "last": index[-1].isoformat(),
        "tables": table.shape[1] - 1,
        "gaps": len(holes),
        "missing": sum(hole["bars"] for hole in holes),
        "duplicates": int(index.duplicated().sum()),
        "out of order": int((np.diff(index.asi8) < 0).sum()),
    }


def judged(path: Path, spot: dict) -> dict:
    table = read_parquet(path)
    table = table.reset_index() if "timestamp" not in table else table
    if "funding_rate" in table:
        return funding(table)
    if path.stem.startswith("lob_"):
        return ticks(table)
    bar = next((part for part in path.stem.split("_") if part in TIMEFRAMES), "1d")
    return daily(table) if "open" not in table else bars(table, bar, spot.get((path.stem.split("_")[2], bar)))


def main(folder: Path) -> None:
    if not folder.is_dir():
        sys.exit("no recorded market data beside the checkout; name its folder")
    spot = {
        (symbol, "5m"): {"spot": read_parquet(folder / f"binance_spot_{symbol}_1h.parquet").set_index("timestamp").shift(55, freq="min")}
        for symbol in ("BTCUSDT", "ETHUSDT")
    }  # the hour's close is that of its last five minutes
    for path in sorted(folder.glob("*.parquet")):
        found = judged(path, spot)
        told = "  ".join(
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in found.items() if value != 0
        )
        print(f"{path.stem}\n    {told.replace('+00:00', '')}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
