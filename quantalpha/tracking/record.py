"""What is recorded of a run, as plain data: what a pipeline hands over, what a store gives back, and which candidate is the best."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from quantalpha.errors import QuantalphaError

GATE_FILE = "gate.json"  # what the gate said, among the artefacts of a candidate's run
CANDIDATE_STAGE = "walk_forward"  # each of its runs is a candidate for promotion
RANKED_BY = "sharpe_ratio"
HEADLINE = (RANKED_BY, "total_return", "max_drawdown")


@dataclass(frozen=True)
class StageRun:
    """One stage as a pipeline run left it. status: done, fresh (skipped: its recorded result is logged again), failed, blocked."""

    id: str
    name: str
    loop: dict[str, str]
    status: str
    seconds: float
    error: str | None
    key: str
    params: dict
    inputs: dict[str, str]  # path -> sha256
    outputs: dict[str, str]
    files: dict[str, Path]  # output name -> file or folder; the one named `metrics` is read, see `read_metrics`
    notebook: Path


@dataclass(frozen=True)
class PipelineRun:
    """A pipeline run: `started` in seconds since 1970."""

    name: str
    profile: str
    lock: str | None  # sha256 of requirements.lock
    code_version: str  # commit
    uncommitted: str  # patch that makes of it what ran, masked; empty: none
    params: dict
    started: float
    stages: list[StageRun]
    recipe: dict = field(default_factory=dict)  # what it takes to make the run again


@dataclass(frozen=True)
class RunInfo:
    """A logged run, parent or child."""

    run_id: str
    name: str
    status: str
    started: float
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


def read_metrics(stage: StageRun) -> tuple[dict[str, float], list[dict]]:
    """The output named `metrics`: a JSON object of numbers, and under `folds` a list of such objects. Other values stay in the file."""
    try:
        content = json.loads(stage.files["metrics"].read_text()) if "metrics" in stage.files else {}
        return {key: value for key, value in content.items() if is_number(value)}, content.get("folds", [])
    except (ValueError, AttributeError):
        raise QuantalphaError(f"stage {stage.id}: output metrics: expected a JSON object of numbers; the run was not tracked") from None


def upstream(stage: StageRun, stages: list[StageRun]) -> list[StageRun]:
    """The stages whose outputs it was made from, near or far, in the order of `stages`."""
    wanted, found = set(stage.inputs), []
    for other in reversed(stages):  # an order in which inputs come before what is made of them
        if other is not stage and wanted & set(other.outputs):
            found.append(other)
            wanted |= set(other.inputs)
    return found[::-1]


def is_number(value) -> bool:
    return isinstance(value, (int, float))


def best_candidate(stages: list[StageRun]) -> tuple[str, dict[str, float]] | None:
    """Name and headline metrics of the candidate with the highest Sharpe ratio; None where no finished one has any."""
    finished = [stage for stage in stages if stage.name == CANDIDATE_STAGE and stage.status in ("done", "fresh")]
    found = [(stage.id, read_metrics(stage)[0]) for stage in finished]
    ranked = [(name, metrics) for name, metrics in found if RANKED_BY in metrics and math.isfinite(metrics[RANKED_BY])]
    if not ranked:
        return None
    name, metrics = max(ranked, key=lambda each: each[1][RANKED_BY])
    return name, {key: metrics[key] for key in HEADLINE if key in metrics}
