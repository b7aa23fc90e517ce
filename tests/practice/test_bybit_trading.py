"""Bybit's trading half: what the unmodified ccxt clients do with it, and what the wire says."""

import asyncio

import ccxt
import pytest

from .bybit_account import MARKET, SYMBOL, raw, trader
from .support import HOUR, Wall, play


def trade(tape, scenario, kind=trader, **options):
    """Run `scenario(client, server)` as the owner of the account."""

    async def main(server):
        async with kind(server) as client:
            return await scenario(client, server)

    return play(tape, main, **options)


def test_orders_live_from_creation_to_cancellation(tape):
    async def scenario(venue, server):
        price = (await venue.fetch_ticker(MARKET))["last"]
        low = float(venue.price_to_precision(MARKET, price * 0.95))
        made = await venue.create_order(MARKET, "limit", "buy", 0.02, low, {"clientOrderId": "mine"})
        [standing] = await venue.fetch_open_orders(MARKET)
        assert (standing["id"], standing["clientOrderId"], standing["status"], standing["price"]) == (made["id"], "mine", "open", low)
        await venue.edit_order(made["id"], MARKET, "limit", "buy", 0.03, low - 100)
        amended = await venue.fetch_order(made["id"], MARKET, {"acknowledged": True})
        assert (amended["amount"], amended["price"], amended["filled"]) == (0.03, low - 100, 0)
        await venue.cancel_order(made["id"], MARKET)
        assert await venue.fetch_open_orders(MARKET) == []
        [ended] = await venue.fetch_canceled_orders(MARKET)
        assert ended["id"] == made["id"] and ended["info"]["cancelType"] == "CancelByUser"
        with pytest.raises(ccxt.OrderNotFound):
            await venue.cancel_order(made["id"], MARKET)
        batch = [{"symbol": MARKET, "type": "limit", "side": side, "amount": 0.01, "price": limit} for side, limit in
                 (("buy", low), ("sell", float(venue.price_to_precision(MARKET, price * 1.05))))]  # fmt: skip
        assert len(await venue.create_orders(batch)) == 2 and len(await venue.fetch_open_orders(MARKET)) == 2
        assert len(await venue.cancel_all_orders(MARKET)) == 2 and await venue.fetch_open_orders(MARKET) == []

    trade(tape, scenario)


def test_a_trade_shows_in_trades_position_balance_and_ledger(tape):
    async def scenario(venue, server):
        await venue.set_leverage(10, MARKET)
        made = await venue.create_order(MARKET, "market", "buy", 0.05)
        [fill] = await venue.fetch_my_trades(MARKET)
        [position] = await venue.fetch_positions([MARKET])
        balance = await venue.fetch_balance()
        assert fill["order"] == made["id"] and fill["takerOrMaker"] == "taker" and fill["amount"] == 0.05
        assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.05, fill["price"])
        assert position["leverage"] == 10 and position["initialMargin"] == pytest.approx(0.005 * position["markPrice"])
        assert balance["USDT"]["total"] == pytest.approx(10_000 - fill["fee"]["cost"], abs=1e-9)
        assert balance["USDT"]["free"] == pytest.approx(balance["USDT"]["total"] - position["initialMargin"], abs=1e-6)
        await venue.create_order(MARKET, "market", "sell", 0.05, None, {"reduceOnly": True})
        assert (await venue.fetch_positions()) == []
        ledger = await venue.fetch_ledger("USDT")
        assert min(row["after"] for row in ledger) == (await venue.fetch_balance())["USDT"]["total"]
        assert (await venue.fetch_trading_fee(MARKET))["taker"] == pytest.approx(fill["fee"]["rate"])

    trade(tape, scenario)


def test_settings_answer_as_the_venue_does(tape):
    async def scenario(venue, server):
        await venue.set_leverage(7, MARKET)
        with pytest.raises(ccxt.BadRequest, match="110043"):
            await venue.set_leverage(7, MARKET)
        assert (await venue.fetch_leverage(MARKET))["longLeverage"] == 7
        await venue.set_margin_mode("isolated", MARKET)
        with pytest.raises(ccxt.MarginModeAlreadySet):
            await venue.set_margin_mode("isolated", MARKET)
        assert (await venue.fetch_margin_mode(MARKET))["marginMode"] == "isolated"
        with pytest.raises(ccxt.NoChange):
            await venue.set_position_mode(False, MARKET)
        with pytest.raises(ccxt.BadRequest, match="110029"):
            await venue.set_position_mode(True, MARKET)
        await venue.create_order(MARKET, "market", "buy", 0.01)
        with pytest.raises(ccxt.BadRequest, match="110024"):
            await venue.set_margin_mode("cross", MARKET)
        permissions = (await venue.private_get_v5_user_query_api())["result"]["permissions"]
        assert permissions["ContractTrade"] == ["Order", "Position"] and permissions["Wallet"] == []

    trade(tape, scenario)


@pytest.mark.parametrize(("terms", "error", "code"), [
    ({"amount": 20.0}, ccxt.InsufficientFunds, 110007),
    ({"amount": 0.01, "side": "sell", "reduceOnly": True}, ccxt.InvalidOrder, 110017),
    ({"amount": 0.001, "price": 1000.0}, ccxt.InvalidOrder, 110094),
    ({"amount": 0.01, "clientOrderId": "used"}, ccxt.InvalidOrder, 110072),
    ({"amount": 0.01, "triggerPrice": 1.0, "triggerDirection": "ascending"}, ccxt.InvalidOrder, 110092),
])  # fmt: skip
def test_what_is_refused_is_refused_with_the_venues_code(tape, terms, error, code):
    async def scenario(venue, server):
        await venue.create_order(MARKET, "market", "buy", 0.01, None, {"clientOrderId": "used"})
        before = await venue.fetch_balance()
        values = {"side": "buy", "price": None} | terms
        kind = "market" if values["price"] is None else "limit"
        named = [values.pop(name) for name in ("side", "amount", "price")]
        named[0] = "buy" if "clientOrderId" in values else named[0]
        if "reduceOnly" in values:
            await venue.create_order(MARKET, "market", "sell", 0.01, None, {"reduceOnly": True})
            before = await venue.fetch_balance()
        with pytest.raises(error, match=str(code)):
            await venue.create_order(MARKET, kind, *named, values)
        assert (await venue.fetch_balance())["USDT"] == before["USDT"]

    trade(tape, scenario)


def test_streams_tell_of_orders_trades_positions_and_balance(tape):
    async def scenario(venue, server):
        kinds = ("orders", "my_trades", "positions", "balance")
        venue.options["watchPositions"] = {"fetchPositionsSnapshot": False}
        await venue.load_markets()
        waiting = {kind: asyncio.create_task(getattr(venue, f"watch_{kind}")()) for kind in kinds}
        while not server.bybit.streams or len(server.bybit.streams[0].streams) < len(kinds):
            await asyncio.sleep(0.01)
        made = await venue.create_order(MARKET, "market", "buy", 0.02, None, {"clientOrderId": "told"})
        told = {kind: await task for kind, task in waiting.items()}
        assert {order["id"] for order in told["orders"]} == {made["id"]}
        assert [(fill["order"], fill["amount"]) for fill in told["my_trades"]] == [(made["id"], 0.02)]
        assert [(each["side"], each["contracts"]) for each in told["positions"]] == [("long", 0.02)]
        assert told["balance"]["USDT"]["total"] == pytest.approx(10_000, abs=5)
        while [order["status"] for order in venue.orders] != ["closed"]:
            await venue.watch_orders()

    trade(tape, scenario)


def test_a_gap_triggers_the_stop_of_the_position_and_the_other_stop_goes_with_it(tape):
    wall = Wall()

    async def scenario(client, server):
        await client.order()
        price = await client.price()
        code, _ = await client.call("POST", "/v5/position/trading-stop", symbol=SYMBOL, takeProfit=f"{price * 1.5:.1f}",
                                    stopLoss=f"{price * 0.95:.1f}", slTriggerBy="MarkPrice", tpslMode="Full", positionIdx=0)  # fmt: skip
        [position] = await client.rows("/v5/position/list", symbol=SYMBOL)
        stops = await client.rows("/v5/order/realtime", symbol=SYMBOL, orderFilter="StopOrder")
        assert code == 0 and {row["stopOrderType"] for row in stops} == {"StopLoss", "TakeProfit"}
        assert float(position["stopLoss"]) == pytest.approx(price * 0.95, abs=0.1)
        server.conditions.begin("price_gap", 120.0)
        wall.seconds += 60
        [flat] = await client.rows("/v5/position/list", symbol=SYMBOL)
        ended = {row["stopOrderType"]: row for row in await client.rows("/v5/order/history", symbol=SYMBOL)}
        assert flat["size"] == "0" and flat["stopLoss"] == "0" and await client.rows("/v5/order/realtime", symbol=SYMBOL) == []
        assert ended["StopLoss"]["orderStatus"] == "Filled" and float(ended["StopLoss"]["avgPrice"]) < price * 0.91
        assert (ended["TakeProfit"]["orderStatus"], ended["TakeProfit"]["cancelType"]) == ("Deactivated", "CancelByTpSlTsClear")
        assert await client.conserved()

    trade(tape, scenario, raw, wall=wall, speed=60.0)


@pytest.mark.parametrize("stop", ["stopLoss", "takeProfit"])
def test_stops_sent_with_an_order_rest_once_it_fills_and_stand_on_the_right_side(tape, stop):
    async def scenario(client, server):
        price = await client.price()
        factor = 0.9 if stop == "stopLoss" else 1.1
        await client.order(**{stop: f"{price * factor:.1f}", "orderLinkId": "with"})
        [resting] = await client.rows("/v5/order/realtime", symbol=SYMBOL)
        assert (resting["orderStatus"], resting["side"], resting["closeOnTrigger"]) == ("Untriggered", "Sell", True)
        code, _ = await client.call("POST", "/v5/position/trading-stop", symbol=SYMBOL, **{stop: f"{price * (2 - factor):.1f}"})
        assert code == 10001
        code, _ = await client.call("POST", "/v5/position/trading-stop", symbol=SYMBOL, **{stop: "0"})
        assert code == 0 and await client.rows("/v5/order/realtime", symbol=SYMBOL) == []

    trade(tape, scenario, raw)


def test_a_stop_protects_from_the_moment_of_the_fill_whoever_looks(tape):
    wall = Wall()

    async def scenario(client, server):
        price = await client.price()
        levels = {"price": f"{price * 0.97:.1f}", "stopLoss": f"{price * 0.95:.1f}"}
        await client.order(orderType="Limit", orderLinkId="dip", **levels)
        server.conditions.begin("price_gap", 120.0)
        wall.seconds += 60  # nobody asks before both have happened
        [flat] = await client.rows("/v5/position/list", symbol=SYMBOL)
        closed, opened = await client.rows("/v5/execution/list", symbol=SYMBOL)
        assert flat["size"] == "0" and (opened["orderLinkId"], opened["isMaker"]) == ("dip", True)
        assert closed["stopOrderType"] == "StopLoss" and int(closed["execTime"]) > int(opened["execTime"]) and await client.conserved()

    trade(tape, scenario, raw, wall=wall, speed=60.0)


def test_a_conditional_order_waits_is_amended_and_works(tape):
    wall = Wall()

    async def scenario(client, server):
        await client.order()
        price = await client.price()
        terms = {"side": "Sell", "triggerPrice": f"{price * 0.5:.1f}", "triggerDirection": 2, "triggerBy": "MarkPrice", "reduceOnly": True}
        code, made = await client.order(orderLinkId="stop", **terms)
        assert code == 0 and (await client.found("stop"))["orderStatus"] == "Untriggered"
        code, _ = await client.call("POST", "/v5/order/amend", symbol=SYMBOL, orderId=made["orderId"], triggerPrice=f"{price * 0.97:.1f}")
        assert code == 0 and float((await client.found("stop"))["triggerPrice"]) == pytest.approx(price * 0.97, abs=0.1)
        server.conditions.begin("price_gap", 120.0)
        wall.seconds += 60
        assert (await client.found("stop"))["orderStatus"] == "Filled" and await client.conserved()

    trade(tape, scenario, raw, wall=wall, speed=60.0)


def test_post_only_that_would_take_is_taken_and_canceled(tape):
    async def scenario(client, server):
        price = await client.price()
        code, _ = await client.order(orderType="Limit", price=f"{price * 1.01:.1f}", timeInForce="PostOnly", orderLinkId="post")
        order = await client.found("post")
        assert code == 0 and (order["orderStatus"], order["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
        assert order["cumExecQty"] == "0" and await client.rows("/v5/execution/list") == []

    trade(tape, scenario, raw)


def test_funding_is_settled_into_the_transaction_log(tape):
    wall = Wall()

    async def scenario(client, server):
        await client.order()
        wall.seconds += 24
        rows = await client.rows("/v5/account/transaction-log", type="SETTLEMENT")
        assert len(rows) == 3 and all(row["change"] == row["funding"] != "0" for row in rows) and await client.conserved()

    trade(tape, scenario, raw, wall=wall, speed=3600.0)


@pytest.mark.parametrize(("changes", "code"), [
    ({"X-BAPI-API-KEY": "somebody"}, 10003),
    ({"X-BAPI-SIGN": "0" * 64}, 10004),
    ({"X-BAPI-SIGN": "ä"}, 10004),
    ({"X-BAPI-TIMESTAMP": "1"}, 10002),
    ({"X-BAPI-TIMESTAMP": "now"}, 10001),
])  # fmt: skip
def test_who_does_not_sign_is_refused(tape, changes, code):
    async def scenario(client, server):
        client.changes = changes
        assert (await client.order())[0] == code
        client.changes = {}
        assert await client.rows("/v5/order/history") == []

    trade(tape, scenario, raw)


def test_a_changed_body_breaks_the_signature_and_an_old_request_is_too_old(tape):
    async def scenario(client, server):
        client.changes = {"X-BAPI-TIMESTAMP": str(server.clock.now() - 6_000)}
        assert (await client.order())[0] == 10002
        client.changes = {"X-BAPI-TIMESTAMP": str(server.clock.now() - 4_000)}
        assert (await client.order())[0] == 0

    trade(tape, scenario, raw, speed=1.0)


def test_the_limit_of_an_endpoint_is_told_and_kept(tape):
    wall = Wall()

    async def scenario(client, server):
        answers = [await client.answer("GET", "/v5/account/fee-rate", category="linear") for _ in range(11)]
        wall.seconds += 1.0
        after = await client.call("GET", "/v5/account/fee-rate")
        return answers, after

    answers, (code, _) = trade(tape, scenario, raw, wall=wall)
    assert [headers["X-Bapi-Limit-Status"] for _, headers, _ in answers[:10]] == [str(left) for left in reversed(range(10))]
    assert b'"retCode":10006' in answers[10][2] and b'"retCode":0' in answers[9][2] and code == 0


def test_the_dead_mans_timer_runs_from_the_last_connection_that_watched(tape):
    wall = Wall()

    async def scenario(client, server):
        low = f"{await client.price() * 0.9:.1f}"
        assert (await client.call("POST", "/v5/order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=2))[0] == 10001
        assert (await client.call("POST", "/v5/order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=5))[0] == 0
        await client.order(orderType="Limit", price=low, orderLinkId="resting")
        for wait, status in ((4.0, "New"), (5.5, "Cancelled")):
            async with client.stream("dcp.future"):
                wall.seconds += 100
                assert (await client.found("resting"))["orderStatus"] == "New"
            while server.bybit.streams:
                await asyncio.sleep(0.01)
            wall.seconds += wait
            assert (await client.found("resting"))["orderStatus"] == status
        assert (await client.found("resting"))["cancelType"] == "CancelByDCP"

    trade(tape, scenario, raw, wall=wall, speed=0.0)


def test_the_private_stream_wants_a_signature_and_knows_its_topics(tape):
    async def scenario(client, server):
        async with client.session.ws_connect(server.ws_url + "/v5/private") as socket:
            for request in ({"op": "subscribe", "args": ["order"]}, {"op": "auth", "args": ["practice-key", "9999999999999", "0"]}):
                await socket.send_json(request)
                assert not (await socket.receive_json())["success"]
            await socket.send_json({"op": "ping", "req_id": "7"})
            assert (await socket.receive_json())["op"] == "pong"
        async with client.stream("order.linear", "wallet") as socket:
            for topic in ("order.linear", "trades"):
                await socket.send_json({"op": "subscribe", "args": [topic]})
                assert not (await socket.receive_json())["success"]

    trade(tape, scenario, raw)


def test_paging_through_history_finds_every_order_once(tape):
    async def scenario(client, server):
        made = []
        for number in range(13):
            made.append((await client.order(qty="0.001", side="Buy" if number % 2 else "Sell"))[1]["orderId"])
        found, cursor = [], ""
        while True:
            _, page = await client.call("GET", "/v5/order/history", limit=5, cursor=cursor)
            found, cursor = found + [row["orderId"] for row in page["list"]], page["nextPageCursor"]
            if not cursor:
                return made, found

    made, found = trade(tape, scenario, raw)
    assert found == made[::-1]


def test_both_faces_run_on_one_clock_with_accounts_of_their_own(tape):
    async def scenario(client, server):
        await client.order()
        async with client.session.get(server.url + "/fapi/v1/time") as response:
            assert (await response.json())["serverTime"] == tape.opening
        assert tape.opening % HOUR == 0

    trade(tape, scenario, raw)
