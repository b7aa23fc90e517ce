"""`quantalpha report`: what a session did, as a whole or by UTC days, weeks or months."""

from typing import Annotated

import typer

from quantalpha.cli.base import AsJson, app, show
from quantalpha.files import read_json


@app.command()
def report(
    session: Annotated[str, typer.Argument(help="A folder in data/sessions, or 'latest'.")] = "latest",
    period: Annotated[str, typer.Option(help="session, day, week or month.")] = "session",
    as_json: AsJson = False,
) -> None:
    """Tell a session's equity, drawdown, fills, fees, funding, slippage, refusals, kill switches and missed bars from its journal."""
    from quantalpha import runner
    from quantalpha.ops import reports
    from quantalpha.runner import folders

    folder = runner.session_folder(session)
    read_json(folder / folders.CARD, "session")
    made = reports.reports(folder, period, folders.predicted_slippage(folder))
    show([reports.rows(each) for each in made], as_json, "\n\n".join(map(reports.text, made)))
