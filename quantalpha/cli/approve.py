"""`quantalpha approve`: a person's word on the orders that wait for one (`runner.orders=approve`)."""

from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, app, show, table
from quantalpha.errors import UsageError


@app.command()
def approve(
    order: Annotated[str | None, typer.Argument(help="Name of the order, as --list and the alert tell it.")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Say no.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show what waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve or refuse an order that waits for a person's word, from any terminal of this machine."""
    from quantalpha.runner import desk

    if (order is None) != listed:
        raise UsageError("approve: expected the name of an order, or --list")
    folders = sorted(path for path in config.path("data/sessions").glob("*") if path.is_dir())
    if order is None:
        waiting = [each for folder in folders for each in desk.questions(folder)]
        show(waiting, as_json, table("orders that wait", waiting) if waiting else "no order waits for a word")
        return
    asked = desk.answer(folders, order, approved=not refuse)
    verb = "refused" if refuse else "approved"
    show(asked | {"approved": not refuse}, as_json, f"{verb}: {desk.sentence(asked)}; session {asked['session']} is told at its next look")
