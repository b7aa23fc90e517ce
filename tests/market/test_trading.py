"""Accounts at both venues through the unmodified ccxt: what is asked for is there, a lost answer is doubt, a refusal certain."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_accounts import KEYS, NAMES, Told, account_at, venue_at

from quantalpha import config
from quantalpha.errors import ReconcileError, UsageError
from quantalpha.market.connect import WEIGHT
from quantalpha.market.trading import InDoubt, Keys, Refused, Settings, open_trading, user_stream
from quantalpha.market.trading.binance import Binance
from quantalpha.market.trading.bybit import Bybit
from quantalpha.market.trading.clock import VenueClock

SYMBOL = "BTCUSDT"
BUY = Told(SYMBOL, "qa-buy", "market", 0.01)
LOST = ["timeout_after_accept", "disconnect_after_accept", "unknown_503_after_accept", "http_504_after_accept"]
LOST += ["server_timeout_after_accept", "server_error_after_accept", "malformed", "truncated"]
UNSENT = [fault.replace("after", "before") for fault in LOST if fault.endswith("accept")]


@pytest.fixture(params=NAMES, scope="module")
def account(request):
    with account_at(request.param) as (server, venue):
        yield server, venue.model_copy(update={"timeout": 0.5})


@pytest.fixture(params=NAMES)
def fresh(request):
    with account_at(request.param) as (server, venue):
        yield server, venue


def with_trading(account, work):
    async def opened():
        async with open_trading(account[1], KEYS) as trading:
            return await work(trading)

    return asyncio.run(opened())


async def price(trading, share: float) -> float:
    """So many times the market, on the tick; a position shows where that is."""
    return round((await trading.account()).positions[SYMBOL].mark * share)


def test_an_expected_order_finds_its_room_reserved_and_waits_for_nobody(fresh, monkeypatch):
    async def work(trading):
        trading.expect_order()
        before = trading.exchange.budget.used(WEIGHT)
        with monkeypatch.context() as patch:
            patch.setattr(trading.exchange.budget, "_reserve", None)
            assert (await trading.place(BUY)).client_id == "qa-buy"
        assert trading.exchange.budget.used(WEIGHT) == before
        await trading.place(replace(BUY, client_id="qa-more"))
        assert trading.exchange.budget.used(WEIGHT) > before

    with_trading(fresh, work)


def test_an_order_s_life_is_told_alike_by_both_venues(fresh):
    async def work(trading):
        await trading.place(BUY)
        bought = await trading.order("qa-buy", SYMBOL)
        assert (bought.status, bought.quantity, bought.filled, bought.kind) == ("filled", 0.01, 0.01, "market")
        (trade,) = await trading.trades_since(SYMBOL, bought.time - 1000)
        assert (trade.client_id, trade.quantity, trade.price, trade.maker) == ("qa-buy", 0.01, bought.average, False)
        assert (await trading.account()).positions[SYMBOL].quantity == 0.01
        stop = Told(SYMBOL, "qa-stop", "stop", -0.01, await price(trading, 0.97), True)
        limit = Told(SYMBOL, "qa-limit", "limit", 0.01, await price(trading, 0.98))
        maker = Told(SYMBOL, "qa-maker", "post_only", 0.01, await price(trading, 0.98))
        target = Told(SYMBOL, "qa-target", "take_profit", -0.01, await price(trading, 1.03), True)
        for each in (stop, limit, maker, target):
            assert (await trading.place(each)).status == "open"
        resting = {each.client_id: each for each in await trading.open_orders([SYMBOL])}
        assert {name: each.kind for name, each in resting.items()} == {each.client_id: each.kind for each in (stop, limit, maker, target)}
        assert all(resting[each.client_id].price == each.price for each in (stop, limit, maker, target))
        assert resting["qa-stop"].reduce_only and not resting["qa-limit"].reduce_only
        await trading.amend(replace(limit, quantity=0.02))
        assert (await trading.order("qa-limit", SYMBOL)).quantity == 0.02
        for name in ("qa-limit", "qa-stop"):
            assert (await trading.cancel(name, SYMBOL)).status == "cancelled"
        assert await trading.cancel("qa-limit", SYMBOL) is None
        await trading.cancel_all(SYMBOL)
        assert await trading.open_orders() == []
        assert (await trading.order("qa-target", SYMBOL)).status == "cancelled"
        assert await trading.order("qa-nobody", SYMBOL) is None

    with_trading(fresh, work)


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_is_doubt_and_the_order_is_there(account, fault):
    server, _ = account
    name = f"qa-{fault.replace('_', '-')}"

    async def work(trading):
        server.faults.trading.soon(fault)
        with pytest.raises(InDoubt):
            await trading.place(replace(BUY, client_id=name))
        assert (await trading.order(name, SYMBOL)).filled == 0.01
        assert trading.errors > 0

    with_trading(account, work)


@pytest.mark.parametrize("fault", UNSENT)
def test_one_that_never_arrived_is_doubt_as_well(account, fault):
    server, _ = account

    async def work(trading):
        server.faults.trading.soon(fault)
        with pytest.raises(InDoubt):
            await trading.place(replace(BUY, client_id="qa-unsent"))
        assert await trading.order("qa-unsent", SYMBOL) is None

    with_trading(account, work)


def test_what_the_venue_refuses_is_certain(fresh):
    async def work(trading):
        with pytest.raises(Refused):
            await trading.place(replace(BUY, quantity=400.0))
        with pytest.raises(Refused):
            await trading.place(replace(BUY, quantity=-0.01, reduce_only=True))
        assert trading.errors == 0.0  # these were answers
        assert await trading.order("qa-buy", SYMBOL) is None

    with_trading(fresh, work)


def test_a_name_that_is_taken_is_doubt_for_the_order_is_there(fresh):
    async def work(trading):
        await trading.place(BUY)
        resting = Told(SYMBOL, "qa-twice", "limit", 0.01, await price(trading, 0.98))
        await trading.place(resting)
        with pytest.raises(InDoubt):
            await trading.place(resting)
        assert len(await trading.open_orders()) == 1

    with_trading(fresh, work)


def test_numbers_off_the_grid_are_refused_before_they_are_sent(account):
    async def work(trading):
        with pytest.raises(UsageError, match="multiple"):
            await trading.place(replace(BUY, quantity=0.0105))
        with pytest.raises(UsageError, match="multiple"):
            await trading.place(Told(SYMBOL, "qa-off", "limit", 0.01, 25_000.05))
        with pytest.raises(UsageError, match="price"):
            await trading.place(Told(SYMBOL, "qa-none", "limit", 0.01))
        with pytest.raises(UsageError, match="DOGEUSDT"):
            await trading.place(replace(BUY, symbol="DOGEUSDT"))

    with_trading(account, work)


def test_preflight_sets_what_differs_reads_it_back_and_refuses_a_mismatch(fresh):
    async def work(trading):
        await trading.preflight([SYMBOL, "ETHUSDT"], 5.0, "isolated")
        assert await trading.settings(SYMBOL) == Settings(5.0, "isolated", one_way=True)
        await trading.place(BUY)
        with pytest.raises(ReconcileError, match="isolated"):
            await trading.preflight([SYMBOL], 5.0, "cross")

    with_trading(fresh, work)


def test_preflight_refuses_an_account_whose_other_coins_are_margin_too():
    async def work(trading):
        ask = trading._ask

        async def asked(endpoint, **parameters):
            return {"multiAssetsMargin": True} if endpoint == "fapiPrivateGetMultiAssetsMargin" else await ask(endpoint, **parameters)

        assert (await trading.settings(SYMBOL)).one_asset
        trading._ask = asked
        with pytest.raises(ReconcileError, match="multi-assets mode"):
            await trading.preflight([SYMBOL], 5.0, "cross")

    with account_at("binanceusdm") as account:
        with_trading(account, work)


def test_a_key_says_what_it_may_do(account):
    async def work(trading):
        told = await trading.permissions()
        assert (told.trade, told.withdraw) == (True, False)
        await trading.dead_man(30.0, [SYMBOL])
        await trading.dead_man(0.0, [SYMBOL])

    with_trading(account, work)


def test_the_private_stream_tells_of_orders_and_trades_and_comes_back(fresh):
    server, _ = fresh
    heard = []

    async def work(trading):
        stream = user_stream(trading, heard.append)
        task = asyncio.create_task(stream.run())
        await until(lambda: stream.connected)
        await trading.place(BUY)
        await until(lambda: any(getattr(each, "status", "") == "filled" for each in heard) and any(hasattr(each, "fee") for each in heard))
        server.faults.stream.soon("expire")
        await trading.place(replace(BUY, client_id="qa-again"))
        await until(lambda: stream.connections == 2 and stream.connected)
        task.cancel()

    with_trading(fresh, work)
    assert heard[0] is None  # nobody knows what was missed before


def test_a_private_line_that_was_not_let_in_is_no_line():
    """Bybit's is open before it is signed in to; Binance's is asked for with the key."""
    heard = []

    async def work(address):
        async with open_trading(address, Keys(KEYS.key, "not the secret")) as trading:
            stream = user_stream(trading, heard.append)
            task = asyncio.create_task(stream.run())
            await until(lambda: stream.broken)
            task.cancel()
            assert stream.connections == 0 and not heard

    with account_at("bybit") as (_, address):
        asyncio.run(work(address))


def test_binance_is_not_asked_for_half_a_leverage():
    async def work(trading):
        with pytest.raises(UsageError, match="takes whole ones, found 2.5; use 3"):
            await trading.preflight([SYMBOL], 2.5, "cross")

    with account_at("binanceusdm") as account:
        with_trading(account, work)


async def until(holds, patience: float = 20.0) -> None:
    async with asyncio.timeout(patience):
        while not holds():
            await asyncio.sleep(0.02)


def test_downloads_leave_room_for_orders(account):
    """What downloads may use is full; an order goes out all the same, at once."""

    async def work(trading):
        budget = trading.exchange.budget
        limit, used = budget.limits[WEIGHT], budget.used(WEIGHT)
        assert budget.share == 1.0
        budget.correct(WEIGHT, type(limit)(0.9 * limit.most, limit.seconds))
        assert budget.used(WEIGHT) > max(used, 0.8 * limit.most)
        async with asyncio.timeout(2.0):
            await trading.server_time()

    with_trading(account, work)


@pytest.mark.parametrize(
    ("venue", "status", "text", "outcome"),
    [
        (Binance, 400, '{"code":-2019,"msg":"Margin is insufficient."}', Refused),
        (Binance, 400, '{"code":-1001,"msg":"Internal error"}', InDoubt),
        (Binance, 408, '{"code":-1007,"msg":"Timeout"}', InDoubt),
        (Binance, 200, '{"code":-1006,"msg":"Unexpected"}', InDoubt),
        (Binance, 400, '{"code":-4116,"msg":"ClientOrderId is duplicated"}', InDoubt),
        (Binance, 503, '{"code":-1008,"msg":"Request throttled"}', Refused),
        (Binance, 503, "Unknown error, please check your request or try again later.", InDoubt),
        (Binance, 429, '{"code":-1003,"msg":"Too many requests"}', Refused),
        (Binance, 404, "<html>", InDoubt),
        (Binance, 200, "", InDoubt),
        (Bybit, 200, '{"retCode":110007,"retMsg":"not enough"}', Refused),
        (Bybit, 200, '{"retCode":10016,"retMsg":"System error"}', InDoubt),
        (Bybit, 200, '{"retCode":110072,"retMsg":"OrderLinkedID is duplicate"}', InDoubt),
        (Bybit, 200, '{"retCode":10006,"retMsg":"Too many visits!"}', Refused),
        (Bybit, 403, "access too frequent", Refused),
        (Bybit, 502, "<html>", InDoubt),
        (Bybit, 200, '{"result":{}}', InDoubt),
    ],
)
def test_codes_are_read_as_the_venues_document_them(venue, status, text, outcome):
    with pytest.raises(outcome):
        venue.judge(status, text, None)


@pytest.mark.parametrize(
    "venue, status, text", [(Binance, 400, '{"code":-1021,"msg":"Timestamp"}'), (Bybit, 200, '{"retCode":10002,"retMsg":"time"}')]
)
def test_a_request_that_came_too_late_was_not_looked_at_and_is_asked_again(venue, status, text):
    with pytest.raises(Refused) as told:
        venue.judge(status, text, None)
    assert not told.value.sound


def test_an_answer_that_nests_without_end_is_doubt(account, monkeypatch):
    """It would end a session, and a kill, by Python's own limit."""
    deep = "[" * 100_000
    for venue in (Binance, Bybit):
        with pytest.raises(InDoubt):
            venue.judge(200, deep, None)

    async def work(trading):
        monkeypatch.setattr(trading.exchange, "on_rest_response", lambda *_: trading.exchange.parse_json(deep))
        with pytest.raises(InDoubt):
            await trading.account()
        assert user_stream(trading, print)._read(deep) == [None]

    with_trading(account, work)


def test_other_venues_are_refused_by_name(account):
    with pytest.raises(UsageError, match="binanceusdm or bybit"):
        open_trading(config.Venue(**(account[1].model_dump() | {"name": "okx"})), KEYS)


def test_demo_trading_is_another_address():
    venue = config.load().venue
    client = open_trading(venue, KEYS, demo=True)
    assert client.exchange.urls["api"]["fapiPrivate"].startswith("https://demo-fapi.binance.com")
    assert "demo" not in open_trading(venue, KEYS).exchange.urls["api"]["fapiPrivate"]


def test_keys_are_never_shown(account):
    assert "practice-secret" not in repr(KEYS) + repr(open_trading(venue_at(account[0], "bybit"), KEYS).__dict__)


def test_a_played_clock_learns_its_pace_and_tells_a_jump():
    clock = VenueClock(played=True)
    assert clock.told(990.0, 4_999_400.0) == clock.told(1000.0, 5_000_000.0) == 0.0
    assert clock.told(2000.0, 5_060_000.0) == 0.0  # a minute a second
    assert clock.at(3000.0) == 5_120_000
    assert clock.told(3000.0, 5_120_000.0) == 0.0
    assert clock.told(4000.0, 5_180_000.0 - 600_000.0) == 10_000.0


@given(
    speed=st.sampled_from([0.5, 1.0, 60.0, 3600.0]),
    begins=st.floats(0.0, 20_000.0),
    pauses=st.lists(st.floats(1.0, 5_000.0), min_size=2, max_size=30),
)
def test_a_clock_that_waits_for_its_first_listener_is_ahead_of_none(speed, begins, pauses):
    """Whenever it begins to run, before, between or after the readings."""
    clock, machine = VenueClock(played=True), 1_000_000.0
    begins += machine
    for pause in [0.0, *pauses, 5_000.0, 5_000.0, 5_000.0]:
        machine += pause
        venue = round(5_000_000 + speed * max(machine - begins, 0.0))
        assert abs(clock.told(machine, venue)) <= 10.0
    assert machine < begins + 15_000.0 or abs(clock.at(machine + 1_000.0) - (venue + speed * 1_000.0)) <= 10.0 * max(speed, 1.0)


def test_what_a_slow_answer_explains_is_no_news_of_the_time():
    """A busy machine: the answer is from anywhere within the second that it took."""
    clock = VenueClock(played=True)
    clock.told(999.0, 4_999_999.0)
    clock.told(1000.0, 5_000_000.0)
    clock.told(1600.0, 5_000_900.0, 1000.0)  # no pace from readings so near to each other that took so long
    assert clock.at(2600.0) == 5_001_600
    clock.told(11_000.0, 5_010_000.0)
    clock.told(12_000.0, 5_011_400.0, 1000.0)
    assert clock.at(12_000.0) == 5_011_000
    real = VenueClock(played=False)
    assert real.told(10_000.0, 9_000.0) == 1_000.0
    assert real.told(11_000.0, 10_400.0, 1_000.0) == 1_000.0
    assert real.told(12_000.0, 10_000.0, 1_000.0) == 1_500.0  # what is certain
    assert real.told(13_000.0, 11_000.0) == 2_000.0


def test_a_real_clock_says_how_far_this_machine_s_is_ahead():
    clock = VenueClock(played=False)
    assert clock.told(10_000.0, 7_000.0) == 3_000.0
    assert clock.at(11_000.0) == 8_000


def test_a_list_without_instruments_is_no_answer(fresh):
    async def work(trading):
        told, rules = [{}, await trading._rules()], trading._rules
        trading._rules = lambda: asyncio.sleep(0, told.pop(0)) if told else rules()
        await trading.load()
        assert SYMBOL in trading.rules and told == []

    with_trading(fresh, work)
