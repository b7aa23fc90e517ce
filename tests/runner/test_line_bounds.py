"""What a line does not do for ever: send an order of long ago, ask about one that is gone, look at an account that never stands still."""

import asyncio
import dataclasses

import pytest
from trading_accounts import KEYS, NAMES, account_at
from venue_session import SYMBOL, session

from quantalpha.market.trading import InDoubt, open_trading
from quantalpha.runner.events import InstructionEvent, OrderUpdateEvent

STOP = 1.0  # seconds for which nobody may ask


@pytest.fixture(params=NAMES)
def venue(request):
    with account_at(request.param) as (server, venue):
        yield venue


def updates(desk, status):
    return [each for each in desk.told if isinstance(each, OrderUpdateEvent) and each.status == status]


def hurried(desk, seconds):
    desk.line.outbox.pace = dataclasses.replace(desk.line.outbox.pace, entry=seconds)


def test_what_opens_a_position_leaves_in_time_or_never(venue):
    """The shared budget has no room for a while: the order is given up before there is any, and the venue never hears of it."""

    async def work():
        async with session(venue) as desk:
            hurried(desk, 0.2)
            desk.trading.exchange.budget.stop(STOP)
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: updates(desk, "expired"))
            assert "never sent" in updates(desk, "expired")[0].reason
            assert await desk.trading.order(updates(desk, "expired")[0].client_id, SYMBOL) is None

    asyncio.run(work())


def test_what_closes_a_position_leaves_whenever_it_can(venue):
    async def work():
        async with session(venue) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            hurried(desk, 0.0)
            desk.trading.exchange.budget.stop(STOP)
            desk.order("qa-parent-2", -0.02, target=0.0)
            await desk.until(lambda: desk.quantity == 0.0)
            assert not updates(desk, "expired")

    asyncio.run(work())


def test_an_order_that_the_venue_had_and_knows_no_more_is_gone(venue):
    """Asked about again and again, then believed: the stop that is missing is followed by another, and none is sent twice."""

    async def work():
        async with session(venue) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            (stop,), ask, resting = desk.broker.orders.unfinished(), desk.trading.order, desk.trading.open_orders
            asked = []

            async def order(name, symbol):
                asked.append(name)
                return None if name == stop.client_id else await ask(name, symbol)

            async def open_orders(symbols=None):
                return [each for each in await resting(symbols) if each.client_id != stop.client_id]

            desk.trading.order, desk.trading.open_orders = order, open_orders
            await desk.until(lambda: desk.broker.orders[stop.client_id].status == "cancelled")
            assert asked.count(stop.client_id) >= 3
            assert "does not know it any more" in desk.broker.orders[stop.client_id].reason
            await desk.until(desk.broker.at_rest)
            (other,) = desk.broker.orders.unfinished()
            assert (other.instruction.kind, other.quantity, other.client_id != stop.client_id) == ("stop", -0.02, True)
            assert all(count == 1 for count in desk.sent().values())

    asyncio.run(work())


def test_one_answer_that_it_does_not_know_an_order_is_not_believed(venue):
    """It may only not be told yet."""

    async def work():
        async with session(venue) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            (stop,) = desk.broker.orders.unfinished()
            ask, resting, answers = desk.trading.order, desk.trading.open_orders, [None, None]

            async def order(name, symbol):
                return answers.pop() if answers else await ask(name, symbol)

            async def open_orders(symbols=None):
                return [] if answers else await resting(symbols)

            desk.trading.order, desk.trading.open_orders = order, open_orders
            await desk.until(lambda: not answers)
            await asyncio.sleep(0)
            await desk.line.look()
            assert desk.broker.orders[stop.client_id].status == "open"

    asyncio.run(work())


def test_an_account_that_never_stands_still_is_not_looked_at_for_ever(venue):
    async def work():
        async with session(venue) as desk:
            account = desk.trading.account

            async def restless():
                desk.broker.changes += 1
                return await account()

            desk.trading.account = restless
            with pytest.raises(InDoubt, match="changes faster"):
                await desk.line.look()
            assert not [each for each in desk.told if isinstance(each, InstructionEvent)]

    asyncio.run(work())


@pytest.mark.parametrize("name", NAMES)
def test_pages_that_do_not_go_on_are_no_answer(name):
    """The same trades again and again, or two pages that each name the other as the next."""

    async def work(address):
        async with open_trading(address, KEYS) as trading:
            cursors = iter("ab" * 100)

            async def ask(endpoint, **parameters):
                if name == "bybit":
                    return {"result": {"list": [{"execId": "1", "execType": "Funding"}], "nextPageCursor": next(cursors)}}
                return [{"id": number} for number in range(1000)]

            trading._ask = ask
            with pytest.raises(InDoubt):
                await trading.trades_since(SYMBOL, trading.now())

    with account_at(name) as (_, address):
        asyncio.run(work(address))
