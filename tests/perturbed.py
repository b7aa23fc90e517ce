"""Sessions with something wrong: the engine over a synthetic tape, with causes of a gap put in at random places and sizes.

The tampering is done where it would happen in life (the bars that arrive, the features shown to the model, the broker's prices, the venue's
rates), so that all that follows from it, sizes of later orders included, is the engine's and the ledger's own.
"""

import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import small_bundle

from quantalpha import features, runner
from quantalpha.bundle import Bundle
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Stops
from quantalpha.promotion import counterfactual as cause
from quantalpha.promotion.evidence import Reviewed
from quantalpha.promotion.reconcile import Recorded, research_edges
from quantalpha.runner import feed, risk
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import FillEvent, InstructionEvent, MarketCloseEvent, ValidatedOrderEvent, WalkedEvent
from quantalpha.runner.journal import FILE, Journal
from quantalpha.runner.review import reviewed
from quantalpha.schema import epoch_ms

STEP = 3_600_000
PROTECTIVE = "protective stop"  # is put into sessions of models without a stop-loss


@dataclass
class Play:
    """What a session lives on, and what is done to it. By open time (ms): of the bar decided on, of the bar where funding is due."""

    expected: Bundle
    bars: pd.DataFrame  # as they arrive, warm-up first
    now: pd.DataFrame  # as the venue tells them today
    start: int  # open time of the first bar decided on
    sealed: Bundle  # what ran, as it was sealed
    ran: Bundle  # and with the costs it met
    shown: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table  # what becomes of the features
    delays: Mapping[int, float] = field(default_factory=dict)  # of a bar, until the order reaches the market
    late: Mapping[int, float] = field(default_factory=dict)  # of a bar, until the close is heard of; its order is as late
    slips: Mapping[int, float] = field(default_factory=dict)  # fraction paid beyond the model's slippage
    shares: Mapping[int, float] = field(default_factory=dict)  # of the order that is filled
    rates: Mapping[int, float] = field(default_factory=dict)  # funding rate paid instead
    refused: Set[int] = frozenset()
    protected: float | None = None  # fraction of the entry price at which a stop rests that the model does not have
    walk: float | None = None  # fraction that orders pay in the displayed book, whose mid is the next open; None: nobody walks it


class Decider:
    """Decides what the batch code would, on features that may have been tampered with."""

    def __init__(self, play: Play):
        table = play.shown(play.ran.features.compute(play.bars))
        edges = research_edges(play.ran, table)
        self.rows = {time: (edge, row) for time, edge, row in zip(epoch_ms(table.index).tolist(), edges.tolist(), table.to_numpy())}
        self.policy, self.fingerprint, self.novelty = play.ran.policy, "", 0.0

    def observe(self, bar: MarketCloseEvent) -> None:
        self.bar = bar.bar

    def decide(self, previous: float) -> tuple[float, float]:
        edge, row = self.rows[self.bar]
        self.fingerprint = features.fingerprint(row)
        return edge, self.policy.step(edge, previous)


class Broker(PaperBroker):
    """Fills late, dearly or in part, and settles other rates than the bars say."""

    def __init__(self, play: Play):
        stops = play.ran.stops if play.protected is None else replace(play.ran.stops, stop_loss=play.protected)
        super().__init__(play.ran.symbol, play.ran.account, play.ran.costs, stops)
        self.play, self.slippage = play, play.ran.costs.slippage
        self.bars = dict(zip(epoch_ms(play.bars.index).tolist(), play.bars.itertuples()))

    def opened(self, bars):
        (bar,), play, symbol = bars, self.play, self.symbols[0]
        decided, name = self._last[symbol].bar if symbol in self._last else None, self._waiting.get(symbol)
        delay = min(play.delays.get(decided, 0.0) + play.late.get(decided, 0.0), 1.0)
        price = bar.open + delay * (self.bars[bar.bar].close - bar.open)
        state = self.ledger._state
        share, lot = play.shares.get(decided), play.ran.account.lot or 1e-9
        if share is not None:
            self.ledger._state = state._replace(order=round(state.order * share / lot) * lot)
        side, usual = np.sign(state.order), self.slippage
        quoted = price * (1 + side * (usual + play.slips.get(decided, 0.0))) / (1 + side * usual)
        events = super().opened([replace(bar, open=quoted, funding_rate=play.rates.get(bar.bar, bar.funding_rate))])
        filled = [event for event in events if isinstance(event, FillEvent) and event.client_id == name]
        return [*(self._said(event, bar, delay, price) for event in filled if delay), *events]

    def send(self, instruction):
        """It was carried out already."""

    def _said(self, fill, bar, delay, price):
        when = {"event_time": bar.event_time, "recv_time": bar.bar + int(delay * STEP), "symbol": bar.symbol, "bar": bar.bar}
        what = {"client_id": f"{fill.client_id}-0"[:36], "parent": fill.client_id, "action": "place", "kind": "market"}
        return InstructionEvent(**when, **what, quantity=fill.quantity, price=None, reduce_only=False, reference=price)


@dataclass(frozen=True)
class Refuse:
    """A check that says no at these bars."""

    bars: Set[int]

    def __call__(self, order, account):
        return risk.Refusal("vetoed", {}) if order.bar in self.bars else None


def play(case: Play) -> tuple[Recorded, Reviewed]:
    """The session's frames."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / FILE, "s", batch=4096)
        usual = risk.standard(case.ran.account.leverage)
        checks = replace(usual, always=(*usual.always, Refuse(case.refused)))
        strategy = Strategy(case.ran.id, case.ran.symbol, Decider(case))
        broker = Broker(case)
        engine = Engine([strategy], broker, Gates(checks), journal, lambda: engine.last["MarketClose"].recv_time)
        warm = case.bars[epoch_ms(case.bars.index) < case.start]
        for event in feed.replay(warm, case.ran.symbol, STEP, warm_up=True):
            engine.feed(event)
        for event in feed.replay(case.bars.iloc[len(warm) :], case.ran.symbol, STEP):
            heard = case.late.get(event.bar, 0.0) if isinstance(event, MarketCloseEvent) else 0.0
            for order in [] if case.walk is None else list(broker.unpriced.values()):
                engine.feed(_walked(order, event.open, case.walk))
            engine.feed(replace(event, recv_time=event.recv_time + int(heard * STEP)))
        journal.close()
        return Recorded(**runner.recorded(Path(folder))), Reviewed(**reviewed(Path(folder)))


def _walked(order: ValidatedOrderEvent, mid: float, paid: float) -> WalkedEvent:
    when = {"event_time": order.event_time, "recv_time": order.recv_time, "symbol": order.symbol, "bar": order.bar}
    price = mid * (1.0 + float(np.sign(order.quantity)) * paid)
    return WalkedEvent(**when, client_id=order.client_id, quantity=order.quantity, price=price, mid=mid, displayed=1.0)


class Kit:
    """A tape, two bundles trained on it, and honest sessions of it."""

    def __init__(self, folder: Path, bars: int = 1500):
        self.params = small_bundle.params(f"synthetic.bars={bars}", "synthetic.edge={BTCUSDT: 0.05}", "policy.enter=0.04")
        self.tape = synthetic_bars("BTCUSDT", self.params.synthetic)
        self.bundle = small_bundle.build(folder, self.tape, self.params)
        self.other = small_bundle.build(folder, self.tape.iloc[: bars // 2], self.params)

    def honest(self, first: int, bars: int, stops: Stops | None = None) -> Play:
        """`bars` decisions from the `first` bar of the tape on, behind the warm-up."""
        cut = self.tape.iloc[first - self.bundle.features.lookback : first + bars]
        bundle = replace(self.bundle, stops=stops or self.bundle.stops)
        return Play(bundle, cut, cut, int(epoch_ms(self.tape.index)[first]), bundle, bundle)


def decided(case: Play) -> np.ndarray:
    """Open times of the bars whose orders an honest session sends."""
    orders = play(case)[1].orders
    return epoch_ms(orders.index)


def traded(case: Play) -> pd.DataFrame:
    return case.bars[epoch_ms(case.bars.index) >= case.start]


def some(rng, times: np.ndarray, least: float = 0.3) -> np.ndarray:
    """A random share of them, at least one."""
    chosen = rng.random(len(times)) < rng.uniform(least, 1.0)
    chosen[rng.integers(len(times))] = True
    return times[chosen]


def revise(case: Play, rng) -> Play:
    """Recorded candles were other than today's."""
    bars, rows = case.bars.copy(), rng.choice(len(traded(case)) - 1, rng.integers(1, 6), replace=False) + len(case.bars) - len(traded(case))
    for row in rows:
        moved = bars.iloc[row, :].copy()
        moved["close"] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.005, 0.04)
        moved["high"], moved["low"] = max(moved["high"], moved["close"]), min(moved["low"], moved["close"])
        moved["volume"] *= rng.uniform(0.5, 2.0)
        bars.iloc[row] = moved
    return replace(case, bars=bars)


def miss(case: Play, rng) -> Play:
    """Bars that never came, one by one or in a row."""
    rows = np.arange(1, len(traded(case)) - 1) + len(case.bars) - len(traded(case))
    first, count = rng.integers(len(rows) - 10), rng.integers(1, 9)
    gone = rows[first : first + count] if rng.random() < 0.5 else rng.choice(rows, count, replace=False)
    return replace(case, bars=case.bars.drop(case.bars.index[gone]))


def drift(case: Play, rng) -> Play:
    """A feature computed otherwise for a while."""
    lookback, count = len(case.bars) - len(traded(case)), len(traded(case))
    first, length = rng.integers(count // 2), rng.integers(count // 10, count // 2)
    column, factor = rng.integers(4), rng.uniform(-3.0, 3.0)

    def shown(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table.iloc[lookback + first : lookback + first + length, column] *= factor
        return table

    return replace(case, shown=shown)


def veto(case: Play, rng) -> Play:
    return replace(case, refused=frozenset(some(rng, decided(case), 0.05).tolist()))


def protect(case: Play, rng) -> Play:
    """A stop that the model does not have, as it rests at every venue."""
    assert case.ran.stops.stop_loss is None, "where the model has a stop-loss no other one rests"
    return replace(case, protected=rng.uniform(0.004, 0.02))


def delay(case: Play, rng) -> Play:
    return replace(case, delays={time: rng.uniform(0.05, 1.0) for time in some(rng, decided(case)).tolist()})


def lag(case: Play, rng) -> Play:
    return replace(case, late={time: rng.uniform(0.06, 1.0) for time in some(rng, decided(case)).tolist()})


def worsen(case: Play, rng) -> Play:
    return replace(case, slips={time: rng.uniform(1e-4, 3e-3) for time in some(rng, decided(case)).tolist()})


def part(case: Play, rng) -> Play:
    return replace(case, shares={time: rng.uniform(0.2, 0.95) for time in some(rng, decided(case), 0.1).tolist()})


def charge(case: Play, rng) -> Play:
    costs = case.ran.costs
    return replace(case, ran=replace(case.ran, costs=replace(costs, taker=costs.taker * rng.uniform(1.2, 5.0))))


def settle(case: Play, rng) -> Play:
    due = traded(case)["funding_rate"]
    return replace(case, rates={int(time): rng.normal(0, 1e-3) for time in some(rng, epoch_ms(due.index[due != 0.0])).tolist()})


INJECTIONS = {  # from cause to effect
    "revised candle": (cause.DATA, revise),
    "missed bars": (cause.MISSED, miss),
    "other model": (cause.MODEL, None),
    "feature drift": (cause.FEATURES, drift),
    "risk vetoes": (cause.VETOES, veto),
    PROTECTIVE: (cause.PROTECTION, protect),
    "late bars": (cause.MISSED, lag),
    "late decisions": (cause.TIMING, delay),
    "worse fills": (cause.PRICE, worsen),
    "partial fills": (cause.PRICE, part),
    "other fees": (cause.FEE, charge),
    "other funding": (cause.FUNDING, settle),
}


def inject(name: str, case: Play, *, seed: int, other: Bundle) -> Play:
    """The case with one more thing wrong, at random."""
    rng = np.random.default_rng(seed)
    if name == "other model":
        sealed = replace(other, costs=case.sealed.costs, stops=case.sealed.stops)
        return replace(case, sealed=sealed, ran=replace(sealed, costs=case.ran.costs))
    return INJECTIONS[name][1](case, rng)
