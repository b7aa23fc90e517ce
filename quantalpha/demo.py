"""The whole way in one command: practice exchange -> pipeline -> gate -> paper session -> reconcile -> summary.

The tape is synthetic. One of its markets carries a small planted edge, the other is fair by construction: the first candidate should pass
the gate, the second is its negative control.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from quantalpha import config
from quantalpha.errors import GateRefused, QuantalphaError, ReconcileError, UsageError
from quantalpha.files import write_atomic
from quantalpha.practice import process

PAPER_SPEED = 36_000.0  # tape seconds a second: ten hourly bars
SUMMARY = "data/runs/latest/summary.json"
NEXT = (
    "jupyter lab                                            # notebooks/00_quickstart.ipynb",
    "quantalpha pipeline status --profile demo",
    "quantalpha ui                                          # every run, http://127.0.0.1:5000",
    "quantalpha run --mode rehearse --profile demo --set runner.bars=60 --set exchange.now=2024-02-24T12:00    # orders on the wire",
    "quantalpha run --mode rehearse --profile demo --drill  # every kill switch is tripped, and must hold",
    "quantalpha pipeline run                                # your own: Binance USD-M, no key needed",
)


def run(overrides: Sequence[str] = (), quiet: bool = False) -> dict:
    """Everything in order; returns the summary and leaves it in data/runs/latest/summary.json. quiet: no progress on the terminal."""
    overrides, say = list(overrides), (lambda text: None) if quiet else print
    params = config.load("demo", overrides)
    _check_address(params)
    config.path(SUMMARY).unlink(missing_ok=True)  # a failed demo leaves no summary of an older one
    seconds: dict[str, float] = {}
    with _timed(seconds, "pipeline"):
        say("1/4 research: practice exchange on a synthetic tape, then the notebooks of pipelines/research.yaml")
        ran = _research(overrides, quiet)
    with _timed(seconds, "gate"):
        say("2/4 gate: the best candidate of each market is judged")
        attempts = _judge(ran["run_id"], params)
    with _timed(seconds, "paper"):
        say(f"3/4 paper: {params.runner.bars} bars of live trading, {PAPER_SPEED / 3600:g} hours a second")
        champion, session = _trade(attempts, params, overrides, quiet)
    with _timed(seconds, "reconcile"):
        say("4/4 reconcile: the same bars through the research code")
        agreement = _reconcile(champion, session)
    summary = _summary(params, ran, attempts, session, agreement, seconds)
    write_atomic(config.path(SUMMARY), json.dumps(summary, indent=2) + "\n")
    return summary


def text(summary: dict) -> str:
    """The summary for people."""
    champion, paper, agreed = summary["champion"], summary["paper"], summary["reconcile"]
    (position,) = paper["positions"].values()
    metrics, best = champion["metrics"], champion["best_baseline"]
    lines = [
        "",
        "SYNTHETIC DATA: the tape is generated, its edge is planted. Nothing here says anything about a real market.",
        "",
        f"pipeline   {summary['pipeline']['executed']} stages executed, {summary['pipeline']['skipped']} skipped, "
        f"in {summary['seconds']['pipeline']:.0f} s",
        f"champion   {champion['name']}: net Sharpe {metrics['sharpe_ratio']:.2f}, return {metrics['total_return']:+.1%}, "
        f"max drawdown {metrics['max_drawdown']:.1%}, {metrics['n_trades']:.0f} trades, "
        f"best baseline {best['name']} {best['sharpe_ratio']:.2f}",
        f"bundle     {champion['bundle'][:12]} -> {champion['registered']}@paper",
        *(f"refused    {each['name']}: {each['reason']}" for each in summary["refused"]),
        f"paper      {paper['decisions']} decisions, {paper['fills']} fills, equity {paper['equity']:,.2f}, position {position:+.3f}",
        f"reconcile  {agreed['decisions']} of {paper['decisions']} decisions, {agreed['fills']} of {paper['fills']} fills, "
        f"largest money difference {agreed['difference']:.1e}",
        f"total      {sum(summary['seconds'].values()):.0f} s; everything in {SUMMARY}",
        "",
        "Next:",
        *(f"  {command}" for command in summary["next"]),
    ]
    return "\n".join(lines)


def _check_address(params: config.Params) -> None:
    """The demo downloads from the exchange it starts, so both must name one address."""
    address = f"{params.exchange.host}:{params.exchange.port}"
    if params.venue.rest_url != f"http://{address}" or params.venue.ws_url != f"ws://{address}":
        raise UsageError(
            f"demo: exchange.host and exchange.port say {address}, but venue.rest_url is {params.venue.rest_url}; set exchange.port, "
            "venue.rest_url and venue.ws_url to the same address"
        )


def _research(overrides: list[str], quiet: bool) -> dict:
    from quantalpha import pipeline

    with _exchange(overrides, speed=0.0):
        report = pipeline.run("research", "demo", overrides, progress=not quiet)
    if report.tracking_error is not None:
        raise QuantalphaError(report.tracking_error)
    executed = sum(row["status"] == "done" for row in report.rows)
    return {"run_id": report.run_id, "executed": executed, "skipped": len(report.rows) - executed, "seconds": round(report.seconds, 2)}


def _judge(run_id: str, params: config.Params) -> list:
    """One attempt for each market: that of its best candidate by net Sharpe."""
    from quantalpha import promotion, rehearsal

    best = {}
    for run in promotion.candidates(run_id):
        best.setdefault(run.tags["symbol"], run)
    return [promotion.promote_run(run, rehearsal.terms(params)) for run in best.values()]


def _trade(attempts: list, params: config.Params, overrides: list[str], quiet: bool) -> tuple:
    """The champion's bundle, read back by its hash, and its paper session."""
    from quantalpha import bundle, runner

    passed = [attempt for attempt in attempts if attempt.bundle is not None]
    if not passed:
        raise GateRefused("demo: no candidate passed: " + "; ".join(f"{each.run.name} {_reasons(each)}" for each in attempts))
    champion = bundle.load(passed[0].bundle.folder, passed[0].bundle.id)
    with _exchange(overrides, speed=PAPER_SPEED):
        session = runner.run_session(champion, params, runner.Request(on_status=None if quiet else runner.print_status))
    if not quiet:
        print(file=sys.stderr)
    return champion, session


def _reconcile(champion, session) -> dict:
    from quantalpha import promotion, runner

    report = promotion.reconcile(champion, promotion.Recorded(**runner.recorded(Path(session.folder))))
    if not report.agrees:
        raise ReconcileError(f"demo: paper and backtest differ; run `quantalpha reconcile {session.session}`")
    lines = {line.name: line for line in report.lines}
    money = max(lines[name].difference for name in ("fills", "funding", "equity", "cash"))
    matched = {name: lines[name].matched for name in ("decisions", "fills")}
    return matched | {"difference": money, "correlation": report.correlation}


def _summary(params: config.Params, ran: dict, attempts: list, session, agreement: dict, seconds: dict[str, float]) -> dict:
    from quantalpha.promotion import registered_name

    champion = next(attempt for attempt in attempts if attempt.bundle is not None)
    losers = [attempt for attempt in attempts if attempt.bundle is None]
    refused = [{"name": each.report.candidate, "run_id": each.run.run_id, "reason": _reasons(each)} for each in losers]
    return {
        "data": f"synthetic tape, seed {params.synthetic.seed}, planted edge {params.synthetic.edge}",
        "pipeline": ran,
        "champion": {
            "name": champion.report.candidate, "run_id": champion.run.run_id, "bundle": champion.bundle.id,
            "registered": registered_name(champion.bundle.venue, champion.bundle.symbol, champion.bundle.timeframe),
            "metrics": champion.report.evidence["metrics"], "best_baseline": _best_baseline(champion.report.evidence["baselines"]),
        },
        "refused": refused, "paper": session.to_dict(), "reconcile": agreement,
        "seconds": {name: round(value, 1) for name, value in seconds.items()}, "next": list(NEXT),
    }  # fmt: skip


def _best_baseline(baselines: dict[str, dict]) -> dict:
    name = max(baselines, key=lambda each: baselines[each]["sharpe_ratio"] or 0.0)
    return {"name": name, "sharpe_ratio": baselines[name]["sharpe_ratio"]}


def _reasons(attempt) -> str:
    """The first failed line with its reason, the others by name."""
    first, *others = [line for line in attempt.report.lines if not line.passed]
    also = f"; also {', '.join(line.name for line in others)}" if others else ""
    return f"{first.name}: {first.reason}{also}"


def _exchange(overrides: list[str], speed: float) -> AbstractContextManager[str]:
    """At the address that the demo profile names."""
    return process.started("demo", overrides, "--speed", str(speed))


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
