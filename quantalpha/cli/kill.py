"""`quantalpha kill`, `reset`, `accounts` and `watchdog`: stopping an account from anywhere, and letting it trade again."""

import asyncio
import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, app, judged, show, table
from quantalpha.errors import ExchangeError, Halted, QuantalphaError, ReconcileError, UsageError

Named = Annotated[
    str | None, typer.Option(help="A folder in data/accounts, such as live-binanceusdm; default: the one whose session runs.")
]
PATIENCE = 20.0  # seconds for which a kill goes on trying


@app.command()
def kill(
    account: Named = None,
    reason: Annotated[str, typer.Option(help="Written down with your name.")] = "by hand",
    every: Annotated[bool, typer.Option("--all", help="Every account whose session runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop an account now, and the second venue's of the same session: latch it against further trading, cancel and close everything at the
    venue, verify that it is flat; exit 5 where it is not."""
    from quantalpha.runner import accounts

    if every and account is not None:
        raise UsageError("kill: --all goes without --account")
    chosen = accounts.running() if every else [accounts.find(account)]
    if not chosen:
        raise UsageError("kill: no session runs; an account whose session is gone is named: --account")
    latched = [_latch(each, reason) for each in chosen]
    names = ", ".join(each.name for each in chosen)
    result = {"account": names, "latched": "; ".join(dict.fromkeys(f"{each['name']}: {each['reason']}" for each in latched))}
    result["since"] = min(each["time"] for each in latched)
    cards = {each.name: each.card() for each in chosen}
    for other in [] if every else accounts.beside(chosen[0]):
        _latch(other, reason)
        cards[other.name] = other.card()
    cards = {name: card for name, card in cards.items() if card["mode"] in accounts.VENUES}
    if not cards:
        show(result | {"venue": "none: its session sees the latch"}, as_json, table("killed", [result]))
        return
    from quantalpha.runner import emergency  # after the latch, which a session heeds at once: this takes a moment to load

    result |= _told(asyncio.run(emergency.flatten_accounts(cards, PATIENCE)))
    with judged(result, as_json, table("killed", [result])):
        if not result["flat"]:
            raise ExchangeError(f"kill: account {names} is latched, but {result['venue']}; look at the venue, and try again")


@app.command()
def reset(
    reason: Annotated[str, typer.Option(help="Why the account may trade again; written down with your name.")],
    account: Named = None,
    keep_position: Annotated[bool, typer.Option("--keep-position", help="Do not ask the venue whether the account is flat.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let an account that was latched trade again; exit 6 while it is not flat at its venue."""
    from quantalpha.runner import accounts

    folder = accounts.find(account) if account is not None else _latched()
    folder.latch.require_reason(reason)
    if folder.running():
        raise Halted(f"reset: the session of account {folder.name} still runs; wait until it has ended, or end its process")
    card = folder.card()
    if card["mode"] in accounts.VENUES and not keep_position:
        asyncio.run(_require_flat(folder.name, card))
    entry = folder.latch.reset(reason)
    rows = [
        {"account": folder.name, "was latched by": entry["latch"]["name"], "because": entry["latch"]["reason"], "reset": entry["reason"]}
    ]
    show(entry, as_json, table("reset", rows))


@app.command("accounts")
def show_accounts(
    every: Annotated[bool, typer.Option("--all", help="Also the idle ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every account at work, watched or latched: whether a session runs, what latched it, what its watchdog does."""
    from quantalpha.runner import accounts

    known = [each.row() for each in accounts.known()]
    rows = [each for each in known if every or each["running"] == "yes" or each["latched"] or each["watchdog"]]
    idle = f"no session runs and nothing is latched in {len(known) - len(rows)} more: --all" if len(rows) < len(known) else ""
    if not rows:
        show(rows, as_json, idle.replace("more: ", "accounts: ") or "no account has been traded here yet")
        return
    show(rows, as_json, table(f"accounts{f' ({idle})' if idle else ''}", rows))


@app.command()
def watchdog(account: Named = None) -> None:
    """Watch an account at its venue until its session ends; past a limit latch it, close everything (exit 7). Sessions start their own."""
    from quantalpha.runner import accounts
    from quantalpha.runner import watchdog as dog

    folder = accounts.find(account)
    with _telling(folder.name) as say:
        tripped = dog.run(folder, say)
    if tripped is not None:
        raise Halted(f"watchdog: account {folder.name}: {tripped[0]}: {tripped[1].reason}; latched and flat")


def _told(done: dict) -> dict:
    """Of one account or of two together."""
    words = [f"{name}: {each}" if len(done) > 1 else str(each) for name, each in done.items()]
    seconds = max(each.seconds for each in done.values())
    return {"flat": all(each.flat for each in done.values()), "seconds": seconds, "venue": "; ".join(words)}


def _latch(folder, reason: str) -> dict:
    """What stands then. Where it cannot be written, on a full disk, the account is made flat all the same."""
    try:
        return folder.latch.set("kill", reason)
    except OSError as error:
        _say("kill", f"NOT LATCHED: {error}; its session may trade again: end its process")
        return {"name": "nobody", "reason": f"not written: {error.strerror}", "time": "unknown"}


def _latched():
    """The only account that is."""
    from quantalpha.runner import accounts

    latched = [each for each in accounts.known() if each.latch.standing() is not None]
    return latched[0] if len(latched) == 1 else accounts.find(None)


async def _require_flat(name: str, card: dict) -> None:
    """ReconcileError unless the venue says that nothing is held and nothing rests; ExchangeError where it says nothing."""
    from quantalpha.runner import emergency

    try:
        async with emergency.desk_of(card) as desk:
            found = await emergency.look(desk)
    except ExchangeError as error:
        raise ExchangeError(f"{error}; where it has gone for good, as a rehearsal's own exchange has: reset with --keep-position") from None
    if not found.flat:
        raise ReconcileError(f"reset: account {name} is {found}; close it (`quantalpha kill`), or reset with --keep-position")


@contextmanager
def _telling(account: str):
    """Tells people by the alerts' channels as well: who else is there when the session is dead. Alerts that are set up badly are no
    reason not to watch."""
    from quantalpha.ops.alerts import Alerts
    from quantalpha.ops.words import Message

    try:
        alerts = Alerts(f"watchdog {account}", config.load().alerts.model_copy(update={"tell": ["switch"]}))
    except QuantalphaError as error:
        _say("alerts", str(error))
        yield _say
        return

    def say(title: str, text: str) -> None:
        _say(title, text)
        alerts.say(Message("switch", ("watchdog", title), f"{title}: {text}", urgent=True))

    try:
        yield say
    finally:
        alerts.close()


def _say(title: str, text: str) -> None:
    """One JSON line on standard error."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "title": title, "text": text}
    print(config.mask(json.dumps(line)), file=sys.stderr, flush=True)
