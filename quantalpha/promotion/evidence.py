"""What a session's journal says against its backtest, cause by cause: the numbers that take the model's place, and where they differ."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quantalpha.bundle import Bundle
from quantalpha.perp import Costs, Slippage, Stops
from quantalpha.perp.costs import CEILING
from quantalpha.promotion.counterfactual import (
    DATA,
    FEE,
    FUNDING,
    LATE,
    MISSED,
    PRICE,
    PROTECTION,
    TIMING,
    VETOES,
    Executed,
    Forced,
    Session,
)  # fmt: skip
from quantalpha.promotion.reconcile import Recorded, revised_candles
from quantalpha.schema import epoch_ms, from_epoch_ms

LATE_AFTER = 0.05  # of a bar: one heard of later than that is late; a shorter delay is the decision's timing
SAME = 1e-9  # fractions nearer than this are the same
EXTERNAL = "external"  # fills nobody here ordered stay unexplained
FLATTEN, STOP_LOSS = "flatten", "stop_loss"  # fills of a kill switch, and of the stop that every position has at a venue


@dataclass(frozen=True)
class Reviewed:
    """How a session's orders came about: the frames of `runner.reviewed`, which says what their columns are."""

    orders: pd.DataFrame
    forced: pd.DataFrame
    signals: pd.DataFrame
    bars: pd.DataFrame
    switches: pd.DataFrame


@dataclass(frozen=True)
class Touched:
    """Where a cause shows: how many bars, orders or payments, and the first: {time, what}; {} where there is none."""

    count: int = 0
    first: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Market:
    """Bars as the session recorded them and as the venue tells them now (None: not asked). `venue`: the account was at one, which missed
    no bar; on paper a bar that was missed did not happen to the account either."""

    recorded: pd.DataFrame
    now: pd.DataFrame | None
    venue: bool

    @property
    def account(self) -> pd.DataFrame:
        """Those the session's account lived on."""
        return self.table(revised=True, missed=not self.venue)

    def table(self, *, revised: bool, missed: bool) -> pd.DataFrame:
        """The bars with the recorded values instead of today's (`revised`), without those the session lacked (`missed`)."""
        if self.now is None:
            return self.recorded
        bars = self.recorded.combine_first(self.now)[self.recorded.columns] if revised else self.now
        return bars[bars.index.isin(self.recorded.index)] if missed else bars

    def lacking(self) -> pd.DatetimeIndex:
        """Bars that the venue has and the session has not."""
        return self.recorded.index[:0] if self.now is None else self.now.index.difference(self.recorded.index)


def market(recorded: pd.DataFrame, now: pd.DataFrame | None, *, venue: bool) -> Market:
    """The bars of a session, today's cut to its span and its columns; a column the venue no longer tells is taken from the record."""
    if now is None:
        return Market(recorded, None, venue)
    today = now.loc[recorded.index[0] : recorded.index[-1], [name for name in recorded if name in now]]
    gone = recorded.drop(columns=today.columns).reindex(today.index)
    return Market(recorded, pd.concat([today, gone], axis=1)[recorded.columns], venue)


def executions(bundle: Bundle, reviewed: Reviewed, bars: pd.DataFrame) -> pd.DataFrame:
    """Every order by the bar it was decided on, next to what the backtest expects of it. bars: those the account lived on.

    Quantities in signed base units: ordered, filled, share (of the order that was filled). Times: delay (ms from the close until it was
    sent, NaN where nobody says), late (the part of it in which the bar was not yet known; 0 where that is short), wait (opens it let pass).
    Prices: usual (the open it should fill at), reference (when it reached the market), price (as filled). Fractions, + against us: timing
    (usual to reference), slippage (reference to price) and expected_slippage, fee and expected_fee of the notional. refused: risk's reason.
    """
    table = reviewed.orders[reviewed.orders.index < bars.index[-1]].drop(columns="client_id")
    opens, step = epoch_ms(bars.index), float(np.median(np.diff(epoch_ms(bars.index))))
    row = np.searchsorted(opens, epoch_ms(table.index))
    arrived = table["bar"].fillna(table["sent"]).fillna(0.0).to_numpy(float)
    at = np.clip(np.searchsorted(opens, arrived, side="right") - 1, row + 1, len(opens) - 1)
    expected = np.minimum(row + 1 + bundle.costs.delay, len(opens) - 1)
    price_at = bars["open"].to_numpy(float)
    side = np.sign(table["ordered"])
    one_clock = float(reviewed.bars["late"].abs().median()) < step  # a tape that is played faster has a clock of its own: nothing is timed
    heard = reviewed.bars["late"].reindex(table.index).fillna(0.0) * one_clock
    table["delay"] = table["sent"] - (epoch_ms(table.index) + step) if one_clock else np.nan
    table["late"] = (heard / np.fmax(table["delay"], heard)).where(heard > LATE_AFTER * step, 0.0)
    table["wait"], table["usual"] = at - row - 1, price_at[expected]
    table["reference"] = table["reference"].fillna(pd.Series(price_at[at], table.index))
    table["share"] = (table["filled"] / table["ordered"]).where(table["ordered"] != 0.0, 1.0)
    table["timing"] = side * (table["reference"] / table["usual"] - 1.0)
    table["slippage"] = (side * (table["price"] / table["reference"] - 1.0)).fillna(0.0)
    table["expected_slippage"] = _predicted(bundle.costs, bars, expected, (table["ordered"] * table["usual"]).abs().to_numpy())
    table["fee"] = (table["fee"] / (table["filled"] * table["price"]).abs()).fillna(bundle.costs.taker)
    return table.assign(expected_fee=bundle.costs.taker, expected_wait=bundle.costs.delay)


def _predicted(costs: Costs, bars: pd.DataFrame, rows: np.ndarray, notional: np.ndarray) -> np.ndarray:
    if not isinstance(costs.slippage, Slippage):
        return np.full(len(rows), float(costs.slippage))
    spread, impact = (curve[rows] for curve in costs.slippage.curves(bars))
    return np.minimum(spread + impact * np.sqrt(notional), CEILING)


def session_of(orders: pd.DataFrame, recorded: Recorded, reviewed: Reviewed, bars: pd.DataFrame, stops: Stops) -> Session:
    """The journal as the counterfactual account takes it. orders: as `executions`; bars: those the account lived on; stops: the model's."""
    refused = orders["refused"] != ""
    executed = {
        int(time): Executed(order.late, order.wait, order.reference, order.slippage, order.share, order.fee)
        for time, order in zip(epoch_ms(orders.index[~refused]), orders[~refused].itertuples())
    }
    forced = _forced(reviewed.forced, epoch_ms(bars.index)[-1], stops)
    return Session(frozenset(epoch_ms(orders.index[refused]).tolist()), executed, forced, _settled(recorded, bars))


def _forced(fills: pd.DataFrame, end: int, stops: Stops) -> dict[int, list[Forced]]:
    found: dict[int, list[Forced]] = {}
    for fill in fills[(fills["bar"] <= end) & (fills["reason"] != EXTERNAL)].itertuples():
        share = fill.quantity / fill.held if abs(fill.held) > SAME * abs(fill.quantity) else None
        fee = fill.fee / abs(fill.quantity * fill.price)
        found.setdefault(fill.bar, []).append(Forced(fill.quantity, share, fill.price, fee, fill.reason, _asked_by(fill.reason, stops)))
    return found


def _asked_by(reason: str, stops: Stops) -> str:
    """The cause of a fill that no decision asked for. Where a model has no stop-loss, one of `risk.per_trade` rests at a venue."""
    if reason == FLATTEN:
        return VETOES
    return PROTECTION if reason == STOP_LOSS and stops.stop_loss is None else PRICE


def _settled(recorded: Recorded, bars: pd.DataFrame) -> dict[int, tuple[float, float]]:
    """(rate, mark) by which each payment comes out; rate 0.0 where one was due on a position and none was made."""
    due = bars.index[bars["funding_rate"] != 0.0] if "funding_rate" in bars else bars.index[:0]
    owed = due[_held_before(recorded.fills, due).abs() > SAME]
    settled = {int(time): (0.0, 1.0) for time in epoch_ms(owed)}
    for time, paid in recorded.funding[recorded.funding["time"] <= bars.index[-1]].groupby("time"):
        mark, quantity = float(paid["mark"].iloc[0]), float(paid["quantity"].iloc[0])
        settled[int(epoch_ms(pd.DatetimeIndex([time]))[0])] = (-float(paid["amount"].sum()) / (quantity * mark), mark)
    return settled


def _held_before(fills: pd.DataFrame, times: pd.DatetimeIndex) -> pd.Series:
    """Position by the fills of earlier bars."""
    position = np.r_[0.0, fills["quantity"].cumsum().to_numpy(float)]
    return pd.Series(position[np.searchsorted(fills["time"], times)], index=times)


def touched(orders: pd.DataFrame, session: Session, reviewed: Reviewed, bars: Market) -> dict[str, Touched]:
    """By cause, of those that show in bars, orders and payments; decisions are compared where they are computed."""
    accepted = orders[(orders["refused"] == "") & (orders["ordered"] != 0.0)]
    moved = accepted[(accepted["timing"].abs() > SAME) | (accepted["wait"] != accepted["expected_wait"])]
    partly = ~near(accepted["share"], 1.0)
    priced = accepted[~near(accepted["slippage"], accepted["expected_slippage"]) & ~partly]
    part = accepted["share"][partly]
    beyond = (priced["slippage"] - priced["expected_slippage"]) * 1e4
    charged = accepted[~near(accepted["fee"], accepted["expected_fee"])]
    refused = orders["refused"][orders["refused"] != ""]
    return {
        DATA: _revised(bars),
        MISSED: tell(bars.lacking().to_series(), "missed"),
        VETOES: tell(pd.concat([refused, _closed(session, VETOES)]), "{}"),
        PROTECTION: tell(_closed(session, PROTECTION), "{} of a position whose model has none"),
        LATE: tell(moved["timing"][moved["late"] > 0.0] * 1e4, "heard of late; reached the market {:.3g} bp worse"),
        TIMING: tell(moved["timing"][moved["late"] < 1.0] * 1e4, "reached the market {:.3g} bp worse"),
        PRICE: tell(pd.concat([beyond.map("slippage {:+.3g} bp beyond the expected".format), part.map("{:.0%} filled".format)]), "{}"),
        FEE: tell((charged["fee"] - charged["expected_fee"]) * 1e4, "fee {:+.3g} bp beyond the expected"),
        FUNDING: tell(_paid_otherwise(session, bars.account), "paid {:+.3g} a unit beyond the expected"),
    }


def _closed(session: Session, cause: str) -> pd.Series:
    """What the fills of a cause that no decision asked for are called, by bar."""
    found = {time: each.reason for time, fills in session.forced.items() for each in fills if each.cause == cause}
    return pd.Series(list(found.values()), index=from_epoch_ms(list(found)), dtype=object)


def _revised(bars: Market) -> Touched:
    found: dict[str, str] = {}
    for candle in [] if bars.now is None else revised_candles(bars.recorded, bars.now):
        found.setdefault(candle["time"], "{column} {recorded} recorded, {now} now".format(**candle))
    return Touched(len(found), next(({"time": time, "what": what} for time, what in found.items()), {}))


def _paid_otherwise(session: Session, bars: pd.DataFrame) -> pd.Series:
    """What a unit of the position paid beyond rate x mark of the bar, by its open; only where that is not 0."""
    settled = pd.Series({time: rate * mark for time, (rate, mark) in session.settled.items()}, dtype=float)
    mark = bars["mark"].shift().fillna(bars["open"]) if "mark" in bars else bars["open"]
    rate = bars["funding_rate"] if "funding_rate" in bars else mark * 0.0
    expected = (rate * mark).set_axis(epoch_ms(bars.index)).reindex(settled.index).fillna(0.0)
    beyond = (settled - expected)[(settled - expected).abs() > SAME * expected.abs()]
    return beyond.set_axis(from_epoch_ms(beyond.index)).sort_index()


def near(left: pd.Series, right: pd.Series | float) -> pd.Series:
    return (left - right).abs() <= SAME


def tell(where: pd.Series, what: str) -> Touched:
    """By time; `what` is filled with the value of the first."""
    if where.empty:
        return Touched()
    where = where.sort_index()
    return Touched(len(where), {"time": where.index[0].isoformat(), "what": what.format(where.iloc[0])})
