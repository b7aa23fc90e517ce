"""The unmodified ccxt client of Bybit, REST and websocket, gets back exactly what the tape holds."""

import ccxt
import pytest

from quantalpha.practice.bybit_limit import AddressLimit

from .support import HOUR, client, closed_before, play, recorded

SYMBOL = "BTC/USDT:USDT"


def ask(tape, *calls, **options):
    """What the client answers to each (method, arguments...)."""

    async def scenario(server):
        async with client(server, "bybit") as venue:
            return [await getattr(venue, name)(*values) for name, *values in calls]

    return play(tape, scenario, **options)


def test_time_and_markets(tape):
    now, markets = ask(tape, ("fetch_time",), ("load_markets",))
    assert now == tape.opening and set(markets) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    market = markets[SYMBOL]
    assert market["swap"] and market["linear"] and market["active"] and market["settle"] == "USDT"
    assert (market["precision"]["price"], market["precision"]["amount"], market["limits"]["cost"]["min"]) == (0.1, 0.001, 5)


def test_paging_forwards_returns_every_recorded_bar_bit_for_bit(tape, frames):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            rows, since = [], tape.start
            while True:
                page = await venue.fetch_ohlcv(SYMBOL, "1h", since=since, limit=700)
                rows += page
                if len(page) < 700:
                    return rows, server.clock.now()
                since = page[-1][0] + 1

    rows, now = play(tape, scenario)
    assert rows[:-1] == recorded(closed_before(frames["BTCUSDT"], now))
    assert rows[-1][0] == now  # the bar that opens now, as far as it has gone


def test_paging_backwards_and_ccxts_own_paging_find_the_same(tape, frames):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            rows, until = [], tape.start + 900 * HOUR
            while page := await venue.fetch_ohlcv(SYMBOL, "1h", limit=250, params={"until": until}):
                rows, until = page + rows, page[0][0] - 1
            own = await venue.fetch_ohlcv(SYMBOL, "1h", since=tape.start, params={"paginate": True, "until": tape.start + 900 * HOUR})
            return rows, own

    rows, own = play(tape, scenario)
    expected = [row for row in recorded(frames["BTCUSDT"]) if row[0] <= tape.start + 900 * HOUR]
    assert rows == expected and own[: len(expected)] == expected


def test_marks_index_funding_and_interest_come_back_exactly(tape, frames):
    bars, instrument = frames["BTCUSDT"], tape.instruments["BTCUSDT"]
    marks, index, settled, interest = ask(
        tape,
        ("fetch_mark_ohlcv", SYMBOL, "1h", tape.start, 500),
        ("fetch_index_ohlcv", SYMBOL, "1h", tape.start, 500),
        ("fetch_funding_rate_history", SYMBOL, tape.start, 200, {"until": tape.start + 199 * 8 * HOUR}),
        ("fetch_open_interest_history", SYMBOL, "1h", tape.start, 200, {"until": tape.start + 199 * HOUR}),
    )
    assert [row[4] for row in marks] == bars["mark"].iloc[:500].tolist() and index == marks
    count = len(settled)
    assert [row["timestamp"] for row in settled] == instrument.funding_times[:count].tolist() and count > 190
    assert [row["fundingRate"] for row in settled] == pytest.approx(instrument.funding_rates[:count], abs=5e-9)
    times = [tape.start + number * HOUR for number in range(200)]
    assert [(row["timestamp"], row["openInterestAmount"]) for row in interest] == [(each, instrument.open_interest(each)) for each in times]


def test_book_trades_ticker_and_funding_agree(tape):
    book, trades, ticker, funding, interest, [bar] = ask(
        tape,
        ("fetch_order_book", SYMBOL, 5),
        ("fetch_trades", SYMBOL, None, 50),
        ("fetch_ticker", SYMBOL),
        ("fetch_funding_rate", SYMBOL),
        ("fetch_open_interest", SYMBOL),
        ("fetch_ohlcv", SYMBOL, "1h", None, 1),
        now=tape.opening + 20 * 60_000,
    )
    assert len(book["bids"]) == len(book["asks"]) == 5 and len(trades) == 50
    assert ticker["bid"] == book["bids"][0][0] < book["asks"][0][0] == ticker["ask"]
    assert trades[-1]["price"] == bar[4] == ticker["last"] and bar[4] in (ticker["bid"], ticker["ask"])
    assert funding["fundingTimestamp"] % (8 * HOUR) == 0 and funding["interval"] == "8h"
    assert funding["markPrice"] == ticker["markPrice"] == pytest.approx(bar[4], rel=1e-3)
    instrument = tape.instruments["BTCUSDT"]
    assert interest["openInterestAmount"] == instrument.open_interest(tape.opening)
    assert float(ticker["info"]["openInterest"]) == instrument.open_interest(tape.opening + 20 * 60_000)


def test_leverage_tiers_join_up(tape):
    tiers, everything = ask(tape, ("fetch_market_leverage_tiers", SYMBOL), ("fetch_leverage_tiers",))
    assert [tier["minNotional"] for tier in tiers] == [0.0] + [tier["maxNotional"] for tier in tiers[:-1]]
    rates = [tier["maintenanceMarginRate"] for tier in tiers]
    assert rates == sorted(set(rates)) and set(everything) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert [tier["maxNotional"] for tier in everything[SYMBOL]] == [tier["maxNotional"] for tier in tiers]


def test_refusals_and_the_limit_become_ccxts_errors(tape):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            await venue.load_markets()
            with pytest.raises(ccxt.BadRequest):
                await venue.fetch_ohlcv(SYMBOL, "1m")
            with pytest.raises(ccxt.BadRequest):
                await venue.fetch_ohlcv(SYMBOL, "1h", limit=1001)
            with pytest.raises(ccxt.RateLimitExceeded, match="access too frequent"):
                for _ in range(30):
                    await venue.fetch_time()

    play(tape, scenario, address_limit=AddressLimit(limit=25))


def test_watching_gives_closed_bars_as_recorded(tape, frames):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            seen = {}
            while len(seen) < 12:
                for row in await venue.watch_ohlcv(SYMBOL, "1h"):
                    seen[row[0]] = row
            return list(seen.values())

    rows = play(tape, scenario, speed=36_000.0)
    expected = {row[0]: row for row in recorded(frames["BTCUSDT"])}
    assert [expected[row[0]] for row in rows[:-1]] == rows[:-1]


def test_watching_books_tickers_and_trades(tape):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            trades = await venue.watch_trades(SYMBOL)
            top = (await venue.watch_bids_asks([SYMBOL]))[SYMBOL]
            first = await venue.watch_ticker(SYMBOL)
            for _ in range(5):
                ticker = await venue.watch_ticker(SYMBOL)
            await venue.un_watch_ticker(SYMBOL)
            return trades, top, first, ticker

    trades, top, first, ticker = play(tape, scenario, speed=3600.0)
    assert trades[0]["side"] in ("buy", "sell") and top["bid"] < top["ask"]
    assert set(ticker["info"]) == set(first["info"]) and ticker["timestamp"] > first["timestamp"]
    assert ticker["bid"] < ticker["ask"] and ticker["markPrice"] == pytest.approx(ticker["last"], rel=1e-2)
    assert {"fundingRate", "nextFundingTime", "openInterest", "indexPrice"} <= set(ticker["info"])


@pytest.mark.parametrize("depth", [None, 200])
def test_a_watched_book_ends_as_the_one_rest_shows(tape, depth):
    async def scenario(server):
        async with client(server, "bybit") as venue:
            for _ in range(20):
                book = await venue.watch_order_book(SYMBOL, depth)
            server.clock.change_speed(0.0)
            rest = await venue.fetch_order_book(SYMBOL, 200)
            while book["asks"][0] != rest["asks"][0] or book["bids"][0] != rest["bids"][0]:
                book = await venue.watch_order_book(SYMBOL, depth)
            return book, rest

    book, rest = play(tape, scenario, speed=3600.0)
    count = depth or 50
    assert [list(level[:2]) for level in book["bids"]] == [level[:2] for level in rest["bids"][:count]]
    assert [list(level[:2]) for level in book["asks"]] == [level[:2] for level in rest["asks"][:count]]
