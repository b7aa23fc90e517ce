"""What a simulation came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.perp.account import Account
from quantalpha.perp.costs import Costs, Stops
from quantalpha.schema import epoch_ms
from quantalpha.timeframe import YEAR_MS

if TYPE_CHECKING:
    from quantalpha.perp.clock import State

FILL_COLUMNS = ("quantity", "price", "fee", "realised", "position", "slippage")
FUNDING_COLUMNS = ("amount", "rate", "mark", "quantity")


class Leg(NamedTuple):
    """One symbol's part, as the clock recorded it; bars as rows of the result's index."""

    bars: pd.DataFrame  # on the result's index
    rows: np.ndarray  # float64[fills, 8]: bar, reason, then FILL_COLUMNS
    paid: np.ndarray  # float64[payments, 5]: bar, then FUNDING_COLUMNS
    final: "State"  # after the last bar


@dataclass(frozen=True)
class Result:
    """Money in quote currency, quantities in base currency, `time` the open time of the bar in which something happened.

    With several symbols the tables of fills, funding and trades begin with the column `symbol`, and `position` and `marks` have one each.
    """

    index: pd.DatetimeIndex
    path: np.ndarray  # equity at each bar's close, at the mark
    legs: Mapping[str | None, Leg]  # by symbol; None: the only one
    account: Account
    costs: Costs | Mapping[str, Costs]
    stops: Stops | None = None

    def __repr__(self) -> str:
        names, gain = ", ".join(symbol or "one symbol" for symbol in self.legs), self.path[-1] / self.account.initial_cash - 1.0
        span = f"{self.index[0]} to {self.index[-1]}, {len(self.index):,} bars"
        return f"Result({names}, {span}, return {gain:+.2%}, {len(self.trades):,} trades)"

    @cached_property
    def equity(self) -> pd.Series:
        """At each bar's close, at the mark."""
        return pd.Series(self.path, index=self.index, name="equity")

    @cached_property
    def fills(self) -> pd.DataFrame:
        """time quantity(signed) price fee(+ paid) realised(before the fee) reason position(after) slippage(+ paid, within the price)."""
        return self._table(self._fills)

    @cached_property
    def funding(self) -> pd.DataFrame:
        """time amount(+ received) rate mark quantity(held)."""
        return self._table(lambda leg: _frame(self.index, leg.paid, FUNDING_COLUMNS))

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Round trips; see `trades.round_trips`."""
        from quantalpha.backtest.trades import round_trips
        from quantalpha.perp.clock import REASONS

        return self._table(lambda leg: round_trips(leg, self.index, REASONS), by="entry_time")

    @property
    def liquidations(self) -> pd.DataFrame:
        """The fills the venue forced."""
        return self.fills[self.fills["reason"] == "liquidation"].reset_index(drop=True)

    @cached_property
    def returns(self) -> pd.Series:
        """Simple return of each bar's close on the one before (the first on the initial cash); 0 once nothing is left."""
        from quantalpha.validation.path import simple_returns

        return pd.Series(simple_returns(self.path, self.account.initial_cash), index=self.index, name="return")

    @cached_property
    def position(self) -> pd.Series | pd.DataFrame:
        """Signed quantity held at each bar's close."""
        return self._series(self._position, "position")

    @cached_property
    def marks(self) -> pd.Series | pd.DataFrame:
        """Mark price at each bar's close; the close where there is no mark."""
        return self._series(_marks, "mark")

    @property
    def final(self) -> "State":
        """The account after the last bar, of the only symbol."""
        if len(self.legs) > 1:
            raise UsageError(f"final: this account trades {', '.join(self.legs)}; take legs[symbol].final")
        (leg,) = self.legs.values()
        return leg.final

    def metrics(self, periods_per_year: float | None = None) -> dict[str, float]:
        """Plain floats, NaN where undefined; see `performance.performance`."""
        from quantalpha.backtest.performance import performance

        return performance(self, periods_per_year)

    def _table(self, make, by: str = "time") -> pd.DataFrame:
        if None in self.legs:
            return make(self.legs[None])
        tables = []
        for symbol, leg in self.legs.items():
            table = make(leg)
            table.insert(0, "symbol", pd.Series(symbol, index=table.index, dtype="str"))
            tables.append(table)
        return pd.concat(tables).sort_values(by, kind="stable", ignore_index=True)

    def _series(self, make, name: str) -> pd.Series | pd.DataFrame:
        if None in self.legs:
            return pd.Series(make(self.legs[None]), index=self.index, name=name)
        return pd.DataFrame({symbol: make(leg) for symbol, leg in self.legs.items()}, index=self.index)

    def _fills(self, leg: Leg) -> pd.DataFrame:
        from quantalpha.perp.clock import REASONS

        fills = _frame(self.index, leg.rows[:, 1:], FILL_COLUMNS, bar=leg.rows[:, 0])
        fills.insert(5, "reason", pd.Series(np.array(REASONS, dtype=object)[leg.rows[:, 1].astype(int)], dtype="str"))
        return fills

    def _position(self, leg: Leg) -> np.ndarray:
        held = np.diff([0, *leg.rows[:, 0].astype(np.int64), len(self.index)])
        return np.repeat(np.append(0.0, leg.rows[:, 6]), held)


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """From the median spacing; NaN for fewer than two bars."""
    return YEAR_MS / float(np.median(np.diff(epoch_ms(index)))) if len(index) > 1 else float("nan")


def _marks(leg: Leg) -> np.ndarray:
    """Where a bar is missing the last mark stands, as for the clock."""
    close = leg.bars["close"]
    return (leg.bars["mark"].fillna(close) if "mark" in leg.bars else close).ffill().to_numpy(float)


def _frame(index: pd.DatetimeIndex, rows: np.ndarray, names: tuple[str, ...], bar: np.ndarray | None = None) -> pd.DataFrame:
    bar = rows[:, 0] if bar is None else bar
    return pd.DataFrame({"time": index[bar.astype(np.int64)]} | {name: rows[:, k] for k, name in enumerate(names, start=1)})
