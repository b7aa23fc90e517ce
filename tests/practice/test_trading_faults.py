"""Each fault of trading on either face: what the client sees, what the account shows, and that no money appears or is lost."""

import asyncio
import hashlib
import hmac
from decimal import Decimal
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest

from quantalpha.config import CONDITIONS, TRADING_FAULTS, UNCERTAIN
from quantalpha.practice import Faults, StreamFaults, TradingFaults
from quantalpha.practice.keys import KEY, SECRET

from .bybit_account import SYMBOL, Raw
from .support import Wall, play

SILENT = ("timeout_before_accept", "timeout_after_accept")
CUT = ("disconnect_before_accept", "disconnect_after_accept")
EXECUTED = ("late_answer", "malformed", "truncated", *(f"{name}_after_accept" for name in UNCERTAIN))
NOT_EXECUTED = ("http_429", "http_418", "http_503", *(f"{name}_before_accept" for name in UNCERTAIN))


class Bybit(Raw):
    """answer(link): one market order; known(link): its status at the venue or None; wallet(): (balance, sum of what changed it)."""

    def send(self, link, **terms):
        order = {"category": "linear", "symbol": SYMBOL, "side": "Buy", "orderType": "Market", "qty": "0.01", "orderLinkId": link}
        return self.answer("POST", "/v5/order/create", **order | terms)

    async def known(self, link):
        order = await self.found(link)
        return None if order is None else order["orderStatus"].lower()

    async def filled(self, link):
        return Decimal((await self.found(link))["cumExecQty"])

    async def sound(self):
        return await self.conserved()


class Binance:
    def __init__(self, server, session):
        self.server, self.session = server, session

    async def signed(self, method, path, **values):
        text = urlencode(values | {"timestamp": self.server.clock.now()})
        text += "&signature=" + hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        async with self.session.request(method, f"{self.server.url}{path}?{text}", headers={"X-MBX-APIKEY": KEY}) as response:
            return response.status, response.headers, await response.read()

    def send(self, link, **terms):
        order = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "0.01", "newClientOrderId": link}
        return self.signed("POST", "/fapi/v1/order", **order | terms)

    async def _found(self, link):
        status, _, body = await self.signed("GET", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId=link)
        return orjson.loads(body) if status == 200 else None

    async def known(self, link):
        order = await self._found(link)
        return None if order is None else order["status"].lower()

    async def filled(self, link):
        return Decimal((await self._found(link))["executedQty"])

    async def sound(self):
        account = orjson.loads((await self.signed("GET", "/fapi/v2/account"))[2])
        incomes = orjson.loads((await self.signed("GET", "/fapi/v1/income", limit=1000))[2])
        return Decimal(account["totalWalletBalance"]) == 10_000 + sum(Decimal(each["income"]) for each in incomes)


FACES = [Bybit, Binance]


def trade(tape, face, scenario, faults=None, **options):
    async def main(server):
        async with aiohttp.ClientSession() as session:
            return await scenario(face(server, session), server)

    return play(tape, main, faults=faults, **options)


async def seen(answer, patience=0.3):
    """What a client sees of an answer: 'nothing' within its patience, 'gone', or (status, whether it is whole)."""
    try:
        status, _, body = await asyncio.wait_for(answer, patience)
    except TimeoutError:
        return "nothing"
    except aiohttp.ClientError:
        return "gone"
    try:
        return status, isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return status, False


def test_every_fault_is_known_to_be_executed_or_not():
    assert {*EXECUTED, *NOT_EXECUTED, *CONDITIONS} == set(TRADING_FAULTS)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("fault", [*EXECUTED, *NOT_EXECUTED])
def test_an_order_exists_exactly_where_the_fault_says_so(tape, face, fault):
    async def scenario(client, server):
        told = await seen(client.send("doubtful"))
        status = await client.known("doubtful")
        assert (status == "filled") == (fault in EXECUTED) and (status is None) == (fault in NOT_EXECUTED)
        assert server.faults.trading.met == {fault: 1} and server.faults.trading.number == 1
        again, _, _ = await client.send("sure")
        assert again == 200 and await client.known("sure") == "filled" and await client.sound()
        return told

    faults = Faults(trading=TradingFaults(plan={0: fault}, seconds=0.05))
    told = trade(tape, face, scenario, faults)
    expected = {"malformed": (200, False), "truncated": (200, False), "late_answer": (200, True)}
    expected |= dict.fromkeys(SILENT, "nothing") | dict.fromkeys(CUT, "gone")
    assert told == expected.get(fault, told) and (fault in expected or told != (200, True) or face is Bybit)


@pytest.mark.parametrize(("fault", "status", "code"), [
    ("unknown_503_after_accept", 503, -1000), ("server_timeout_before_accept", 408, -1007), ("server_error_after_accept", 400, -1001),
    ("http_429", 429, -1003), ("http_418", 418, -1003), ("http_503", 503, -1008), ("http_504_before_accept", 504, None),
    ("maintenance", 503, -1016),
])  # fmt: skip
def test_binances_words_for_doubt_and_refusal(tape, fault, status, code):
    async def scenario(client, server):
        found, _, body = await client.send("one")
        return found, orjson.loads(body)["code"] if code is not None else None

    assert trade(tape, Binance, scenario, Faults(trading=TradingFaults(plan={0: fault}))) == (status, code)


@pytest.mark.parametrize(("fault", "status", "code"), [
    ("server_timeout_after_accept", 200, 10000), ("server_error_before_accept", 200, 10016), ("http_429", 200, 10006),
    ("http_418", 403, 10018), ("maintenance", 503, 10016),
])  # fmt: skip
def test_bybits_words_for_doubt_and_refusal(tape, fault, status, code):
    async def scenario(client, server):
        found, _, body = await client.send("one")
        return found, orjson.loads(body)["retCode"]

    assert trade(tape, Bybit, scenario, Faults(trading=TradingFaults(plan={0: fault}))) == (status, code)


@pytest.mark.parametrize("face", FACES)
def test_money_is_conserved_under_all_faults_by_chance(tape, face):
    wall = Wall()
    silent = {*SILENT, *CONDITIONS}
    chance = {fault: 0.5 / len(TRADING_FAULTS) for fault in TRADING_FAULTS if fault not in silent} | {"partial": 0.05}

    async def scenario(client, server):
        for number in range(60):
            side = {"side": ("BUY", "SELL")[number % 2] if face is Binance else ("Buy", "Sell")[number % 2]}
            await seen(client.send(f"order-{number}", **side), 5.0)
            wall.seconds += 0.2
        met = dict(server.faults.trading.met)
        server.faults.trading.chance = {}
        states = []
        for number in range(60):
            states.append(await client.known(f"order-{number}"))
            wall.seconds += 0.1  # no more than the venue answers in a second
        assert await client.sound() and len(met) > 8
        return met, states

    faults = [Faults(trading=TradingFaults(chance, seed=5, seconds=0.01)) for _ in range(2)]
    runs = [trade(tape, face, scenario, each, wall=wall, speed=60.0) for each in faults]
    assert runs[0] == runs[1]  # the seed decides
    lost = sum(count for fault, count in runs[0][0].items() if fault in NOT_EXECUTED)
    assert runs[0][1].count(None) == lost > 0


@pytest.mark.parametrize("face", FACES)
def test_a_partial_fill_leaves_the_rest_of_a_market_order(tape, face):
    async def scenario(client, server):
        await client.send("half")
        filled = await client.filled("half")
        server.conditions.end("partial")
        await client.send("whole")
        assert filled == Decimal("0.005") and await client.filled("whole") == Decimal("0.01") and await client.sound()
        return await client.known("half")

    status = trade(tape, face, scenario, Faults(trading=TradingFaults(plan={0: "partial"}, seconds=60.0)))
    assert status in ("cancelled", "expired")


@pytest.mark.parametrize("face", FACES)
def test_nothing_is_taken_while_a_symbol_is_halted(tape, face):
    async def scenario(client, server):
        server.conditions.begin("halted", 60.0, SYMBOL)
        status, _, body = await client.send("early")
        assert status == 400 or orjson.loads(body)["retCode"] == 110066
        assert await client.known("early") is None
        async with client.session.get(server.url + "/fapi/v1/exchangeInfo") as response:
            contracts = {each["symbol"]: each["status"] for each in (await response.json())["symbols"]}
        assert contracts == {SYMBOL: "PENDING_TRADING", "ETHUSDT": "TRADING"}
        server.conditions.end("halted")
        await client.send("later")
        assert await client.known("later") == "filled"

    trade(tape, face, scenario)


@pytest.mark.parametrize("face", FACES)
def test_a_skewed_clock_refuses_true_timestamps_and_tells_the_time_it_shows(tape, face):
    async def scenario(client, server):
        server.conditions.begin("clock_skew", 60.0)
        _, _, body = await client.send("early")
        assert b"-1021" in body or b"10002" in body
        path, name = ("/fapi/v1/time", "serverTime") if face is Binance else ("/v5/market/time", "time")
        async with client.session.get(server.url + path) as response:
            told = (await response.json())[name]
        assert told == server.clock.now() + (10_000 if face is Binance else 0)
        server.conditions.end("clock_skew")
        assert await client.known("early") is None

    trade(tape, face, scenario)


@pytest.mark.parametrize("face", FACES)
def test_maintenance_refuses_everything_and_closes_every_socket(tape, face):
    wall = Wall()

    async def scenario(client, server):
        url = server.ws_url + ("/v5/private" if face is Bybit else "/ws/btcusdt@aggTrade")
        async with client.session.ws_connect(url) as socket:
            server.conditions.begin("maintenance", 5.0)
            ended = await socket.receive()
            assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.session.ws_connect(url)
        for path in ("/fapi/v1/time", "/v5/market/time"):
            async with client.session.get(server.url + path) as response:
                assert response.status == 503
        assert (await client.send("early"))[0] == 503
        wall.seconds += 5.0
        assert await client.known("early") is None
        assert (await client.send("later"))[0] == 200

    trade(tape, face, scenario, wall=wall)


def test_reads_have_a_schedule_of_their_own(tape):
    async def scenario(client, server):
        first, _, _ = await client.answer("GET", "/v5/position/list", category="linear", symbol=SYMBOL)
        await client.send("one")
        return first, server.faults.account.met, server.faults.trading.number, server.faults.number

    first, met, trading, market = trade(tape, Bybit, scenario, Faults(account=TradingFaults(plan={0: "unknown_503_before_accept"})))
    assert first == 503 and met == {"unknown_503_before_accept": 1} and (trading, market) == (1, 0)


async def told(socket, kind, count):
    """The next `count` messages of a user stream as (topic, status)."""
    found = []
    while len(found) < count:
        message = await asyncio.wait_for(socket.receive_json(), 5)
        found.append(kind(message))
    return found


def status_of_bybit(message):
    return message["data"][0]["orderStatus"]


def order_stream(tape, plan, count, wait=0.0):
    """Statuses that Bybit's order topic tells of one market order and then one more."""
    wall = Wall()

    async def scenario(client, server):
        async with client.stream("order") as socket:
            await client.send("one")
            if wait:
                while server.faults.stream.number < 2:
                    await asyncio.sleep(0.01)
                wall.seconds += wait
            await client.send("two")
            return await told(socket, status_of_bybit, count)

    return trade(tape, Bybit, scenario, Faults(stream=StreamFaults(plan=plan)), wall=wall)


@pytest.mark.parametrize(("plan", "expected"), [
    ({}, ["New", "Filled", "New", "Filled"]),
    ({0: "duplicate"}, ["New", "New", "Filled", "New", "Filled"]),
    ({0: "reorder"}, ["Filled", "New", "New", "Filled"]),
    ({1: "drop"}, ["New", "New", "Filled"]),
])  # fmt: skip
def test_a_user_stream_doubles_swaps_and_drops(tape, plan, expected):
    assert order_stream(tape, plan, len(expected)) == expected


def test_a_delayed_message_comes_after_its_seconds(tape):
    assert order_stream(tape, {1: "delay"}, 4, wait=1.0) == ["New", "Filled", "New", "Filled"]


@pytest.mark.parametrize("fault", ["disconnect", "expire"])
def test_bybits_stream_ends_and_the_account_goes_on(tape, fault):
    async def scenario(client, server):
        async with client.stream("order") as socket:
            await client.send("one")
            assert status_of_bybit(await socket.receive_json()) == "New"
            ended = await asyncio.wait_for(socket.receive(), 5)
            assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert await client.known("one") == "filled"

    trade(tape, Bybit, scenario, Faults(stream=StreamFaults(plan={1: fault})))


def binance_stream(tape, plan, scenario):
    async def main(client, server):
        key = orjson.loads((await client.signed("POST", "/fapi/v1/listenKey"))[2])["listenKey"]
        async with client.session.ws_connect(f"{server.ws_url}/ws/{key}") as socket:
            return await scenario(client, socket, key)

    return trade(tape, Binance, main, Faults(stream=StreamFaults(plan=plan)))


def test_binances_user_stream_swaps_a_fill_and_its_new(tape):
    async def scenario(client, socket, key):
        await client.send("one")
        return await told(socket, lambda message: (message["e"], message.get("o", {}).get("X")), 3)

    plain, swapped = (binance_stream(tape, plan, scenario) for plan in ({}, {0: "reorder"}))
    assert (
        plain[0] == ("ORDER_TRADE_UPDATE", "NEW") and swapped[:2] == plain[1::-1] and sorted(map(str, plain)) == sorted(map(str, swapped))
    )


def test_binances_listen_key_expires_and_a_new_one_listens_on(tape):
    async def scenario(client, socket, key):
        await client.send("one")
        [expired] = await told(socket, lambda message: message, 1)
        assert (expired["e"], expired["listenKey"]) == ("listenKeyExpired", key)
        assert orjson.loads((await client.signed("POST", "/fapi/v1/listenKey"))[2])["listenKey"] != key
        assert await client.known("one") == "filled"

    binance_stream(tape, {0: "expire"}, scenario)


def test_binances_user_stream_is_cut(tape):
    async def scenario(client, socket, key):
        await client.send("one")
        return (await asyncio.wait_for(socket.receive(), 5)).type

    ended = binance_stream(tape, {0: "disconnect"}, scenario)
    assert ended in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
