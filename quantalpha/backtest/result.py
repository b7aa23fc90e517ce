"""What a simulation came to."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.backtest.trades import round_trips
from quantalpha.perp.account import Account
from quantalpha.perp.costs import Costs
from quantalpha.schema import epoch_ms
from quantalpha.timeframe import YEAR_MS

if TYPE_CHECKING:
    from quantalpha.perp.clock import State


@dataclass(frozen=True)
class Result:
    """Money in quote currency, quantities in base currency, `time` the open time of the bar in which something happened."""

    equity: pd.Series  # at each bar's close, at the mark
    fills: pd.DataFrame  # time quantity(signed) price fee realised reason position(after) slippage
    funding: pd.DataFrame  # time amount(+ received) rate mark quantity
    final: "State"  # the account after the last bar
    account: Account
    costs: Costs

    @classmethod
    def from_clock(cls, index: pd.DatetimeIndex, state: "State", equity, fills, funding, *, account: Account, costs: Costs) -> "Result":
        """From what `clock.run` returns."""
        return cls(
            equity=pd.Series(equity, index=index, name="equity"),
            fills=_fills_frame(index, *fills, costs),
            funding=_frame(index, *funding, ("amount", "rate", "mark", "quantity")),
            final=state,
            account=account,
            costs=costs,
        )

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Round trips; see `trades.round_trips`."""
        unrealised = self.final.quantity * (self.final.mark - self.final.entry_price)
        return round_trips(self.fills, self.funding, self.equity.index, mark=self.final.mark, unrealised=unrealised)

    @property
    def liquidations(self) -> pd.DataFrame:
        """The fills the venue forced."""
        return self.fills[self.fills["reason"] == "liquidation"].reset_index(drop=True)

    @cached_property
    def returns(self) -> pd.Series:
        """Simple return of each bar's close on the one before (the first on the initial cash); 0 once nothing is left."""
        before = np.append(self.account.initial_cash, self.equity.to_numpy()[:-1])
        change = np.divide(self.equity.to_numpy(), before, out=np.ones(len(before)), where=before > 0.0)
        return pd.Series(change - 1.0, index=self.equity.index, name="return")

    @cached_property
    def position(self) -> pd.Series:
        """Signed quantity held at each bar's close."""
        index = self.equity.index
        bars_held = np.diff([0, *index.searchsorted(self.fills["time"]), len(index)])
        return pd.Series(np.repeat(np.append(0.0, self.fills["position"]), bars_held), index=index, name="position")

    def metrics(self, periods_per_year: float | None = None) -> dict[str, float]:
        """Plain floats, NaN where undefined. Bars per year: by default from the median bar spacing, 365 days a year.

        turnover: traded notional a year / mean equity. exposure: share of bar closes with a position. fees and slippage: positive is
        paid; funding: positive is received. n_trades, win_rate and profit_factor count a trade still open at its mark.
        """
        from quantalpha.validation import metrics

        yearly = bars_per_year(self.equity.index) if periods_per_year is None else float(periods_per_year)
        path, years = np.append(self.account.initial_cash, self.equity), len(self.equity) / yearly
        pnl = self.trades["pnl"].to_numpy()
        traded = float((self.fills["quantity"].abs() * self.fills["price"]).sum())
        return {
            "total_return": float(path[-1] / path[0]) - 1.0,
            "cagr": metrics.cagr(path, periods_per_year=yearly),
            "sharpe_ratio": metrics.sharpe_ratio(self.returns, periods_per_year=yearly),
            "sortino_ratio": metrics.sortino_ratio(self.returns, periods_per_year=yearly),
            "max_drawdown": metrics.max_drawdown(path),
            "profit_factor": metrics.profit_factor(pnl),
            "win_rate": metrics.win_rate(pnl),
            "n_trades": float(len(pnl)),
            "turnover": traded / float(self.equity.mean()) / years,
            "exposure": float((self.position != 0.0).mean()),
            "fees": float(self.fills["fee"].sum()),
            "slippage": float(self.fills["slippage"].sum()),
            "funding": float(self.funding["amount"].sum()),
            "liquidations": float(len(self.liquidations)),
        }


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """From the median spacing; NaN for fewer than two bars."""
    if len(index) < 2:
        return float("nan")
    return YEAR_MS / float(np.median(np.diff(epoch_ms(index))))


def _frame(index: pd.DatetimeIndex, bar: np.ndarray, values: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame({"time": index[bar]} | {name: values[:, k] for k, name in enumerate(names)})


def _fills_frame(index: pd.DatetimeIndex, bar: np.ndarray, values: np.ndarray, costs: Costs) -> pd.DataFrame:
    from quantalpha.perp.clock import ORDER, REASONS, STOP_LOSS

    fills = _frame(index, bar, values[:, 1:], ("quantity", "price", "fee", "realised", "position"))
    reason, quantity, price = values[:, 0].astype(int), values[:, 1], values[:, 2]
    slipped = np.isin(reason, (ORDER, STOP_LOSS)) * costs.slippage
    fills["reason"] = pd.Series(np.array(REASONS, dtype=object)[reason], dtype="str")
    fills["slippage"] = np.abs(quantity) * price * slipped / (1.0 + np.sign(quantity) * slipped)
    return fills
