"""One account at two venues: the legs add up to what was decided, each is protected, and both are told again and made flat."""

import asyncio
import contextlib

import pytest
from trading_accounts import KEYS, account_at
from two_venue_session import LEG, assemble, session, two
from venue_session import SYMBOL

from quantalpha.market.trading import open_trading
from quantalpha.runner.agreement import differences
from quantalpha.runner.events import InstructionEvent, MarketCloseEvent


def test_legs_add_up_are_protected_each_and_made_flat_together():
    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.006, 0.014)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            assert all(leg > 0.0 for leg in desk.legs)
            await desk.shown(1.0, 1.0)
            desk.order("qa-2", -0.008, target=0.6)  # less
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.012) and desk.protected())
            desk.order("qa-3", -0.024, target=-0.6)  # turned
            await desk.until(lambda: sum(desk.legs) == pytest.approx(-0.012))
            assert all(leg <= 0.0 for leg in desk.legs)
            await desk.agree()
            desk.flatten()
            await desk.until(desk.broker.flat)
            for side in desk.sides:
                told = await side.trading.account()
                assert told.positions == {} and await side.trading.open_orders() == []

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_what_is_decided_for_nothing_undoes_what_is_under_way_at_both():
    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.006, 0.014)
            desk.order("qa-1", 0.02)
            desk.order("qa-2", 0.0, target=0.0)  # nothing is held yet, and nothing is wanted any more
            await desk.until(lambda: len(desk.fills) >= 4 and desk.legs == (0.0, 0.0))

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_after_a_reset_both_trade_again():
    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.006, 0.014)
            desk.flatten()
            desk.order("qa-1", 0.02)
            await desk.shown(0.006, 0.014)
            assert desk.legs == (0.0, 0.0) and not any(isinstance(each, InstructionEvent) and each.action == "place" for each in desk.told)
            desk.flatten()  # as a halted engine says again and again: what was decided meanwhile is forgotten
            desk.broker.release()
            desk.order("qa-2", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_a_restart_shares_out_as_it_was_and_agrees_at_both():
    """Killed while both legs are under way: told its record, without a quote, the next one knows both and goes on to the whole."""

    async def work(venues):
        async with session(venues) as desk:
            since = desk.trading.now() - 1000
            await desk.shown(0.006, 0.014)
            desk.order("qa-1", 0.02)
            told = list(desk.told)
        routes = [each for each in told if isinstance(each, InstructionEvent) and each.action == "route"]
        assert {each.symbol for each in routes} == {SYMBOL, LEG} and sum(each.quantity for each in routes) == pytest.approx(0.02)
        async with open_trading(venues[0], KEYS) as first, open_trading(venues[1], KEYS) as second:
            for trading in (first, second):
                await trading.exchange.load_markets()
            desk = assemble(first, second, retelling=True, since=since)
            for event in told:
                if not isinstance(event, InstructionEvent) and hasattr(event, "target"):
                    desk.broker.submit(event)
                else:
                    desk.broker.heard(event)
            desk.told = told
            await desk.agree()
            desk.broker.resume()
            tasks = [asyncio.create_task(side.line.run()) for side in desk.sides]
            desk.task = tasks[0]
            await desk.shown(1.0, 1.0)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            assert max(desk.sent().values()) == 1, "nothing was sent twice"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await desk.agree()
            assert [differences(side.broker) for side in desk.sides] == [[], []]

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_a_venue_that_goes_away_leaves_the_other_leg_in_hand():
    """What rests there stays there; the other is closed, and the account is not called flat before the lost one answers."""

    async def work(venues, lose):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            held = desk.legs
            lose()
            desk.flatten()
            await desk.until(lambda: desk.legs[0] == 0.0)
            await desk.until(lambda: desk.sides[0].broker.flat())
            assert desk.legs == (0.0, held[1]) and not desk.broker.flat()
            assert desk.sides[1].broker.told.open_orders, "its stop rests at the venue"

    with contextlib.ExitStack() as stack:
        _, first = stack.enter_context(account_at("binanceusdm"))
        gone = stack.enter_context(contextlib.ExitStack())
        _, second = gone.enter_context(account_at("bybit"))
        asyncio.run(work((first, second.model_copy(update={"timeout": 0.5})), gone.close))


def test_where_one_falls_alone_its_stop_is_its_own():
    """The second venue falls by a tenth: its leg is stopped out there, the other keeps its own, and nobody opens anew."""

    async def work(server, venues):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            kept = desk.legs[0]
            server.conditions.begin("price_gap", 60.0)
            await desk.until(lambda: desk.legs[1] == 0.0, 30.0)
            assert desk.legs[0] == kept and desk.fills[-1].reason == "stop_loss"
            assert desk.fills[-1].symbol == LEG

    with account_at("binanceusdm") as (_, first), account_at("bybit", speed=1200.0) as (server, second):
        asyncio.run(work(server, (first, second)))


def test_sizes_are_those_of_the_whole():
    """Both legs stand for one position of capital and profit together; a bar marks them both."""

    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            price = desk.price
            times = {"event_time": desk.trading.now(), "recv_time": desk.line.clock(), "symbol": SYMBOL, "bar": 0}
            bar = MarketCloseEvent(
                **times, open=price, high=price, low=price, close=price, volume=1.0, mark=None, funding_rate=0.0, warm_up=False
            )
            (equity,) = desk.broker.closed([bar])
            assert (equity.equity, equity.quantity) == (2_000.0, 0.0)
            wanted = desk.broker.order_quantity(SYMBOL, 1.0)
            assert wanted == pytest.approx(2_000.0 / price, abs=0.001)
            desk.order("qa-1", wanted)
            assert desk.broker.order_quantity(SYMBOL, 1.0) is None
            await desk.until(lambda: sum(desk.legs) == pytest.approx(wanted))
            assert desk.broker.order_quantity(SYMBOL, 0.0) == pytest.approx(-wanted)

    with two() as (_, venues):
        asyncio.run(work(venues))
