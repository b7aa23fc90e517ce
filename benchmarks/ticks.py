"""Recorded Binance messages through decoding, books and order flow, on one core: messages a second, and how long each takes.

python benchmarks/ticks.py [messages] [rate]      needs ../shared/data/lob_binance_*.parquet

The captures are written out as the JSON that Binance sends (depth changes from one recorded top ten to the next) before the clock starts.
From memory, then through a websocket on this machine at `rate` a second; beside it ccxt.pro on the same bytes, and orjson alone.
"""

import asyncio
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from quantalpha import config
from quantalpha.errors import ExchangeError
from quantalpha.market.ticks.binance import Binance
from quantalpha.market.ticks.feed import Feed, Subscription
from quantalpha.market.ticks.flow import Flow
from quantalpha.market.ticks.health import Health
from quantalpha.market.ticks.intake import Intake
from quantalpha.market.ticks.messages import FETCHED, Depth, Quote, Trade

DATA = Path(__file__).parents[2] / "shared" / "data"
LEVELS = 10
SERIES = ["market", "symbol", "session"]
PEERS = ("BTCUSDT", "ETHUSDT")  # names ccxt knows


def captures(name: str):
    """(name of the series, its rows)."""
    table = pd.read_parquet(DATA / f"lob_binance_{name}.parquet").sort_values("timestamp", kind="stable")
    for (market, symbol, session), rows in table.groupby(SERIES):
        yield symbol if (market, session) == ("um", "20240808") else f"{symbol}-{market}-{session}", rows


def text(message: dict) -> bytes:
    return orjson.dumps(message)


def quotes(symbol: str, rows: pd.DataFrame):
    local = rows["timestamp"].astype("int64").to_numpy() // 1_000_000
    times = rows["ts_exch_ms"].astype("float64").to_numpy()
    times = np.where(np.isnan(times), local, times).astype("int64").tolist()
    for t, u, b, bq, a, aq in zip(times, rows["update_id"].tolist(), *(rows[c].tolist() for c in ("bid", "bid_qty", "ask", "ask_qty"))):
        head = {"e": "bookTicker", "u": u, "s": symbol}
        yield t, text(head | {"b": str(b), "B": str(bq), "a": str(a), "A": str(aq), "T": t, "E": t})


def trades(symbol: str, rows: pd.DataFrame):
    number = rows["trade_id"].to_numpy()
    columns = (rows[c].tolist() for c in ("ts_event_ms", "ts_trade_ms", "price", "qty", "is_buyer_maker"))
    for n, event, t, p, q, m in zip(range(int(number[0]), int(number[0]) + len(rows)), *columns):
        yield event, text({"e": "aggTrade", "E": event, "s": symbol, "a": n, "p": str(p), "q": str(q), "f": n, "l": n, "T": t, "m": m})


def sides(rows: pd.DataFrame, side: str) -> list[dict[float, float]]:
    prices = rows[[f"{side}_px_{i}" for i in range(1, LEVELS + 1)]].to_numpy().tolist()
    return [dict(zip(p, q)) for p, q in zip(prices, rows[[f"{side}_sz_{i}" for i in range(1, LEVELS + 1)]].to_numpy().tolist())]


def changes(old: dict, new: dict) -> list[list[str]]:
    moved = [[str(price), str(size)] for price, size in new.items() if old.get(price) != size]
    return moved + [[str(price), "0"] for price in old if price not in new]


def depth(symbol: str, rows: pd.DataFrame):
    """First the snapshot, as a message of ours, then the changes as Binance's."""
    bids, asks, times, numbers = sides(rows, "bid"), sides(rows, "ask"), rows["ts_exch_ms"].tolist(), rows["update_id"].tolist()
    yield times[0], Depth(symbol, times[0], times[0], *[numbers[0]] * 3, list(bids[0].items()), list(asks[0].items()), FETCHED)
    for i in range(1, len(rows)):
        ids = {"U": numbers[i - 1] + 1, "u": numbers[i], "pu": numbers[i - 1]}
        levels = {"b": changes(bids[i - 1], bids[i]), "a": changes(asks[i - 1], asks[i])}
        yield times[i], text({"e": "depthUpdate", "E": times[i], "T": times[i], "s": symbol} | ids | levels)


def load(limit: int) -> tuple[list[Depth], list[bytes]]:
    """Snapshots, and all messages in order of the exchange's time."""
    found = []
    for name, write in (("bookticker", quotes), ("l2_top10", depth), ("trades", trades)):
        for symbol, rows in captures(name):
            found += write(symbol, rows)
    found.sort(key=lambda pair: pair[0])
    snapshots = [message for _, message in found if isinstance(message, Depth)]
    return snapshots, [raw for _, raw in found if isinstance(raw, bytes)][:limit]


class Desk:
    """What a strategy keeps: the books, and the flow of every symbol on bars of a second, of the best quotes and of ten levels."""

    def __init__(self, intake: Intake):
        self.intake = intake
        self.best: dict[str, Flow] = {}
        self.deep: dict[str, Flow] = {}

    def handle(self, message) -> None:
        kind, symbol = type(message), message.symbol
        if kind is Quote:
            self._of(self.best, symbol, 1).quote(message)
        elif kind is Trade:
            self._of(self.best, symbol, 1).trade(message)
        else:
            self._of(self.deep, symbol, LEVELS).depth(self.intake.books[symbol])

    def _of(self, flows: dict, symbol: str, levels: int) -> Flow:
        if symbol not in flows:
            flows[symbol] = Flow(1000, levels)
        return flows[symbol]


def intake_of(snapshots: list[Depth]) -> Intake:
    intake = Intake(Binance(), Health(15.0), "1m")
    for snapshot in snapshots:
        intake.snapshot(snapshot)
    return intake


def seconds(call) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def from_memory(snapshots: list[Depth], raws: list[bytes]) -> None:
    intake = intake_of(snapshots)
    desk, times = Desk(intake), np.empty(len(raws), "int64")
    clock, begun = time.perf_counter_ns, time.process_time()
    for i, raw in enumerate(raws):
        before = clock()
        for message in intake.take(raw, before):
            desk.handle(message)
        times[i] = clock() - before
    whole = time.process_time() - begun
    limit = seconds(lambda: [orjson.loads(raw) for raw in raws])
    n = len(raws)
    print(f"from memory    {n / whole:10,.0f} messages a CPU-second, the clock of each included")
    print("  share        " + ", ".join(f"{name} {part:.0%}" for name, part in shares(snapshots, raws).items()))
    print(f"  each         {spread(times)}")
    gaps = sum(channel.gaps for channel in intake.health.channels.values())
    bars = sum(len(flow.closed()) for flow in [*desk.best.values(), *desk.deep.values()])
    print(f"  came out     {bars:,} bars of a second, {gaps} gaps, {sum(book.synced for book in intake.books.values())} books in step")
    print(f"orjson alone   {n / limit:10,.0f}: ours takes {whole / limit:.1f} times as long")


def shares(snapshots: list[Depth], raws: list[bytes]) -> dict[str, float]:
    """What of the time each step takes, by a clock between them."""
    intake, clock, spent = intake_of(snapshots), time.perf_counter_ns, np.zeros(3)
    desk, plain = Desk(intake), intake.decoder.decode
    decoded = [0]

    def decode(raw):
        found = plain(raw)
        decoded[0] = clock()
        return found

    intake.decoder.decode = decode
    for raw in raws:
        begun = clock()
        found = intake.take(raw, begun)
        taken = clock()
        for message in found:
            desk.handle(message)
        spent += decoded[0] - begun, taken - decoded[0], clock() - taken
    return dict(zip(("decode", "sequence, health and book", "order flow"), spent / spent.sum()))


def spread(nanoseconds: np.ndarray) -> str:
    p50, p99, p999, most = np.quantile(nanoseconds, [0.5, 0.99, 0.999, 1.0]) / 1e3
    return f"P50 {p50:.0f} us, P99 {p99:.0f} us, P99.9 {p999:.0f} us, most {most:.0f} us"


def peer(snapshots: list[Depth], raws: list[bytes]) -> None:
    """ccxt.pro's handle_message on the messages of the symbols it knows: decoding and its own book, no order flow."""
    import ccxt.pro

    mine = [raw for raw in raws if any(f'"s":"{symbol}"'.encode() in raw for symbol in PEERS)]

    async def main() -> float:
        exchange = ccxt.pro.binanceusdm()
        unified = {symbol: f"{symbol[:3]}/USDT:USDT" for symbol in PEERS}
        shape = {"type": "swap", "swap": True, "linear": True, "contract": True, "settle": "USDT", "quote": "USDT"}
        exchange.set_markets([exchange.safe_market_structure({"id": i, "symbol": s, "base": s[:3]} | shape) for i, s in unified.items()])
        client = exchange.client("wss://fstream.binance.com/ws")
        for message in snapshots:
            if message.symbol in unified:
                book = exchange.orderbooks[unified[message.symbol]] = exchange.order_book({}, 1000)
                book.reset({"bids": message.bids, "asks": message.asks, "nonce": message.last, "timestamp": message.time})
        used = seconds(lambda: [exchange.handle_message(client, orjson.loads(raw)) for raw in mine])
        await exchange.close()
        return used

    used = asyncio.run(main())
    intake = intake_of(snapshots)
    desk = Desk(intake)
    own = seconds(lambda: [desk.handle(message) for raw in mine for message in intake.take(raw, 0)])
    told = f"on {len(mine):,} of them, without order flow; ours on those, with it, {len(mine) / own:,.0f}"
    print(f"ccxt.pro       {len(mine) / used:10,.0f} {told}")


def serve(port, raws: list[bytes], rate: int) -> None:
    """A websocket that sends `rate` messages a second, every 5 ms what is due; in a process of its own."""
    from aiohttp import web

    async def stream(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        begun, sent = time.perf_counter(), 0
        while sent < len(raws):
            due = min(len(raws), int((time.perf_counter() - begun) * rate))
            for raw in raws[sent:due]:
                await socket.send_str(raw.decode())
            sent = due
            await asyncio.sleep(0.005)
        await socket.receive()
        return socket

    async def main():
        app = web.Application()
        app.router.add_get("/{path:.*}", stream)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.value = runner.addresses[0][1]
        await asyncio.sleep(3600)

    asyncio.run(main())


class NoRest:
    """REST of an exchange that has only the time to tell."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def unified(self, symbol: str) -> str:
        return symbol

    async def server_time(self) -> int:
        return time.time_ns() // 1_000_000

    async def snapshot(self, symbol: str):
        raise ExchangeError(f"{symbol}: no book here")

    async def trades_after(self, symbol: str, last: int, until: int) -> list:
        return []


def through_a_socket(snapshots: list[Depth], raws: list[bytes], rate: int) -> None:
    port = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(port, raws, rate), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.05)
    handled, waited = np.empty(len(raws), "int64"), np.empty(len(raws), "int64")
    address = f"//127.0.0.1:{port.value}"
    venue = config.Venue(name="binanceusdm", source="bench", rest_url=f"http:{address}", ws_url=f"ws:{address}", timeout=5.0, budget=0.8)

    async def main():
        feed = Feed(venue, Subscription(PEERS, ("book", "depth")), config.load("demo").stream)
        feed.rest, feed.intake = NoRest(), intake_of(snapshots)
        feed.health = feed.intake.health
        desk, i = Desk(feed.intake), 0
        async with feed, asyncio.timeout(len(raws) / rate + 20):
            begun, busy = time.perf_counter(), time.process_time()
            async for received, message in feed.messages():
                before = time.time_ns()
                desk.handle(message)
                handled[i], waited[i] = time.time_ns() - before, before - received
                i += 1
                if i == len(raws):
                    break
            return time.perf_counter() - begun, time.process_time() - busy, feed.health

    try:
        wall, busy, health = asyncio.run(main())
    except TimeoutError:
        print(f"by websocket   {rate:,} a second were NOT sustained: not all of the messages came through")
        return
    finally:
        server.terminate()
    print(
        f"by websocket   {len(raws) / wall:10,.0f} a second of {rate:,} sent; {busy / wall:.0%} of one core, {health.overflows} overflows"
    )
    print(f"  waited       {spread(waited)}: from the socket to the end of decoding and book")
    print(f"  order flow   {spread(handled)}")


def main(limit: int, rate: int) -> None:
    snapshots, raws = load(limit)
    sizes = np.array([len(raw) for raw in raws])
    print(f"{len(raws):,} messages of {len(snapshots)} series, {sizes.mean():.0f} bytes each")
    from_memory(snapshots, raws)
    peer(snapshots, raws)
    through_a_socket(snapshots, raws, rate)


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:3]]
    main(*given, *(10**9, 30_000)[len(given) :])
