"""Laws of the money: nothing appears or vanishes, nothing falls below zero, units and names do not matter, time runs one way."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tapes import path, tape, with_limits
from terms import costs, costs_with, fixed_slippage, rules, stops

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Fill, Ledger, Slippage, Stops, liquidation_price, maintenance_margin, round_quantity
from quantalpha.perp.portfolio import Portfolio
from quantalpha.schema import epoch_ms, from_epoch_ms

CASH = 10_000.0
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)
FREE = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)
FILL = ["quantity", "price", "fee", "realised", "reason"]
seeds = st.integers(0, 2**32 - 1)
levels = st.sampled_from([1.0, 5.0, 50.0])
volatilities = st.sampled_from([0.003, 0.03])


def market(rng, n, volatility, leverage, *, limited=True, **terms):
    """Bars and a target that asks for all the leverage now and then."""
    bars = tape(rng, n, volatility, **terms)
    target = path(rng, bars.index, [0.0, 1.0, -1.0, leverage, -leverage, 0.37])
    return bars, with_limits(rng, target, bars, volatility) if limited else target


def markets(rng, n, volatility, leverage, symbols, **terms):
    """The same of several symbols, within the leverage together."""
    both = {s: market(rng, n, volatility, 1.0, **terms) for s in "ABC"[:symbols]}
    size = 0.99 * leverage / symbols
    targets = {s: target.assign(target=target["target"] * size) for s, (_, target) in both.items()}
    return {s: bars for s, (bars, _) in both.items()}, targets


def check_money(result, cash):
    """Cash = initial + realised - fees + funding, added up without rounding; equity is cash and open profit, never below zero."""
    flows = [*result.fills["realised"], *(-result.fills["fee"]), *result.funding["amount"]]
    scale = CASH + math.fsum(map(abs, flows))
    assert cash == pytest.approx(CASH + math.fsum(flows), abs=1e-9 * scale)
    assert (result.equity >= -1e-9 * scale).all()
    return scale


@settings(max_examples=80, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs, stops=stops, volatility=volatilities,
       funding=st.sampled_from([1e-3, 0.03]))  # fmt: skip
def test_money_is_conserved_and_never_negative(seed, leverage, terms, costs, stops, volatility, funding):
    bars, target = market(np.random.default_rng(seed), 400, volatility, leverage, funding=funding)
    result = simulate(bars, target, account=Account(CASH, leverage, **terms), costs=costs, stops=stops)
    scale = check_money(result, result.final.cash)
    assert result.trades["pnl"].sum() == pytest.approx(result.equity.iloc[-1] - CASH, abs=1e-9 * scale)
    flat = (result.position == 0.0).to_numpy()
    settled = result.fills.groupby("time")[["realised", "fee"]].sum().reindex(bars.index, fill_value=0.0)
    wallet = CASH + (settled["realised"] - settled["fee"]).cumsum()
    wallet += result.funding.groupby("time")["amount"].sum().reindex(bars.index, fill_value=0.0).cumsum()
    np.testing.assert_allclose(result.equity[flat], np.maximum(wallet[flat], 0.0), atol=1e-9 * scale)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs, stops=stops, volatility=volatilities,
       symbols=st.integers(1, 3), funding=st.sampled_from([1e-3, 0.03]))  # fmt: skip
def test_money_of_several_symbols_is_conserved_and_never_negative(seed, leverage, terms, costs, stops, volatility, symbols, funding):
    bars, targets = markets(np.random.default_rng(seed), 300, volatility, leverage, symbols, funding=funding, missing=0.02)
    result = simulate(bars, targets, account=Account(CASH, leverage, **terms), costs=costs, stops=stops)
    scale = check_money(result, result.legs["A"].final.cash)
    assert result.trades["pnl"].sum() == pytest.approx(result.equity.iloc[-1] - CASH, abs=1e-9 * scale)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs_with(fixed_slippage), stops=stops)
def test_fills_are_prices_the_bar_saw_in_whole_lots(seed, leverage, terms, costs, stops):
    """A taker within the bar, slippage aside; a maker never better than the bar (gapped through, he fills at his own worse limit)."""
    bars, target = market(np.random.default_rng(seed), 400, 0.02, leverage)
    fills = simulate(bars, target, account=Account(CASH, leverage, **terms), costs=costs, stops=stops).fills
    bar, price, buys = bars.loc[fills["time"]], fills["price"].to_numpy(), fills["quantity"].to_numpy() > 0.0
    low, high = bar["low"].to_numpy() * (1 - 1e-12), bar["high"].to_numpy() * (1 + 1e-12)
    maker = (fills["reason"] == "limit").to_numpy()
    slip = np.where(fills["reason"].isin(["limit", "take_profit", "liquidation"]), 0.0, costs.slippage)
    assert np.where(maker, np.where(buys, price >= low, price <= high), (price >= low * (1 - slip)) & (price <= high * (1 + slip))).all()
    if terms["lot"]:
        lots = fills[["quantity", "position"]].to_numpy() / terms["lot"]
        np.testing.assert_allclose(lots, np.rint(lots), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), volatility=volatilities)
def test_no_order_asks_for_more_than_its_target(seed, leverage, terms, volatility):
    ledger = Ledger(Account(CASH, leverage, **terms), COSTS)
    bars, target = market(np.random.default_rng(seed), 200, volatility, leverage, limited=False)
    before = None
    for time, bar in zip(bars.index, bars.to_dict("records")):
        step(ledger, time, bar, before)
        if time in target.index:
            order = ledger.decide(target[time], bar["close"], bar["mark"])
            wanted = abs(ledger.quantity + (order or 0.0)) * bar["close"]
            assert not order or wanted <= abs(target[time]) * ledger.equity * (1 + 1e-9) + 1e-9
        before = bar["mark"]


def said(target, index, account):
    """Target and limit at each of `index` where something is decided: an account that rebalances decides the last target again."""
    dense = target.reindex(index)
    dense = dense if account.rebalance_band is None else dense.assign(target=dense["target"].ffill())
    return dense.dropna(subset="target")


def step(ledger, time, bar, before, curve=None, between=lambda: None):
    """One bar through the ledger; its fills and payments."""
    at = epoch_ms(pd.DatetimeIndex([time]))[0]
    events = ledger.open_bar(at, bar["open"], before, bar["funding_rate"], curve)
    between()
    events += ledger.inside_bar(at, bar["open"], bar["high"], bar["low"], curve)
    between()
    ledger.close_bar(bar["close"], bar["mark"])
    between()
    return events


@settings(max_examples=40, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs, stops=stops, volatility=volatilities)
def test_the_ledger_killed_after_every_step_is_the_simulator_bit_for_bit(seed, leverage, terms, costs, stops, volatility):
    """State through JSON into a new ledger, four times a bar."""
    account = Account(CASH, leverage, **terms)
    bars, target = market(np.random.default_rng(seed), 150, volatility, leverage)
    curves = costs.slippage.curves(bars) if isinstance(costs.slippage, Slippage) else None
    decisions = said(target, bars.index, account)
    ledger, events, equity, before = Ledger(account, costs, stops), [], [], None

    def kill():
        nonlocal ledger
        saved = json.loads(json.dumps(ledger.state()))
        ledger = Ledger(account, costs, stops)
        ledger.restore(saved)

    class Mortal:
        def __getattr__(self, name):
            return getattr(ledger, name)

    for k, (time, bar) in enumerate(zip(bars.index, bars.to_dict("records"))):
        curve = None if curves is None else (curves[0][k], curves[1][k])
        events += step(Mortal(), time, bar, before, curve, kill)
        equity.append(ledger.equity)
        if time in decisions.index:
            value, limit = decisions.loc[time]
            ledger.decide(value, bar["close"], bar["mark"], None if math.isnan(limit) else limit)
            kill()
        before = bar["mark"]
    result = simulate(bars, target, account=account, costs=costs, stops=stops)
    assert result.equity.tolist() == equity
    fills = [(e.time, e.quantity, e.price, e.fee, e.realised, e.reason) for e in events if isinstance(e, Fill)]
    times = epoch_ms(pd.DatetimeIndex(result.fills["time"])).tolist()
    assert list(zip(times, *(result.fills[name].tolist() for name in FILL))) == fills
    paid = [(e.amount, e.rate, e.mark, e.quantity) for e in events if not isinstance(e, Fill)]
    assert list(result.funding[["amount", "rate", "mark", "quantity"]].itertuples(index=False, name=None)) == paid
    assert ledger.state() == result.final._asdict()


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    leverage=levels,
    terms=st.fixed_dictionaries(rules),
    costs=costs_with(fixed_slippage),
    stops=stops,
    symbols=st.integers(1, 3),
)
def test_the_portfolio_stepped_bar_by_bar_is_the_simulator_bit_for_bit(seed, leverage, terms, costs, stops, symbols):
    account = Account(CASH, leverage, **terms)
    bars, targets = markets(np.random.default_rng(seed), 120, 0.03, leverage, symbols, missing=0.05)
    decisions = {s: said(target, bars[s].index, account) for s, target in targets.items()}
    portfolio, events, equity, before = Portfolio(tuple(bars), account, costs, stops), [], [], {}
    for time in sorted(set().union(*(frame.index for frame in bars.values()))):
        now = {symbol: frame.loc[time] for symbol, frame in bars.items() if time in frame.index}
        open_, high, low, close = ({s: row[name] for s, row in now.items()} for name in ("open", "high", "low", "close"))
        at = int(time.timestamp() * 1000)
        events += portfolio.open_bar(at, open_, before, {s: row["funding_rate"] for s, row in now.items()})
        events += portfolio.inside_bar(at, open_, high, low)
        before = {s: row["mark"] for s, row in now.items() if not math.isnan(row["mark"])}
        events += portfolio.close_bar(at, close, before)
        equity.append(portfolio.equity)
        decided = {s: decisions[s].loc[time] for s in now if time in decisions[s].index}
        limits = {s: row["limit"] for s, row in decided.items() if not math.isnan(row["limit"])}
        portfolio.decide({s: row["target"] for s, row in decided.items()}, close, limits)
    result = simulate(bars, targets, account=account, costs=costs, stops=stops)
    assert result.equity.tolist() == equity
    for symbol in bars:
        fills = [[getattr(e, name) for name in FILL] for s, e in events if s == symbol and isinstance(e, Fill)]
        assert result.fills.loc[result.fills["symbol"] == symbol, FILL].to_numpy().tolist() == fills


@settings(max_examples=40, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs, stops=stops)
def test_a_portfolio_of_one_symbol_is_that_symbol_bit_for_bit(seed, leverage, terms, costs, stops):
    bars, target = market(np.random.default_rng(seed), 300, 0.02, leverage)
    terms = {"account": Account(CASH, leverage, **terms), "costs": costs, "stops": stops}
    one, among = simulate(bars, target, **terms), simulate({"A": bars}, {"A": target}, **terms)
    assert one.equity.tolist() == among.equity.tolist()
    for name in ("fills", "funding", "trades"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(among, name).drop(columns="symbol"), check_exact=True)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, stops=stops, costs=costs)
def test_the_order_of_the_symbols_does_not_matter(seed, stops, costs):
    """While none is liquidated, which reads the others in order."""
    bars, targets = markets(np.random.default_rng(seed), 200, 0.01, 2.0, 3)
    one, other = (
        simulate({s: bars[s] for s in names}, {s: targets[s] for s in names}, account=Account(CASH, 2.0), costs=costs, stops=stops)
        for names in ("ABC", "CAB")
    )
    assert one.liquidations.empty
    np.testing.assert_allclose(one.equity, other.equity, rtol=1e-9)
    assert sorted(one.fills["reason"]) == sorted(other.fills["reason"])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, stops=stops, costs=costs)
def test_isolated_symbols_add_up(seed, stops, costs):
    """Orders decided once, on the initial cash, whose margins the wallet can bear: each symbol lives as if alone, liquidated or not."""
    rng, account = np.random.default_rng(seed), Account(CASH, 10.0, "isolated")
    bars = {s: tape(rng, 150, 0.02) for s in "ABC"}
    targets = {s: pd.Series([rng.choice([-3.0, -1.0, 2.0, 3.0])], index=frame.index[:1]) for s, frame in bars.items()}
    together = simulate(bars, targets, account=account, costs=costs, stops=stops)
    alone = {s: simulate(bars[s], targets[s], account=account, costs=costs, stops=stops) for s in bars}
    profit = sum(result.equity - CASH for result in alone.values())
    np.testing.assert_allclose(together.equity - CASH, profit, atol=1e-9 * CASH)
    assert len(together.fills) == sum(len(result.fills) for result in alone.values())


@settings(max_examples=40, deadline=None)
@given(seed=seeds, factor=st.sampled_from([0.25, 2.0, 1024.0]), stops=stops, limited=st.booleans(), delay=st.integers(0, 2))
def test_money_has_no_unit(seed, factor, stops, limited, delay):
    """Prices, cash and notionals of another size, by a power of two: the same path, bit for bit."""
    bars, target = market(np.random.default_rng(seed), 200, 0.01, 4.0, limited=limited)
    money = ["open", "high", "low", "close", "mark"]
    greater = bars.assign(**{name: bars[name] * factor for name in money})
    limits = target.assign(limit=target["limit"] * factor) if limited else target
    costs = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125, delay=delay)
    one, other = (
        simulate(b, t, account=Account(CASH * k, 4.0, brackets=((0.0, 0.005), (9_000.0 * k, 0.02)), lot=0.001), costs=costs, stops=stops)
        for b, t, k in ((bars, target, 1.0), (greater, limits, factor))
    )
    assert (other.equity / factor).tolist() == one.equity.tolist()
    assert other.fills["quantity"].tolist() == one.fills["quantity"].tolist()


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_longs_and_shorts_mirror_each_other(seed):
    """Prices reflected about 1000, targets and funding turned round: the same profit where nothing costs and nothing closes."""
    rng, n = np.random.default_rng(seed), 200
    walk = 1000.0 + np.cumsum(rng.integers(-2, 3, n)) / 4.0
    open_, reach = np.append(1000.0, walk[:-1]), 0.25
    bars = pd.DataFrame({"open": open_, "high": np.maximum(open_, walk) + reach, "low": np.minimum(open_, walk) - reach, "close": walk})
    bars = bars.set_index(from_epoch_ms(np.arange(n) * 60_000))
    mirror = (2000.0 - bars[["open", "low", "high", "close"]]).set_axis(["open", "high", "low", "close"], axis=1)
    flow = rng.integers(-4, 5, n) / 64.0  # what a unit pays at each open
    entries = pd.Series([1.0, 1.0], index=bars.index[[0, 1]])  # decided once, at 1000 in both
    bars.iloc[0, :4] = mirror.iloc[0, :4] = [1000.0, 1000.25, 999.75, 1000.0]
    up, down = (
        simulate(b.assign(volume=1.0, funding_rate=side * flow / b["open"]), side * entries, account=Account(64_000.0), costs=FREE)
        for b, side in ((bars, 1.0), (mirror, -1.0))
    )
    np.testing.assert_allclose(up.equity, down.equity, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, stops=stops, what=st.sampled_from(["taker", "maker", "slippage"]))
def test_dearer_trading_never_pays(seed, stops, what):
    """For round trips through flat, sized in proportion to the equity: each multiplies the equity by a factor that falls with every cost.

    Without lots, bands and liquidations, which make sizes or exits depend on what was paid before. Slippage moves the levels of stops and
    of limits with the entry, so it is varied without stops.
    """
    rng = np.random.default_rng(seed)
    bars = tape(rng, 300, 0.005)
    target = path(rng, bars.index, [0.0, 0.8])
    target[np.cumsum(target.diff().fillna(0.0) != 0.0).to_numpy() % 2 == 1] = 0.0
    ends = []
    for cost in (0.0, 0.0005, 0.003):
        costs = Costs(**{"maker": 0.0, "taker": 0.0, "slippage": 0.0, "liquidation": 0.0} | {what: cost})
        result = simulate(bars, target, account=Account(CASH), costs=costs, stops=Stops() if what == "slippage" else stops)
        assert result.liquidations.empty
        ends.append(result.equity.iloc[-1])
    assert ends == sorted(ends, reverse=True)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, leverage=levels, terms=st.fixed_dictionaries(rules), costs=costs, stops=stops, cut=st.integers(1, 199))
def test_what_comes_later_changes_nothing(seed, leverage, terms, costs, stops, cut):
    rng, account = np.random.default_rng(seed), Account(CASH, leverage, **terms)
    bars, targets = markets(rng, 200, 0.02, leverage, 2)
    whole = simulate(bars, targets, account=account, costs=costs, stops=stops)
    until = bars["A"].index[cut - 1]
    early = ({s: frame[frame.index <= until] for s, frame in frames.items()} for frames in (bars, targets))
    part = simulate(*early, account=account, costs=costs, stops=stops)
    assert part.equity.tolist() == whole.equity.iloc[:cut].tolist()
    pd.testing.assert_frame_equal(part.fills, whole.fills[whole.fills["time"] <= until], check_exact=True)


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
