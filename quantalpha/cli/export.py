"""`quantalpha data export`: the lake's rows in a database."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, data_app, judged, show, table
from quantalpha.errors import DataError, UsageError

STDOUT = Path("-")


@data_app.command()
def export(
    to: Annotated[str, typer.Option(help="postgres, influx or redis; its address is QUANTALPHA_<NAME>_URL in the environment or .env.")],
    symbols: Annotated[list[str], typer.Option("--symbol", help="Such as BTCUSDT; repeat for more. Default: all of the lake.")] = (),
    kinds: Annotated[list[str], typer.Option("--kind", help="Such as 1h, mark-1h or funding; repeat for more. Default: all.")] = (),
    start: Annotated[str | None, typer.Option("--from", help="First time to send, UTC, such as 2024-01-01.")] = None,
    end: Annotated[str | None, typer.Option("--until", help="First time not to send. Default: the hold-out, or the lake's end.")] = None,
    compare: Annotated[bool, typer.Option("--check", help="Send nothing: compare rows and digests; exit 4 where they differ.")] = False,
    file: Annotated[Path | None, typer.Option(help="influx: write line protocol to this file ('-': standard output) instead.")] = None,
    overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Bring the lake's rows into a database: what it lacks or has otherwise. Run twice, the second time sends nothing."""
    from quantalpha import market
    from quantalpha.market import sinks

    lake = market.research_lake(config.load("default", overrides))
    span = (_ms("--from", start), _ms("--until", end))
    if None not in span and span[0] >= span[1]:
        raise UsageError(f"--from {start}: must lie before --until {end}")
    wanted = sinks.stored_series(lake, symbols, kinds)
    if not wanted:
        raise DataError("data/raw holds no month of data; run the download stage or `quantalpha import FILE`")
    if file is not None:
        _to_file(to, file, lake, wanted, span, compare, as_json)
        return
    with sinks.open_sink(to) as sink:
        if compare:
            _check(sink, lake, wanted, span, as_json)
            return
        rows = [asdict(each) for each in _sent(sink, lake, wanted, span, quiet=as_json)]
    show({"sink": to, "series": rows}, as_json, table(f"sent to {to}", [_line(row) for row in rows]))


def _sent(sink, lake, wanted, span, *, quiet: bool):
    """`export` of each series, behind a bar that counts months."""
    from rich.console import Console
    from rich.progress import Progress

    from quantalpha.market import sinks

    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for series in wanted:
            task = progress.add_task("/".join(series), total=len(lake.stored(*series)))
            yield sinks.export(lake, sink, series, span, tell=lambda month, task=task: progress.advance(task))


def _line(row: dict) -> dict:
    """One line of the final table, narrow enough for a terminal."""
    counts = {name: row[name] for name in ("rows", "repeated", "written", "removed", "present", "seconds")}
    return {"series": f"{row['venue']} {row['symbol']} {row['kind']}"} | counts | {"rows/s": f"{row['rows_per_second']:,}"}


def _check(sink, lake, wanted, span, as_json: bool) -> None:
    from quantalpha.market import sinks

    months = [month for series in wanted for month in sinks.check(lake, sink, series, span)]
    differ = [asdict(month) for month in months if not month.agrees]
    text = table("months that differ", differ) if differ else f"{sink.name} holds what the lake holds: {len(months)} months agree"
    with judged({"sink": sink.name, "months": len(months), "differ": differ}, as_json, text):
        if differ:
            raise DataError(f"{sink.name}: {len(differ)} of {len(months)} months differ from the lake; export again to mend them")


def _to_file(to: str, file: Path, lake, wanted, span, compare: bool, as_json: bool) -> None:
    """All rows as line protocol; the file is whole or not there."""
    from quantalpha.files import write_atomic
    from quantalpha.market.sinks import write_lines
    from quantalpha.market.sinks.export import parts

    if to != "influx" or compare:
        raise UsageError("--file: goes with --to influx, without --check")
    if file == STDOUT and as_json:
        raise UsageError("--file -: the lines go to standard output, and so would --json; name a file")
    pieces = (piece for series in wanted for piece in write_lines(series, (part.rows for part in parts(lake, series, *span))))
    if file == STDOUT:
        sys.stdout.writelines(piece.decode() for piece in pieces)
        return
    write_atomic(file, pieces)
    show({"file": str(file), "bytes": file.stat().st_size}, as_json, f"{file}: {file.stat().st_size} bytes of line protocol")


def _ms(option: str, text: str | None) -> int | None:
    """A time of the command line, UTC, in milliseconds."""
    from quantalpha.market.sinks import epoch

    try:
        return None if text is None else epoch(text)
    except ValueError:
        raise UsageError(f"{option}: expected a time such as 2024-01-01 or 2024-01-01T12:00, found {text!r}") from None
