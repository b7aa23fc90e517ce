"""The same result in parts: by side of the trade, by regime of the market."""

import numpy as np
import pandas as pd

from quantalpha.backtest.performance import in_market, trade_metrics
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.errors import DataError
from quantalpha.validation.path import path_metrics

PATH_FIGURES = ("total_return", "volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown")


def by_side(result: Result) -> pd.DataFrame:
    """Rows long, short, all; columns pnl (quote currency), exposure (share of bar closes with such a position) and `trade_metrics`."""
    trades, held = result.trades, result.position.to_numpy()
    held = held if held.ndim == 2 else held[:, None]
    parts = {
        "long": (trades[trades["side"] == "long"], (held > 0.0).any(axis=1)),
        "short": (trades[trades["side"] == "short"], (held < 0.0).any(axis=1)),
        "all": (trades, (held != 0.0).any(axis=1)),
    }
    rows = [{"pnl": float(part["pnl"].sum()), "exposure": float(inside.mean()), **trade_metrics(part)} for part, inside in parts.values()]
    return pd.DataFrame(rows, index=pd.Index(parts, name="side"))


def by_regime(result: Result, regimes: pd.Series) -> pd.DataFrame:
    """One row per regime, in the order of their names.

    regimes: a label per bar (NaN: none), on bars of the result; bars without a label are in no row. Nothing is traded on it here, but a
    label made with later bars explains, it does not forecast.

    share of all bars; PATH_FIGURES of the regime's bar returns as if they followed each other, annualised; exposure: share of its bars that
    close with a position; pnl and `trade_metrics` of the trades that were entered in it.
    """
    label = _on_bars(regimes, result.equity.index)
    returns, held, yearly = result.returns.to_numpy(), in_market(result), bars_per_year(result.equity.index)
    entered = label.to_numpy()[result.equity.index.searchsorted(result.trades["entry_time"])]

    def row(name) -> dict[str, float]:
        inside, trades = (label == name).to_numpy(), result.trades[entered == name]
        path = path_metrics(np.cumprod(1.0 + returns[inside]), 1.0, periods_per_year=yearly)
        return {
            "share": float(inside.mean()),
            **{figure: path[figure] for figure in PATH_FIGURES},
            "exposure": float(held[inside].mean()),
            "pnl": float(trades["pnl"].sum()),
            **trade_metrics(trades),
        }

    names = sorted(label.dropna().unique())
    return pd.DataFrame([row(name) for name in names], index=pd.Index(names, name="regime"))


def _on_bars(regimes: pd.Series, index: pd.DatetimeIndex) -> pd.Series:
    strangers = regimes.index.difference(index)
    if len(strangers) or not regimes.index.is_unique:
        found = f"{strangers[0]}, which is no bar of the result" if len(strangers) else "a time twice"
        raise DataError(f"regimes: expected one label per bar open time, found {found}")
    if not regimes.notna().any():
        raise DataError("regimes: expected at least one label, found none")
    return regimes.reindex(index)
