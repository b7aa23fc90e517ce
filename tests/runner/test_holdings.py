"""What is held and earned: the ledger's own numbers, whatever is traded, and nothing lost or made."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha import perp
from quantalpha.runner.events import FillEvent, FundingEvent
from quantalpha.runner.holdings import Holdings

QUANTITIES = st.integers(-500, 500).filter(bool).map(lambda lots: lots / 1000)
PRICES = st.integers(1_000, 200_000).map(lambda ticks: ticks / 10)
TRADES = st.lists(st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT"]), QUANTITIES, PRICES), max_size=40)


def fill(symbol: str, quantity: float, price: float, fee: float = 0.0) -> FillEvent:
    times = {"event_time": 0, "recv_time": 0, "bar": 0}
    return FillEvent(**times, symbol=symbol, client_id=None, quantity=quantity, price=price, fee=fee, realised=0.0, reason="order")


def funding(symbol: str, amount: float) -> FundingEvent:
    return FundingEvent(event_time=0, recv_time=0, symbol=symbol, bar=0, amount=amount, rate=0.0, mark=0.0, quantity=0.0)


@given(TRADES, st.lists(st.floats(-10, 10), max_size=5))
def test_money_is_conserved(trades, payments):
    """Cash and what the positions are worth is what came in less what was paid for them, at any mark."""
    holdings, spent = Holdings(10_000.0), 0.0
    for symbol, quantity, price in trades:
        fee = abs(quantity) * price * 0.0005
        holdings.fill(fill(symbol, quantity, price, fee))
        spent += quantity * price + fee
    for amount in payments:
        holdings.pay(funding("BTCUSDT", amount))
    marks = {"BTCUSDT": 12_345.6, "ETHUSDT": 789.1}
    worth = sum(holdings.quantity(symbol) * mark for symbol, mark in marks.items())
    expected = 10_000.0 + sum(payments) - spent + worth
    assert holdings.equity(marks) == pytest.approx(expected, abs=1e-6)


@given(TRADES)
def test_a_position_is_the_exact_sum_of_its_trades(trades):
    holdings = Holdings(0.0)
    for symbol, quantity, price in trades:
        holdings.fill(fill(symbol, quantity, price))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        lots = sum(round(quantity * 1000) for name, quantity, _ in trades if name == symbol)
        assert holdings.quantity(symbol) == lots / 1000
        assert (holdings[symbol].entry_price == 0.0) == (lots == 0)


@given(st.lists(st.tuples(st.floats(-2.0, 2.0), st.floats(0.95, 1.05)), min_size=2, max_size=30), st.sampled_from([0.0, 1e-3, -1e-3]))
def test_the_ledger_says_the_same(steps, rate):
    """Every fill and payment of a ledger, folded: its cash, entry price and equity to 1e-9."""
    ledger = perp.Ledger(
        perp.Account(10_000.0, leverage=5.0, lot=0.001), perp.Costs(maker=0.0002, taker=0.0005, slippage=1e-4, liquidation=0.01)
    )
    holdings, price = Holdings(10_000.0), 1_000.0
    for bar, (target, move) in enumerate(steps):
        events = ledger.open_bar(bar * 3_600_000, price, price, rate)
        close = price * move
        events += ledger.inside_bar(bar * 3_600_000, price, max(price, close), min(price, close))
        for event in events:
            if isinstance(event, perp.Fill):
                assert holdings["BTCUSDT"].profit(event.quantity, event.price) == pytest.approx(event.realised, abs=1e-9)
                holdings.fill(fill("BTCUSDT", event.quantity, event.price, event.fee))
            else:
                holdings.pay(funding("BTCUSDT", event.amount))
        equity = ledger.close_bar(close, close)
        assert holdings.cash == pytest.approx(ledger.cash, abs=1e-9)
        assert holdings["BTCUSDT"].entry_price == pytest.approx(ledger.entry_price, rel=1e-12)
        assert holdings.equity({"BTCUSDT": close}) == pytest.approx(equity, abs=1e-9)
        ledger.decide(target, close, close)
        price = close


def test_an_unknown_mark_is_no_equity():
    holdings = Holdings(1_000.0)
    holdings.fill(fill("BTCUSDT", 0.1, 100.0))
    assert math.isnan(holdings.equity({}))
    holdings.fill(fill("BTCUSDT", -0.1, 110.0))
    assert holdings.flat
    assert holdings.equity({}) == pytest.approx(1_001.0)


def test_a_fee_without_a_trade_changes_only_money():
    """How the cost of a liquidation beyond its trades is told."""
    holdings = Holdings(1_000.0)
    holdings.fill(fill("BTCUSDT", 0.1, 100.0))
    holdings.fill(fill("BTCUSDT", 0.0, 0.0, 2.5))
    assert (holdings.cash, holdings.quantity("BTCUSDT"), holdings["BTCUSDT"].entry_price) == (997.5, 0.1, 100.0)
