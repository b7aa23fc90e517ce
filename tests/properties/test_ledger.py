"""Laws of the money: nothing appears or vanishes, nothing falls below zero, the ledger is the simulator."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Fill, Ledger, Stops, liquidation_price, maintenance_margin, round_quantity
from quantalpha.schema import epoch_ms, from_epoch_ms

COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)


def market(rng, n, volatility):
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, n) * volatility))
    open_ = np.append(100.0, close[:-1]) * np.exp(rng.normal(0, volatility, n) * (rng.random(n) < 0.2))
    high, low = np.maximum(open_, close) * (1 + rng.random(n) * volatility), np.minimum(open_, close) * (1 - rng.random(n) * volatility)
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": 1.0, "mark": close * (1 + rng.normal(0, 1e-3, n))}
    bars = pd.DataFrame(columns, index=from_epoch_ms(np.arange(n) * 60_000))
    return bars.assign(funding_rate=np.where(rng.random(n) < 0.2, rng.normal(0, 1e-3, n), 0.0))


def targets(rng, n, leverage):
    held = np.maximum.accumulate(np.arange(n) * (rng.random(n) < 0.25))
    return rng.choice([0.0, 1.0, -1.0, leverage, -leverage, 0.37], n)[held]


def step(ledger, time, bar, mark_before):
    """One bar through the ledger: its events and its equity."""
    events = ledger.open_bar(time, bar["open"], mark_before, bar["funding_rate"])
    events += ledger.inside_bar(time, bar["open"], bar["high"], bar["low"])
    return events, ledger.close_bar(bar["close"], bar["mark"])


accounts = st.builds(
    Account,
    initial_cash=st.just(10_000.0),
    leverage=st.sampled_from([1.0, 5.0, 50.0]),
    margin_mode=st.sampled_from(["cross", "isolated"]),
    lot=st.sampled_from([0.0, 0.001, 0.7]),
)
stops = st.builds(Stops, stop_loss=st.sampled_from([None, 0.02]), take_profit=st.sampled_from([None, 0.03]))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, account=accounts, stops=stops, volatility=st.sampled_from([0.003, 0.03]))
def test_money_is_conserved_and_never_negative(seed, account, stops, volatility):
    rng = np.random.default_rng(seed)
    ledger, before = Ledger(account, COSTS, stops), None
    bars = market(rng, 500, volatility)
    for time, bar, target in zip(epoch_ms(bars.index), bars.to_dict("records"), targets(rng, 500, account.leverage)):
        cash, quantity = ledger.cash, ledger.quantity
        events, equity = step(ledger, time, bar, before)
        flows = sum(event.realised - event.fee if isinstance(event, Fill) else event.amount for event in events)
        traded = sum(event.quantity for event in events if isinstance(event, Fill))
        assert ledger.cash == pytest.approx(cash + flows, rel=1e-9, abs=1e-9)
        assert ledger.quantity == pytest.approx(quantity + traded, rel=1e-9, abs=1e-9)
        assert equity >= 0.0 and (ledger.quantity != 0.0 or ledger.cash >= 0.0)
        if account.margin_mode == "cross":
            marked = ledger.cash + ledger.quantity * (bar["mark"] - ledger.entry_price)
            assert equity == pytest.approx(max(marked, 0.0), rel=1e-9, abs=1e-9)
        before = bar["mark"]
        ledger.decide(target, bar["close"], bar["mark"])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, account=accounts, stops=stops, volatility=st.sampled_from([0.003, 0.03]))
def test_the_ledger_stepped_through_json_is_the_simulator_bit_for_bit(seed, account, stops, volatility):
    rng = np.random.default_rng(seed)
    bars = market(rng, 300, volatility)
    target = pd.Series(targets(rng, 300, account.leverage), index=bars.index)
    ledger, events, equity, before = Ledger(account, COSTS, stops), [], [], None
    for time, bar, wanted in zip(epoch_ms(bars.index), bars.to_dict("records"), target):
        happened, value = step(ledger, time, bar, before)
        ledger.decide(wanted, bar["close"], bar["mark"])
        events, equity, before = events + happened, [*equity, value], bar["mark"]
        saved = json.loads(json.dumps(ledger.state()))
        ledger = Ledger(account, COSTS, stops)
        ledger.restore(saved)
    result = simulate(bars, target, account=account, costs=COSTS, stops=stops)
    assert result.equity.tolist() == equity
    fills = [(e.time, e.quantity, e.price, e.fee, e.realised, e.reason) for e in events if isinstance(e, Fill)]
    times = epoch_ms(pd.DatetimeIndex(result.fills["time"])).tolist()
    assert list(zip(times, *(result.fills[name].tolist() for name in ("quantity", "price", "fee", "realised", "reason")))) == fills
    paid = [(e.amount, e.rate, e.mark, e.quantity) for e in events if not isinstance(e, Fill)]
    assert list(result.funding[["amount", "rate", "mark", "quantity"]].itertuples(index=False, name=None)) == paid
    assert ledger.state() == result.final._asdict()


@settings(max_examples=300, deadline=None)
@given(
    quantity=st.floats(0.001, 1e5),
    side=st.sampled_from([1.0, -1.0]),
    entry=st.floats(0.01, 1e5),
    leverage=st.floats(1.0, 125.0),
    margin_mode=st.sampled_from(["cross", "isolated"]),
)
def test_equity_meets_maintenance_at_the_liquidation_price(quantity, side, entry, leverage, margin_mode):
    account = Account(1.0, leverage, margin_mode)
    margin = quantity * entry / leverage
    cash = margin * (3.0 if margin_mode == "isolated" else 1.0)
    price = liquidation_price(side * quantity, entry, cash, account)
    left = margin + side * quantity * (price - entry)
    if price == 0.0:
        assert side > 0.0 and left >= 0.0
    else:
        assert left == pytest.approx(maintenance_margin(quantity * price, account.brackets), rel=1e-6, abs=1e-9 * quantity * entry)


@settings(max_examples=500, deadline=None)
@given(quantity=st.floats(-1e6, 1e6), lot=st.sampled_from([0.001, 0.1, 0.3, 1.0, 5.0, 0.025]))
def test_rounding_is_toward_zero_within_a_lot_and_idempotent(quantity, lot):
    rounded = round_quantity(quantity, lot)
    assert abs(rounded) <= abs(quantity) * (1 + 1e-12) and abs(quantity) - abs(rounded) < lot * (1 + 1e-9) + 1e-9
    assert rounded * quantity >= 0.0 and round_quantity(rounded, lot) == rounded == -round_quantity(-quantity, lot)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_money_has_no_unit(seed, factor):
    """Prices and quantities of another size, by a power of two: the same path, bit for bit, where no bracket or lot has a say."""
    rng = np.random.default_rng(seed)
    bars = market(rng, 200, 0.01)
    target = pd.Series(targets(rng, 200, 4.0), index=bars.index)
    one, other = (Account(cash, 4.0, brackets=((0.0, 0.005),)) for cash in (10_000.0, 10_000.0 * factor))
    scaled = simulate(bars, target, account=other, costs=COSTS, stops=Stops(0.03, 0.05))
    assert (scaled.equity / factor).tolist() == simulate(bars, target, account=one, costs=COSTS, stops=Stops(0.03, 0.05)).equity.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_longs_and_shorts_mirror_each_other(seed):
    """Prices reflected about 1000 and the target turned round: the same profit, for a position that costs nothing and is never closed."""
    rng = np.random.default_rng(seed)
    n, free = 200, Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)
    walk = 1000.0 + np.cumsum(rng.integers(-2, 3, n)) / 4.0
    open_, reach = np.append(1000.0, walk[:-1]), 0.25
    bars = pd.DataFrame({"open": open_, "high": np.maximum(open_, walk) + reach, "low": np.minimum(open_, walk) - reach, "close": walk})
    bars = bars.assign(volume=1.0).set_index(from_epoch_ms(np.arange(n) * 60_000))
    mirror = (2000.0 - bars[["open", "low", "high", "close"]]).set_axis(["open", "high", "low", "close"], axis=1).assign(volume=1.0)
    entries = pd.Series([1.0, 1.0], index=bars.index[[0, 1]])  # decided once, at 1000 in both
    bars.iloc[0, :4] = mirror.iloc[0, :4] = [1000.0, 1000.25, 999.75, 1000.0]
    up = simulate(bars, entries, account=Account(64_000.0), costs=free)
    down = simulate(mirror, -entries, account=Account(64_000.0), costs=free)
    assert up.equity.tolist() == down.equity.tolist()
