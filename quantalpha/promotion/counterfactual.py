"""The account as it would have gone: a backtest in which any set of a session's recorded causes has taken the place of the model's.

The money is `perp.clock`'s, bar by bar; nothing of it is written again here. With no cause it is `backtest.simulate` to the bit.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.perp import Slippage
from quantalpha.perp.account import fresh, terms, tiers
from quantalpha.perp.ledger import in_force
from quantalpha.schema import epoch_ms

if TYPE_CHECKING:
    from quantalpha.bundle import Bundle
    from quantalpha.strategy import HysteresisPolicy

DATA, MISSED, MODEL, FEATURES, VETOES = "data revision", "missed or late bars", "model version", "feature drift", "risk vetoes"
PROTECTION = "protective stop"
TIMING, PRICE, FEE, FUNDING, UNEXPLAINED = "decision timing", "fill price", "fee", "funding", "unexplained"
LATE = "late bars"  # a step of its own, told together with MISSED


@dataclass(frozen=True)
class Executed:
    """What became of the order decided at a bar. `late`: the part of its delay in which the bar was not yet known; `wait`: opens it let
    pass; `reference`: price when it reached the market; `slippage`: fraction of it, + against us; `share`: of the quantity ordered that was
    filled; `fee`: fraction of the notional."""

    late: float
    wait: int
    reference: float
    slippage: float
    share: float
    fee: float


@dataclass(frozen=True)
class Forced:
    """A fill no decision asked for. `share`: of the position held, - closes it; None: nothing was held, `quantity` counts. `cause`: of
    VETOES (a kill switch's), PROTECTION (of a stop that the model does not have), PRICE (of the model's own)."""

    quantity: float
    share: float | None
    price: float
    fee: float  # fraction of the notional
    reason: str
    cause: str


@dataclass(frozen=True)
class Decision:
    """An edge and the policy that acts on it; `recorded`: (previous, target), said where that was held."""

    edge: float
    policy: "HysteresisPolicy"
    recorded: tuple[float, float] | None = None

    def target(self, previous: float) -> float:
        if self.recorded is not None and self.recorded[0] == previous:
            return self.recorded[1]
        return self.policy.step(self.edge, previous)


@dataclass(frozen=True)
class Session:
    """What a session did, by bar open time in ms since 1970 UTC; each is in force only where its cause is."""

    refused: Set[int] = frozenset()  # bars whose order risk refused
    executed: Mapping[int, Executed] = field(default_factory=dict)  # by the bar decided on
    forced: Mapping[int, Sequence[Forced]] = field(default_factory=dict)
    settled: Mapping[int, tuple[float, float]] = field(default_factory=dict)  # (rate, mark); rate 0.0 where a position paid nothing


@dataclass(frozen=True)
class World:
    """What an account lives on: prices, decisions, its rules, and the causes that go as in the session."""

    bars: pd.DataFrame  # the first ones may be history from before the first decision
    decisions: Mapping[int, Decision]
    rules: "Bundle"  # whose account, costs and stops
    session: Session
    causes: Set[str]


def equity(world: World) -> pd.Series:
    """At each bar's close, at the mark, from the first decision on."""
    slips, start = _slippage_curves(world), int(np.searchsorted(epoch_ms(world.bars.index), min(world.decisions)))
    life, bars, slips = _Life(world), world.bars.iloc[start:], slips[start:]
    columns = [bars[name].to_numpy(float) for name in ("open", "high", "low", "close")]
    mark = bars["mark"].fillna(bars["close"]).to_numpy(float) if "mark" in bars else columns[3]
    settled = np.r_[np.nan, bars["mark"].to_numpy(float)[:-1]] if "mark" in bars else np.full(len(bars), np.nan)
    settled = np.where(np.isnan(settled), columns[0], settled)
    rate = bars["funding_rate"].to_numpy(float) if "funding_rate" in bars else np.zeros(len(bars))
    path = np.empty(len(bars))
    for row, time in enumerate(epoch_ms(bars.index).tolist()):
        open_, high, low, close = (float(column[row]) for column in columns)
        life.open(time, open_, (float(rate[row]), float(settled[row])), slips[row])
        life.inside(time, (open_, high, low), slips[row])
        path[row] = life.close(time, close, float(mark[row]))
    return pd.Series(path, index=bars.index, name="equity")


def _slippage_curves(world: World) -> list[tuple[float, float]]:
    """(spread, impact) of each bar, as the clock takes them."""
    slippage = world.rules.costs.slippage
    if not isinstance(slippage, Slippage):
        return [(np.nan, 0.0)] * len(world.bars)
    return list(zip(*(curve.tolist() for curve in slippage.curves(world.bars))))


class _Life:
    """One account through its bars: open, inside, close of each."""

    def __init__(self, world: World):
        from quantalpha.perp import clock

        self.clock, self.world, self.session, self.causes = clock, world, world.session, world.causes
        rules = world.rules
        self.terms, self.tables = terms(rules.account, rules.costs, rules.stops), tiers(rules.account)
        self.tiers, self.state = self.tables[0][1], fresh(rules.account)
        self.previous, self.decided = 0.0, -1  # the target held; the bar whose order waits

    def open(self, time: int, open_: float, due: tuple[float, float], slip: tuple[float, float]) -> None:
        """Funding, then the order that is due."""
        table = in_force(self.tables, time)[1]
        if table is not self.tiers:
            self.tiers, self.state = table, self.clock.settle(self.state, self.terms, table)
        rate, mark = self.session.settled.get(time, due) if FUNDING in self.causes else due
        self.state, _ = self.clock.pay_funding(self.state, self.terms, self.tiers, mark, rate)
        executed = self.session.executed.get(self.decided)
        if executed is None or self.state.order == 0.0 or self.state.wait > 0.0:
            self.state, _ = self.clock.fill_open(self.state, self._own_stops(), self.tiers, open_, *slip)
        else:
            self._fill(executed, open_, slip)

    def _fill(self, executed: Executed, open_: float, slip: tuple[float, float]) -> None:
        """The order as the session's was filled, as far as that is in force."""
        fixed, quoted = self._own_stops(), open_ + self._delayed(executed) * (executed.reference - open_)
        if FEE in self.causes:
            fixed = fixed._replace(taker=executed.fee)
        if PRICE in self.causes:
            fixed, slip = fixed._replace(ceiling=np.inf), (executed.slippage, 0.0)
            self.state = self.state._replace(order=self.state.order * executed.share)
        self.state, _ = self.clock.fill_open(self.state, fixed, self.tiers, quoted, *slip)

    def inside(self, time: int, prices: tuple[float, float, float], slip: tuple[float, float]) -> None:
        """What closed the session's position, as far as it is in force, then the model's stops, unless the session's take their place."""
        for forced in self.session.forced.get(time, ()):
            if forced.cause in self.causes:
                self._force(forced)
        if PRICE not in self.causes:
            self.state, _, _ = self.clock.inside(self.state, self.terms, self.tiers, *prices, *slip)

    def _force(self, forced: Forced) -> None:
        trade = forced.quantity if forced.share is None else forced.share * self.state.quantity
        if trade == 0.0:
            return
        usual = {"take_profit": self.terms.maker, "liquidation": self.terms.liquidation}
        rate = forced.fee if FEE in self.causes else usual.get(forced.reason, self.terms.taker)
        fee, kind = rate * abs(trade) * forced.price, self.clock.ORDER
        self.state, _ = self.clock.book(self.state, self.terms, self.tiers, kind, trade, forced.price, fee, 0.0)

    def close(self, time: int, close: float, mark: float) -> float:
        """Equity at the mark, then the decision for the next open."""
        self.state, worth = self.clock.mark_close(self.state, self.terms, mark)
        decision = self.world.decisions.get(time)
        if decision is not None:
            self._decide(time, decision.target(self.previous), close, mark)
        return worth

    def _decide(self, time: int, target: float, close: float, mark: float) -> None:
        decided = self.clock.decide(self.state, self.terms, target, 0.0, close, mark)
        if decided == self.state:
            self.previous = target
        elif not (VETOES in self.causes and time in self.session.refused):
            executed = self.session.executed.get(time)
            wait = executed.wait if executed is not None and self._delayed(executed) >= 0.5 else decided.wait
            self.state, self.previous, self.decided = decided._replace(wait=float(wait)), target, time

    def _delayed(self, executed: Executed) -> float:
        """The part of the session's delay that is in force, 0 to 1; the price is taken to move evenly through it."""
        return (executed.late if LATE in self.causes else 0.0) + (1.0 - executed.late if TIMING in self.causes else 0.0)

    def _own_stops(self):
        """The model's terms, whose time stop the session's fills replace."""
        return self.terms._replace(max_bars=np.inf) if PRICE in self.causes else self.terms


def fold(rules: "Bundle", fills: pd.DataFrame, funding: pd.DataFrame, bars: pd.DataFrame) -> float:
    """Equity at the last bar of an account that made these fills and payments and nothing else: what its books should say."""
    from quantalpha.perp import clock

    fixed, table, state = terms(rules.account, rules.costs, rules.stops), tiers(rules.account)[0][1], fresh(rules.account)
    happened = pd.concat([funding.assign(first=0), fills.assign(first=1)]).sort_values(["time", "first"], kind="stable")
    for what in happened.itertuples():
        if what.first == 0:
            state = state._replace(cash=state.cash + what.amount)
        else:
            state, _ = clock.book(state, fixed, table, clock.ORDER, what.quantity, what.price, what.fee, 0.0)
    last = bars.iloc[-1]
    return clock.equity_at(state, fixed, last["close"] if pd.isna(last.get("mark", np.nan)) else last["mark"])
