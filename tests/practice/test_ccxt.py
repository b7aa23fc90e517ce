"""The unmodified ccxt client, REST and websocket, gets back exactly what the tape holds."""

import pytest

from .support import HOUR, client, closed_before, play, recorded

SYMBOL = "BTC/USDT:USDT"


def test_markets_carry_tick_lot_and_contract(tape):
    async def scenario(server):
        async with client(server) as ccxt:
            return await ccxt.load_markets()

    markets = play(tape, scenario)
    assert set(markets) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    market = markets[SYMBOL]
    assert market["swap"] and market["linear"] and market["active"] and market["settle"] == "USDT"
    assert market["precision"]["price"] == 0.1
    assert market["precision"]["amount"] == 0.001
    assert market["limits"]["cost"]["min"] == 5


def test_paging_returns_every_recorded_bar_bit_for_bit(tape, frames):
    async def scenario(server):
        async with client(server) as ccxt:
            rows, since = [], tape.start
            while True:
                page = await ccxt.fetch_ohlcv(SYMBOL, "1h", since=since, limit=700)
                rows += page
                if len(page) < 700:
                    return rows, server.clock.now()
                since = page[-1][0] + 1

    rows, now = play(tape, scenario)
    closed = recorded(closed_before(frames["BTCUSDT"], now))
    assert rows[:-1] == closed
    assert rows[-1][0] == now  # the bar that opens now, as far as it has gone


def test_marks_and_funding_come_back_exactly(tape, frames):
    bars = frames["BTCUSDT"]

    async def scenario(server):
        async with client(server) as ccxt:
            marks = await ccxt.fetch_mark_ohlcv(SYMBOL, "1h", since=tape.start, limit=500)
            return marks, await ccxt.fetch_funding_rate_history(SYMBOL, since=tape.start, limit=1000)

    marks, settled = play(tape, scenario)
    assert [row[4] for row in marks] == bars["mark"].iloc[:500].tolist()
    assert [row[1] for row in marks[1:]] == bars["mark"].iloc[:499].tolist()
    paid = bars["funding_rate"][bars["funding_rate"] != 0]
    found = {row["timestamp"]: row["fundingRate"] for row in settled}
    at_open = {int(time.timestamp() * 1000): rate for time, rate in paid.items()}
    both = set(found) & set(at_open)
    assert len(both) > 0.98 * len(settled)
    assert all(found[time] == at_open[time] for time in both)


def test_coarser_bars_are_exact_resamples(tape, frames):
    async def scenario(server):
        async with client(server) as ccxt:
            return {frame: await ccxt.fetch_ohlcv(SYMBOL, frame, since=tape.start, limit=400) for frame in ("4h", "1d", "1w", "1M")}

    got = play(tape, scenario)
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    for frame, rule in {"4h": "4h", "1d": "1D", "1w": "W-MON", "1M": "MS"}.items():
        expected = frames["BTCUSDT"].resample(rule, closed="left", label="left").agg(rules).dropna()
        rows = got[frame][:-1]  # the last one is still open
        assert len(rows) > 1
        assert rows == [pytest.approx(row, rel=1e-14) for row in recorded(expected)[: len(rows)]]


def test_order_book_tickers_trades_and_funding_agree(tape):
    async def scenario(server):
        async with client(server) as ccxt:
            book = await ccxt.fetch_order_book(SYMBOL, limit=5)
            tickers = await ccxt.fetch_bids_asks()
            trades = await ccxt.fetch_trades(SYMBOL, limit=50)
            return book, tickers, trades, await ccxt.fetch_funding_rate(SYMBOL), await ccxt.fetch_ohlcv(SYMBOL, "1h", limit=1)

    book, tickers, trades, funding, [bar] = play(tape, scenario, now=tape.opening + 20 * 60_000)
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert tickers[SYMBOL]["bid"] == book["bids"][0][0] < book["asks"][0][0] == tickers[SYMBOL]["ask"]
    assert trades[-1]["price"] == bar[4] in (book["bids"][0][0], book["asks"][0][0])
    assert len(trades) == 50
    assert funding["fundingTimestamp"] % (8 * HOUR) == 0
    assert funding["markPrice"] == pytest.approx(bar[4], rel=1e-3)


def test_watching_gives_closed_bars_as_recorded(tape, frames):
    async def scenario(server):
        async with client(server) as ccxt:
            seen = {}
            while len(seen) < 12:
                for row in await ccxt.watch_ohlcv(SYMBOL, "1h"):
                    seen[row[0]] = row
            return list(seen.values())

    rows = play(tape, scenario, speed=36_000.0)
    expected = {row[0]: row for row in recorded(frames["BTCUSDT"])}
    assert [expected[row[0]] for row in rows[:-1]] == rows[:-1]


def test_watching_books_marks_and_trades(tape):
    async def scenario(server):
        async with client(server) as ccxt:
            ticker = (await ccxt.watch_bids_asks([SYMBOL]))[SYMBOL]
            mark = await ccxt.watch_mark_price(SYMBOL)
            trades = await ccxt.watch_trades(SYMBOL)
            book = await ccxt.watch_order_book(SYMBOL)
            first = book["nonce"]
            for _ in range(5):
                book = await ccxt.watch_order_book(SYMBOL)
            return ticker, mark, trades, first, book

    ticker, mark, trades, first, book = play(tape, scenario, speed=36_000.0)
    assert ticker["bid"] < ticker["ask"]
    assert mark["markPrice"] == pytest.approx(ticker["bid"], rel=0.2)
    assert trades[0]["side"] in ("buy", "sell")
    assert book["nonce"] > first
    assert book["bids"][0][0] < book["asks"][0][0]
