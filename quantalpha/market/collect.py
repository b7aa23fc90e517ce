"""One download under way: what each symbol's kinds lack is fetched in the order of their times and stored as it comes.

A month is stored once all of it is there, a long one (1m bars) in pieces. Killed at any moment, the next run goes on after the last row
stored, asks for the few before it again, and ends with the same lake.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.files import locked
from quantalpha.market import instruments
from quantalpha.market.connect import BINANCE
from quantalpha.market.exchange import Client
from quantalpha.market.instruments import RULES
from quantalpha.market.kinds import INTEREST, bar_length, month_bounds, month_names, months
from quantalpha.market.lacking import Key, Span, lacking, rest_source
from quantalpha.market.store import Lake

AT_ONCE = 4  # symbols' kinds that are fetched together
CHECKPOINT = 5_000  # rows that are stored before their month is whole
EARLY = 31 * timeframe.UNITS["d"]  # so long before its listing date a contract may have been traded (BTCUSDT on Binance: 17 days)
INTEREST_DAYS = 30  # that Binance serves
SERVED_LATE = f"served for the last {INTEREST_DAYS} days only"


@dataclass(frozen=True)
class Step:
    """How far one symbol's kind has come: rows fetched, milliseconds of history done of those lacking, months this step has stored."""

    symbol: str
    kind: str
    rows: int
    done: int
    total: int
    stored: tuple[str, ...]


Progress = Callable[[Step], None]


@dataclass
class Told:
    """What a run has to say of each (symbol, kind): seconds it took, and notes."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Run:
    """span: [start, end) in milliseconds; now: the venue's clock."""

    client: Client
    lake: Lake
    span: tuple[int, int]
    now: int
    progress: Progress | None
    told: Told = field(default_factory=Told)
    limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def venue(self) -> str:
        """What its data is kept as."""
        return self.client.venue.kept_as


async def together(work: list[Coroutine]) -> None:
    """All of `work` at once; where one fails the others end, and its error is raised."""
    failure = None
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failed:
        failure = failed.exceptions[0]
    if failure is not None:
        raise failure  # out here, where the group is not its context: IPython reports no error that has one


def delisted(run: Run, symbol: str, bar: str) -> bool:
    """Whether the venue has the symbol no more, but the lake does; UsageError for one that neither knows."""
    if run.client.lists(symbol):
        return False
    if not run.lake.stored(run.venue, symbol, bar):
        run.client.unified(symbol)
    run.told.notes[symbol, bar] = "delisted; what is stored stays"
    return True


async def fill(run: Run, symbol: str, kind: str) -> None:
    """Fetch and store what the lake lacks of one kind."""
    if not run.client.has(kind):
        run.told.notes[symbol, kind] = f"{run.client.venue.name} publishes none"
        return
    key = run.venue, symbol, kind
    _sweep(run, key)
    async with run.limit:
        since = time.monotonic()
        await _fetch(run, key, lacking(run.lake, key, _served(run, symbol, kind), rest_source(run.client.venue)))
        run.told.seconds[symbol, kind] = round(time.monotonic() - since, 1)


async def _fetch(run: Run, key: Key, spans: list[Span]) -> None:
    rows, done, total = 0, 0, sum(span.end - span.start for span in spans)
    for span in spans:
        held, at = [], span.start
        async for page, covered in run.client.pages(*key[1:], span.start, span.end, span.known):
            held, stored = _store(run, key, [*held, page], (covered, covered == span.end))
            new = int((schema.epoch_ms(page.index) >= at).sum())
            rows, done, at = rows + new, done + covered - at, covered
            if run.progress is not None:
                run.progress(Step(*key[1:], rows, done, total, stored))


def _store(run: Run, key: Key, held: list[pd.DataFrame], covered: tuple[int, bool]) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    """Store what is ripe of the rows up to `covered` (whether it is the end): whole months, at the end or in great number parts of one too.

    Returns the rows still held, and the months stored. Of a part the last row stays held: it closes the month when no other comes.
    """
    rows, (until, last) = pd.concat(held), covered
    rows = rows[~rows.index.duplicated(keep="last")]
    names = month_names(rows.index)
    ripe = [name for name in np.unique(names) if last or month_bounds(name)[1] <= until]
    rest = rows[~np.isin(names, ripe)]
    if len(rest) > CHECKPOINT:
        ripe, rest = np.unique(names).tolist(), rest.iloc[-1:]
    chosen = rows[np.isin(names, ripe)]
    if len(chosen):
        run.lake.merge(*key, chosen, source=rest_source(run.client.venue), complete_before=until)
    return [rest], tuple(map(str, ripe))


def _served(run: Run, symbol: str, kind: str) -> tuple[int, int]:
    """The part of the run's span that the venue can serve: whole months up to whole bars, and not from long before the listing."""
    (start, end), step = run.span, bar_length(kind)
    created = run.client.market(symbol)["created"]
    start = _month_of(start if created is None else max(start, created - EARLY))
    oldest = oldest_served(run.client.venue.name, kind, run.now)
    if oldest is not None:
        run.told.notes[symbol, kind] = SERVED_LATE
        start = max(start, oldest)
    return start, end if step is None else end - end % step


def oldest_served(venue: str, kind: str, now: int) -> int | None:
    """The first time of which the venue still has rows of a kind that it forgets; None where it serves all there were."""
    if not kind.startswith(INTEREST) or venue not in BINANCE:
        return None
    oldest = now - INTEREST_DAYS * timeframe.UNITS["d"] + timeframe.UNITS["h"]
    return oldest + -oldest % bar_length(kind)


def _month_of(time_ms: int) -> int:
    """Where the month of a moment begins."""
    return month_bounds(months(time_ms, time_ms + 1)[0])[0]


def _sweep(run: Run, key: Key) -> None:
    """Remove what processes that were killed while writing have left: whoever holds the lock is the only one who writes."""
    folder = run.lake.path(*key, "x").parent
    with locked(folder):
        for left in folder.glob(".*.tmp"):
            left.unlink()


async def note(run: Run, symbols: list[str], name: str) -> None:
    """Write down the rules or brackets of `symbols` where they have changed; say why where they cannot be had."""
    since = time.monotonic()
    try:
        found = await _facts(run, symbols, name)
    except (UsageError, ExchangeError) as error:  # a wrong key, say: the histories are worth having without
        run.told.notes |= dict.fromkeys([(symbol, name) for symbol in symbols], f"skipped: {error}")
        return
    for symbol, facts in found.items():
        instruments.record(instruments.record_path(run.lake, run.venue, symbol, name), name, facts, run.now)
        run.told.seconds[symbol, name] = round(time.monotonic() - since, 1)


async def _facts(run: Run, symbols: list[str], name: str) -> dict:
    if name == RULES:
        return {symbol: instruments.rules(run.client, symbol) for symbol in symbols}
    return await instruments.brackets(run.client, symbols)
