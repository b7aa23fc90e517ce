"""`quantalpha promote`, `rollback`, `keys` and `holdout`: which model may trade, and who said so."""

import sys
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Model, Overrides, Profile, app, judged, refuse_sealed, show, table
from quantalpha.cli.session import open_session, show_session
from quantalpha.errors import UsageError

HEADLINE = ("sharpe_ratio", "total_return", "max_drawdown", "n_trades")  # of the metrics

holdout_app = typer.Typer(no_args_is_help=True, help="The sealed last bars: score the champion on them, and see how often that was done.")
app.add_typer(holdout_app, name="holdout")


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="'latest', or a run's name, id or the beginning of its id.")],
    to: Annotated[str, typer.Option(help="Alias to move: paper, or live, which asks for days on paper.")] = "paper",
    run_now: Annotated[bool, typer.Option("--run", help="Start the session at once.")] = False,
    override: Annotated[list[str], typer.Option(metavar="LINE", help="Let this gate line fail; repeat for more.")] = (),
    reason: Annotated[str, typer.Option(help="Why it may; written into the bundle with your name.")] = "",
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Judge a run's best candidate; seal it as a bundle and move the alias, or refuse with reasons (exit 3)."""
    from quantalpha import promotion, rehearsal, runner

    if to not in ("paper", "live"):
        raise UsageError(f"--to: expected paper or live, found {to!r}")
    params = config.load(profile, overrides)
    refuse_sealed(overrides)
    if sealed := [text for text in overrides if text.startswith("holdout.")]:
        raise UsageError(f"--set {sealed[0]}: no one lifts the seal at a promotion; holdout.start is what params.yaml says")
    found = promotion.promote_run(promotion.candidates(run)[0], rehearsal.terms(params, to), override, reason)
    result = {"run_id": found.run.run_id, "run": found.run.name, "bundle": found.bundle and found.bundle.id, "version": found.version}
    result |= found.report.to_dict()
    with judged(result, as_json, f"{found.run.name}\n{found.report}"):
        found.report.refuse()
        if run_now and as_json:
            result["session"] = open_session(found.bundle, params, runner.Request(), quiet=True).to_dict()
    if not as_json:
        name = promotion.registered_name(found.bundle.venue, found.bundle.symbol, found.bundle.timeframe)
        print(f"sealed {found.bundle.id[:12]}; {name}@{to} points to it")
        if override:
            print(
                f"warning: {', '.join(override)} failed, and a person let that stand; every start of this bundle says so", file=sys.stderr
            )
        if run_now:
            show_session(open_session(found.bundle, params, runner.Request()), as_json)


@app.command()
def rollback(
    model: Annotated[str | None, typer.Argument(help="Registered model; default: the first of data.symbols with this alias.")] = None,
    to: Annotated[str, typer.Option(help="Alias to move back.")] = "paper",
    reason: Annotated[str, typer.Option(help="Why; written down with your name.")] = "",
    only_list: Annotated[bool, typer.Option("--list", help="Show every move so far and make none.")] = False,
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Point an alias at the bundle it pointed to before, after verifying that one; sessions that run go on with theirs."""
    from quantalpha import promotion, tracking

    params = config.load(profile, overrides)
    if to not in ("paper", "live"):
        raise UsageError(f"--to: expected paper or live, found {to!r}")
    if model is not None:
        tracking.require_model(model)
    moves = tracking.moves(model) if only_list else [promotion.roll_back(model, to, params, reason)]
    ways = [f"{one['move']:8}  {one['model']}@{one['alias']}  {(one['from'] or 'nothing')[:12]} -> {one['to'][:12]}" for one in moves]
    lines = [f"{one['time'][:19]} UTC  {one['who']}  {way}  {one['reason']}" for one, way in zip(moves, ways)]
    show(moves if only_list else moves[0], as_json, "\n".join(lines) or "no alias has moved yet")


@app.command()
def keys() -> None:
    """Print a new pair of keys for signing bundles, to be put into .env; the public key alone where a signing key is set."""
    from quantalpha import signing

    secret = config.environment().get(signing.SECRET)
    if secret is None:
        secret = signing.new_key()
        print(f"{signing.SECRET}={secret}")
    print(f"{signing.TRUSTED}={signing.public_key(secret)}")


@holdout_app.command("open")
def holdout_open(
    reason: Annotated[str, typer.Option(help="Why now; written down with your name and the result.")],
    model: Model = None, profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Score the promoted model on the bars from holdout.start on, against its baselines; every opening is written down."""
    from quantalpha import promotion
    from quantalpha.promotion.holdout import open_holdout

    params = config.load(profile, overrides)
    refuse_sealed(overrides)
    opened = open_holdout(promotion.champion(model, params), params, reason)
    rows = [{"": name} | metrics for name, metrics in ({"champion": opened["metrics"]} | opened["baselines"]).items()]
    title = f"{opened['symbol']}, {opened['bars']} sealed bars from {opened['first'][:16]}: opened {times(opened['opened'])}"
    show(opened, as_json, table(title, [{name: row[name] for name in ("", *HEADLINE)} for row in rows]))


@holdout_app.command("status")
def holdout_status(profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Show where the hold-out begins, and every time it was opened: by whom, why, and what came of it."""
    from quantalpha.promotion.holdout import openings

    start, made = config.load(profile, overrides).holdout.start, openings()
    sealed = "nothing is sealed (holdout.start is null)" if start is None else f"sealed from {start:%Y-%m-%d %H:%M} UTC on"
    lines = [f"{sealed}; opened {times(len(made))}"]
    for one in made:
        sharpe, span = one["metrics"]["sharpe_ratio"], f"{one['symbol']} {one['first'][:16]} to {one['last'][:16]}"
        told = "undefined" if sharpe is None else f"{sharpe:.2f}"
        lines.append(f"{one['time'][:16]}  {one['who']}, {span}, time {one['opened']}, Sharpe {told}: {one['reason']}")
    show({"start": start, "openings": made}, as_json, "\n".join(lines))


def times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")
