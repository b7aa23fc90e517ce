"""`quantalpha data download` and `quantalpha data verify`: what a venue has, into the lake, and whether it still says the same."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, data_app, judged, show, table
from quantalpha.errors import DataError

Symbols = Annotated[list[str], typer.Option("--symbol", help="Such as BTCUSDT; repeat for more. Default: data.symbols.")]
Kinds = Annotated[list[str], typer.Option("--kind", help=f"One of {', '.join(config.COLLECTED)}; repeat. Default: data.kinds.")]

DRIFT = 0.001  # share of rows that a venue may give otherwise later before `verify` calls it bad data


@data_app.command()
def download(
    symbol: Symbols = (),
    kind: Kinds = (),
    prepend: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Begin here instead of at data.start.")] = None,
    as_json: AsJson = False,
    profile: Profile = "default", overrides: Overrides = (),
) -> None:  # fmt: skip
    """Fetch what the lake lacks of data.symbols and data.kinds; goes on where it was interrupted."""
    from quantalpha import market

    settings = config.load(profile, [*overrides, *_chosen(symbol, kind, prepend)])
    lake = market.Lake(config.path("data/raw"))
    with _progress(quiet=as_json) as progress:
        found = asyncio.run(market.download_symbols(settings.venue, settings.data, lake, progress=progress))
    rows = _rows(found)
    show(rows, as_json, table(f"{settings.venue.kept_as}: what the lake holds", rows))


@data_app.command()
def verify(
    symbol: Symbols = (),
    kind: Kinds = (),
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the stored months that is drawn.")] = 1.0,
    as_json: AsJson = False,
    profile: Profile = "default", overrides: Overrides = (),
) -> None:  # fmt: skip
    """Fetch stored months again: what the venue gives otherwise by now is recorded in their passports as a revision."""
    from quantalpha import market

    settings = config.load(profile, [*overrides, *_chosen(symbol, kind, None)])
    found = asyncio.run(market.verify(settings.venue, settings.data, market.Lake(config.path("data/raw")), share))
    rows, title = _rows(found), f"{settings.venue.kept_as}: fetched again"
    asked, otherwise = (int(found[names].to_numpy().sum()) for names in (["rows"], ["revised", "disputed", "withdrawn"]))
    with judged({"verified": rows}, as_json, table(title, rows)):
        if otherwise > DRIFT * asked:
            told = f"{otherwise:,} of {asked:,} rows are otherwise by now, or given no more"
            raise DataError(f"{told}: is venue.rest_url still the same market? All is recorded, and the files before are kept")


def _chosen(symbols: list[str], kinds: list[str], start: datetime | None) -> list[str]:
    """The options as overrides of the parameters, which check them."""
    chosen = [f"data.symbols=[{', '.join(symbols)}]"] if symbols else []
    chosen += [f"data.kinds=[{', '.join(kinds)}]"] if kinds else []
    return chosen + ([f"data.start={start:%Y-%m-%d}"] if start is not None else [])


def _rows(found) -> list[dict]:
    return [{name: _plain(value) for name, value in row.items()} for row in found.to_dict("records")]


def _plain(value):
    """Times without a date that is none, numbers as Python's own."""
    if hasattr(value, "isoformat"):
        return f"{value:%Y-%m-%d %H:%M}" if value == value else ""
    return value.item() if hasattr(value, "item") else value


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable | None]:
    """What is called with every step: bars on a terminal, a line now and then elsewhere, nothing where it is to be quiet."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield _lines()


def _lines() -> Callable:
    """A line at each fifth of the way."""
    told = {}

    def tell(step) -> None:
        key, fifth = (step.symbol, step.kind), 5 * step.done // step.total
        if fifth > told.get(key, 0):
            told[key] = fifth
            print(f"{step.symbol} {step.kind}: {step.done / step.total:.0%}, {step.rows:,} rows", file=sys.stderr, flush=True)

    return tell


@contextmanager
def _bars() -> Iterator[Callable]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = "{task.description}", BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:,} rows"), TimeRemainingColumn()
    rate = TextColumn("{task.fields[rate]:,.0f}/s")
    with Progress(*columns[:4], rate, columns[4], console=Console(stderr=True)) as progress:
        tasks = {}

        def move(step) -> None:
            key = step.symbol, step.kind
            if key not in tasks:
                tasks[key] = progress.add_task(" ".join(key), total=step.total, rows=0, rate=0.0)
            elapsed = progress.tasks[tasks[key]].elapsed or 0.0
            progress.update(tasks[key], completed=step.done, rows=step.rows, rate=step.rows / elapsed if elapsed else 0.0)

        yield move
