"""`quantalpha approve`: a person's word on the orders that wait for one (`runner.orders=approve`)."""

import time
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
    from quantalpha.runner import accounts, desk

    if (order is None) != listed:
        raise UsageError("approve: expected the name of an order, or --list")
    folders = [config.path("data/sessions") / name for name in accounts.sessions_running()]
    if order is None:
        waiting = [each | _told(each) for folder in folders for each in desk.questions(folder)]
        rows = [_row(each) for each in waiting]
        show(waiting, as_json, table("orders that wait", rows) if rows else "no order waits for a word")
        return
    asked = desk.answer(folders, order, approved=not refuse)
    verb = "refused" if refuse else "approved"
    show(asked | {"approved": not refuse}, as_json, f"{verb}: {desk.sentence(asked)}; session {asked['session']} is told at its next look")


def _told(asked: dict) -> dict:
    """What follows from a question: side, notional (quote currency), seconds left to answer it."""
    notional = abs(asked["quantity"]) * asked["price"]
    return {"side": "buy" if asked["quantity"] > 0 else "sell", "notional": notional, "left": max(asked["until"] - time.time(), 0.0)}


def _row(each: dict) -> dict:
    row = {"order": each["client_id"], "session": each["session"], "side": each["side"], "quantity": f"{abs(each['quantity']):.12g}"}
    row |= {"symbol": each["symbol"], "price": f"{each['price']:,.8g}", "notional": f"{each['notional']:,.2f}"}
    return row | {"seconds left": f"{each['left']:.0f}"}
