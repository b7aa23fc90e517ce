"""From a tracked run to a sealed bundle with an alias: find the candidate, judge it, seal it, move the alias last; and back again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from quantalpha import bundle, config, signing, tracking
from quantalpha.bundle import Bundle
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_parquet, tree_sha256
from quantalpha.promotion.candidate import load_candidate
from quantalpha.promotion.case import Case, Terms
from quantalpha.promotion.gate import LINES, LIVE_LINES, judge, seal
from quantalpha.promotion.gate_report import GateReport, check_override
from quantalpha.tracking import RunInfo

STAGE, OUTPUT, TRAINING = "walk_forward", "candidate", "train"
SHARPE = "sharpe_ratio"


@dataclass(frozen=True)
class Promotion:
    """What came of one attempt; bundle and version are None where the gate refused."""

    run: RunInfo
    report: GateReport
    bundle: Bundle | None
    version: str | None


def registered_name(venue: str, symbol: str, timeframe: str) -> str:
    """The model registry's name for whatever trades this market: 'binanceusdm-BTCUSDT-1h'."""
    return f"{venue}-{symbol}-{timeframe}"


def champion(model: str | None, params: config.Params, alias: str = "paper", profile: str = "default") -> Bundle:
    """The verified bundle behind `alias` of the registered `model`, or (None) of the first of data.symbols that has one; UsageError, which
    says how one is promoted with this profile."""
    _, folder = promoted(model, alias, params, profile)
    return bundle.load(folder, folder.name)


def promoted(model: str | None, alias: str, params: config.Params, profile: str = "default") -> tuple[str, Path]:
    """(model, folder of the bundle behind `alias`), of `model` or the first of data.symbols that has one. Asked once, so that whatever is
    promoted meanwhile, one whole bundle is run; UsageError where none has."""
    markets = [(venue, symbol, params.data.timeframe) for venue in (params.venue.kept_as, config.IMPORT) for symbol in params.data.symbols]
    names = [model] if model is not None else [registered_name(*market) for market in markets]
    for name in names:
        folder = tracking.find_alias(name, alias)
        if folder is not None:
            return name, folder
    options = ("" if alias == "paper" else f" --to {alias}") + ("" if profile == "default" else f" --profile {profile}")
    raise UsageError(f"no bundle has alias {alias} among {', '.join(names)}; promote a run first: `quantalpha promote latest{options}`")


def candidates(wanted: str) -> list[RunInfo]:
    """The candidate runs that `wanted` stands for, best Sharpe first.

    wanted: 'latest' (the newest finished pipeline run that holds any), or the name, id or beginning of the id of a pipeline run, of its
    walk-forward stage, or of the training stage that led to it. Raises UsageError.
    """
    if wanted == "latest":
        return _latest()
    run = tracking.find_run(wanted)
    if run.tags.get("stage", STAGE) not in (STAGE, TRAINING):
        raise UsageError(f"promote: {run.name!r} is a run of stage {run.tags['stage']}; name a pipeline run, or one of stage {STAGE}")
    own = {name: run.tags[name] for name in ("symbol", "model") if name in run.tags}
    found = [each for each in _judgeable(run.tags.get("mlflow.parentRunId", run.run_id)) if own.items() <= each.tags.items()]
    if not found:
        raise UsageError(f"promote: run {run.name!r} holds no finished {STAGE} stage; name one that does or run the pipeline again")
    return found


def _latest() -> list[RunInfo]:
    pipelines = tracking.runs(kind="pipeline")
    for run in pipelines:
        if run.status == "FINISHED" and (found := _judgeable(run.run_id)):
            return found
    what = f"no finished pipeline run holds a finished {STAGE} stage" if pipelines else "no run is logged yet"
    raise UsageError(f"promote: {what}; run `quantalpha pipeline run` first")


def _judgeable(pipeline: str) -> list[RunInfo]:
    """Finished walk-forward stages of a pipeline run (by its id) that have a Sharpe ratio, best first."""
    stages = tracking.runs(kind="stage", stage=STAGE, parent=pipeline)
    found = [stage for stage in stages if stage.status == "FINISHED" and SHARPE in stage.metrics]
    return sorted(found, key=lambda stage: stage.metrics[SHARPE], reverse=True)


def promote_run(run: RunInfo, terms: Terms, overrides: Sequence[str] = (), reason: str = "") -> Promotion:
    """Judge the candidate of a walk-forward run by `terms`; if it passes, or fails only the lines named in `overrides` and `reason` tells
    why they may, seal it under data/bundles and point `terms.alias` at it.

    Raises DataError where the candidate is not what the run left, or the bars it was made from are gone or have changed: then the pipeline
    must run again. UsageError as GateReport.overridden, and where no session would load what is sealed (signing.require_usable).
    """
    check_override(overrides, reason, [line.__name__ for line in LINES + LIVE_LINES])
    signing.require_usable()
    folder = tracking.artifact_folder(run.run_id) / OUTPUT
    check_unaltered(run, folder)
    candidate = load_candidate(folder)
    config.require_same_libraries(candidate.trained.origin.lock_sha256, f"run {run.name}")
    symbols = (
        {other.tags.get("symbol") for other in _judgeable(run.tags["mlflow.parentRunId"])} if "mlflow.parentRunId" in run.tags else {0}
    )
    case = Case.of(candidate, candidate_bars(folder), replace(terms, markets=max(len(symbols), 1)))
    report = judge(case).overridden(overrides, reason)
    sealed = seal(candidate, case.bars, report, config.path("data/bundles"))
    if sealed is None and run.tags.get("gate") in ("passed", "overridden"):  # what was sealed of this run goes on standing
        tracking.log_report(run.run_id, "gate-refused.json", report.to_dict(), {"gate.refused": terms.alias})
    else:
        tracking.log_report(run.run_id, "gate.json", report.to_dict(), {"gate": report.outcome})
    if sealed is None:
        return Promotion(run, report, None, None)
    name = registered_name(sealed.venue, sealed.symbol, sealed.timeframe)
    return Promotion(run, report, sealed, tracking.register(name, sealed.folder, run.run_id, terms.alias, reason))


def roll_back(model: str | None, alias: str, params: config.Params, reason: str = "") -> dict:
    """Point `alias` of `model` (None: as `champion`) at the bundle it pointed to before, once that is found sound; the written-down move.

    UsageError where it never pointed to another, DataError where that one is damaged, gone or of other libraries; then nothing moves.
    """
    if model is not None:
        tracking.require_model(model)
    name, now = promoted(model, alias, params)
    before = tracking.earlier(name, alias)
    sound = bundle.load(before, before.name)
    config.require_same_libraries(sound.manifest["lock_sha256"], bundle.title(before))
    return tracking.roll_back(name, alias, (now, before), reason)


def check_unaltered(run: RunInfo, folder: Path) -> None:
    """DataError unless the candidate has the hash that the run recorded of it, and names the market the run was made for."""
    if tree_sha256(folder) not in (value for key, value in run.tags.items() if key.startswith("sha256.")):
        raise DataError(f"run {run.name}: its candidate was altered since the pipeline recorded it; run the pipeline again")
    origin, venue = load_candidate(folder).trained.origin, run.params.get("venue.source")
    venue = run.params.get("venue.name") if venue in (None, "None") else venue
    made_for = (run.tags.get("symbol"), run.params.get("data.timeframe"), venue)
    if made_for != (origin.symbol, origin.timeframe, origin.venue):
        named, expected = f"{origin.symbol} {origin.timeframe} on {origin.venue}", "{} {} on {}".format(*made_for)
        raise DataError(f"run {run.name}: made for {expected}, but its candidate is named {named}; run the pipeline again")


def candidate_bars(folder: Path) -> pd.DataFrame:
    """The clean bars a candidate names, unchanged since."""
    source = load_candidate(folder).trained.origin.data["bars"]
    path = config.path(source["path"])
    data = path.read_bytes() if path.is_file() else None
    if data is None or hashlib.sha256(data).hexdigest() != source["sha256"]:
        state = "are gone" if data is None else "have changed"
        raise DataError(f"{source['path']}: the bars this candidate was made from {state}; run the pipeline again and promote its new run")
    return read_parquet(data)  # what was hashed, even if a pipeline writes meanwhile
