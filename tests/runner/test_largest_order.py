"""What is larger than one order may be goes out in parts."""

import asyncio
import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_accounts import KEYS, NAMES, account_at
from venue_session import SYMBOL, session

from quantalpha import perp
from quantalpha.market.trading import open_trading
from quantalpha.perp import in_parts
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.sizing import Sizing, Standing


@given(st.integers(-10_000, 10_000).map(lambda lots: lots / 1000), st.integers(1, 10_000).map(lambda lots: lots / 1000) | st.just(math.inf))
def test_parts_are_the_whole_and_none_is_too_large(quantity, most):
    parts = in_parts(quantity, most)
    assert math.fsum(parts) == pytest.approx(quantity, abs=1e-12)
    assert all(abs(part) <= most and part * quantity >= 0.0 for part in parts)
    assert len(parts) == max(1, math.ceil(round(abs(quantity) / most, 9)))


@pytest.mark.parametrize("name, most", [("binanceusdm", 100_000.0), ("bybit", 500.0)])
def test_a_venue_says_how_large_an_order_may_be(name, most):
    """Market orders are the ones that are allowed less."""

    async def rules(address):
        async with open_trading(address, KEYS) as trading:
            return trading.rules_of(SYMBOL)

    with account_at(name) as (_, address):
        assert asyncio.run(rules(address)).most == most


@pytest.mark.parametrize("name", NAMES)
def test_in_and_out_in_parts(name):
    async def work(address):
        async with session(address, most=0.02) as desk:
            desk.order("qa-parent-1", 0.05)
            await desk.until(lambda: desk.quantity == 0.05)
            while not desk.broker.flat():
                desk.tick()
                desk.flatten()
                await asyncio.sleep(0.05)
            placed = [each for each in desk.told if isinstance(each, InstructionEvent) and each.action == "place"]
            orders = [each for each in placed if each.kind == "market"]
            taken = [each.quantity for each in orders if desk.broker.orders[each.client_id].status == "filled"]
            assert taken == [0.02, 0.02, 0.01, -0.02, -0.02, -0.01]
            assert all(abs(each.quantity) <= 0.02 for each in orders)

    with account_at(name) as (_, address):
        asyncio.run(work(address))


def test_no_position_is_decided_on_that_one_stop_could_not_close():
    account = perp.Account(1_000.0, leverage=5.0)
    standing = Standing(cash=1_000.0, elsewhere=0.0, quantity=0.0, entry_price=0.0, target=0.0, order=0.0)
    free, bound = Sizing(account, SYMBOL), Sizing(account, SYMBOL, 3.0)
    assert free.order(standing, 1.0, 100.0, 100.0) == pytest.approx(10.0)
    assert bound.order(standing, 1.0, 100.0, 100.0) == 3.0
    held = dataclasses.replace(standing, quantity=2.0, entry_price=100.0, target=0.2)
    assert bound.order(held, -1.0, 100.0, 100.0) == -5.0
    assert bound.order(held, 0.0, 100.0, 100.0) == -2.0
