"""A desk on a small tape whose clock the test turns, and the clients that trade with it."""

import asyncio
import hashlib
import hmac
import time
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import urlencode

from quantalpha.practice import ApiKey, binance_rest
from quantalpha.practice.binance_rest import Request
from quantalpha.practice.binance_venue import Binance
from quantalpha.practice.clock import Clock
from quantalpha.practice.desk import Desk
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.keys import KEY, SECRET
from quantalpha.practice.query import Signature

from .support import HOUR, Wall, client

SYMBOL = "BTC/USDT:USDT"


class Session:
    """A venue at `now` on the tape; one wall second is a tape hour unless told otherwise."""

    def __init__(self, tape, now=None, *, speed=3600.0, deposit=10_000.0):
        self.wall = Wall()
        start = tape.opening if now is None else now
        self.exchange = Exchange(tape, Clock(start, tape.end, speed, self.wall), keys=[ApiKey(deposit=deposit)])
        self.venue = Binance(self.exchange)

    @property
    def desk(self) -> Desk:
        """The default key's, brought up to the present."""
        return self.venue.desks[KEY]

    def wait(self, hours: float) -> Desk:
        """So many tape hours later."""
        self.wall.seconds += hours * HOUR / 1000 / self.exchange.clock.speed
        return self.desk

    def ask(self, method, path, *, key=KEY, secret=SECRET, timestamp=None, **values):
        """The payload of one signed request to Binance's side, sent as a client would."""
        told = {name: value for name, value in values.items() if value is not None}
        told["timestamp"] = self.exchange.now() if timestamp is None else timestamp
        sent = urlencode(told)
        sent += "&signature=" + hmac.new(secret.encode(), sent.encode(), hashlib.sha256).hexdigest()
        told = {name: str(value) for name, value in told.items()} | {"signature": sent[-64:]}
        return binance_rest.answer(self.venue, Request(method, path, told, Signature(key, sent), "client"))[0]


def desk_at(tape, now=None, **options) -> tuple[Session, Desk]:
    session = Session(tape, now, **options)
    return session, session.desk


def adds_up(account) -> bool:
    return account.wallet == account.deposit + sum((each.amount for each in account.incomes), Decimal(0))


@asynccontextmanager
async def trader(server, key=KEY, secret=SECRET):
    """ccxt.pro's binanceusdm with keys, which has asked for the time."""
    async with client(server) as exchange:
        exchange.apiKey, exchange.secret = key, secret
        await exchange.load_time_difference()
        yield exchange


@asynccontextmanager
async def second_client(server, key=KEY, secret=SECRET):
    """python-binance's AsyncClient, pointed at the server as its class attributes allow, and its socket manager."""
    from binance import AsyncClient, BinanceSocketManager

    binance = AsyncClient(key, secret)
    binance.API_URL, binance.FUTURES_URL, binance.MARGIN_API_URL = server.url + "/api", server.url + "/fapi", server.url + "/sapi"
    try:
        told = (await binance.futures_time())["serverTime"]
        binance.timestamp_offset = told - int(time.time() * 1000)
        sockets = BinanceSocketManager(binance)
        sockets.FSTREAM_URL = server.ws_url + "/"
        yield binance, sockets
    finally:
        await binance.close_connection()


async def listening(exchange) -> None:
    """Wait until ccxt's user data stream stands."""
    while not any("listenKey" in url and connection.isConnected for url, connection in exchange.clients.items()):
        await asyncio.sleep(0.01)
