"""Recorded bars through the runner give the backtest's decisions, fills, funding and equity: the same bits, which is more than 1e-9."""

import math

import numpy as np
import pandas as pd
import pytest
import small_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.backtest import simulate
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Account, Costs, Stops
from quantalpha.runner import Request, feed, recorded, run_replay
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import EquityEvent, FillEvent, FundingEvent, OrderEvent
from quantalpha.runner.risk import standard
from quantalpha.strategy.policy import edge

HOUR = 3_600_000
FILL = ["time", "quantity", "price", "fee", "realised", "reason"]
FUNDING = ["time", "amount", "rate", "mark", "quantity"]


class Kept(list):
    """A journal in memory."""

    def append(self, event):
        super().append(event)
        return event

    def commit(self):
        """Everything is kept at once."""


def assert_same(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False, check_freq=False, check_names=False)


def assert_identical(bundle, bars, params, folder):
    """Replays `bars` and holds every record against research; returns the research result."""
    features = bundle.features.compute(bars)
    edges = pd.Series(edge(bundle.model.predict(features.to_numpy())), index=bars.index)
    target = bundle.policy.targets(edges)
    result = simulate(bars, target, account=bundle.account, costs=bundle.costs, stops=bundle.stops)
    summary = run_replay(bundle, params, bars, Request(sessions=folder))
    session = recorded(folder / summary.session)
    assert_same(session["decisions"][["edge", "target"]], pd.DataFrame({"edge": edges, "target": target}))
    assert_same(session["fills"][FILL], result.fills[FILL])
    assert_same(session["funding"][FUNDING], result.funding[FUNDING])
    assert_same(session["equity"][["equity"]], result.equity.to_frame("equity"))
    assert summary.cash == result.final.cash and summary.positions == {bundle.symbol: result.final.quantity}
    assert_same(session["bars"], bars[list(session["bars"].columns)])
    return result


@pytest.fixture(scope="module")
def tape():
    """Three months of synthetic hours with funding, marks, a crash and a few hours missing."""
    params = small_bundle.params("synthetic.bars=2200", "synthetic.edge={BTCUSDT: 0.05}")
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    keep = np.ones(len(bars), bool)
    keep[[700, 1100, 1101, 1102, 1500]] = False
    return bars[keep]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["stops.stop_loss=0.01", "stops.take_profit=0.015"],
        ["policy.leverage=20", "account.leverage=20", "account.margin_mode=isolated", "stops.stop_loss=0.03"],
        ["policy.leverage=50", "account.leverage=50", "account.lot=0", "account.initial_cash=1e6"],
    ],
    ids=["plain", "stops", "isolated", "liquidations"],
)
def test_a_synthetic_tape(tape, overrides, tmp_path):
    params = small_bundle.params(*overrides)
    bundle = small_bundle.build(tmp_path / "bundles", tape, params)
    result = assert_identical(bundle, tape, params, tmp_path / "sessions")
    assert len(result.fills) >= 10 and len(result.funding) >= 2
    reasons = set(result.fills["reason"])
    assert {"stop_loss", "take_profit"} <= reasons if "stops.take_profit=0.015" in overrides else "order" in reasons
    assert "liquidation" in reasons if "policy.leverage=50" in overrides else True


def test_a_venue_without_marks(tape, tmp_path):
    bars = tape.drop(columns="mark")
    bundle = small_bundle.build(tmp_path / "bundles", bars, small_bundle.params())
    assert len(assert_identical(bundle, bars, small_bundle.params(), tmp_path / "sessions").fills) > 20


@pytest.mark.real
def test_a_real_month(shared_data, tmp_path):
    """BTCUSDT perpetual, March 2024 in 5-minute bars with its real funding; the model is trained on January."""
    bars = pd.read_parquet(shared_data / "binance_um_BTCUSDT_5m.parquet").set_index("timestamp")
    rates = pd.read_parquet(shared_data / "binance_um_BTCUSDT_funding_8h.parquet").set_index("timestamp")["funding_rate"]
    rates = rates.groupby(rates.index.floor("5min")).sum()
    bars = bars[list(schema.REQUIRED)].astype(float).assign(funding_rate=rates.reindex(bars.index).fillna(0.0))
    params = small_bundle.params("policy.enter=0.03")
    bundle = small_bundle.build(tmp_path / "bundles", bars.loc["2024-01"], params, timeframe="5m")
    result = assert_identical(bundle, bars.loc["2024-03"], params, tmp_path / "sessions")
    assert len(result.fills) > 50 and len(result.funding) > 5


class Script:
    """The targets given, one a bar."""

    fingerprint, novelty = "", math.nan

    def __init__(self, targets):
        self.targets = iter(targets)

    def observe(self, bar):
        pass

    def decide(self, previous):
        return 0.0, next(self.targets)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    wildness=st.floats(0.002, 0.2),
    stop=st.sampled_from([None, 0.005, 0.05]),
    margin_mode=st.sampled_from(["cross", "isolated"]),
    band=st.sampled_from([None, 0.05, 0.6]),
    delay=st.sampled_from([0, 2]),
    max_bars=st.sampled_from([None, 3]),
)
def test_any_targets_on_any_tape(seed, wildness, stop, margin_mode, band, delay, max_bars):
    rng = np.random.default_rng(seed)
    bars = wild_bars(rng, 40, wildness)
    targets = np.repeat(rng.choice([-9.9, -1.0, 0.0, 0.5, 0.52, 9.9], len(bars)), rng.integers(1, 5, len(bars)))[: len(bars)]
    account = Account(1000.0, 10.0, margin_mode, lot=0.001, rebalance_band=band)
    costs, stops = Costs(0.0002, 0.0005, 0.0001, 0.0125, delay=delay), Stops(stop, stop, stop, max_bars)
    result = simulate(bars, pd.Series(targets, index=bars.index), account=account, costs=costs, stops=stops)
    events, strategy = Kept(), Strategy("test", "BTCUSDT", Script(targets))
    engine = Engine([strategy], PaperBroker("BTCUSDT", account, costs, stops), Gates(standard(10.0)), events, lambda: 0)
    for event in feed.replay(bars, "BTCUSDT", HOUR):
        engine.feed(event)
    assert [event.equity for event in events if isinstance(event, EquityEvent)] == result.equity.tolist()
    assert [event.price for event in events if isinstance(event, FillEvent)] == result.fills["price"].tolist()
    assert [event.amount for event in events if isinstance(event, FundingEvent)] == result.funding["amount"].tolist()
    assert engine.broker.ledger.state() == result.final._asdict()
    orders = {event.client_id for event in events if isinstance(event, OrderEvent)}
    named = [event.client_id for event in events if isinstance(event, FillEvent) and event.reason == "order"]
    assert len(set(named)) == len(named) and set(named) <= orders, "an order fills once, under its own name"
    assert all(event.client_id is None for event in events if isinstance(event, FillEvent) and event.reason != "order")


def wild_bars(rng, n, wildness):
    """Hours with gaps in time and price, some without a mark."""
    close = 100 * np.exp(np.cumsum(rng.normal(0, wildness, n)))
    start = close * np.exp(rng.normal(0, wildness / 2, n))
    stretch = np.exp(np.abs(rng.normal(0, wildness, (2, n))))
    index = schema.from_epoch_ms(HOUR * np.cumsum(rng.integers(1, 3, n)))
    prices = {"open": start, "high": np.maximum(start, close) * stretch[0], "low": np.minimum(start, close) / stretch[1], "close": close}
    mark = np.where(rng.random(n) < 0.3, np.nan, close * np.exp(rng.normal(0, 0.002, n)))
    rate = np.where(rng.random(n) < 0.3, rng.normal(0, 0.001, n), 0.0)
    return pd.DataFrame({**prices, "volume": 1.0, "mark": mark, "funding_rate": rate}, index=index)
