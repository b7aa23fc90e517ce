"""`run`: one pass over a pipeline, tracked in MLflow when anything was executed."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from quantalpha import tracking
from quantalpha.errors import QuantalphaError, StageFailed
from quantalpha.pipeline import plan as plans
from quantalpha.pipeline import progress as display
from quantalpha.pipeline.cache import flatten
from quantalpha.pipeline.driver import Drive, Outcome
from quantalpha.pipeline.plan import Plan
from quantalpha.pipeline.recipe import recipe

TRACKED = {"run_id": str, "store": str, "results": dict}


@dataclass(frozen=True)
class RunReport:
    """What a run did. `run_id` is the MLflow parent run that describes these results (None: never tracked)."""

    rows: list[dict]
    run_id: str | None
    seconds: float
    tracking_error: str | None

    @property
    def exit_code(self) -> int:
        """1 when the results stand but could not be tracked."""
        return 0 if self.tracking_error is None else 1


def run(
    name: str,
    profile: str = "default",
    overrides: Sequence[str] = (),
    *,
    only: str | Sequence[str] | None = None,
    force: bool = False,
    progress: bool = True,
) -> RunReport:
    """Runs the stale stages of pipeline `name`.

    only: a stage (or one instance, train-BTCUSDT-lightgbm) or several; what they need runs too, if stale.
    force: run those named by `only`, or all, even if fresh.
    Raises UsageError before anything runs, StageFailed (with the exit code of the error inside the notebook) after the rest has finished.
    """
    started = time.time()
    plan = plans.load(name, profile, overrides, only)
    named = [only] if isinstance(only, str) else only
    forced = {stage.id for stage in plan.stages if force and (named is None or {stage.id, stage.name} & set(named))}
    with plan.folder.lock():
        drive = _drive(plan, forced, progress)
        run_id, problem = _track(plan, drive, started)
    if problem is not None:
        print(problem, file=sys.stderr)
    if drive.failures:
        raise _joined(drive.failures)
    rows = [drive.outcomes[stage.id].row() for stage in plan.stages]
    return RunReport(rows, run_id, time.time() - started, problem)


def _drive(plan: Plan, forced: set[str], progress: bool) -> Drive:
    shown = display.create(len(plan.stages), progress)
    try:
        drive = Drive(plan, forced, shown)
        drive.go()
    finally:
        shown.close()
    return drive


def _track(plan: Plan, drive: Drive, started: float) -> tuple[str | None, str | None]:
    """The id of the parent run that describes these results, and what went wrong.

    Where nothing ran it is the last one logged, if that one is still in the store and holds them all; else they are logged (again).
    """
    states = {key: plan.folder.read("state", key) for key in drive.outcomes}
    good = {key: state for key, state in states.items() if state is not None and drive.outcomes[key].status in ("done", "fresh")}
    results = {key: [state["key"], state["finished"]] for key, state in good.items()}
    ran = any(outcome.status in ("done", "failed") for outcome in drive.outcomes.values())
    last = plan.folder.read_json("tracked.json", TRACKED)
    if not ran and last is not None and results.items() <= last["results"].items() and tracking.holds(last["run_id"], last["store"]):
        return last["run_id"], None
    try:
        run_id = tracking.log_run(_described(plan, drive, states, started))
    except QuantalphaError as error:
        return None, str(error)
    plan.folder.write_json("tracked.json", {"run_id": run_id, "store": tracking.store_name(), "results": results})
    return run_id, None


def _described(plan: Plan, drive: Drive, states: dict[str, dict | None], started: float) -> tracking.PipelineRun:
    stages = [_described_stage(plan, outcome, states[key]) for key, outcome in drive.outcomes.items()]
    params = flatten(plan.params.sections(dict.fromkeys(section for stage in plan.stages for section in stage.sections)))
    good = {stage.id: states[stage.id] for stage in stages if stage.status in ("done", "fresh")}
    made, version = recipe(plan, good)
    return tracking.PipelineRun(plan.name, plan.profile, made["lock"], version.commit, version.patch, params, started, stages, made)


def _described_stage(plan: Plan, outcome: Outcome, state: dict | None) -> tracking.StageRun:
    """Of a stage that did not succeed now, only its identity, its error and the notebook it left."""
    stage, good = outcome.stage, outcome.status in ("done", "fresh")
    record = state if good else {"key": "", "parts": {"params": {}, "input": {}}, "outputs": {}}
    return tracking.StageRun(
        id=stage.id,
        name=stage.name,
        loop=stage.loop,
        status=outcome.status,
        seconds=outcome.seconds,
        error=outcome.error,
        key=record["key"],
        params=record["parts"]["params"],
        inputs=record["parts"]["input"],
        outputs=record["outputs"],
        files={name: plan.root / path for name, path in stage.outputs.items()} if good else {},
        notebook=plan.folder.notebook(stage.id, failed=not good),
    )


def _joined(failures: list[StageFailed]) -> StageFailed:
    """The first failure, which also names the others."""
    first, *rest = failures
    if not rest:
        return first
    joined = StageFailed(f"{first} (and {len(rest)} more: see `quantalpha pipeline status`)")
    joined.exit_code = first.exit_code
    return joined
