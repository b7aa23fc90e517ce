"""Fill the raw lake from a venue: bars, mark-price bars and funding of several symbols at once, month by month, only what is missing.

A month is stored as soon as all of it has been fetched, so that an interruption costs at most the months in flight.
"""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pandas as pd

from quantalpha import config, schema
from quantalpha.errors import DataError
from quantalpha.market.exchange import IMPORT, Client, Retry, check_name
from quantalpha.market.kinds import FUNDING, bar_length, gaps, mark_kind, month_bounds, months
from quantalpha.market.store import Lake

REQUESTS_AT_ONCE = 4
Progress = Callable[[str, str, str, int], None]  # symbol, kind, month, rows


async def download(
    venue: config.Venue,
    data: config.Data,
    lake: Lake,
    symbols: list[str] | None = None,
    progress: Progress | None = None,
    retry: Retry | None = None,
) -> pd.DataFrame:
    """Fetch what the lake lacks of [data.start, data.end) for `symbols` (all of data.symbols); returns one row a symbol and kind.

    Whole months are kept, so that the first one begins before data.start. data.end None means the venue's last closed bar.
    With venue 'import' nothing is fetched: the lake must hold the span already.
    """
    symbols = data.symbols if symbols is None else symbols
    if venue.name == IMPORT:
        for symbol in symbols:
            _check_imported(lake, data, symbol)
        return _table(lake, venue, data, symbols)
    check_name(venue)
    if _holds_all(lake, venue, data, symbols):
        return _table(lake, venue, data, symbols)
    async with Client(venue, retry) as client:
        now = await client.server_time()
        end = now if data.end is None else min(now, _ms(data.end))
        limit = asyncio.Semaphore(REQUESTS_AT_ONCE)
        kinds = [kind for kind in (data.timeframe, mark_kind(data.timeframe), FUNDING) if client.has(kind)]
        for symbol in symbols:
            client.unified(symbol)
        failure = None
        try:
            async with asyncio.TaskGroup() as group:
                for symbol in symbols:
                    for kind in kinds:
                        group.create_task(_fill(client, lake, symbol, kind, (_ms(data.start), end), limit, progress))
        except ExceptionGroup as failed:
            failure = failed.exceptions[0]
        if failure is not None:
            raise failure  # out here, where the group is not its context: IPython reports no error that has one
    return _table(lake, venue, data, symbols)


def download_symbol(venue: config.Venue, data: config.Data, symbol: str, lake: Lake) -> pd.DataFrame:
    """`download` of one symbol for notebooks, also where an event loop is already running; columns kind rows first last missing."""
    return run_in_thread(download(venue, data, lake, [symbol])).drop(columns="symbol")


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


async def _fill(client: Client, lake: Lake, symbol: str, kind: str, span: tuple[int, int], limit: asyncio.Semaphore, progress) -> None:
    """Fetch and store the months of [span) that the lake lacks."""
    step = bar_length(kind)
    end = span[1] if step is None else span[1] - span[1] % step
    for since, until in _lacking(lake, client.venue.kept_as, symbol, kind, span[0], end):
        held = []
        async with limit:
            async for rows, covered in client.pages(symbol, kind, since, until):
                held = _store(lake, (client.venue.kept_as, symbol, kind), [*held, rows], covered, covered == until, progress)


def _lacking(lake: Lake, venue: str, symbol: str, kind: str, start: int, end: int) -> list[tuple[int, int]]:
    """Spans to fetch: runs of months that are absent or unfinished, an unfinished one from its last row on."""
    spans = []
    for name in months(start, end):
        begin, stop = month_bounds(name)
        stored = lake.month(venue, symbol, kind, name)
        if stored is not None and stored.complete:
            continue
        if stored is not None:
            begin = int(schema.epoch_ms(stored.rows.index[-1:])[0]) + (bar_length(kind) or 1)
        stop = min(stop, end)
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], stop)
        elif begin < stop:
            spans.append((begin, stop))
    return spans


def _store(lake: Lake, key: tuple[str, str, str], held: list[pd.DataFrame], covered: int, last: bool, progress) -> list[pd.DataFrame]:
    """Store the months that are wholly covered (at the end of a span the unfinished one too); returns the rows still held."""
    rows = pd.concat(held)
    names = schema.epoch_ms(rows.index).astype("datetime64[ms]").astype("datetime64[M]").astype(str)
    whole = [name for name in np.unique(names) if last or month_bounds(name)[1] <= covered]
    for name in whole:
        lake.append(*key, rows[names == name], source=f"{key[0]} REST", complete_before=covered)
        if progress is not None:
            progress(key[1], key[2], str(name), int((names == name).sum()))
    return [rows[~np.isin(names, whole)]]


def _holds_all(lake: Lake, venue: config.Venue, data: config.Data, symbols: list[str]) -> bool:
    """Whether a fixed span lies in the lake already, so that the venue need not be asked."""
    if data.end is None:
        return False
    keys = [(venue.kept_as, symbol, kind) for symbol in symbols for kind in (data.timeframe, mark_kind(data.timeframe), FUNDING)]
    return all(lake.stored(*key) and not _lacking(lake, *key, _ms(data.start), _ms(data.end)) for key in keys)


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


def _table(lake: Lake, venue: config.Venue, data: config.Data, symbols: list[str]) -> pd.DataFrame:
    """What the lake holds of the span: symbol kind rows first last missing (bars absent between first and last; none for funding)."""
    lines = []
    for symbol in symbols:
        for kind in (data.timeframe, mark_kind(data.timeframe), FUNDING):
            rows = lake.find(venue.kept_as, symbol, kind, data.start, data.end)
            if rows is not None:
                index = rows.index
                missing = sum(gap["bars"] for gap in gaps(index.unique(), bar_length(kind)))
                lines.append((symbol, kind, len(index), index[0], index[-1], missing))
        if not any(line[:2] == (symbol, data.timeframe) for line in lines):
            span = f"from {data.start} to {'now' if data.end is None else data.end}"
            raise DataError(f"{symbol} {data.timeframe}: {venue.name} has no bars {span}; check data.start, data.end and the symbol")
    return pd.DataFrame(lines, columns=["symbol", "kind", "rows", "first", "last", "missing"])


def _ms(instant) -> int:
    return int(instant.timestamp() * 1000)
