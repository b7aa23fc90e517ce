"""`quantalpha data archive`: a venue's bulk files into the lake."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, data_app, judged, table
from quantalpha.errors import DataError, UsageError, did_you_mean

DAYS = ["%Y-%m-%d", "%Y-%m"]
SHOWN = 3  # reasons of refusal in the last line
LISTED = 1000  # in the document of --json


@data_app.command("archive")
def archive(
    source: Annotated[str, typer.Argument(help="A folder in the archive's own tree, or an address such as https://data.binance.vision.")],
    symbol: Annotated[list[str] | None, typer.Option(help="Such as BTCUSDT; repeat for more. An address needs it.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="1h, mark-1h, index-1h, interest-5m, funding. An address needs it.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=DAYS, help="First day. An address needs it.")] = None,
    end: Annotated[datetime | None, typer.Option("--until", formats=DAYS, help="Up to this day, without it.")] = None,
    market: Annotated[str, typer.Option(help="Of an address: futures/um or spot.")] = "futures/um",
    venue: Annotated[str | None, typer.Option(help="What it is kept as. Default: binanceusdm, or binance for spot.")] = None,
    unverified: Annotated[bool, typer.Option(help="Take files without a checksum too; their months say so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import the exchange's public archive. Every file is proved by its checksum; what is in the lake is not read again."""
    from quantalpha.market.archive import Folder, Wanted, import_archive
    from quantalpha.market.store import Lake

    if venue is not None and not re.fullmatch(r"[a-z0-9-]{1,60}", venue):
        raise UsageError(f"--venue: expected small letters, digits and -, found {venue!r}")
    span = [None if day is None else int(day.replace(tzinfo=UTC).timestamp() * 1000) for day in (start, end)]
    if None not in span and span[0] >= span[1]:
        raise UsageError(f"--from {start:%Y-%m-%d}: must lie before --until {end:%Y-%m-%d}")
    wanted = Wanted(tuple(symbol or ()) or None, tuple(kind or ()) or None, *span, venue, unverified)
    place = _site(source, wanted, market) if "://" in source else Folder(Path(source))
    counted = _Counts()
    for outcome in _watched(import_archive(place, Lake(config.path("data/raw")), wanted), place, wanted):
        counted.add(outcome)
    with judged({"series": counted.rows(), "refused": counted.refused}, as_json, table("archive", counted.rows())):
        counted.judge(source)


def _site(address: str, wanted, market: str):
    from quantalpha.market.archive import VENUES, Site, series_for

    if market not in VENUES:
        raise UsageError(f"--market: no market {market!r} in the archive; {did_you_mean(market, VENUES)}")
    given = {"--symbol": wanted.symbols, "--kind": wanted.kinds, "--from": wanted.start}
    if absent := [option for option, value in given.items() if value is None]:
        raise UsageError(f"{', '.join(absent)}: an address gives no list of its files; name what you want of it")
    now = int(datetime.now(UTC).timestamp() * 1000)
    series = [series_for(kind, symbol, market) for symbol in wanted.symbols for kind in wanted.kinds]
    return Site(address, series, wanted.start, now if wanted.end is None else min(now, wanted.end))


def _watched(outcomes: Iterator, place, wanted) -> Iterator:
    """The outcomes, with a bar of progress on the terminal's error stream, where there is one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        expected = sum(wanted.within(file) for series in wanted.series(place) for file in place.files(series)) if place.lists else None
        task = progress.add_task("archive", total=expected)
        for outcome in outcomes:
            progress.update(task, advance=1, description=outcome.file.name)
            yield outcome


class _Counts:
    """What became of the files, by series: so much is kept however many there are."""

    def __init__(self):
        self.series, self.refused, self.files = {}, [], 0

    def add(self, outcome) -> None:
        series = outcome.file.series
        key = outcome.venue, series.symbol, series.kind
        row = self.series.setdefault(key, {"stored": 0, "rows": 0, "left_out": 0, "months": 0, "known": 0, "covered": 0, "refused": 0})
        row[outcome.status] += 1
        for name, more in (("rows", outcome.rows), ("left_out", outcome.left_out), ("months", len(outcome.months))):
            row[name] += more
        self.files += 1
        if outcome.reason and len(self.refused) < LISTED:
            self.refused.append({"file": outcome.file.path, "reason": outcome.reason})
        if outcome.rows:  # the download stage looks again
            config.path(f"data/raw/{series.symbol}.manifest.json").unlink(missing_ok=True)

    def rows(self) -> list[dict]:
        return [{"series": "/".join(key), **row} for key, row in self.series.items()]

    def judge(self, source: str) -> None:
        """DataError where there was nothing, or a file was refused."""
        if not self.files:
            raise DataError(f"{source}: nothing there of what was asked for; see --symbol, --kind, --market, --from and --until")
        count = sum(row["refused"] for row in self.series.values())
        if count:
            told = "; ".join(each["reason"] for each in self.refused[:SHOWN])
            more = f"; and {count - SHOWN} more (--json lists them)" if count > SHOWN else ""
            raise DataError(f"{count} of {self.files} files refused, the sound ones are stored: {told}{more}")
