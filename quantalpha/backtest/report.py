"""A result on paper: metrics and trades as files, returns by month, a candidate beside its baselines."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from quantalpha.backtest.result import Result
from quantalpha.errors import DataError

METRICS_FILE, TRADES_FILE = "performance_metrics.json", "trades.csv"
YEAR = "year"


def write(result: Result, folder: Path, *, periods_per_year: float | None = None) -> list[Path]:
    """`performance_metrics.json` (undefined numbers are null) and `trades.csv` in `folder`; each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {name: value if math.isfinite(value) else None for name, value in result.metrics(periods_per_year).items()}
    trades = result.trades.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n")
    texts = {METRICS_FILE: json.dumps(metrics, indent=2, allow_nan=False) + "\n", TRADES_FILE: trades}
    return [_write_atomically(folder / name, text) for name, text in texts.items()]


def monthly_returns(returns: pd.Series) -> pd.DataFrame:
    """Simple returns compounded by calendar month (UTC): rows years, columns 1 to 12 and 'year', NaN where there is no bar.

    returns: simple return per bar, indexed by bar open (`Result.returns`).
    """
    growth = 1.0 + returns
    months = growth.groupby([growth.index.year, growth.index.month]).prod().unstack().reindex(columns=range(1, 13)) - 1.0
    table = months.assign(**{YEAR: growth.groupby(growth.index.year).prod() - 1.0})
    return table.rename_axis(index=YEAR, columns="month")


def comparison(candidates: Mapping[str, Mapping[str, float]], baselines: pd.DataFrame) -> pd.DataFrame:
    """Metrics (rows) of candidates, then baselines (columns).

    candidates: name -> `Result.metrics()`. baselines: one row each, columns metrics, as `baselines` gives them.
    """
    table = pd.DataFrame({name: dict(metrics) for name, metrics in candidates.items()})
    missing = table.index.difference(baselines.columns)
    if len(missing):
        raise DataError(f"comparison: baselines lack {', '.join(missing)}; found {', '.join(baselines.columns)}")
    return table.join(baselines[table.index].T).rename_axis(index="metric")


def _write_atomically(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
