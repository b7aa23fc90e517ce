"""`quantalpha doctor`: is this machine fit to trade, and does anybody hear of it."""

from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, app, judged, table


@app.command()
def doctor(
    alerts: Annotated[bool, typer.Option("--alerts", help="Send a message through every channel of QUANTALPHA_ALERTS.")] = False,
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check Python, libraries, disk, folders, clock, services, secrets (by name), bundles and halted accounts; or the alerts."""
    from quantalpha.ops import doctor as ward

    params = config.load(profile, overrides)
    if alerts:
        from quantalpha.ops.alerts import channels, self_test

        rows = self_test(channels())
        with judged({"channels": rows}, as_json, table("self-test of the alerts", rows) if rows else "nobody is told"):
            ward.require_arrived(rows)
        return
    findings = ward.examine(params)
    found = [{"check": each.name, "state": each.state, "found": each.found} for each in findings]
    with judged({"findings": found}, as_json, table("doctor", [each.row() for each in findings])):
        ward.require_sound(findings)
