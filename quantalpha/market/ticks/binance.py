"""Binance USD-M futures: names of its streams, and its messages decoded from raw bytes.

Source: developers.binance.com, USD-M futures, websocket market streams; the split into /public and /market is that of ccxt 4.5.
"""

import orjson

from quantalpha.errors import ExchangeError
from quantalpha.market.ticks.messages import Bar, Depth, Line, Mark, Message, Quote, Trade

BASE = "wss://fstream.binance.com"
CHANNELS = {
    "book": ("/public/ws", "{}@bookTicker"),
    "depth": ("/public/ws", "{}@depth@100ms"),
    "trades": ("/market/ws", "{}@aggTrade"),
    "mark": ("/market/ws", "{}@markPrice@1s"),
    "bars": ("/market/ws", "{}@kline_{}"),
}
TOPICS_PER_REQUEST = 100


class Binance:
    """counted_trades: a hole in the numbers of trades shows that some were missed. ping: what to send now and then, if anything."""

    counted_trades, ping = True, None

    def lines(self, symbols, kinds, bar: str) -> list[Line]:
        """The connections it takes."""
        carried: dict[str, list[str]] = {}
        for kind in kinds:
            carried.setdefault(CHANNELS[kind][0], []).append(kind)
        return [Line(path, tuple(on), _requests(symbols, on, bar)) for path, on in carried.items()]

    def renew(self, symbol: str) -> list[str]:
        """Requests that bring a snapshot of the book by the stream: none, it is to be fetched by REST."""
        return []

    def decode(self, raw: bytes | str) -> list[Message]:
        """What one frame says. Raises ValueError or KeyError for no message of Binance's, ExchangeError for a refusal."""
        message = orjson.loads(raw)
        message = message.get("data", message)
        decoder = DECODERS.get(message.get("e"))
        if decoder is not None:
            return [decoder(message)]
        if "error" in message:
            raise ExchangeError(f"binanceusdm: refused a subscription: {message['error']}; check symbols and stream.kinds")
        return []


def _requests(symbols, kinds, bar: str) -> list[str]:
    names = [CHANNELS[kind][1].format(symbol.lower(), bar) for kind in kinds for symbol in symbols]
    parts = [names[i : i + TOPICS_PER_REQUEST] for i in range(0, len(names), TOPICS_PER_REQUEST)]
    return [orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": i + 1}).decode() for i, part in enumerate(parts)]


def _quote(m: dict) -> Quote:
    return Quote(m["s"], m["T"], m["E"], m["u"], float(m["b"]), float(m["B"]), float(m["a"]), float(m["A"]))


def _depth(m: dict) -> Depth:
    return Depth(m["s"], m["T"], m["E"], m["U"], m["u"], m["pu"], m["b"], m["a"])


def _trade(m: dict) -> Trade:
    return Trade(m["s"], m["T"], m["E"], m["a"], float(m["p"]), float(m["q"]), -1 if m["m"] else 1)


def _mark(m: dict) -> Mark:
    return Mark(m["s"], m["E"], m["E"], float(m["p"]), float(m["i"]), float(m["r"] or "nan"), m["T"])


def _bar(m: dict) -> Bar:
    k = m["k"]
    values = (float(k["o"]), float(k["h"]), float(k["l"]), float(k["c"]), float(k["v"]))
    return Bar(m["s"], k["t"], m["E"], k["i"], *values, k["x"])


DECODERS = {"bookTicker": _quote, "depthUpdate": _depth, "aggTrade": _trade, "markPriceUpdate": _mark, "kline": _bar}
