"""A result on paper: metrics, trades, picture and page as files, and a candidate beside its baselines."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from quantalpha import plots
from quantalpha.backtest.result import Result
from quantalpha.backtest.tearsheet import Tearsheet, tearsheet
from quantalpha.errors import DataError
from quantalpha.files import write_atomic

METRICS_FILE, TRADES_FILE, PICTURE_FILE, PAGE_FILE = "performance_metrics.json", "trades.csv", "equity_curve.png", "tearsheet.html"


def write(
    result: Result,
    folder: Path,
    *,
    title: str = "Backtest",
    baselines: Mapping[str, pd.Series] | None = None,
    sheet: Tearsheet | None = None,
    periods_per_year: float | None = None,
) -> list[Path]:
    """`performance_metrics.json` (undefined numbers are null), `trades.csv`, `equity_curve.png` and `tearsheet.html` in `folder`; each file
    appears whole or not at all.

    baselines: name -> equity, drawn behind the result's. sheet: the page, if it is to say more than `tearsheet(result)` does.
    """
    metrics = {name: value if math.isfinite(value) else None for name, value in result.metrics(periods_per_year).items()}
    picture = io.BytesIO()
    plots.equity_and_drawdown(result.equity, baselines, title=title).savefig(picture, format="png")
    contents = {
        METRICS_FILE: json.dumps(metrics, indent=2, allow_nan=False) + "\n",
        TRADES_FILE: result.trades.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n"),
        PICTURE_FILE: picture.getvalue(),
        PAGE_FILE: (sheet or tearsheet(result, title=title, baselines=baselines)).html,
    }
    return [write_atomic(Path(folder) / name, content) for name, content in contents.items()]


def comparison(candidates: Mapping[str, Mapping[str, float]], baselines: pd.DataFrame) -> pd.DataFrame:
    """Metrics (rows) of candidates, then baselines (columns).

    candidates: name -> `Result.metrics()`. baselines: one row each, columns metrics, as `baselines` gives them.
    """
    table = pd.DataFrame({name: dict(metrics) for name, metrics in candidates.items()})
    missing = table.index.difference(baselines.columns)
    if len(missing):
        raise DataError(f"comparison: baselines lack {', '.join(missing)}; found {', '.join(baselines.columns)}")
    return table.join(baselines[table.index].T).rename_axis(index="metric")
