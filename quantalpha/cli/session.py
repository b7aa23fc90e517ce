"""`quantalpha run`, `reconcile`, `reproduce` and `demo`: sessions, and the proofs that they and their research agree."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli import live
from quantalpha.cli.base import AsJson, Overrides, Profile, app, judged, refuse_sealed, show, table
from quantalpha.errors import DataError, ReconcileError, UsageError, did_you_mean

MODES = "replay: recorded bars; paper: live bars; rehearse: orders to a practice exchange; testnet: to demo trading; live: real money."
PACE = 1.0  # bars a second of an exchange that a rehearsal plays for itself
Models = Annotated[list[str], typer.Option(help="Registered model; repeat for several in one account. Default: the promoted one.")]


@app.command()
def run(
    mode: Annotated[str, typer.Option(help=MODES)] = "paper",
    model: Models = (),
    bars: Annotated[Path | None, typer.Option(help="replay: parquet of clean bars.")] = None,
    session: Annotated[str | None, typer.Option(help="Name of the session; default: time and bundle.")] = None,
    capital: Annotated[float | None, typer.Option(help="Quote currency to trade with; live must be told.")] = None,
    confirm: Annotated[str | None, typer.Option(help="live: the account's name and the capital, where nobody can type them.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --session, or the last one, where its journal ends.")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over a position at the venue that no session here opened.")] = False,
    pair: Annotated[bool, typer.Option("--pair", help="rehearse, testnet: a coin long at one venue, short at the other.")] = False,
    drill: Annotated[bool, typer.Option("--drill", help="rehearse: trip every kill switch, record it; exit 3 if one fails.")] = False,
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put promoted bundles to work until interrupted: on paper, on the practice exchange, at a venue; or replay recorded bars."""
    from quantalpha import runner

    asked = {"--bars": (bars is not None, "replay"), "--drill": (drill, "rehearse"), "--confirm": (confirm is not None, "live")}
    asked |= {"--pair": (pair, "rehearse testnet")}
    asked |= {"--adopt": (adopt, "rehearse testnet live"), "--resume": (resume, "paper rehearse testnet live")}
    _require_together(mode, asked)
    params = config.load(profile, overrides)
    if pair and (drill or model):
        raise UsageError(f"--pair: goes without {'--drill' if drill else '--model'}: it has no model")
    if not pair:
        refuse_sealed(overrides)
    live.require_place(mode, params, capital)
    request = runner.Request(mode, session, resume=resume, capital=capital, adopt=adopt, cleared=mode == live.LIVE)
    if not drill:
        runner.require_startable(params, request)
    recorded = None if bars is None else _recorded(bars)
    bundles = _pairing(params, capital) if pair else live.promoted(model, mode, params, profile)
    if drill:
        _drill(bundles, params, as_json)
        return
    if mode in (live.LIVE, live.TESTNET) and not pair:
        live.clear(bundles, params, mode, capital, confirm)
    with _practised(params, (profile, overrides), mode, as_json) as params:
        summary = open_session(bundles, params, request, recorded=recorded, quiet=as_json)
    show_session(summary, as_json)


def _pairing(params: config.Params, capital: float | None):
    from quantalpha.runner.pairing import Pairing

    return Pairing(capital=capital, params=params)


def _require_together(mode: str, asked: dict[str, tuple[bool, str]]) -> None:
    """UsageError unless the mode is one, and each option that was given (or not) goes with it."""
    from quantalpha import runner

    if mode not in runner.MODES:
        raise UsageError(f"--mode: found {mode!r}; {did_you_mean(mode, runner.MODES)}")
    if mode == "replay" and not asked["--bars"][0]:
        raise UsageError("--mode replay: --bars is missing: name a parquet of clean bars such as data/clean/BTCUSDT.parquet")
    for option, (given, modes) in asked.items():
        if given and mode not in modes.split():
            raise UsageError(f"{option}: goes with --mode {' or '.join(modes.split())}, found --mode {mode}")


@contextmanager
def _practised(params: config.Params, chosen: tuple[str, list[str]], mode: str, quiet: bool) -> Iterator[config.Params]:
    """A rehearsal at whose address nobody listens plays an exchange of its own, on a free port, for as long as it lasts."""
    from quantalpha import timeframe
    from quantalpha.practice import process

    profile, overrides = chosen
    if mode != live.REHEARSE or process.answers(params.venue.rest_url):
        yield params
        return
    speed = PACE * timeframe.milliseconds(params.data.timeframe) / 1000
    with process.started(profile, [*overrides, "exchange.wait=false"], "--port", "0", "--speed", str(speed)) as address:
        if not quiet:
            told = f"nobody listens at {params.venue.rest_url}: this session plays an exchange of its own at {address}"
            print(f"{told}, {PACE:g} bar a second", file=sys.stderr)
        venue = {"rest_url": address, "ws_url": address.replace("http", "ws", 1)}
        yield params.model_copy(update={"venue": params.venue.model_copy(update=venue)})


def _drill(bundles: list, params: config.Params, as_json: bool) -> None:
    """One bundle stands for all: what is tried is the account's switches."""
    from quantalpha import drill

    say = (lambda text: None) if as_json else (lambda text: print(text, file=sys.stderr, flush=True))
    report = drill.run(bundles[0], params, say=say)
    with judged(
        report.to_dict(), as_json, table(f"drill of {report.time}, sessions in {report.folder}", [each.row() for each in report.lines])
    ):
        report.require()


@app.command()
def reconcile(
    session: Annotated[str, typer.Argument(help="A folder in data/sessions, or 'latest'.")] = "latest",
    bars_now: Annotated[str, typer.Option(help="'venue': download its bars again; or a parquet of clean bars.")] = "",
    as_json: AsJson = False,
) -> None:
    """Replay a session's bars through the research code; exit 6 unless every decision, fill and cent comes out again. A gap is split by
    cause; with --bars-now also into bars that were revised since and bars that it missed."""
    from quantalpha import review, runner

    folder = runner.session_folder(session)
    found = review.review(folder, review.bars_today(folder, bars_now))
    with judged(found.to_dict(), as_json, _agreement(found)):
        if not found.report.agrees:
            raise ReconcileError(f"session {folder.name}: paper and backtest differ; the tables name the first difference of each line")


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


def _agreement(found):
    """Line by line, then cause by cause, then in one sentence."""
    from rich.console import Group

    rows = [row | {"money": f"{row['money']:+,.2f}", "share": f"{row['share']:.1%}"} for row in found.attribution.rows()]
    lines = table(f"session {found.session} against its backtest", found.report.rows())
    return Group(lines, table("where the gap comes from", rows), found.verdict)


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


def open_session(bundles, params: config.Params, request, *, recorded=None, quiet: bool = False):
    """Run one session with a live status line, or replay the `recorded` bars; its summary."""
    from quantalpha import runner
    from quantalpha.ops.watch import watching

    if recorded is not None:
        return runner.run_replay(bundles, params, recorded, request)

    def watched(folder: Path, past):
        return watching(folder, params, past)

    request = replace(request, on_status=None if quiet else runner.print_status, watching=watched)
    summary = runner.run_session(bundles, params, request)
    print("" if quiet else "\n", end="", file=sys.stderr)
    return summary


def show_session(summary, as_json: bool) -> None:
    """What a session came to."""
    rows = [{"": key, "value": str(value)} for key, value in summary.to_dict().items()]
    show(summary.to_dict(), as_json, table(f"{summary.mode} session", rows))
    if not as_json and summary.mode in live.VENUES:
        print(_story(Path(summary.folder)))
    if summary.overridden:
        print(f"warning: the gate refused this model: {', '.join(summary.overridden)} failed and was overridden", file=sys.stderr)
    if summary.in_sample:
        told = f"{summary.in_sample} of {summary.decisions} decisions lie on bars the model may have learnt from"
        print(f"warning: {told}: the money they made is no evidence", file=sys.stderr)


def _story(folder: Path) -> str:
    """How a session at a venue went: money, slippage predicted and measured, refusals, stops, and how fast its orders left."""
    from quantalpha.ops import reports
    from quantalpha.runner import folders, journal, latency
    from quantalpha.runner.events import FillEvent, InstructionEvent

    events = journal.read(folder / journal.FILE)
    placed = [each for each in events if type(each) is InstructionEvent and each.action == "place"]
    rested = sum(each.kind == "stop" and each.purpose == "protection" for each in placed)
    hit = sum(type(each) is FillEvent and each.reason == "stop_loss" for each in events)
    timed = str(latency.read(folder)) if (folder / latency.FILE).exists() else "not timed with runner.feed: rest"
    told = reports.text(reports.reports(folder, predicted=folders.predicted_slippage(folder))[0])
    return f"{told}\nstops placed {rested}, filled {hit}\nfrom a bar's close to its order on the wire: {timed}"


def two_tables(made):
    """What a reproduced run depended on, and what came out."""
    from rich.console import Group

    return Group(table(f"{made.run.name}: it depended on", [each.row() for each in made.inputs]), table("it made again", made.rows()))
