"""`quantalpha import`: your own files into the lake."""

from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, app, show, table


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV of bars.")],
    symbol: Annotated[str, typer.Option(help="Such as BTCUSDT.")],
    timeframe: Annotated[str, typer.Option(help="Such as 1h.")],
    funding: Annotated[Path | None, typer.Option(help="Funding rates of the same symbol: timestamp, funding_rate.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of the file's times where it is not UTC.")] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite what was imported before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take your own bars into data/raw; then `pipeline run --set venue.name=import`."""
    from quantalpha import market

    lake = market.Lake(config.path("data/raw"))
    files = [(file, False)] if funding is None else [(file, False), (funding, True)]
    for path, rates in files:  # both are sound before either is stored
        market.check_file(path, symbol, timeframe, funding=rates, timezone=timezone)
    config.path(f"data/raw/{symbol}.manifest.json").unlink(missing_ok=True)  # whatever happens now, the download stage looks again
    rows = [market.import_file(path, symbol, timeframe, lake, funding=rates, replace=replace, timezone=timezone) for path, rates in files]
    shown = [{"": key, **{Path(row["file"]).name: str(row[key]) for row in rows}} for key in rows[0] if key != "file"]
    show(rows, as_json, table("imported", shown))
    if not as_json:
        print(f"next: quantalpha pipeline run --set venue.name=import --set data.symbols=[{symbol}] --set data.timeframe={timeframe}")
