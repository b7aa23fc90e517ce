"""Binance's user-data stream: a listen key, good for an hour, is renewed every half hour (developers.binance.com, USD-M futures, user data
streams). `listenKeyExpired` ends it."""

from urllib.parse import urlsplit, urlunsplit

from quantalpha.market.trading.binance_answers import streamed_condition, streamed_order, streamed_trade
from quantalpha.market.trading.stream import Expired, News, UserStream
from quantalpha.market.trading.words import Paid

HOST, DEMO_HOST = "wss://fstream.binance.com", "wss://fstream.binancefuture.com"
BECAME_ORDER = ("TRIGGERED", "FINISHED")
PAID = ("FUNDING_FEE", "INSURANCE_CLEAR")


class BinanceStream(UserStream):
    renewal = 1800.0

    async def address(self) -> str:
        key = await self.trading.listen_key()
        base = self.trading.venue.ws_url or (DEMO_HOST if self.trading.demo else HOST)
        return urlunsplit(urlsplit(base)._replace(path="/private/ws", query=f"listenKey={key}"))

    async def greet(self, socket) -> None:
        """The address says it all."""

    async def renew(self, socket) -> None:
        await self.trading.renew_listen_key()

    def understand(self, message: dict) -> list[News]:
        kind, told = message.get("e"), message.get("o")
        if kind == "listenKeyExpired":
            raise Expired("the listen key has expired")
        if kind == "ALGO_UPDATE":
            return self._condition(told, int(message["T"]))
        if kind != "ORDER_TRADE_UPDATE":
            return self._account(message["a"].get("m")) if kind == "ACCOUNT_UPDATE" else []
        name = self.trading.names.get(str(told["i"]), told["c"])
        if not self.trading.ours(name):
            return [None]  # perhaps what a condition became: its own name is asked for
        self.trading.names[str(told["i"])] = name
        trades = [streamed_trade(told, name)] if told["x"] == "TRADE" else []
        return [*trades, streamed_order(told, name)]

    def _account(self, reason: str | None) -> list[News]:
        """After an order nothing: its own message tells the trade."""
        return [Paid()] if reason in PAID else [None] if reason != "ORDER" else []

    def _condition(self, told: dict, time: int) -> list[News]:
        """Of one that was triggered, the order that it became tells the rest."""
        became = str(told.get("ai") or "")
        if became.strip("0"):
            self.trading.names[became] = told["caid"]
        return [None] if told["X"] in BECAME_ORDER else [streamed_condition(told, time)]
