"""Bybit v5, linear perpetuals: names of its topics, and its messages decoded from raw bytes.

Source: bybit-exchange.github.io, v5, websocket public: orderbook, trade, ticker, kline.
"""

import orjson

from quantalpha import timeframe
from quantalpha.errors import ExchangeError
from quantalpha.market.ticks.messages import CHANGES, STREAMED, Bar, Depth, Line, Mark, Message, Quote, Trade

BASE = "wss://stream.bybit.com"
PATH = "/v5/public/linear"
TOPICS = {"book": "orderbook.1.{}", "depth": "orderbook.200.{}", "trades": "publicTrade.{}", "mark": "tickers.{}", "bars": "kline.{1}.{0}"}
INTERVALS = {"1d": "D"} | {f"{minutes}m": str(minutes) for minutes in (1, 3, 5, 15, 30)} | {f"{h}h": str(60 * h) for h in (1, 2, 4, 6, 12)}
BARS = {interval: bar for bar, interval in INTERVALS.items()}
TOPICS_PER_REQUEST = 10
TICKER = ("markPrice", "indexPrice", "fundingRate", "nextFundingTime")


class Bybit:
    """Its decoder remembers each ticker, because Bybit sends only what has changed of one. See `Binance` for the attributes."""

    counted_trades, ping = False, '{"op":"ping"}'

    def __init__(self):
        self._tickers: dict[str, dict] = {}

    def lines(self, symbols, kinds, bar: str) -> list[Line]:
        """The one connection it takes."""
        interval = INTERVALS.get(bar, str(timeframe.milliseconds(bar) // 60_000))
        names = [TOPICS[kind].format(symbol, interval) for kind in kinds for symbol in symbols]
        parts = [names[i : i + TOPICS_PER_REQUEST] for i in range(0, len(names), TOPICS_PER_REQUEST)]
        return [Line(PATH, tuple(kinds), [orjson.dumps({"op": "subscribe", "args": part}).decode() for part in parts])]

    def renew(self, symbol: str) -> list[str]:
        """Requests that bring a snapshot of the book by the stream."""
        return [orjson.dumps({"op": verb, "args": [TOPICS["depth"].format(symbol)]}).decode() for verb in ("unsubscribe", "subscribe")]

    def decode(self, raw: bytes | str) -> list[Message]:
        """What one frame says. Raises ValueError or KeyError for no message of Bybit's, ExchangeError for a refusal."""
        message = orjson.loads(raw)
        topic = message.get("topic")
        if topic is None:
            if message.get("success") is False:
                raise ExchangeError(f"bybit: refused a subscription: {message.get('ret_msg')}; check symbols, stream.kinds and stream.bar")
            return []
        kind, data = topic[: topic.index(".")], message["data"]
        if kind == "orderbook":
            return [_quote(message, data) if topic.startswith("orderbook.1.") else _depth(message, data)]
        if kind == "publicTrade":
            return [_trade(message, trade) for trade in data]
        if kind == "kline":
            return [_bar(topic, message, bar) for bar in data]
        return self._mark(message, data) if kind == "tickers" else []

    def _mark(self, m: dict, data: dict) -> list[Mark]:
        known = data if m["type"] == "snapshot" else self._tickers.get(data["symbol"], {}) | data
        self._tickers[data["symbol"]] = known
        if not all(name in known for name in TICKER):
            return []
        mark, index, rate = (float(known[name] or "nan") for name in TICKER[:3])
        return [Mark(data["symbol"], m["ts"], m["ts"], mark, index, rate, int(known["nextFundingTime"] or 0))]


def _quote(m: dict, data: dict) -> Quote:
    """Level 1 comes whole each time."""
    (bid, bid_qty), (ask, ask_qty) = data["b"][0], data["a"][0]
    return Quote(data["s"], m.get("cts", m["ts"]), m["ts"], data["u"], float(bid), float(bid_qty), float(ask), float(ask_qty))


def _depth(m: dict, data: dict) -> Depth:
    """Numbers of updates are consecutive; a snapshot (after a restart numbered 1) replaces the book."""
    last = data["u"]
    return Depth(
        data["s"],
        m.get("cts", m["ts"]),
        m["ts"],
        last,
        last,
        last - 1,
        data["b"],
        data["a"],
        STREAMED if m["type"] == "snapshot" else CHANGES,
    )


def _trade(m: dict, t: dict) -> Trade:
    return Trade(t["s"], t["T"], m["ts"], t["i"], float(t["p"]), float(t["v"]), 1 if t["S"] == "Buy" else -1)


def _bar(topic: str, m: dict, k: dict) -> Bar:
    values = (float(k["open"]), float(k["high"]), float(k["low"]), float(k["close"]), float(k["volume"]))
    interval = k["interval"]
    return Bar(topic.rpartition(".")[2], k["start"], m["ts"], BARS.get(interval, interval), *values, k["confirm"])
