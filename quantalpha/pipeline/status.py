"""`status`: how each stage of a pipeline stands, without running anything."""

from collections.abc import Sequence

from quantalpha.pipeline import graph
from quantalpha.pipeline import plan as plans
from quantalpha.pipeline.graph import Stage
from quantalpha.pipeline.plan import Plan


def status(name: str, profile: str = "default", overrides: Sequence[str] = ()) -> list[dict]:
    """Rows stage, id, symbol, model, status, reason, seconds, finished.

    status: fresh, stale (reason: what changed), failed (reason: the error), running, never run. A stage that needs one that is not
    fresh is stale as well, though a run may find its inputs unchanged and skip it.
    """
    plan = plans.load(name, profile, overrides)
    running = plan.folder.running()
    rows: dict[str, dict] = {}
    for stage in plan.stages:
        upstream = [need for need in stage.needs if rows[need]["status"] != "fresh"]
        rows[stage.id] = _row(plan, stage, stage.id in running, upstream)
    return list(rows.values())


def _row(plan: Plan, stage: Stage, running: bool, upstream: list[str]) -> dict:
    record = plan.folder.read("state", stage.id)
    state, reason = _state(plan, stage, running, upstream)
    return {
        "stage": stage.name,
        "id": stage.id,
        **{name: stage.loop.get(name) for name in graph.LOOPS},
        "status": state,
        "reason": reason,
        "seconds": record and record["seconds"],
        "finished": record and record["finished"],
    }


def _state(plan: Plan, stage: Stage, running: bool, upstream: list[str]) -> tuple[str, str]:
    if running:
        return "running", ""
    reasons = plan.stale_reasons(stage)
    failure = plan.folder.read("failed", stage.id)
    if failure is not None and reasons:
        return "failed", failure["error"]
    if reasons == ["never run"]:
        return "never run", ""
    if reasons or upstream:
        return "stale", ", ".join([*reasons, *(f"stage {need}" for need in upstream)])
    return "fresh", ""
