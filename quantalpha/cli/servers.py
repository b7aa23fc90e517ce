"""`quantalpha exchange` and `quantalpha ui`: servers on this machine."""

import json
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import Overrides, Profile, app


@app.command()
def exchange(
    tape: Annotated[str | None, typer.Option(help="'synthetic' or a parquet file of bars.")] = None,
    speed: Annotated[float | None, typer.Option(help="Tape seconds per second; 0 stops the clock.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    now: Annotated[str | None, typer.Option(help="Where on the tape the clock starts, such as 2024-01-31.")] = None,
    parent: Annotated[int | None, typer.Option(metavar="PID", help="End when this process, which started it, has ended.")] = None,
    profile: Profile = "demo", overrides: Overrides = (),
) -> None:  # fmt: skip
    """Run the practice exchange: Binance USD-M and Bybit linear from a tape, market data and trading, on this machine only."""
    from quantalpha import practice

    given = {"tape": tape, "speed": speed, "port": port, "now": now}
    settings = [f"exchange.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    if tape is not None and now is None:
        settings.append("exchange.now=null")  # the profile's moment is its own tape's
    practice.run(config.load(profile, [*overrides, *settings]), parent)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Where the page is served, on this machine only.")] = 5000) -> None:
    """Serve the MLflow page: every run, its metrics, figures and artefacts; prints its address and that of the table of candidates."""
    from quantalpha import tracking

    raise typer.Exit(tracking.serve(port))
