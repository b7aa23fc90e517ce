"""A signed client of Bybit's private half, as raw as the wire, and ccxt's with the practice key."""

import hashlib
import hmac
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import urlencode

import aiohttp
import orjson

from quantalpha.practice.keys import KEY, SECRET

from .support import client

SYMBOL, MARKET = "BTCUSDT", "BTC/USDT:USDT"


def sign(text: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Raw:
    """One session; `call` gives retCode, result, and `answer` all there is."""

    def __init__(self, server, session: aiohttp.ClientSession):
        self.server, self.session = server, session
        self.changes = {}  # of the headers

    async def answer(self, method: str, path: str, **values):
        """(status, headers, body)"""
        sent = urlencode(values) if method == "GET" else orjson.dumps(values).decode()
        now = str(self.server.conditions.clock.now())
        headers = {"X-BAPI-API-KEY": KEY, "X-BAPI-TIMESTAMP": now, "X-BAPI-RECV-WINDOW": "5000"} | self.changes
        text = headers["X-BAPI-TIMESTAMP"] + headers["X-BAPI-API-KEY"] + headers["X-BAPI-RECV-WINDOW"] + sent
        headers = {"X-BAPI-SIGN": sign(text)} | headers
        query, body = ("?" + sent, None) if method == "GET" else ("", sent)
        async with self.session.request(method, self.server.url + path + query, data=body, headers=headers) as response:
            return response.status, response.headers, await response.read()

    async def call(self, method: str, path: str, **values):
        _, _, body = await self.answer(method, path, **{"category": "linear"} | values)
        found = orjson.loads(body)
        return found["retCode"], found["result"]

    async def order(self, **values):
        """A market order to buy a little unless told otherwise."""
        terms = {"symbol": SYMBOL, "side": "Buy", "orderType": "Market", "qty": "0.01"}
        return await self.call("POST", "/v5/order/create", **terms | values)

    async def rows(self, path: str, **values) -> list[dict]:
        code, result = await self.call("GET", path, **values)
        assert code == 0, result
        return result["list"]

    async def every(self, path: str, **values) -> list[dict]:
        """The rows of all pages."""
        found, cursor = [], ""
        while True:
            code, page = await self.call("GET", path, **values, limit=50, cursor=cursor)
            assert code == 0, page
            found, cursor = found + page["list"], page["nextPageCursor"]
            if not cursor:
                return found

    async def found(self, link: str) -> dict | None:
        """The order of that link id, whatever its state."""
        return next(iter(await self.rows("/v5/order/realtime", symbol=SYMBOL, orderLinkId=link)), None)

    async def price(self) -> float:
        return float((await self.rows("/v5/market/tickers", symbol=SYMBOL))[0]["lastPrice"])

    async def conserved(self) -> bool:
        """Wallet = deposit + the transaction log's changes, profit less fees as the executions tell them."""
        [account] = await self.rows("/v5/account/wallet-balance", accountType="UNIFIED")
        log, trades = await self.every("/v5/account/transaction-log"), await self.every("/v5/execution/list")
        wallet, changes = Decimal(account["totalWalletBalance"]), sum(Decimal(row["change"]) for row in log)
        earned = sum(Decimal(row["execPnl"]) - Decimal(row["execFee"]) for row in trades)
        others = sum(Decimal(row["change"]) for row in log if row["type"] != "TRADE")
        return wallet == 10_000 + changes == 10_000 + earned + others

    @asynccontextmanager
    async def stream(self, *topics: str):
        """The private websocket, signed and subscribed."""
        async with self.session.ws_connect(self.server.ws_url + "/v5/private") as socket:
            expires = str(self.server.conditions.server_time() + 10_000)
            await socket.send_json({"op": "auth", "args": [KEY, expires, sign("GET/realtime" + expires)]})
            assert (await socket.receive_json())["success"]
            await socket.send_json({"op": "subscribe", "args": list(topics)})
            assert (await socket.receive_json())["success"]
            yield socket


@asynccontextmanager
async def raw(server):
    async with aiohttp.ClientSession() as session:
        yield Raw(server, session)


@asynccontextmanager
async def trader(server):
    """ccxt.pro's Bybit with the practice key, its clock set by the venue's."""
    async with client(server, "bybit") as venue:
        venue.apiKey, venue.secret = KEY, SECRET
        await venue.load_time_difference()
        yield venue
