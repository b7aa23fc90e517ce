"""The command line: every command reads `params.yaml` under --profile and --set, prints a table or --json, and exits with a stable code.

0 ok · 1 failed stage or bug · 2 usage · 3 refused by a gate · 4 bad data · 5 exchange unreachable · 6 does not reconcile · 7 halted
130 interrupted
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.errors import DataError, QuantalphaError, ReconcileError, UsageError

HEADLINE = ("sharpe_ratio", "total_return", "max_drawdown", "n_trades")  # of the metrics

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Research, promote and run crypto perpetual-futures models.",
)
pipeline_app = typer.Typer(no_args_is_help=True, help="Run the notebooks of a pipeline; unchanged stages are skipped.")
app.add_typer(pipeline_app, name="pipeline")
holdout_app = typer.Typer(no_args_is_help=True, help="The sealed last bars: score the champion on them, and see how often that was done.")
app.add_typer(holdout_app, name="holdout")

Profile = Annotated[str, typer.Option(help="Overlay of params.yaml: demo, default or gpu.")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one parameter; repeat for more.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str | None, typer.Option(help="Registered model; default: the first of data.symbols with alias paper.")]
Name = Annotated[str, typer.Argument(help="A file in pipelines/, without .yaml.")]


def main() -> None:
    """Entry point; turns every QuantalphaError into one line and its exit code."""
    try:
        app()
    except QuantalphaError as error:
        message = config.mask(str(error))
        if "--json" in sys.argv:
            document = {"error": type(error).__name__, "message": message, "exit_code": error.exit_code} | error.details
            print(config.mask(json.dumps(document, indent=2, default=str)))
        print(f"error: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == 130:  # how typer passes Ctrl-C on
            print("interrupted: nothing is left half-written, what is finished stays; run again to go on", file=sys.stderr)
        raise


def show(value, as_json: bool, text) -> None:
    """`value` as JSON, or `text` (a string or a rich renderable) for people."""
    if as_json:
        print(json.dumps(value, indent=2, default=str))
        return
    from rich.console import Console

    Console(soft_wrap=isinstance(text, str)).print(text, markup=not isinstance(text, str), highlight=False)


@contextmanager
def judged(result: dict, as_json: bool, text) -> Iterator[None]:
    """Shows `result`; where the judgement inside is bad, --json makes it part of the one document that says so."""
    try:
        yield
    except QuantalphaError as error:
        error.details = result
        if not as_json:
            show(result, as_json, text)
        raise
    show(result, as_json, text)


def table(title: str, rows: list[dict]):
    """Rows of one shape as a rich table."""
    from rich.table import Table

    grid = Table(title=title, title_justify="left", header_style="bold")
    for name in rows[0] if rows else ():
        grid.add_column(name, justify="right" if isinstance(rows[0][name], (int, float)) else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    return grid


def two_tables(made):
    """What a reproduced run depended on, and what came out."""
    from rich.console import Group

    return Group(table(f"{made.run.name}: it depended on", [each.row() for each in made.inputs]), table("it made again", made.rows()))


def times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


@pipeline_app.command("run")
def pipeline_run(
    name: Name = "research", profile: Profile = "default", overrides: Overrides = (),
    only: Annotated[list[str], typer.Option(help="A stage, or one of it such as train-BTCUSDT-lightgbm, and what it needs.")] = (),
    force: Annotated[bool, typer.Option(help="Run the named stages (or all) even if nothing changed.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run the stages of a pipeline that are not fresh."""
    from quantalpha import pipeline

    report = pipeline.run(name, profile, overrides, only=only or None, force=force, progress=not as_json)
    ran = sum(row["status"] == "done" for row in report.rows)
    text = f"{ran} of {len(report.rows)} stages executed, the rest skipped, in {report.seconds:.1f} s; MLflow run {report.run_id}"
    show({"run_id": report.run_id, "seconds": report.seconds, "stages": report.rows}, as_json, text)
    raise typer.Exit(report.exit_code)


@pipeline_app.command("status")
def pipeline_status(name: Name = "research", profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False) -> None:
    """Show each stage: fresh, stale and why, failed, running."""
    from quantalpha import pipeline

    rows = pipeline.status(name, profile, overrides)
    shown = [{"stage": row["id"], "status": row["status"], "why": row["reason"], "finished": (row["finished"] or "")[:19]} for row in rows]
    show(rows, as_json, table(f"pipeline {name} ({profile})", shown))


@pipeline_app.command("schedule")
def pipeline_schedule(
    cron: Annotated[str, typer.Option(help="Minute hour day month weekday, UTC: '5 * * * *'.")],
    name: Name = "research", profile: Profile = "default", overrides: Overrides = (),
    grace: Annotated[float, typer.Option(help="Seconds a run may start late before it is left out.")] = 300.0,
) -> None:  # fmt: skip
    """Run a pipeline on a cron expression until interrupted; runs never overlap."""
    from quantalpha import pipeline

    config.load(profile, overrides)
    pipeline.schedule(lambda: pipeline.run(name, profile, overrides, progress=False), cron, grace=grace)


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


@app.command()
def exchange(
    tape: Annotated[str | None, typer.Option(help="'synthetic' or a parquet file of bars.")] = None,
    speed: Annotated[float | None, typer.Option(help="Tape seconds per second; 0 stops the clock.")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    now: Annotated[str | None, typer.Option(help="Where on the tape the clock starts, such as 2024-01-31.")] = None,
    parent: Annotated[int | None, typer.Option(metavar="PID", help="End when this process, which started it, has ended.")] = None,
    profile: Profile = "demo", overrides: Overrides = (),
) -> None:  # fmt: skip
    """Run the practice exchange: Binance USD-M market data from a tape, on this machine only."""
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
    from quantalpha import promotion, rehearsal

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
            result["session"] = _session("paper", found.bundle, params, quiet=True).to_dict()
    if not as_json:
        name = promotion.registered_name(found.bundle.venue, found.bundle.symbol, found.bundle.timeframe)
        print(f"sealed {found.bundle.id[:12]}; {name}@{to} points to it")
        if override:
            print(
                f"warning: {', '.join(override)} failed, and a person let that stand; every start of this bundle says so", file=sys.stderr
            )
        if run_now:
            show_session(_session("paper", found.bundle, params), as_json)


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


@app.command()
def run(
    mode: Annotated[str, typer.Option(help="paper: live bars; replay: recorded bars.")] = "paper",
    model: Model = None,
    bars: Annotated[Path | None, typer.Option(help="replay: parquet of clean bars.")] = None,
    session: Annotated[str | None, typer.Option(help="Name of the session; default: time and bundle.")] = None,
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Trade the promoted bundle on paper until interrupted, or replay recorded bars through the same engine."""
    from quantalpha import promotion

    if mode not in ("paper", "replay"):
        raise UsageError(f"--mode: expected paper or replay, found {mode!r}")
    if (bars is None) == (mode == "replay"):
        raise UsageError("--bars: a parquet of clean bars goes with --mode replay, and only with it")
    params = config.load(profile, overrides)
    refuse_sealed(overrides)
    recorded = None if bars is None else _recorded(bars)
    show_session(_session(mode, promotion.champion(model, params), params, recorded=recorded, name=session, quiet=as_json), as_json)


@app.command()
def reconcile(
    session: Annotated[str, typer.Argument(help="A folder in data/sessions, or 'latest'.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Replay a session's bars through the research code; exit 6 unless every decision, fill and cent comes out again."""
    from quantalpha import promotion, runner

    folder = runner.session_folder(session)
    report = promotion.reconcile(runner.session_bundle(folder), promotion.Recorded(**runner.recorded(folder)))
    with judged({"session": folder.name} | report.to_dict(), as_json, table(f"session {folder.name} against its backtest", report.rows())):
        if not report.agrees:
            raise ReconcileError(f"session {folder.name}: paper and backtest differ; the table names the first difference of each line")


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="'latest', or a run's name, id or the beginning of its id.")],
    keep: Annotated[Path | None, typer.Option(help="A new folder: the scratch workspace stays there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a run again from its code, data, parameters and seeds, in a scratch folder; exit 6 unless the same comes out, bit by bit."""
    from quantalpha import pipeline

    made = pipeline.reproduce(run, keep, quiet=as_json)
    with judged(made.to_dict(), as_json, two_tables(made)):
        made.refuse()
    if not as_json:
        print(f"reproduced: {len(made.outputs)} of {len(made.outputs)} outputs, in {made.seconds:.0f} s")


@app.command()
def demo(overrides: Overrides = (), as_json: AsJson = False) -> None:
    """From nothing to a model trading on paper: exchange, pipeline, gate, paper session, reconcile. Synthetic data, no network."""
    from quantalpha import demo as tour

    summary = tour.run(overrides, quiet=as_json)
    show(summary, as_json, tour.text(summary))


def _recorded(file: Path):
    """The bars to replay. Raises UsageError where there is no such file, DataError where it is not sound."""
    from quantalpha import schema
    from quantalpha.files import read_parquet

    if not file.is_file():
        raise UsageError(f"--bars: {file}: no such file; name a parquet of clean bars such as data/clean/BTCUSDT.parquet")
    try:
        return schema.check_bars(read_parquet(file), str(file))
    except (OSError, ValueError) as error:
        found = " ".join(str(error).split())[:160]
        raise DataError(f"--bars: {file}: not readable, truncated or damaged ({found}); run the clean stage again") from None


def _session(mode: str, sealed, params: config.Params, *, recorded=None, name: str | None = None, quiet: bool = False):
    """Run one session with a live status line, or replay the bars `recorded`; its summary."""
    from quantalpha import runner

    if mode == "replay":
        return runner.run_replay(sealed, params, recorded, session_id=name)
    summary = runner.run_session(sealed, params, mode=mode, session_id=name, on_status=None if quiet else runner.print_status)
    print("" if quiet else "\n", end="", file=sys.stderr)
    return summary


def refuse_sealed(overrides: list[str]) -> None:
    """A bundle trades as it was judged: what research decided cannot be set at its promotion or its run."""
    from quantalpha.bundle import SECTIONS

    for text in overrides:
        if text.split(".")[0] in SECTIONS:
            raise UsageError(f"--set {text.partition('=')[0]}: sealed with the model; run the pipeline with it, then promote that run")


def show_session(summary, as_json: bool) -> None:
    """What a session came to."""
    rows = [{"": key, "value": str(value)} for key, value in summary.to_dict().items()]
    show(summary.to_dict(), as_json, table(f"{summary.mode} session", rows))
    if summary.overridden:
        print(f"warning: the gate refused this model: {', '.join(summary.overridden)} failed and was overridden", file=sys.stderr)
    if summary.in_sample:
        told = f"{summary.in_sample} of {summary.decisions} decisions lie on bars the model may have learnt from"
        print(f"warning: {told}: the money they made is no evidence", file=sys.stderr)
