"""`quantalpha import` and `quantalpha data series`: your own files into the lake."""

from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, app, data_app, show, table


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV of bars, or a folder of such files of one symbol.")],
    symbol: Annotated[str, typer.Option(help="Such as BTCUSDT.")],
    timeframe: Annotated[str, typer.Option(help="Such as 1h.")],
    funding: Annotated[Path | None, typer.Option(help="Funding rates of the same symbol: timestamp, funding_rate.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of the file's times where it is not UTC.")] = None,
    layout: Annotated[str | None, typer.Option(help="Its seller's: coinapi, coinapi-flat, kaiko or cryptodatadownload.")] = None,
    columns: Annotated[str | None, typer.Option(help="Which columns are ours: open=price_open,timestamp=time_start,...")] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite what was imported before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take your own bars into data/raw; then `pipeline run --set venue.name=import`."""
    from quantalpha import market
    from quantalpha.market.own_files import OwnFiles, column_names

    lake = market.Lake(config.path("data/raw"))
    bars = OwnFiles(file, symbol, timeframe, timezone=timezone, layout=layout, columns=column_names(columns))
    files = [bars] if funding is None else [bars, changed(bars, path=funding, funding=True, layout=None, columns={})]
    found = [market.check_files(own) for own in files]  # both are sound before either is stored
    config.path(f"data/raw/{symbol}.manifest.json").unlink(missing_ok=True)  # whatever happens now, the download stage looks again
    rows = [market.import_files(own, lake, replace=replace, found=told) for own, told in zip(files, found)]
    shown = [{"": key, **{Path(row["file"]).name: str(row[key]) for row in rows}} for key in rows[0] if key != "file"]
    show(rows, as_json, table("imported", shown))
    if not as_json:
        print(f"next: quantalpha pipeline run --set venue.name=import --set data.symbols=[{symbol}] --set data.timeframe={timeframe}")


@data_app.command("series")
def series(
    file: Annotated[Path, typer.Argument(help="Coin Metrics' CSV or parquet, or alternative.me's fear and greed index (JSON or CSV).")],
    name: Annotated[str, typer.Option(help="What it is kept as, such as BTC or FNG: data/raw/onchain/NAME.parquet.")],
    replace: Annotated[bool, typer.Option(help="Even where days are gone that are stored.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take daily on-chain or sentiment series; then `--set context.onchain=[NAME]`."""
    from quantalpha.market.series import import_series

    found = import_series(file, name, config.path("data/raw/onchain"), replace=replace)
    show(found, as_json, table("series", [{"": key, "found": str(value)} for key, value in found.items()]))
    if not as_json:
        print(f"next: quantalpha pipeline run --set context.onchain=[{name}]; each value is used once context.onchain_lag has passed")
