"""Each limit refuses just above and passes just below; NaN refuses; no sequence of accepted orders breaks one; a way out is free."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from quantalpha import config, perp
from quantalpha.errors import DataError
from quantalpha.perp import Account
from quantalpha.runner import risk
from quantalpha.runner.events import OrderEvent, RejectedOrderEvent, ValidatedOrderEvent
from quantalpha.runner.risk.liquidation import Distance, touched
from quantalpha.runner.risk.portfolio import gross
from quantalpha.runner.risk.tail import daily_losses, tail
from quantalpha.runner.views import AccountView, Position

BTC, ETH = "BTCUSDT", "ETHUSDT"
HOUR = 3_600_000
ACCOUNT = Account(10_000, leverage=5.0, brackets=perp.brackets_for(BTC), lot=0.001, min_notional=5.0)
distance = Distance(ACCOUNT)
NAN = math.nan


def order(quantity=1.0, price=100.0, symbol=BTC):
    times = {"event_time": HOUR, "recv_time": HOUR, "symbol": symbol, "bar": 0}
    return OrderEvent(**times, client_id="qa-1", quantity=quantity, target=0.0, price=price)


def view(equity=1000.0, btc=0.0, eth=0.0, **more):
    """Entry prices and marks of 100 and 10; calm returns that move together."""
    calm = np.random.default_rng(3).normal(0, 1e-3, 168)
    positions = {BTC: Position(btc, 100.0, 100.0), ETH: Position(eth, 10.0, 10.0)}
    values = {"cash": equity, "time": 100 * HOUR, "returns": {BTC: calm, ETH: calm}, "step": HOUR}
    return AccountView(equity, positions, **(values | more))


def params(**changes):
    return config.load().risk.model_copy(update=changes)


def gate(limits=None, stops=None, mode="live"):
    return risk.of(params() if limits is None else limits, ACCOUNT, mode, {} if stops is None else stops)


@pytest.mark.parametrize(
    "check, passing, refused, reason",
    [
        (risk.MaxLeverage(2.0), 20.0, 20.001, "leverage"),
        (risk.MaxPosition(0.5), -5.0, -5.001, "position"),
        (risk.RiskPerTrade(0.01, {BTC: 0.05}), 2.0, 2.001, "risk_per_trade"),
        (risk.MinNotional(ACCOUNT), 0.05, 0.049, "min_notional"),
    ],
)
def test_just_below_and_just_above(check, passing, refused, reason):
    assert check(order(passing), view()) is None
    assert check(order(refused), view()).reason == reason


@pytest.mark.parametrize(
    "check, passing, refused, reason",
    [
        (risk.MaxGross(1.0), 5.0, 5.001, "gross"),
        (risk.MaxNet(0.5), 10.0, 10.001, "net"),
        (risk.MaxConcentration(0.6), 7.5, 7.501, "concentration"),
    ],
)
def test_limits_of_the_book_count_the_other_symbol(check, passing, refused, reason):
    held = view(eth=-50.0)  # -500 of 1000
    assert check(order(passing), held) is None
    assert check(order(refused), held).reason == reason


def test_one_symbol_alone_is_no_concentration():
    assert risk.MaxConcentration(0.1)(order(), view()) is None


def test_the_collar_is_measured_from_the_mark():
    collar = risk.PriceCollar(0.05)
    assert collar(order(price=105.0), view()) is None and collar(order(price=95.0), view()) is None
    assert collar(order(price=105.1), view()).reason == collar(order(price=94.9), view()).reason == "price_collar"
    assert collar(order(), AccountView(1000.0, {BTC: Position()})).reason == "price_collar"  # no mark


def test_orders_of_the_last_minute_are_counted():
    rate, now = risk.OrderRate(3), 100 * HOUR
    assert rate(order(), view(sent=(now - 60_000, now - 59_999, now))) is None
    assert rate(order(), view(sent=(now - 59_999, now - 1, now))).reason == "order_rate"


def test_tail_losses_are_those_of_the_joint_history():
    rng = np.random.default_rng(5)
    btc, eth = rng.normal(0, 0.01, 400), rng.normal(0, 0.02, 400)
    now = view(equity=1000.0, returns={BTC: btc, ETH: eth})
    losses = daily_losses({BTC: 500.0, ETH: -200.0}, now, 168)
    assert losses == pytest.approx(-(0.5 * btc - 0.2 * eth)[-168:] * math.sqrt(24))
    var, cvar = tail(losses, 0.99)
    assert var == sorted(losses)[-2] and cvar == pytest.approx(np.mean(sorted(losses)[-2:]))
    assert np.mean(losses <= var) >= 0.99


def test_tail_loss_refuses_just_above_and_a_hedge_lowers_it():
    held = view(eth=50.0)
    losses = daily_losses({BTC: 100.0, ETH: 500.0}, held, 168)
    var, cvar = tail(losses, 0.99)
    history = risk.History(168)
    assert risk.MaxTailLoss(0.99, var, cvar, history)(order(), held) is None
    assert risk.MaxTailLoss(0.99, var * 0.999, None, history)(order(), held).reason == "var"
    assert risk.MaxTailLoss(0.99, None, cvar * 0.999, history)(order(), held).reason == "cvar"
    assert risk.MaxTailLoss(0.99, var * 0.9, None, history)(order(-1.0), held) is None  # they move together: short one, long the other


@pytest.mark.parametrize("mode, verdict", [("live", RejectedOrderEvent), ("paper", ValidatedOrderEvent)])
def test_too_little_history_refuses_at_a_venue(mode, verdict):
    short = view(returns={BTC: np.zeros(167), ETH: np.zeros(500)})
    judged = gate(mode=mode).judge(order(), short)
    assert type(judged) is verdict and getattr(judged, "reason", "too_little_history") == "too_little_history"


def test_a_bar_without_a_return_refuses():
    for mode in ("live", "paper"):
        broken = np.append(np.zeros(167), NAN)
        assert gate(mode=mode).judge(order(), view(returns={BTC: broken})).reason == "var"


@pytest.mark.parametrize("side", [1, -1])
def test_liquidation_distance_is_the_ledgers(side):
    wanted = order(side * 30.0)  # three times the equity
    price = perp.liquidation_price(side * 30.0, 100.0, 1000.0, ACCOUNT)
    assert distance(wanted, view()) == pytest.approx(side * (100.0 - price) / 100.0)
    near = distance(wanted, view())
    assert risk.MinLiquidationDistance(near, distance)(wanted, view()) is None
    assert risk.MinLiquidationDistance(near * 1.001, distance)(wanted, view()).reason == "liquidation_distance"


def test_what_lies_at_one_venue_stands_behind_no_position_at_the_other():
    """All of it may go to either, as far as its half of the money carries it."""
    half = view(500.0)
    both = replace(view(1000.0), venues=(half, half))
    for quantity in (12.0, -12.0):
        assert distance(order(quantity), both) == distance(order(quantity), half)
        assert distance(order(quantity), both) < distance(order(quantity), view(1000.0))
    assert distance(order(50.0), both) == distance(order(25.0), half)
    assert distance(order(5.0), replace(both, venues=(view(500.0, btc=20.0), half))) == distance(order(5.0), view(500.0, btc=20.0))
    assert math.isnan(distance(order(12.0), replace(both, venues=(half, replace(half, positions={})))))  # no mark


def test_liquidation_distance_knows_entry_and_the_other_positions():
    grown = view(equity=1000.0, btc=10.0)  # in the wallet: 1000 and nothing unrealised
    assert distance(order(10.0), grown) == pytest.approx(distance(order(20.0), view()))
    assert distance(order(30.0), view(eth=300.0)) < distance(order(30.0), view())
    assert distance(order(1.0), view()) == math.inf  # covered down to zero
    assert math.isnan(distance(order(30.0), replace(view(), positions={})))  # no mark


def test_probability_of_touching_by_reflection():
    assert touched(0.1, 0.05, True) == pytest.approx(2 * norm.cdf(math.log(0.9) / 0.05))
    assert touched(0.1, 0.05, False) == pytest.approx(2 * norm.cdf(-math.log(1.1) / 0.05))
    assert touched(0.0, 0.05, True) == touched(-0.2, 0.05, False) == 1.0
    assert touched(0.1, 0.0, True) == 0.0 and touched(1.0, 0.5, True) == 0.0 and math.isnan(touched(0.1, NAN, True))


def test_probability_of_touching_by_simulation():
    steps = np.random.default_rng(1).normal(0, 0.1 / math.sqrt(2000), (4000, 2000)).cumsum(axis=1)
    assert touched(1 - math.exp(-0.15), 0.1, True) == pytest.approx(np.mean(steps.min(axis=1) <= -0.15), abs=0.02)


def test_probability_of_liquidation_refuses_just_above():
    wanted, held = order(45.0), view(returns={BTC: np.random.default_rng(3).normal(0, 0.02, 168)})
    deviation = math.sqrt(np.mean(np.log1p(held.returns[BTC]) ** 2) * 24)
    likely = touched(distance(wanted, held), deviation, True)
    assert 1e-3 < likely < 1
    history = risk.History(168)
    assert risk.MaxLiquidationProbability(likely, 24 * HOUR, distance, history)(wanted, held) is None
    assert risk.MaxLiquidationProbability(likely * 0.99, 24 * HOUR, distance, history)(wanted, held).reason == "liquidation_probability"


@given(st.floats(0.001, 0.5), st.floats(0.01, 20), st.sampled_from([-1, 1]))
def test_a_stop_where_there_is_none_loses_what_a_trade_may(per_trade, leverage, side):
    away = risk.protective_distance(None, per_trade, side * leverage)
    assert 0 < away <= 0.5 and away * leverage <= per_trade * (1 + 1e-12)
    assert risk.protective_distance(0.03, per_trade, side * leverage) == 0.03


@pytest.mark.parametrize("target", [0.0, NAN, math.inf])
def test_no_stop_for_no_position(target):
    with pytest.raises(DataError, match="protective stop"):
        risk.protective_distance(None, 0.01, target)


@pytest.mark.parametrize("what", ["mark", "other mark", "equity", "entry price", "returns", "price"])
def test_doubt_means_no(what):
    good = view(btc=1.0, eth=1.0)
    bad = {
        "mark": replace(good, positions=good.positions | {BTC: Position(1.0, 100.0, NAN)}),
        "other mark": replace(good, positions=good.positions | {ETH: Position(1.0, 10.0, 0.0)}),
        "equity": replace(good, equity=NAN),
        "entry price": replace(good, positions=good.positions | {BTC: Position(1.0, NAN, 100.0)}),
        "returns": replace(good, returns={BTC: np.full(168, NAN), ETH: np.zeros(168)}),
        "price": good,
    }[what]
    assert type(gate().judge(order(), good)) is ValidatedOrderEvent
    assert type(gate().judge(order(price=NAN if what == "price" else 100.0), bad)) is RejectedOrderEvent


def test_a_replay_has_the_checks_of_its_backtest():
    assert gate(mode="replay") == risk.standard(ACCOUNT.leverage)


LIMITS = params(max_position=1.5, max_gross=2.0, max_net=1.0, max_concentration=0.8)
ORDERS = st.lists(st.tuples(st.sampled_from([BTC, ETH]), st.floats(-3, 3), st.floats(0.97, 1.03)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(ORDERS)
def test_no_sequence_of_accepted_orders_breaks_a_limit(wishes):
    judge, held = gate(LIMITS, {BTC: 0.006}), view()
    for symbol, leverage, drift in wishes:
        mark = held.positions[symbol].mark
        wanted = order(leverage * held.equity / mark, mark * drift, symbol)
        verdict = judge.judge(wanted, held)
        if type(verdict) is RejectedOrderEvent:
            continue
        entered = risk.enters(wanted.quantity, held.quantity(symbol))
        held = replace(held, positions=held.positions | {symbol: Position(held.quantity(symbol) + wanted.quantity, mark, mark)})
        if entered:
            _within(held, symbol, wanted.price / mark)


def _within(held, symbol, drift):
    """Every limit holds; notional of the symbol traded as at its deciding price."""
    notionals = {name: position.notional * (drift if name == symbol else 1.0) for name, position in held.positions.items()}
    room = 1 + 1e-6
    assert abs(notionals[symbol]) <= 1.5 * held.equity * room
    assert gross(notionals) <= 2.0 * held.equity * room and abs(sum(notionals.values())) <= 1.0 * held.equity * room
    assert sum(value != 0 for value in notionals.values()) < 2 or abs(notionals[symbol]) <= 0.8 * gross(notionals) * room
    assert symbol != BTC or abs(notionals[BTC]) * 0.006 <= 0.01 * held.equity * room
    var, cvar = tail(daily_losses(notionals, held, 168), 0.99)
    assert var <= 0.1 * room and cvar <= 0.15 * room


@settings(max_examples=300)
@given(
    st.floats(0.001, 1e4), st.floats(1e-3, 1.0), st.sampled_from([-1, 1]), st.floats(1.0, 1e6), st.floats(1e-3, 1e3), st.floats(-1e4, 1e-3)
)
def test_a_way_out_is_never_barred(size, share, side, price, mark, equity):
    """Whatever else is wrong: no equity, no history, no mark, a price off the market, too many orders."""
    held = AccountView(equity, {BTC: Position(side * size, mark, mark), ETH: Position(1.0, NAN, NAN)}, time=0, sent=(0,) * 100)
    leaving = order(-side * size * share, price)
    assert type(gate(LIMITS, {BTC: 0.5}).judge(leaving, held)) is ValidatedOrderEvent
