"""The unmodified clients trade: ccxt (REST and streams) and python-binance, at speeds at which the tape runs away from their clocks."""

import asyncio
import time

import pytest

from quantalpha.practice import ApiKey

from .support import play
from .trading import SYMBOL, listening, second_client, trader

PATIENCE = 10.0


async def told_until(watch, done) -> list:
    """Everything a stream has told when `done(it)` holds for the last of it."""
    seen = []
    while not seen or not done(seen[-1]):
        seen += await asyncio.wait_for(watch(), PATIENCE)
    return seen


def test_ccxt_places_amends_finds_and_cancels(tape):
    async def scenario(server):
        async with trader(server) as ccxt:
            bid = (await ccxt.fetch_bids_asks([SYMBOL]))[SYMBOL]["bid"]
            bought = await ccxt.create_order(SYMBOL, "market", "buy", 0.1)
            limit = await ccxt.create_order(SYMBOL, "limit", "buy", 0.05, bid - 500, {"clientOrderId": "mine", "postOnly": True})
            amended = await ccxt.edit_order(limit["id"], SYMBOL, "limit", "buy", 0.06, bid - 400)
            found = await ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "mine"})
            batch = await ccxt.create_orders(
                [{"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": bid - away} for away in (600, 700)]
            )
            standing = await ccxt.fetch_open_orders(SYMBOL)
            gone = await ccxt.cancel_orders([batch[0]["id"]], SYMBOL)
            one = await ccxt.cancel_order(limit["id"], SYMBOL)
            await ccxt.cancel_all_orders(SYMBOL)
            left, every = await ccxt.fetch_open_orders(SYMBOL), await ccxt.fetch_orders(SYMBOL)
            return bought, amended, found, standing, gone, one, left, every, await ccxt.fetch_my_trades(SYMBOL)

    bought, amended, found, standing, gone, one, left, every, trades = play(tape, scenario)
    assert (bought["status"], bought["filled"]) == ("closed", 0.1)
    assert (amended["amount"], found["id"], found["timeInForce"]) == (0.06, amended["id"], "PO")
    assert len(standing) == 3 and left == [] and len(every) == 4
    assert gone[0]["status"] == one["status"] == "canceled"
    assert [(trade["order"], trade["amount"], trade["takerOrMaker"]) for trade in trades] == [(bought["id"], 0.1, "taker")]


def test_ccxt_reads_the_account_as_it_is(tape):
    async def scenario(server):
        async with trader(server) as ccxt:
            await ccxt.set_leverage(5, SYMBOL)
            await ccxt.set_margin_mode("isolated", SYMBOL)
            await ccxt.create_order(SYMBOL, "market", "sell", 0.1)
            both = await ccxt.fetch_positions([SYMBOL]), await ccxt.fetch_positions([SYMBOL], {"useV2": True})
            balances = await ccxt.fetch_balance(), await ccxt.fetch_balance({"useV2": True})
            facts = await ccxt.fetch_trading_fee(SYMBOL), await ccxt.fetch_leverages(), await ccxt.fetch_margin_modes()
            mode = await ccxt.fetch_position_mode(SYMBOL)
            return both, balances, facts, mode, await ccxt.fetch_ledger(), server.binance.desks["practice-key"]

    both, balances, (fee, leverages, modes), mode, ledger, desk = play(tape, scenario)
    for [position] in both:
        assert (position["side"], position["contracts"], position["hedged"]) == ("short", 0.1, False)
        assert position["liquidationPrice"] == pytest.approx(float(desk.margins.liquidation_price("BTCUSDT")))
        assert position["marginMode"] == "isolated"
    assert {balance["USDT"]["total"] for balance in balances} == {float(desk.margins.equity)}
    assert all(balance["USDT"]["free"] == float(desk.margins.available) for balance in balances)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)
    assert leverages[SYMBOL]["longLeverage"] == 5 and modes[SYMBOL]["marginMode"] == "isolated" and mode["hedged"] is False
    assert [entry["type"] for entry in ledger] == ["commission"]


def test_ccxt_sends_stops_to_the_algo_service_and_hears_them_work(tape):
    async def scenario(server):
        async with trader(server) as ccxt:
            await ccxt.load_markets()
            mark = float((await ccxt.fapiPublicGetPremiumIndex({"symbol": "BTCUSDT"}))["markPrice"])
            watch = asyncio.create_task(told_until(ccxt.watch_orders, lambda order: order["reduceOnly"] and order["status"] == "closed"))
            await listening(ccxt)
            await ccxt.create_order(SYMBOL, "market", "buy", 0.1)
            stop = await ccxt.create_order(SYMBOL, "market", "sell", 0.1, None, {"stopLossPrice": mark * 0.99, "reduceOnly": True})
            other = await ccxt.create_order(SYMBOL, "market", "sell", None, None, {"takeProfitPrice": mark * 2, "closePosition": True})
            standing = await ccxt.fetch_open_orders(SYMBOL, params={"trigger": True})
            canceled = await ccxt.cancel_order(other["id"], SYMBOL, {"trigger": True})
            server.clock.change_speed(360_000.0)
            seen = await watch
            server.clock.change_speed(0.0)
            found = await ccxt.fetch_order(stop["id"], SYMBOL, {"trigger": True})
            return stop, other, standing, canceled, seen, found, await ccxt.fetch_positions([SYMBOL])

    stop, other, standing, canceled, seen, found, positions = play(tape, scenario)
    assert [order["id"] for order in standing] == [stop["id"], other["id"]] and canceled["id"] == other["id"]
    assert stop["status"] == "open" and found["info"]["algoStatus"] == "FINISHED" and positions == []
    closed = [order for order in seen if order["status"] == "closed" and order["reduceOnly"]]
    assert closed[-1]["info"].get("ot", closed[-1]["info"]["o"]) == "STOP_MARKET" and stop["id"] in {order["id"] for order in seen}


def test_ccxt_hears_of_fills_balances_and_positions(tape):
    async def scenario(server):
        async with trader(server) as ccxt:
            await ccxt.load_markets()
            trades = asyncio.create_task(ccxt.watch_my_trades(SYMBOL))
            positions = asyncio.create_task(told_until(ccxt.watch_positions, lambda position: position["contracts"] == 0.1))
            await listening(ccxt)
            order = await ccxt.create_order(SYMBOL, "market", "buy", 0.1)
            return order, await asyncio.wait_for(trades, PATIENCE), await positions

    order, [trade], positions = play(tape, scenario)
    assert (trade["order"], trade["amount"], trade["fee"]["currency"]) == (order["id"], 0.1, "USDT")
    assert positions[-1]["entryPrice"] == order["average"]


def test_python_binance_trades_at_a_tape_minute_a_second(tape):
    async def scenario(server):
        async with second_client(server) as (binance, sockets), sockets.futures_user_socket() as stream:
            stream.TIMEOUT = 0.2  # seconds its reader listens on after it was told to end
            terms = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.1"}
            price = float((await binance.futures_mark_price(symbol="BTCUSDT"))["markPrice"]) - 3_000
            bought = await binance.futures_create_order(**terms, type="MARKET", newOrderRespType="RESULT")
            limit = await binance.futures_create_order(**terms, type="LIMIT", price=f"{price + 2_000:.1f}", timeInForce="GTC")
            await binance.futures_modify_order(**terms, orderId=limit["orderId"], price=f"{price + 1_900:.1f}")
            stop = await binance.futures_create_order(
                symbol="BTCUSDT", side="SELL", type="STOP_MARKET", stopPrice=f"{price:.1f}", closePosition="true"
            )
            batch = [terms | {"type": "LIMIT", "price": f"{price + 1_800:.1f}", "timeInForce": "GTC"}]
            placed = await binance.futures_place_batch_order(batchOrders=batch)
            open_ones = await binance.futures_get_open_orders(symbol="BTCUSDT")
            await binance.futures_cancel_algo_order(algoId=stop["algoId"])
            await binance.futures_cancel_order(symbol="BTCUSDT", orderId=limit["orderId"])
            await binance.futures_countdown_cancel_all(symbol="BTCUSDT", countdownTime=60_000)
            await binance.futures_cancel_all_open_orders(symbol="BTCUSDT")
            told = []
            while len(told) < 10:
                told.append(await asyncio.wait_for(stream.recv(), PATIENCE))
            facts = [await binance.futures_account(), await binance.futures_account_balance(), await binance.futures_position_information()]
            facts += [await binance.futures_income_history(), await binance.futures_account_trades(symbol="BTCUSDT")]
            facts += [await binance.futures_get_position_mode(), await binance.get_account_api_permissions()]
            return bought, limit, placed, open_ones, told, facts

    bought, limit, placed, open_ones, told, facts = play(tape, scenario, speed=60.0)
    assert bought["status"] == "FILLED"
    assert [order["orderId"] for order in open_ones] == [limit["orderId"], placed[0]["orderId"]]
    changes = [(each["o"]["x"], each["o"]["X"]) for each in told if each["e"] == "ORDER_TRADE_UPDATE"]
    new = ("NEW", "NEW")
    assert changes == [new, ("TRADE", "FILLED"), new, ("AMENDMENT", "NEW"), new, ("CANCELED", "CANCELED"), ("CANCELED", "CANCELED")]
    assert [each["o"]["X"] for each in told if each["e"] == "ALGO_UPDATE"] == ["NEW", "CANCELED"]
    account, [balance], [position], [fee], [trade], mode, permissions = facts
    assert account["totalWalletBalance"] == balance["balance"] and position["positionAmt"] == "0.100"
    assert float(fee["income"]) == -float(trade["commission"]) and mode == {"dualSidePosition": False}
    assert permissions["enableFutures"] and not permissions["enableWithdrawals"]


def test_python_binances_plain_client_signs_bodies_too(tape):
    async def scenario(server):
        def trade():
            from binance import Client

            binance = Client("other", "secret", ping=False)
            binance.API_URL, binance.FUTURES_URL = server.url + "/api", server.url + "/fapi"
            binance.session.trust_env = False
            binance.timestamp_offset = binance.get_server_time()["serverTime"] - int(time.time() * 1000)
            order = binance.futures_create_order(symbol="ETHUSDT", side="SELL", type="MARKET", quantity="1")
            return binance.futures_get_order(symbol="ETHUSDT", orderId=order["orderId"]), binance.futures_account_balance()

        return await asyncio.to_thread(trade)

    order, [balance] = play(tape, scenario, keys=[ApiKey(), ApiKey("other", "secret", deposit=500.0)])
    assert order["status"] == "FILLED" and 499 < float(balance["balance"]) < 500


def test_an_account_of_one_key_knows_nothing_of_anothers(tape):
    async def scenario(server):
        async with trader(server) as one, trader(server, "other", "secret") as other:
            await one.create_order(SYMBOL, "market", "buy", 0.1)
            return await one.fetch_positions(), await other.fetch_positions(), (await other.fetch_balance())["USDT"]["total"]

    mine, others, total = play(tape, scenario, keys=[ApiKey(), ApiKey("other", "secret", deposit=500.0)])
    assert len(mine) == 1 and others == [] and total == 500.0
