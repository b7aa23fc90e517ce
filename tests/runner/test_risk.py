"""What the risk gate refuses, and what it must let through."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.runner.events import OrderEvent, RejectedOrderEvent, ValidatedOrderEvent
from quantalpha.runner.risk import standard
from quantalpha.runner.views import AccountView, Position

RISK = standard(leverage=2.0)


def order(quantity=1.0, price=100.0, target=1.0):
    times = {"event_time": 60_000, "recv_time": 60_001, "symbol": "BTCUSDT", "bar": 0}
    return OrderEvent(**times, client_id="qa-1", quantity=quantity, target=target, price=price)


def view(equity, quantity):
    return AccountView(equity, {"BTCUSDT": Position(quantity)})


def test_a_sound_order_is_validated_unchanged():
    verdict = RISK.judge(order(), view(100.0, 0.0))
    assert type(verdict) is ValidatedOrderEvent
    assert vars(verdict) == vars(order())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["price", "quantity", "target", "equity", "position"])
def test_doubt_means_no(where, bad):
    account = view(bad if where == "equity" else 100.0, bad if where == "position" else 0.0)
    verdict = RISK.judge(order(**({where: bad} if where in ("price", "quantity", "target") else {})), account)
    assert type(verdict) is RejectedOrderEvent and verdict.reason == "not_finite"
    assert not math.isfinite(verdict.values[where])


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_a_price_is_above_zero(price):
    assert RISK.judge(order(price=price), view(100.0, 0.0)).reason == "not_finite"


@pytest.mark.parametrize("equity", [0.0, -5.0])
def test_no_equity_no_entry_but_a_way_out(equity):
    refused = RISK.judge(order(), view(equity, 0.0))
    assert (refused.reason, refused.values) == ("no_equity", {"equity": equity})
    for quantity in (-1.0, 0.0):
        assert type(RISK.judge(order(quantity=quantity), view(equity, 1.0))) is ValidatedOrderEvent


def test_leverage_is_measured_after_the_order():
    assert type(RISK.judge(order(quantity=2.0), view(100.0, 0.0))) is ValidatedOrderEvent
    refused = RISK.judge(order(quantity=1.5), view(100.0, 1.0))
    assert (refused.reason, refused.values) == ("leverage", {"notional": 250.0, "limit": 200.0})


@given(st.floats(0.01, 1e6), st.floats(0, 1), st.sampled_from([-1, 1]))
def test_reducing_always_passes_the_size_limit(position, share, side):
    assert type(RISK.judge(order(quantity=-side * position * share, price=1e6), view(1.0, side * position))) is ValidatedOrderEvent


def test_a_flip_is_no_reduction():
    assert RISK.judge(order(quantity=-50.0), view(100.0, 10.0)).reason == "leverage"
