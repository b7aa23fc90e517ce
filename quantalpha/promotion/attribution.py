"""The money between a session and its backtest, split by cause: additive, by re-running the account with one more cause at a time.

    backtest: the bars as the venue tells them now, the bundle's decisions, its costs
      + data revision        the bars as the session recorded them
      + missed bars          without those it never had
      + model version        decided by the bundles that ran
      + feature drift        decided as recorded: the same bundle saw other numbers
      + risk vetoes          orders refused are not sent, positions a switch flattened are gone
      + protective stop      out where the stop of risk.per_trade rests and the model has none, until a decision brings the position back
      + late bars            orders decided on a late bar reach the market when, and at the price, they did
      + decision timing      so do the others
      + fill price           slippage as measured, the part that was filled, stops where they happened
      + fee, + funding       as charged and paid
      = everything that the journal explains; what is left to the session's own equity is unexplained

The order is that of cause and effect: a bar is known before it is decided on, decided before it is judged, sent before it is filled. A
part is thus what its cause did given all that came before it, with everything that followed (an order is sized by the equity that is left).
Causes act on each other, so another `order` splits otherwise: benchmarks/attribution.py measures by how much.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from itertools import accumulate

import numpy as np
import pandas as pd

from quantalpha.bundle import Bundle
from quantalpha.promotion import counterfactual
from quantalpha.promotion.counterfactual import (
    DATA,
    FEATURES,
    FEE,
    FUNDING,
    LATE,
    MISSED,
    MODEL,
    PRICE,
    PROTECTION,
    TIMING,
    UNEXPLAINED,
    VETOES,
    World,
)  # fmt: skip
from quantalpha.promotion.decided import Decided
from quantalpha.promotion.evidence import Market, Reviewed, Touched, executions, market, session_of, touched
from quantalpha.promotion.reconcile import TOLERANCE, Recorded, correlation

ORDER = (DATA, MISSED, MODEL, FEATURES, VETOES, PROTECTION, LATE, TIMING, PRICE, FEE, FUNDING)


@dataclass(frozen=True)
class Part:
    """One cause. money: quote currency, + the session has more than its backtest; touched: bars, orders or payments where it shows."""

    cause: str
    money: float
    touched: int = 0
    first: dict = field(default_factory=dict)  # time, what; empty where there is none


@dataclass(frozen=True)
class Attribution:
    """`parts` add up to `session` - `backtest`, the equities at the close of the last bar decided on; `left`: the session's when it ended.
    `asked`: whether the venue told its bars again; without that neither revised nor missed bars can be seen. `books`: the part of what is
    unexplained that the session's own books differ from its fills."""

    backtest: float
    session: float
    left: float
    parts: list[Part]
    books: float
    correlation: float | None  # of the two equity curves
    asked: bool

    @property
    def gap(self) -> float:
        return self.session - self.backtest

    @property
    def agrees(self) -> bool:
        """No cause has moved any money, to 1e-9."""
        return all(abs(part.money) <= TOLERANCE for part in self.parts)

    @property
    def unexplained(self) -> float:
        """Share of all parts' sizes; 0 where there is no gap."""
        whole = sum(abs(part.money) for part in self.parts)
        return 0.0 if whole <= TOLERANCE else abs(self.parts[-1].money) / whole

    @property
    def largest(self) -> str | None:
        """The cause that moved most; None where none did."""
        part = max(self.parts, key=lambda part: abs(part.money))
        return part.cause if abs(part.money) > TOLERANCE else None

    def to_dict(self) -> dict:
        told = {"gap": self.gap, "agrees": self.agrees, "largest": self.largest, "unexplained": self.unexplained}
        return told | asdict(self)

    def rows(self) -> list[dict]:
        """The table a person reads: one row a cause."""
        whole = sum(abs(part.money) for part in self.parts)
        return [
            {"cause": part.cause, "money": part.money, "share": 0.0 if whole == 0.0 else abs(part.money) / whole, "touched": part.touched}
            | {"first": "{time}: {what}".format(**part.first) if part.first else ""}
            for part in self.parts
        ]


def attribute(
    bundle: Bundle,
    recorded: Recorded,
    reviewed: Reviewed,
    *,
    bars_now: pd.DataFrame | None = None,
    ran: Sequence[Bundle] = (),
    venue: bool = False,
    order: Sequence[str] = ORDER,
) -> Attribution:
    """Why a session's final equity is not its backtest's.

    bundle: what should have run, its account with the session's capital. bars_now: the recorded bars downloaded again, those it missed
    among them. ran: the bundles that did run, where they were others. venue: the account was at a venue, not on paper.
    """
    end, left = recorded.decisions.index[-1], float(recorded.equity["equity"].iloc[-1])
    recorded, bars = _until(recorded, end), market(recorded.bars.loc[:end], bars_now, venue=venue)
    case = _Case(bundle, recorded, reviewed, bars, ran)
    paths = {}

    def final(causes: Set[str]) -> float:
        if causes not in paths:
            paths[causes] = case.equity(causes)
        return float(paths[causes].iloc[-1])

    found = case.touched
    present = [cause for cause in order if found[cause].count or cause == PRICE and case.session.forced]
    shares = _shares(present, final)
    held = recorded.equity["equity"]
    books = float(held.iloc[-1]) - counterfactual.fold(case.decided.rules, recorded.fills, recorded.funding, bars.account)
    rest = float(held.iloc[-1]) - final(frozenset(present))
    parts = [_part(cause, shares, found) for cause in ORDER if cause != LATE]
    parts.append(Part(UNEXPLAINED, rest))
    backtest = paths[frozenset()]
    return Attribution(
        float(backtest.iloc[-1]), float(held.iloc[-1]), left, parts, books, correlation(held, backtest), bars_now is not None
    )


def order_table(bundle: Bundle, recorded: Recorded, reviewed: Reviewed) -> pd.DataFrame:
    """Every order of a session, what it cost and what was expected; columns as `evidence.executions`."""
    return executions(bundle, reviewed, recorded.bars.loc[: recorded.decisions.index[-1]])


def _until(recorded: Recorded, end: pd.Timestamp) -> Recorded:
    fills, funding = (frame[frame["time"] <= end] for frame in (recorded.fills, recorded.funding))
    return Recorded(recorded.bars.loc[:end], recorded.decisions, recorded.refusals, fills, funding, recorded.equity.loc[:end])


def _shares(causes: Sequence[str], final) -> dict[str, float]:
    """What each cause adds to the final equity when they are put in force one after the other."""
    sets = [frozenset(), *accumulate((frozenset([cause]) for cause in causes), frozenset.union)]
    values = [final(chosen) for chosen in sets]
    return dict(zip(causes, np.diff(values).tolist()))


def _part(cause: str, shares: Mapping[str, float], found: Mapping[str, Touched]) -> Part:
    """Late bars are told with the missed ones."""
    steps = (MISSED, LATE) if cause == MISSED else (cause,)
    first = min((found[step].first for step in steps if found[step].first), key=lambda first: first["time"], default={})
    return Part(cause, sum(shares.get(step, 0.0) for step in steps), sum(found[step].count for step in steps), first)


class _Case:
    """One session: its account under any set of causes."""

    def __init__(self, bundle: Bundle, recorded: Recorded, reviewed: Reviewed, bars: Market, ran: Sequence[Bundle]):
        self.bundle, self.bars = bundle, bars
        self.decided = Decided(bundle, recorded.decisions, reviewed.signals, bars, ran)
        orders = executions(self.decided.rules, reviewed, bars.account)
        self.session = session_of(orders, recorded, reviewed, bars.account, self.decided.rules.stops)
        self.touched = touched(orders, self.session, reviewed, bars) | self.decided.touched()

    def equity(self, causes: Set[str]) -> pd.Series:
        """The account's path with these causes as in the session."""
        lived = self.bars.table(revised=DATA in causes, missed=MISSED in causes and not self.bars.venue)
        rules = self.decided.rules if MODEL in causes else self.bundle
        return counterfactual.equity(World(lived, self.decided.under(causes), rules, self.session, causes))
