"""A broker's orders at both venues, with what goes wrong on the way: exactly one order each, every fill counted once, a stop wherever
something is held, and an account that ends as the venue says."""

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from trading_accounts import KEYS, NAMES, Told, account_at
from venue_session import HOUR, QUICK, SYMBOL, assemble, session

from quantalpha.errors import ReconcileError
from quantalpha.market.trading import open_trading
from quantalpha.runner import emergency
from quantalpha.runner.agreement import agree, differences
from quantalpha.runner.events import AccountEvent, FillEvent, FundingEvent, HealthEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.switches.state import Reconcile

MINUTE = 60_000  # ms
LOST = ["timeout_after_accept", "disconnect_after_accept", "server_timeout_after_accept", "malformed"]
UNSENT = ["timeout_before_accept", "unknown_503_before_accept"]


@pytest.fixture(params=NAMES)
def venue(request):
    with account_at(request.param) as (server, venue):
        yield server, venue.model_copy(update={"timeout": 1.0})


def run(work):
    return asyncio.run(work)


async def agrees(desk) -> None:
    """Positions, money and orders are the venue's, to the cent."""
    await desk.line.settle()
    await desk.line.look()
    assert differences(desk.broker) == []


def test_an_order_is_placed_filled_protected_and_made_flat(venue):
    async def work():
        async with session(venue[1]) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: desk.quantity == 0.02)
            await desk.until(lambda: desk.broker.told.open_orders)
            assert desk.broker.protection.exposed(desk.line.clock()) == 0.0
            (stop,) = await desk.trading.open_orders([SYMBOL])
            assert (stop.kind, stop.quantity, stop.reduce_only) == ("stop", -0.02, True)
            await agrees(desk)
            while not desk.broker.flat():
                desk.flatten()
                await asyncio.sleep(0.1)
            assert await desk.trading.open_orders([SYMBOL]) == []
            assert (await desk.trading.account()).positions == {}
            assert desk.fills[-1].reason == "flatten"
            await agrees(desk)
            assert all(count == 1 for count in desk.sent().values())

    run(work())


def test_what_the_venue_told_before_the_way_out_began_is_no_proof_of_a_flat_account(venue):
    async def work():
        async with session(venue[1]) as desk:
            await desk.line.look()
            asked = desk.line.look
            desk.line.look = lambda: asyncio.sleep(60)
            desk.flatten()
            assert desk.broker.holdings.flat and not desk.broker.flat()
            await asked()
            desk.flatten()
            assert desk.broker.flat()

    run(work())


def test_a_session_is_at_rest_once_its_stop_is_known_to_rest(venue):
    async def work():
        async with session(venue[1]) as desk:
            assert desk.broker.at_rest()
            desk.order("qa-parent-1", 0.02)
            assert not desk.broker.at_rest()
            await desk.until(desk.broker.at_rest)
            (stop,) = await desk.trading.open_orders([SYMBOL])
            assert (stop.kind, stop.quantity, desk.quantity) == ("stop", -0.02, 0.02)

    run(work())


def test_what_a_kill_has_closed_is_no_strangers_trade(venue):
    """Nor after a reset, when a session hears of it: it would trip again on what it was stopped by."""

    async def work():
        async with session(venue[1]) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            assert (await emergency.flatten(desk.trading, 10.0)).flat
            await desk.until(lambda: desk.quantity == 0.0)
            assert desk.fills[-1].reason == "flatten"

    run(work())


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_is_asked_about_and_never_sent_again(venue, fault):
    server, address = venue

    async def work():
        async with session(address) as desk:
            server.faults.trading.soon(fault)
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: desk.quantity == 0.02)
            assert [fill.quantity for fill in desk.fills] == [0.02]
            assert all(count == 1 for count in desk.sent().values())
            await agrees(desk)

    run(work())


@pytest.mark.parametrize("fault", UNSENT)
def test_an_order_that_never_arrived_is_dead_in_the_end_and_another_takes_its_place(venue, fault):
    server, address = venue

    async def work():
        async with session(address) as desk:
            server.faults.trading.soon(fault)
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: any(isinstance(each, OrderUpdateEvent) and each.status == "rejected" for each in desk.told))
            doubted = next(each for each in desk.told if isinstance(each, OrderUpdateEvent))
            assert doubted.status == "in_doubt"
            await desk.quote()
            await desk.until(lambda: desk.quantity == 0.02)
            assert [fill.quantity for fill in desk.fills] == [0.02]
            assert all(count == 1 for count in desk.sent().values())
            await agrees(desk)

    run(work())


@pytest.mark.parametrize("faults", [("drop",) * 8, ("duplicate",) * 6, ("reorder",) * 4, ("disconnect", None, "expire")])
def test_whatever_the_stream_does_each_fill_counts_once(venue, faults):
    server, address = venue

    async def work():
        async with session(address) as desk:
            server.faults.stream.soon(*faults)
            for number, quantity in enumerate((0.02, -0.03, 0.01)):
                expected = round(desk.quantity + quantity, 3)
                desk.order(f"qa-parent-{number}", quantity)
                await desk.until(lambda expected=expected: desk.quantity == expected)
                await desk.quote()
            assert sorted(fill.quantity for fill in desk.fills) == [-0.03, 0.01, 0.02] or sum(each.quantity for each in desk.fills) == 0.0
            assert len({each.trade for each in desk.fills}) == len(desk.fills)
            await desk.until(lambda: not desk.broker.told.open_orders)
            await agrees(desk)

    run(work())


def test_the_line_tells_how_it_is(venue):
    server, address = venue

    async def work():
        async with session(address) as desk:
            await desk.until(lambda: any(isinstance(each, HealthEvent) for each in desk.told))
            well = next(each for each in desk.told if isinstance(each, HealthEvent))
            assert well.connected
            assert abs(well.clock_skew) < 1.0
            server.faults.account.chance = {"http_504_before_accept": 1.0}
            await desk.until(lambda: next(each for each in reversed(desk.told) if isinstance(each, HealthEvent)).api_errors > 0.2)
            server.faults.account.chance = {}

    run(work())


def test_two_orders_of_a_symbol_follow_one_another_to_the_position_wanted_last(venue):
    """A limit order that rests is cancelled when another is decided; what it had traded is taken off."""

    async def work():
        async with session(venue[1], algorithm="limit") as desk:
            desk.order("qa-parent-1", 0.05)
            await desk.until(lambda: any(each.kind == "post_only" for each in desk.told if isinstance(each, InstructionEvent)))
            wanted = desk.quantity - 0.02
            desk.order("qa-parent-2", -0.02)
            await desk.until(lambda: desk.quantity == wanted and desk.broker._symbols[SYMBOL].execution is None, 40.0)
            await agrees(desk)

    run(work())


def test_what_is_on_its_way_when_nothing_is_wanted_any_more_is_undone(venue):
    """At the close nothing was held, so that the order decided is for nothing; the one before it still trades."""

    async def work():
        async with session(venue[1]) as desk:
            desk.order("qa-parent-1", 0.05)
            desk.order("qa-parent-2", 0.0, target=0.0)
            await desk.until(lambda: sum(isinstance(each, FillEvent) for each in desk.told) >= 2 and desk.quantity == 0.0)
            await desk.until(lambda: desk.broker._symbols[SYMBOL].execution is None)
            await agrees(desk)

    run(work())


async def started(address, **options):
    trading = open_trading(address, KEYS)
    await trading.load()
    return assemble(trading, **options)


def test_a_time_that_makes_no_sense_hides_no_later_fill(venue):
    async def work():
        async with session(venue[1]) as desk:
            desk.line.stream.understand = lambda message: []  # what REST tells is all there is
            ask, told = desk.trading.trades_since, []

            async def trades_since(symbol, since):
                found = await ask(symbol, since)
                if found and not told:
                    told.append(replace(found[-1], time=10**16))
                    return told
                return found

            desk.trading.trades_since = trades_since
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: desk.quantity == 0.02)
            desk.order("qa-parent-2", 0.02)
            await desk.until(lambda: desk.quantity == 0.04)
            assert told and desk.broker.venue_time < 10**15
            await agrees(desk)

    run(work())


def test_what_was_missed_while_away_is_caught_up_and_counted_once(venue):
    """The session is killed with an order in doubt; it hears its record, asks, and agrees with the venue. Nothing is sent twice."""
    server, address = venue

    async def work():
        async with session(address) as desk:
            begin = desk.line._start
            server.faults.trading.soon("timeout_after_accept")
            desk.order("qa-parent-1", 0.02)
            await asyncio.sleep(0.3)  # killed: the answer never came
            record = list(desk.told)
        again = await started(address, retelling=True, since=begin)
        for event in record:
            (again.broker.submit if type(event).__name__ == "ValidatedOrderEvent" else again.broker.heard)(event)
        assert again.broker.orders.in_doubt() or again.quantity
        await agree(again.line)
        assert again.quantity == 0.02
        again.broker.resume()
        task = asyncio.create_task(again.line.run())
        await again.quote() if again.trading.exchange.markets else None
        await again.until(lambda: again.broker.told.open_orders)
        assert [each.kind for each in await again.trading.open_orders([SYMBOL])] == ["stop"]
        heard = [each for each in record if isinstance(each, FillEvent)] + again.fills
        assert [each.quantity for each in heard] == [0.02]
        assert not set(desk.sent()) & {each.client_id for each in again.told if isinstance(each, InstructionEvent) and each not in record}
        task.cancel()
        await again.trading.close()

    run(work())


@pytest.mark.parametrize("algorithm", ["market", "limit"])
def test_what_watchdog_or_kill_closed_meanwhile_is_theirs_and_no_difference(venue, algorithm):
    """The session is killed, holding a position (and with an order under way); another process makes the account flat. Resumed, it finds
    the trades, calls them by their name, agrees to the cent, trips on nothing and does not go on with what was decided before."""

    async def work():
        async with session(venue[1], algorithm="market") as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            begin = desk.line._start
            if algorithm == "limit":
                desk.broker.setup = replace(
                    desk.broker.setup, execution=desk.broker.setup.execution.model_copy(update={"chase": 60.0, "algorithm": "limit"})
                )
                desk.order("qa-parent-2", 0.03)
                await asyncio.sleep(0.3)
            record = list(desk.told)
        async with open_trading(venue[1], KEYS) as watchdog:
            assert (await emergency.flatten(watchdog, 10.0)).flat
            wallet = (await watchdog.account()).cash
        again = await started(venue[1], retelling=True, since=begin, algorithm=algorithm)
        for event in record:
            (again.broker.submit if type(event).__name__ == "ValidatedOrderEvent" else again.broker.heard)(event)
        await agree(again.line)
        assert {each.reason for each in again.fills if each.client_id is None} == {"flatten"}
        assert again.broker.holdings.cash + again.broker.base == pytest.approx(wallet, abs=0.005)
        switch, view = Reconcile(), again.broker.account()
        assert [trip for each in [*record, *again.told] if (trip := switch.see(view, each))] == []
        again.broker.resume()
        await again.quote()
        assert again.broker.flat() or not again.broker.orders.unfinished()
        assert not [each for each in again.told if isinstance(each, InstructionEvent)]
        await again.trading.close()

    run(work())


@asynccontextmanager
async def restarted_in_doubt(server, address, lost):
    """A session that was killed with an order that never arrived, the entry (lost 0) or its stop (1); it has heard its record and agrees.
    Whether that order is dead nobody can know for a minute."""
    async with session(address) as desk:
        begin, trading = desk.line._start, server.faults.trading
        trading.plan = {trading.number + lost: "timeout_before_accept"}
        desk.order("qa-parent-1", 0.02)
        await desk.until(lambda: [each.status for each in desk.broker.orders.in_doubt()] == ["in_doubt"])
        record = list(desk.told)
    again = await started(address, retelling=True, since=begin)
    again.line.outbox.pace = replace(again.line.pace, dead=60.0)
    for event in record:
        (again.broker.submit if type(event).__name__ == "ValidatedOrderEvent" else again.broker.heard)(event)
    await agree(again.line)
    again.broker.resume()
    again.task = asyncio.create_task(again.line.run())
    await again.quote() if again.trading.exchange.markets else None
    yield again
    again.task.cancel()
    await asyncio.gather(again.task, return_exceptions=True)
    await again.trading.close()


def test_a_restart_does_not_wait_for_a_stop_in_doubt_while_the_position_has_none(venue):
    async def work():
        async with restarted_in_doubt(*venue, lost=1) as again:
            await again.until(lambda: again.broker.told.open_orders)
            assert [each.kind for each in await again.trading.open_orders([SYMBOL])] == ["stop"]
            assert again.quantity == 0.02 and len(again.broker.orders.in_doubt()) == 1

    run(work())


def test_what_was_decided_is_not_sent_again_while_it_is_in_doubt(venue):
    async def work():
        async with restarted_in_doubt(*venue, lost=0) as again:
            await again.until(lambda: sum(isinstance(each, AccountEvent) for each in again.told) > 5)
            assert not again.sent() and again.quantity == 0.0 and len(again.broker.orders.in_doubt()) == 1
            assert await again.trading.trades_since(SYMBOL, again.line._start) == []

    run(work())


def test_what_was_decided_last_waits_for_what_it_overtook_also_after_a_restart(venue):
    """The first order is under way when the second is decided and the session killed; it arrives after the session has begun again."""

    async def work():
        async with session(venue[1]) as desk:
            begin, desk.broker.send = desk.line._start, lambda instruction: None
            desk.order("qa-parent-1", 0.03)
            desk.order("qa-parent-2", 0.05)
            record, (late,) = list(desk.told), [each for each in desk.told if isinstance(each, InstructionEvent)]
        again = await started(venue[1], retelling=True, since=begin)
        again.line.outbox.pace = replace(again.line.pace, dead=60.0)
        for event in record:
            (again.broker.submit if type(event).__name__ == "ValidatedOrderEvent" else again.broker.heard)(event)
        await agree(again.line)
        again.broker.resume()
        task = asyncio.create_task(again.line.run())
        await again.quote()
        assert not again.sent() and not again.broker.idle(SYMBOL)
        await again.trading.place(late)
        await again.until(lambda: again.broker.idle(SYMBOL) and again.broker.at_rest())
        placed = [each for each in again.told if isinstance(each, InstructionEvent) and (each.action, each.purpose) == ("place", "order")]
        assert again.quantity == 0.05 and [each.quantity for each in placed] == [0.02]
        await agrees(again)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await again.trading.close()

    run(work())


async def _grown_is_adopted(desk, fresh):
    """A position that somebody has added to, at another price."""
    account = fresh.trading.account

    async def dearer():
        told = await account()
        held = told.positions[SYMBOL]
        return replace(told, positions={SYMBOL: replace(held, entry_price=held.entry_price * 1.001)})

    await desk.trading.place(Told(SYMBOL, "foreign-3", "market", 0.05))
    fresh.trading.account = dearer
    with pytest.raises(ReconcileError, match="quantalpha kill"):
        await agree(fresh.line)
    await agree(fresh.line, adopt=True)
    assert fresh.quantity == 0.08
    assert fresh.broker.holdings[SYMBOL].entry_price == pytest.approx(fresh.broker.told.positions[SYMBOL]["entry_price"], rel=1e-9)


def test_every_difference_is_found_and_nothing_is_traded(venue):
    """Somebody else trades the account: a position, a resting order, money."""

    async def work():
        desk = await started(venue[1])
        await agree(desk.line)
        await desk.trading.place(Told(SYMBOL, "foreign-1", "market", 0.03))
        mark = (await desk.trading.account()).positions[SYMBOL].mark
        await desk.trading.place(Told(SYMBOL, "foreign-2", "limit", 0.01, round(mark * 0.97)))
        fresh = await started(venue[1], since=desk.trading.now() + HOUR)  # its own trades begin later
        with pytest.raises(ReconcileError) as caught:
            await agree(fresh.line)
        found = {each["kind"]: each for each in caught.value.details["differences"]}
        assert found["position"] == {"kind": "position", "name": SYMBOL, "here": "0", "there": "0.03"}
        assert found["order"]["name"] == "foreign-2"
        await agree(fresh.line, adopt=True)
        assert fresh.quantity == 0.03
        assert fresh.fills[-1].reason == "external"
        assert all(each.reduce_only for each in await fresh.trading.open_orders([SYMBOL]))
        await _grown_is_adopted(desk, fresh)
        for each in (desk, fresh):
            await each.trading.close()

    run(work())


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("kind", ["market", "limit"])
def test_what_is_held_or_rests_in_a_symbol_not_traded_is_neither_ignored_nor_adopted(venue, adopt, kind):
    async def work():
        desk = await started(venue[1])
        await desk.trading.exchange.load_markets()
        price = (await desk.trading.exchange.fetch_order_book("ETH/USDT:USDT", 50))["bids"][0][0]
        await desk.trading.place(Told("ETHUSDT", "foreign-1", kind, 0.1, None if kind == "market" else round(price * 0.97, 2)))
        with pytest.raises(ReconcileError, match="ETHUSDT.*not traded") as caught:
            await agree(desk.line, adopt=adopt)
        assert [each["kind"] for each in caught.value.details["differences"]] == [{"market": "position", "limit": "order"}[kind]]
        assert not desk.told and caught.value.exit_code == 6
        left = await desk.trading.account(), await desk.trading.open_orders()
        assert (len(left[0].positions), len(left[1])) == ((1, 0) if kind == "market" else (0, 1))
        await desk.trading.close()

    run(work())


@pytest.mark.parametrize("change", ["quantity", "entry_price", "cash", "open_orders"])
def test_an_injected_difference_of_each_kind_is_told(venue, change):
    async def work():
        async with session(venue[1]) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: desk.quantity == 0.02 and desk.broker.told.open_orders)
            await agrees(desk)
            told = desk.broker.told
            values = {**told.__dict__, "positions": {SYMBOL: dict(told.positions[SYMBOL])}, "open_orders": list(told.open_orders)}
            if change in ("quantity", "entry_price"):
                values["positions"][SYMBOL][change] *= 1.01
            elif change == "cash":
                values["cash"] += 0.02
            else:
                values["open_orders"].append("qa-stranger")
            desk.broker.heard(AccountEvent(**values))
            kinds = {"quantity": "position", "entry_price": "entry_price", "cash": "cash", "open_orders": "order"}
            assert [each.kind for each in differences(desk.broker)] == [kinds[change]]

    run(work())


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_that_is_triggered_is_told_as_one(name):
    """The market falls by a tenth: what rests on the venue closes the position, and nothing remains."""

    async def work(address):
        async with session(address) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(lambda: desk.quantity == 0.02 and desk.broker.told.open_orders)
            server.conditions.begin("price_gap", 3_600.0)
            await desk.pass_time(server, 10 * MINUTE)  # the gap begins with the next trade
            await desk.until(lambda: desk.quantity == 0.0)
            assert desk.fills[-1].reason == "stop_loss"
            assert desk.fills[-1].realised < 0.0
            await desk.until(lambda: not desk.broker.orders.unfinished())
            await agree(desk.line)

    with account_at(name) as (server, address):
        run(work(address))


@pytest.mark.parametrize("name", NAMES)
def test_a_settlement_is_asked_for_as_soon_as_the_stream_tells_of_it(name, monkeypatch):
    """Not minutes later, when the next orders were sized without it."""
    monkeypatch.setattr("venue_session.QUICK", replace(QUICK, payments=3600.0))

    async def work(address):
        async with session(address) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            rates, told = desk.trading.funding_rates, []

            async def late(symbol, since):  # the venue pays before it says at which rate
                told.append(since)
                return await rates(symbol, since) if len(told) > 1 else {}

            monkeypatch.setattr(desk.trading, "funding_rates", late)
            await desk.pass_time(server, 8 * HOUR)
            await desk.until(lambda: any(isinstance(each, FundingEvent) for each in desk.told))
            assert not math.isnan(next(each.rate for each in desk.told if isinstance(each, FundingEvent)))

    with account_at(name) as (server, address):
        run(work(address))


@pytest.mark.parametrize("name", NAMES)
def test_funding_is_counted_once(name):
    """Settlements pass while a position is held, and are told again and again, with their rate though our clock is hours behind."""

    async def work(address):
        async with session(address) as desk:
            desk.order("qa-parent-1", 0.02)
            await desk.until(desk.broker.at_rest)
            for settled in (1, 2):
                await desk.pass_time(server, 8 * HOUR)
                await desk.line.payments()
                await desk.until(lambda settled=settled: sum(isinstance(each, FundingEvent) for each in desk.told) == settled)
            await desk.line.payments()
            await agree(desk.line)
            paid = [each for each in desk.told if isinstance(each, FundingEvent)]
            assert len({(each.symbol, each.event_time) for each in paid}) == len(paid)
            assert desk.broker.holdings[SYMBOL].funding == pytest.approx(sum(each.amount for each in paid))
            for each in paid:
                assert each.amount == pytest.approx(-each.quantity * each.rate * each.mark, abs=1e-6)
                assert each.quantity == pytest.approx(0.02, rel=1e-3) and each.mark > 0.0

    with account_at(name) as (server, address):
        run(work(address))


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_day_ends_as_the_venue_says(venue, seed):
    """Requests, readings and the stream all fail at random; each order exists once, each fill counts once, to the cent."""
    server, address = venue
    uncertain = ["timeout", "disconnect", "unknown_503", "http_504", "server_timeout", "server_error"]
    lost = {f"{name}_{when}_accept": 0.02 for name in uncertain for when in ("before", "after")}

    async def work():
        async with session(address.model_copy(update={"timeout": 0.4})) as desk:
            server.faults.trading.chance = lost | {"malformed": 0.03, "truncated": 0.03, "late_answer": 0.03}
            server.faults.account.chance = {"http_504_before_accept": 0.05, "malformed": 0.05, "disconnect_after_accept": 0.05}
            server.faults.stream.chance = {"drop": 0.1, "duplicate": 0.1, "reorder": 0.1, "disconnect": 0.03, "expire": 0.03}
            for number, quantity in enumerate([0.02, -0.05, 0.04, 0.01, -0.03, 0.02][seed:]):
                wanted = round(desk.quantity + quantity, 3)
                desk.order(f"qa-parent-{number}", quantity)
                await desk.until(lambda wanted=wanted: desk.quantity == wanted, 60.0)
            while not desk.broker.flat():
                desk.tick()
                desk.flatten()
                await asyncio.sleep(0.1)
            for faults in (server.faults.trading, server.faults.account, server.faults.stream):
                faults.chance = {}
            await agrees(desk)
            assert all(count == 1 for count in desk.sent().values())
            trades = [each.trade for each in desk.fills]
            assert len(set(trades)) == len(trades)
            everything = await desk.trading.trades_since(SYMBOL, desk.line._start)
            assert sorted(trades) == sorted(each.id for each in everything)

    run(work())


def test_adaptive_goes_with_the_volume_that_the_quotes_carry(venue):
    """Counted from the order's beginning on; before anybody trades nothing is sent, however much was traded before."""

    async def work():
        async with session(venue[1], algorithm="adaptive") as desk:
            quote = replace(desk.last_quote, traded=1_000.0)
            desk.feed(quote)
            desk.order("qa-parent-1", 0.02)
            assert not desk.sent()
            desk.feed(replace(quote, traded=1_000.1))
            (placed,) = [each for each in desk.told if isinstance(each, InstructionEvent)]
            assert placed.quantity == pytest.approx(0.01)  # a tenth of what was traded meanwhile

    run(work())
