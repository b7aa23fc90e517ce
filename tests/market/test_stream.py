import asyncio
import contextlib
import json

import aiohttp
import numpy as np
import pandas as pd
import pytest
import small_bundle
from aiohttp import web

from quantalpha import config, schema
from quantalpha.errors import DataError, ExchangeError
from quantalpha.market import stream
from quantalpha.market.clean import clean_bars
from quantalpha.market.download import download_symbols
from quantalpha.market.exchange import Client
from quantalpha.market.kinds import MARK
from quantalpha.market.store import Lake
from quantalpha.market.stream import BarClose, BarOpen, _Settlements, backfill, stream_bars
from quantalpha.practice.server import SOCKETS
from quantalpha.promotion.reconcile import Recorded, reconcile
from quantalpha.runner import Request, recorded, run_session

HOUR = 3_600_000
FAST = 40 * 3600.0  # forty hourly bars a second
GAP = pd.Timestamp("2021-01-02 15:00", tz="UTC")  # two bars are missing on the tape from here
COLUMNS = [*schema.REQUIRED, "mark", "funding_rate"]


def ms(text):
    return int(pd.Timestamp(text, tz="UTC").timestamp() * 1000)


def downloaded(practice, tape, folder, fault=None) -> tuple[pd.DataFrame, dict]:
    """The tape as a later download and the clean stage give it."""
    policy = config.Clean(duplicates="fail", impossible="fail", max_missing=0.1, funding_gaps="fail")
    lake = Lake(folder)
    data = config.Data(symbols=["BTCUSDT"], timeframe="1h", start="2021-01-01", end=None, kinds=["bars", "mark", "funding"])

    async def fetch():
        async with practice(tape, now=tape.end) as (venue, gate, _):
            gate.fault = None if fault is None else fault(gate)
            await download_symbols(venue, data, lake)

    asyncio.run(fetch())
    bars, report = clean_bars(*lake.read_all("practice", "BTCUSDT", "1h"), policy, "1h")
    return bars[[name for name in COLUMNS if name in bars]], report


@pytest.fixture(scope="module")
def later(practice, tape, tmp_path_factory) -> pd.DataFrame:
    return downloaded(practice, tape, tmp_path_factory.mktemp("later"))[0]


async def collect(venue, since, count, *, retries=3, each=None, enough=lambda: True):
    """`count` messages, and more until `enough()`; `each` is awaited after every one."""
    messages = []
    async with contextlib.aclosing(stream_bars(venue, "BTCUSDT", "1h", since, retries=retries, clock=lambda: 7)) as bars:
        async for message in bars:
            messages.append(message)
            if each is not None:
                await each(len(messages))
            if len(messages) >= count and enough():
                break
    return messages


def check(messages, later, since):
    """Close, open, close, open ... from `since` on, without a hole, bit for bit what research sees."""
    assert [type(m) for m in messages] == [BarClose, BarOpen] * (len(messages) // 2) + [BarClose] * (len(messages) % 2)
    expected = later[later.index >= schema.from_epoch_ms([since])[0]][: len(messages)]
    times = schema.epoch_ms(expected.index).tolist()
    closes, opens = messages[::2], messages[1::2]
    assert [m.time for m in closes] == times[: len(closes)]
    assert [m.time for m in opens] == times[1 : len(opens) + 1]
    found = np.array([[getattr(m, name) for name in COLUMNS] for m in closes])
    assert np.array_equal(found, expected.reindex(columns=COLUMNS).to_numpy()[: len(closes)], equal_nan=True)
    assert [[m.open, m.funding_rate] for m in opens] == expected[["open", "funding_rate"]].to_numpy()[1 : len(opens) + 1].tolist()
    assert all(m.received == 7 for m in closes)


def test_streamed_bars_equal_a_later_download_bit_for_bit(practice, tape, later):
    async def run():
        async with practice(tape, now=ms("2021-01-02 06:20"), speed=FAST) as (venue, gate, _):
            messages = await collect(venue, ms("2021-01-02 06:00"), 120)
            return messages, len(gate.asked)

    messages, asked = asyncio.run(run())
    check(messages, later, ms("2021-01-02 06:00"))
    assert schema.from_epoch_ms([messages[-1].time])[0] > GAP and GAP.timestamp() * 1000 not in {m.time for m in messages}
    assert sum(m.funding_rate != 0 for m in messages[::2]) >= 7
    assert asked <= 2 * 60 + 2 * 9 + 10


def test_cut_lines_change_nothing(practice, tape, later):
    cuts = []

    async def run():
        async with practice(tape, now=ms("2021-01-02 06:20"), speed=FAST) as (venue, _, server):

            async def cut(count):
                lines = [socket for socket in set(server.runner.app[SOCKETS]) if not socket.closed]
                if lines and len(cuts) < 2 and count >= (21, 60)[len(cuts)]:
                    cuts.append(len(lines))
                    for socket in lines:
                        await socket.close()

            return await collect(venue, ms("2021-01-02 06:00"), 100, each=cut, enough=lambda: len(cuts) == 2)

    check(asyncio.run(run()), later, ms("2021-01-02 06:00"))
    assert cuts == [1, 1]


def test_bars_closed_before_the_start_come_at_once(practice, tape, later):
    since = ms("2021-01-05")

    async def run():
        async with practice(tape, now=since + 1500 * HOUR + 5000) as (venue, gate, _):
            return await asyncio.wait_for(collect(venue, since, 2 * 1490), 30), gate.count("/klines")

    messages, asked = asyncio.run(run())
    check(messages, later, since)
    assert asked == 3


SAYS = web.AppKey("says", tuple)


async def mute(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(json.dumps({"result": None, "id": json.loads(message.data)["id"]}))
        for line in request.app[SAYS]:
            await socket.send_str(line)
    return socket


@contextlib.asynccontextmanager
async def websocket(*says):
    app = web.Application()
    app[SAYS] = says
    app.router.add_get("/{path:.*}", mute)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def old_kline(time):
    bar = {"t": time, "T": time + HOUR - 1, "s": "BTCUSDT", "i": "1h", "o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "x": False}
    return json.dumps({"e": "kline", "E": time, "s": "BTCUSDT", "k": bar})


@pytest.mark.parametrize("says", [(), ("oops", "{}"), (old_kline(ms("2020-12-30")), old_kline(ms("2021-01-02 06:00")))])
def test_a_websocket_that_tells_nothing_new_is_made_up_for_by_rest(practice, tape, later, says):
    async def run():
        async with practice(tape, now=ms("2021-01-02 06:20"), speed=FAST, timeout=0.2) as (venue, _, _), websocket(*says) as url:
            return await collect(venue.model_copy(update={"ws_url": url}), ms("2021-01-02 06:00"), 40)

    check(asyncio.run(run()), later, ms("2021-01-02 06:00"))


def behind(path, times, change):
    """A fault that gives the true answer, changed by `change`, the first `times` times it concerns more than one row."""
    left = [times]

    def make(gate):
        async def fault(request):
            if not request.path.endswith(path) or left[0] == 0:
                return None
            async with aiohttp.ClientSession() as session, session.get(gate.target + request.path_qs) as reply:
                rows = await reply.json()
            if len(rows) < 2:
                return web.json_response(rows)
            left[0] -= 1
            return web.json_response(change(rows))

        return fault

    return make


def partial(rows):
    """The newest bar hidden, the one before it not yet final."""
    return [*rows[:-2], [*rows[-2][:4], "1.0", "0.1", *rows[-2][6:]]]


@pytest.mark.parametrize("path", ["/klines", "/markPriceKlines", "/fundingRate"])
def test_a_rest_that_lags_behind_is_waited_for(practice, tape, later, path):
    change = (lambda rows: rows[:-1]) if path == "/fundingRate" else partial

    async def run():
        async with practice(tape, now=ms("2021-01-03 06:20"), speed=FAST / 4) as (venue, gate, _):

            async def start(count):
                if count == 2:
                    gate.fault = behind(path, 4, change)(gate)

            return await collect(venue, ms("2021-01-03 06:00"), 16, each=start)

    check(asyncio.run(run()), later, ms("2021-01-03 06:00"))


def test_websocket_that_stays_away_ends_the_stream(practice, tape):
    async def run():
        async with practice(tape, now=ms("2021-01-02 06:20")) as (venue, _, _):
            await collect(venue.model_copy(update={"ws_url": "ws://127.0.0.1:1"}), ms("2021-01-02 06:00"), 5, retries=1)

    with pytest.raises(ExchangeError, match=r"ws://127.0.0.1:1: BTCUSDT 1h bars broke off 2 times in a row"):
        asyncio.run(run())


def test_impossible_bar_stops_the_stream(practice, tape):
    def broken(rows):
        return [[*row[:2], "1.0", *row[3:]] for row in rows]

    async def run():
        async with practice(tape, now=ms("2021-01-02 06:20"), speed=FAST) as (venue, gate, _):
            gate.fault = behind("/klines", 99, broken)(gate)
            await collect(venue, ms("2021-01-02 06:00"), 5)

    with pytest.raises(DataError, match="impossible bar at 2021-01-02 06:00"):
        asyncio.run(run())


def test_backfill_equals_a_later_download(practice, tape, later):
    async def run():
        async with practice(tape, now=ms("2021-03-01 00:10")) as (venue, _, _):
            return await backfill(venue, "BTCUSDT", "1h", 1200)

    bars = asyncio.run(run())
    expected = later[later.index < pd.Timestamp("2021-03-01", tz="UTC")].iloc[-1200:]
    pd.testing.assert_frame_equal(bars, expected, check_freq=False)


@pytest.fixture
def markless(monkeypatch):
    """Every venue is one without mark prices."""
    has = Client.has
    monkeypatch.setattr(Client, "has", lambda client, kind: not kind.startswith(MARK) and has(client, kind))


def test_a_venue_without_marks_looks_the_same_live_and_later(practice, tape, markless, tmp_path):
    later, report = downloaded(practice, tape, tmp_path)
    assert "mark" not in later and report["mark"] == {"bars": 0, "missing": len(later)}

    async def run():
        async with practice(tape, now=ms("2021-01-05 00:20"), speed=FAST) as (venue, gate, _):
            history = await backfill(venue, "BTCUSDT", "1h", 50)
            return history, await collect(venue, ms("2021-01-05 00:00"), 40), gate.count("/markPriceKlines")

    history, messages, asked = asyncio.run(run())
    expected = later[later.index <= history.index[-1]].iloc[-50:].reindex(columns=COLUMNS)
    pd.testing.assert_frame_equal(history, expected, check_freq=False)
    check(messages, later, ms("2021-01-05 00:00"))
    assert history["mark"].isna().all() and asked == 0


def some_lost(gate):
    """Two of twelve mark prices are gone for good."""

    async def fault(request):
        if not request.path.endswith("/markPriceKlines"):
            return None
        async with aiohttp.ClientSession() as session, session.get(gate.target + request.path_qs) as reply:
            return web.json_response([row for row in await reply.json() if row[0] // HOUR % 12 not in (3, 4)])

    return fault


def test_marks_a_venue_has_lost_are_unknown_live_and_later(practice, tape, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "MARK_PAUSES", 2)
    later, report = downloaded(practice, tape, tmp_path, some_lost)
    lost = later.index.hour.isin([3, 4, 15, 16])
    assert (later["mark"].isna() == lost).all() and report["mark"]["missing"] == lost.sum() > 400

    async def run():
        async with practice(tape, now=ms("2021-01-05 00:20"), speed=FAST) as (venue, gate, _):
            gate.fault = some_lost(gate)
            return await backfill(venue, "BTCUSDT", "1h", 50), await collect(venue, ms("2021-01-05 00:00"), 60)

    history, messages = asyncio.run(run())
    expected = later[later.index <= history.index[-1]].iloc[-50:]
    pd.testing.assert_frame_equal(history, expected, check_freq=False)
    check(messages, later, ms("2021-01-05 00:00"))
    assert {np.isnan(message.mark) for message in messages[::2]} == {True, False}


def test_a_session_at_a_venue_without_marks_reconciles(practice, tape, markless, tmp_path):
    later, _ = downloaded(practice, tape, tmp_path)
    settings = small_bundle.params("venue.source=practice", "runner.bars=60", "policy.enter=0.001")
    trained = small_bundle.build(tmp_path, later, settings)

    async def run():
        async with practice(tape, now=ms("2021-02-01"), speed=FAST) as (venue, _, _):
            live = settings.model_copy(update={"venue": venue})
            await asyncio.to_thread(run_session, trained, live, Request(name="s", sessions=tmp_path))

    asyncio.run(run())
    frames = recorded(tmp_path / "s")
    report = reconcile(trained, Recorded(**frames), later)
    assert report.agrees and report.revised == [] and "mark" not in frames["bars"]
    paid = frames["funding"]
    opens = frames["bars"]["open"].loc[paid["time"]]
    assert len(paid) >= 2 and paid["mark"].tolist() == opens.tolist(), "the open, not the close before it"


def test_backfill_of_more_than_there_is(practice, tape):
    async def run():
        async with practice(tape, now=ms("2021-01-02 00:10")) as (venue, _, _):
            await backfill(venue, "BTCUSDT", "1h", 100)

    with pytest.raises(DataError, match="expected 100 closed bars, binanceusdm has 24"):
        asyncio.run(run())


class Announcing:
    """A client with given settlement hours and a given next one."""

    def __init__(self):
        self.hours, self.next = [], None

    def has(self, kind):
        return True

    async def next_funding(self, symbol):
        return None if self.next is None else self.next * HOUR

    async def funding(self, symbol, start, end):
        inside = [h for h in self.hours if start <= h * HOUR < end]
        return pd.DataFrame({"funding_rate": np.full(len(inside), 0.1)}, index=schema.from_epoch_ms([h * HOUR for h in inside]))


def test_funding_is_asked_for_only_when_due_and_never_guessed(monkeypatch):
    monkeypatch.setattr(stream, "PAUSES", (0.0, 0.0))
    client = Announcing()
    settlements = _Settlements(client, "BTCUSDT")

    async def run():
        client.hours, client.next = [100, 108], 116
        assert len(await settlements.until(109 * HOUR, 108 * HOUR)) == 2
        assert await settlements.until(115 * HOUR, 114 * HOUR) is None
        client.hours, client.next = [100, 108, 116], 120  # the venue goes over to four hours
        assert len(await settlements.until(116 * HOUR, 115 * HOUR)) == 3
        client.hours, client.next = [100, 108, 116, 120], 128  # and back to eight
        assert len(await settlements.until(120 * HOUR, 119 * HOUR)) == 4
        client.next = 136
        with pytest.raises(ExchangeError, match="funding due at 1970-01-06 08:00:00.00:00 is not published"):
            await settlements.until(128 * HOUR, 127 * HOUR)
        client.hours = [100, 108, 116, 120, 124, 128]
        with pytest.raises(ExchangeError, match="outside the announced schedule"):
            await settlements.until(128 * HOUR, 127 * HOUR)

    asyncio.run(run())
