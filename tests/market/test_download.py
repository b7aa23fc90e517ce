import asyncio

import numpy as np
import pandas as pd
import pytest
from aiohttp import web

from quantalpha import config, schema
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.download import download_symbol, download_symbols
from quantalpha.market.kinds import FUNDING, mark_kind
from quantalpha.market.store import Lake

HOUR = 3_600_000
MARK = mark_kind("1h")
KINDS = ["1h", MARK, FUNDING]


def data(start="2021-01-01", end="2021-04-01", symbols=("BTCUSDT", "ETHUSDT")):
    return config.Data(symbols=list(symbols), timeframe="1h", start=start, end=end, kinds=["bars", "mark", "funding"])


def ms(text):
    return int(pd.Timestamp(text, tz="UTC").timestamp() * 1000)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_several_symbols_come_whole_and_only_once(practice, tape, tmp_path):
    lake, seen = Lake(tmp_path), []

    async def twice():
        async with practice(tape, now=ms("2021-04-20 00:30")) as (venue, gate, _):
            first = await download_symbols(venue, data(), lake, progress=seen.append)
            stored, asked = files(tmp_path), len(gate.asked)
            second = await download_symbols(venue, data(), lake)
            return first, second, stored, gate.asked[asked:]

    first, second, stored, asked_again = asyncio.run(twice())
    assert first.drop(columns="seconds").equals(second.drop(columns="seconds")) and files(tmp_path) == stored
    assert asked_again == [], "a span that is whole in the lake needs no venue"
    assert list(zip(first["symbol"], first["kind"])) == [(s, k) for s in ("BTCUSDT", "ETHUSDT") for k in KINDS]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        each = tape.instruments[symbol]
        inside = each.times < ms("2021-04-01")
        assert np.array_equal(lake.read("practice", symbol, "1h").to_numpy(), each.last.rows[inside][:, [0, 1, 2, 3, 4, 5, 6, 7]])
        assert lake.stored("practice", symbol, FUNDING) == ["2021-01", "2021-02", "2021-03"]
    stored = [(step.symbol, step.kind, name) for step in seen for name in step.stored]
    assert len(stored) == 2 * 3 * 3 and ("BTCUSDT", "1h", "2021-02") in stored
    assert {step.done for step in seen if step.rows >= 2158} == {seen[0].total}
    btc = first[(first["symbol"] == "BTCUSDT") & (first["kind"] == "1h")].iloc[0]
    assert btc["missing"] == 90 * 24 - btc["rows"] > 0
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_month_grows_with_the_venue_and_then_closes(practice, tape, tmp_path):
    lake = Lake(tmp_path / "grown")

    async def until(now, folder):
        async with practice(tape, now=ms(now)) as (venue, gate, _):
            await download_symbols(venue, data(end=None, symbols=["BTCUSDT"]), folder)
            return gate.asked

    asyncio.run(until("2021-02-10 12:30", lake))
    assert lake.read("practice", "BTCUSDT", "1h").index[-1] == pd.Timestamp("2021-02-10 11:00", tz="UTC")
    assert [lake.month("practice", "BTCUSDT", "1h", name).complete for name in ("2021-01", "2021-02")] == [True, False]
    asked = asyncio.run(until("2021-03-05 00:00", lake))
    starts = [int(query["startTime"]) for path, query in asked if path.endswith("/klines")]
    assert min(starts) == ms("2021-02-10 09:00"), "the last three stored are asked for again"
    assert lake.month("practice", "BTCUSDT", "1h", "2021-02").complete
    asyncio.run(until("2021-03-05 00:00", Lake(tmp_path / "fresh")))
    assert lake.manifest("practice", "BTCUSDT", KINDS) == Lake(tmp_path / "fresh").manifest("practice", "BTCUSDT", KINDS)


def test_interrupted_download_keeps_whole_months_and_goes_on_there(practice, tape, tmp_path, impatient):
    lake, whole = Lake(tmp_path / "cut"), Lake(tmp_path / "whole")
    wanted = data(symbols=["BTCUSDT"])

    async def run():
        async with practice(tape, now=ms("2021-04-20")) as (venue, gate, _):

            async def fault(request):
                late = int(request.query.get("startTime", 0)) > ms("2021-02-01") and request.path.endswith("/klines")
                return web.Response(status=500, text="oops") if late else None

            gate.fault = fault
            with pytest.raises(ExchangeError, match="BTCUSDT 1h"):
                await download_symbols(venue, wanted, lake, retry=impatient[0])
            kept = lake.stored("practice", "BTCUSDT", "1h")
            gate.fault, gate.asked = None, []
            await download_symbols(venue, wanted, lake)
            starts = [int(query["startTime"]) for path, query in gate.asked if path.endswith("/klines")]
            await download_symbols(venue, wanted, whole)
            return kept, starts

    kept, starts = asyncio.run(run())
    assert kept == ["2021-01"] and min(starts) == ms("2021-02-01")
    assert lake.manifest("practice", "BTCUSDT", KINDS) == whole.manifest("practice", "BTCUSDT", KINDS)
    assert not list(tmp_path.rglob("*.tmp"))


def test_whole_months_are_kept_so_that_an_earlier_start_costs_nothing(practice, tape, tmp_path):
    async def run():
        async with practice(tape, now=ms("2021-03-03")) as (venue, gate, _):
            table = await download_symbols(venue, data(start="2021-01-20", end="2021-03-01", symbols=["BTCUSDT"]), Lake(tmp_path))
            gate.asked = []
            await download_symbols(venue, data(end="2021-03-01", symbols=["BTCUSDT"]), Lake(tmp_path))
            return table, gate.asked

    table, asked = asyncio.run(run())
    assert table["first"].iloc[0] == pd.Timestamp("2021-01-20", tz="UTC")
    assert not [path for path, _ in asked if path.endswith(("klines", "Klines", "fundingRate"))]


def test_months_before_a_listing_cost_no_rows(practice, tape, tmp_path):
    async def run():
        async with practice(tape, now=ms("2021-02-03")) as (venue, _, _):
            return await download_symbols(venue, data(start="2020-10-01", end="2021-02-01", symbols=["BTCUSDT"]), Lake(tmp_path))

    report = asyncio.run(run())
    assert report["first"].iloc[0] == pd.Timestamp("2021-01-01", tz="UTC")


def test_span_without_bars_is_a_data_error(practice, tape, tmp_path):
    async def run():
        async with practice(tape, now=ms("2021-02-03")) as (venue, _, _):
            await download_symbols(venue, data(start="2020-10-01", end="2020-11-01", symbols=["BTCUSDT"]), Lake(tmp_path))

    with pytest.raises(DataError, match="binanceusdm has no bars from 2020-10-01"):
        asyncio.run(run())


def test_unknown_symbol_fetches_nothing(practice, tape, tmp_path):
    async def run():
        async with practice(tape, now=ms("2021-02-03")) as (venue, gate, _):
            with pytest.raises(UsageError, match="did you mean 'BTCUSDT'"):
                await download_symbols(venue, data(symbols=["ETHUSDT", "BTCUSDTT"]), Lake(tmp_path))
            return gate.count("klines")

    assert asyncio.run(run()) == 0 and files(tmp_path) == {}


def test_notebook_wrapper_works_inside_a_running_loop(practice, tape, tmp_path):
    async def cell():
        async with practice(tape, now=ms("2021-02-03")) as (venue, _, _):
            wanted = data(end="2021-02-01", symbols=["BTCUSDT"])
            return await asyncio.to_thread(asyncio.run, inner(venue, wanted))

    async def inner(venue, wanted):
        return download_symbol(venue, wanted, "BTCUSDT", Lake(tmp_path))

    table = asyncio.run(cell())
    assert list(table.columns) == ["kind", "rows", "first", "last", "gaps", "missing", "note"]
    assert table["kind"].tolist() == KINDS


def imported(lake, start, end):
    index = pd.date_range(start, end, freq="1h", tz="UTC", inclusive="left", name="timestamp").as_unit("ms")
    rows = pd.DataFrame(1.0, index=index, columns=schema.REQUIRED)
    lake.write("import", "BTCUSDT", "1h", rows, source="test", complete_before=int(schema.epoch_ms(index)[-1]) + HOUR)


def test_imported_files_stand_in_for_a_venue(tmp_path):
    lake = Lake(tmp_path)
    venue = config.Venue(name="import", source=None, rest_url=None, ws_url=None, timeout=1, budget=0.8)
    with pytest.raises(DataError, match="quantalpha import FILE --symbol BTCUSDT --timeframe 1h"):
        download_symbol(venue, data(), "BTCUSDT", lake)
    imported(lake, "2021-01-01", "2021-03-01")
    table = download_symbol(venue, data(end="2021-02-15"), "BTCUSDT", lake)
    assert table[["kind", "rows", "missing"]].to_numpy().tolist() == [["1h", 45 * 24, 0]]
    with pytest.raises(DataError, match="1 are missing, first 2021-03"):
        download_symbol(venue, data(end="2021-04-01"), "BTCUSDT", lake)
    imported(lake, "2021-04-01", "2021-05-01")
    with pytest.raises(DataError, match="1 are missing, first 2021-03"):
        download_symbol(venue, data(end=None), "BTCUSDT", lake)
    with pytest.raises(DataError, match="none lies after data.start 2022"):
        download_symbol(venue, data(start="2022-01-01", end=None), "BTCUSDT", lake)
