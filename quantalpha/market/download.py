"""Fill the raw lake from a venue, many symbols and kinds at once, only what is missing; or look whether it still says the same."""

import asyncio
import random
import threading

import pandas as pd

from quantalpha import config, schema
from quantalpha.config import IMPORT
from quantalpha.errors import DataError
from quantalpha.market import instruments
from quantalpha.market.collect import SERVED_LATE, Progress, Run, Told, delisted, fill, note, oldest_served, together
from quantalpha.market.connect import check_name
from quantalpha.market.exchange import Client, Retry
from quantalpha.market.instruments import RECORDS
from quantalpha.market.kinds import bar_length, gaps, month_bounds, months
from quantalpha.market.lacking import READ, holds_all, kind_names, rest_source
from quantalpha.market.store import Lake

COLUMNS = ["symbol", "kind", "rows", "first", "last", "gaps", "missing", "seconds", "note"]
VERIFIED = ["symbol", "kind", "months", "rows", "revised", "disputed", "added", "withdrawn", "note"]


async def download_symbols(
    venue: config.Venue,
    data: config.Data,
    lake: Lake,
    symbols: list[str] | None = None,
    progress: Progress | None = None,
    retry: Retry | None = None,
) -> pd.DataFrame:
    """Fetch what the lake lacks of data.kinds in [data.start, data.end) for `symbols` (None: data.symbols).

    Returns COLUMNS, a row for each symbol and kind: rows and span in the lake, gaps and bars missing in it, seconds it took, and what there
    is to say: a kind that the venue lacks, a symbol that it has delisted. Whole months are kept, so that the first one begins before
    data.start. data.end None means the venue's last closed bar. With venue 'import' nothing is fetched: the lake must hold the span.
    """
    symbols = data.symbols if symbols is None else symbols
    if venue.name == IMPORT:
        for symbol in symbols:
            _check_imported(lake, data, symbol)
        return _table(lake, venue, data, symbols, Told())
    check_name(venue)
    if holds_all(lake, venue, data, symbols):
        return _table(lake, venue, data, symbols, Told())
    async with Client(venue, retry, wide=True) as client:
        now = await client.server_time()
        end = now if data.end is None else min(now, _ms(data.end))
        told = await _collect(Run(client, lake, (_ms(data.start), end), now, progress), data, symbols)
    return _table(lake, venue, data, symbols, told)


async def _collect(run: Run, data: config.Data, symbols: list[str]) -> Told:
    names = kind_names(run.client.venue.name, data)
    listed = [symbol for symbol in symbols if not delisted(run, symbol, data.timeframe)]
    histories = [kind for name, kind in names.items() if name not in RECORDS]
    await together([fill(run, symbol, kind) for symbol in listed for kind in histories])
    for name in RECORDS:
        if name in names and listed:
            await note(run, listed, name)
    return run.told


def download_symbol(venue: config.Venue, data: config.Data, symbol: str, lake: Lake) -> pd.DataFrame:
    """`download_symbols` of what research reads of one symbol, for notebooks, also where an event loop is already running."""
    wanted = data.model_copy(update={"kinds": [kind for kind in data.kinds if kind in READ]})
    return run_in_thread(download_symbols(venue, wanted, lake, [symbol])).drop(columns=["symbol", "seconds"])


def run_in_thread(coroutine):
    """The result of a coroutine, from code that may itself run inside an event loop (Jupyter)."""
    outcome = {}

    def work():
        try:
            outcome["result"] = asyncio.run(coroutine)
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


async def verify(venue: config.Venue, data: config.Data, lake: Lake, share: float = 1.0, retry: Retry | None = None) -> pd.DataFrame:
    """Fetch stored months of data.symbols and kinds again, each with probability `share` (drawn anew each time), and merge what comes.

    Returns VERIFIED, a row for each symbol and kind: months and rows asked for again; rows revised (now otherwise), disputed (otherwise
    than another source's), added, and withdrawn: stored, but given no more; they stay. note: what the venue serves for a while only is
    asked for as far back as it does.
    """
    names = [kind for name, kind in kind_names(venue.name, data).items() if name not in RECORDS]
    keys = [(venue.kept_as, symbol, kind) for symbol in data.symbols for kind in names]
    lines = []
    async with Client(venue, retry, wide=True) as client:
        for key in keys:
            drawn = [name for name in lake.stored(*key) if random.random() < share]
            if drawn and client.lists(key[1]):
                lines.append((*key[1:], *await _verify(client, lake, key, drawn)))
    return pd.DataFrame(lines, columns=VERIFIED)


async def _verify(client: Client, lake: Lake, key: tuple[str, str, str], names: list[str]) -> tuple:
    """(months, rows, revised, disputed, added, withdrawn, note)."""
    oldest = oldest_served(client.venue.name, key[2], await client.server_time())  # by now: the keys before may have taken hours
    served = [name for name in names if oldest is None or month_bounds(name)[1] > oldest]
    sums = [len(served), 0, 0, 0, 0, 0]
    for name in served:
        begin = max(month_bounds(name)[0], oldest or 0)
        held = lake.month(*key, name).rows.index
        times = schema.epoch_ms(held)
        rows = await client.rows(*key[1:], begin, int(times[-1]) + 1)
        sums[1] += len(rows)
        sums[5] += int((~held[times >= begin].isin(rows.index)).sum())
        if len(rows):
            merged = lake.merge(*key, rows, source=rest_source(client.venue), complete_before=begin)
            sums[2], sums[3], sums[4] = sums[2] + merged.revised, sums[3] + merged.disputed, sums[4] + merged.added
    return *sums, "" if oldest is None else SERVED_LATE


def _check_imported(lake: Lake, data: config.Data, symbol: str) -> None:
    """DataError unless the lake holds the user's bars of every month from data.start to data.end."""
    stored = lake.stored(IMPORT, symbol, data.timeframe)
    command = f"`quantalpha import FILE --symbol {symbol} --timeframe {data.timeframe}`"
    if not stored:
        raise DataError(f"{symbol} {data.timeframe}: no imported bars in {lake.root}; run {command}")
    end = month_bounds(stored[-1])[1] if data.end is None else _ms(data.end)
    wanted = months(_ms(data.start), end)
    absent = [name for name in wanted if name not in stored]
    if absent or not wanted:
        found = f"imported months run from {stored[0]} to {stored[-1]}"
        lacking = f"{len(absent)} are missing, first {absent[0]}" if absent else f"none lies after data.start {data.start:%Y-%m-%d}"
        raise DataError(f"{symbol} {data.timeframe}: {found}, of those asked for {lacking}; run {command} or change data.start, data.end")


def _table(lake: Lake, venue: config.Venue, data: config.Data, symbols: list[str], told: Told) -> pd.DataFrame:
    """COLUMNS of what the lake holds of the span, and of what there is to say; DataError for a symbol without bars."""
    lines = []
    for symbol in symbols:
        for name, kind in kind_names(venue.name, data).items():
            held = (_records if name in RECORDS else _rows)(lake, (venue.kept_as, symbol, kind), data)
            if held[0] or (symbol, kind) in told.notes:
                lines.append((symbol, kind, *held, told.seconds.get((symbol, kind), 0.0), told.notes.get((symbol, kind), "")))
        if "bars" in data.kinds and not any(line[:2] == (symbol, data.timeframe) and line[2] for line in lines):
            span = f"from {data.start} to {'now' if data.end is None else data.end}"
            raise DataError(f"{symbol} {data.timeframe}: {venue.name} has no bars {span}; check data.start, data.end and the symbol")
    return pd.DataFrame(lines, columns=COLUMNS)


def _rows(lake: Lake, key: tuple[str, str, str], data: config.Data) -> tuple:
    """(rows, first, last, gaps, missing); missing: bars absent between first and last, none for funding."""
    rows = lake.find(*key, data.start, data.end)
    if rows is None:
        return 0, pd.NaT, pd.NaT, 0, 0
    absent = gaps(rows.index.unique(), bar_length(key[2]))
    return len(rows), rows.index[0], rows.index[-1], len(absent), sum(gap["bars"] for gap in absent)


def _records(lake: Lake, key: tuple[str, str, str], data: config.Data) -> tuple:
    """(lines, first seen, last changed, 0, 0)."""
    seen = [pd.Timestamp(line["seen"]) for line in instruments.history(lake, *key)]
    return len(seen), *((seen[0], seen[-1]) if seen else (pd.NaT, pd.NaT)), 0, 0


def _ms(instant) -> int:
    return int(instant.timestamp() * 1000)
