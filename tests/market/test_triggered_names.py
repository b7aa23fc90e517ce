"""A stop that was triggered becomes an order with a name of the venue's: its trades are still the stop's, whatever is told first."""

import asyncio
from types import SimpleNamespace

from quantalpha.market.trading.binance import Binance
from quantalpha.market.trading.binance_stream import BinanceStream

STOP = "qa-0123"


def trade_told(order="77", name="x-7f3a"):
    told = {
        "s": "BTCUSDT",
        "c": name,
        "S": "SELL",
        "o": "MARKET",
        "ot": "MARKET",
        "f": "GTC",
        "q": "0.1",
        "p": "0",
        "ap": "99",
        "x": "TRADE",
    }
    told |= {"X": "FILLED", "i": order, "l": "0.1", "z": "0.1", "L": "99", "n": "0.01", "N": "USDT", "T": 5, "t": 9, "m": False, "R": True}
    return {"e": "ORDER_TRADE_UPDATE", "E": 5, "T": 5, "o": told}


def condition_told(order="77"):
    told = {
        "caid": STOP,
        "aid": 5,
        "at": "CONDITIONAL",
        "o": "STOP_MARKET",
        "s": "BTCUSDT",
        "S": "SELL",
        "q": "0.1",
        "X": "FINISHED",
        "ai": order,
    }
    return {"e": "ALGO_UPDATE", "E": 5, "T": 5, "o": told | {"tp": "99.5", "R": True}}


class Account(Binance):
    """Answers what a test has."""

    def __init__(self):
        self.names, self.asked = {}, []

    async def _ask(self, endpoint, **parameters):
        self.asked.append(endpoint)
        if endpoint == "fapiPrivateGetOrder":
            return {"clientOrderId": "x-7f3a", "type": "MARKET", "origType": "MARKET"}
        return [{"actualOrderId": 77, "clientAlgoId": STOP}]


def test_a_trade_told_before_its_condition_is_asked_about():
    account = Account()
    stream = BinanceStream(account, lambda news: None)
    assert stream.understand(trade_told()) == [None]
    assert asyncio.run(account._name("77", "BTCUSDT")) == STOP


def test_a_trade_told_after_its_condition_is_the_conditions():
    stream = BinanceStream(SimpleNamespace(names={}, ours=Account().ours), lambda news: None)
    stream.understand(condition_told())
    trade, order = stream.understand(trade_told())
    assert (trade.client_id, order.client_id) == (STOP, STOP)


def test_a_trade_of_an_order_made_here_needs_no_question():
    stream = BinanceStream(SimpleNamespace(names={}, ours=Account().ours), lambda news: None)
    assert stream.understand(trade_told(name="qa-1"))[0].client_id == "qa-1"
