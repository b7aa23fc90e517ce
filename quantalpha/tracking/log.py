"""What is written of a pipeline run: one parent, a child for each stage, a grandchild for each fold; and a candidate's page.

Only the process that drives a pipeline writes.
"""

import json
import time
from pathlib import Path

from quantalpha import config
from quantalpha.tracking import store
from quantalpha.tracking.record import CANDIDATE_STAGE, PipelineRun, StageRun, best_candidate, is_number, read_metrics, upstream
from quantalpha.tracking.story import story

ARTEFACTS = (".png", ".csv", ".json", ".html", ".txt")
HOW_TO_READ = (
    "Each pipeline run is one parent run: its parameters, the code it ran with, and the headline metrics of its best candidate (best_...). "
    "Its children are the stages, with metrics, figures and the executed notebook; their children are the folds. "
    f"Candidates for promotion are the runs of stage {CANDIDATE_STAGE}, whose pages tell their story: search "
    f"`tags.stage = '{CANDIDATE_STAGE}' AND tags.kind = 'stage'` and sort by `sharpe_ratio`."
)


def log_run(run: PipelineRun) -> str:
    """Writes the parent and all its children; returns the parent's id. Raises QuantalphaError when MLflow or its disk fails."""
    with store.explained("stage results are kept, but the run was not tracked"):
        client, experiment = store.connect(), store.experiment_id()
        _end_dead_runs(run.name)
        if store.NOTE not in client.get_experiment(experiment).tags:  # the user may have written another
            client.set_experiment_tag(experiment, store.NOTE, HOW_TO_READ)
        tags = {"pipeline": run.name, "profile": run.profile, "lock_sha256": str(run.lock), "code_version": run.code_version}
        name = f"{run.name} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(run.started))}"
        made_on = {key: text for key, text in run.recipe.get("machine", {}).items() if isinstance(text, str)}
        parent = client.create_run(experiment, int(run.started * 1000), tags | made_on | {"kind": "pipeline"}, name).info.run_id
        try:
            store.log_values(parent, run.params, {})
            if run.uncommitted:
                client.log_text(parent, run.uncommitted, "uncommitted.diff")
            client.log_text(parent, config.mask(json.dumps(run.recipe, indent=1)), "recipe.json")
            for stage in run.stages:
                child = _log_stage(experiment, parent, stage, tags)
                if stage.name == CANDIDATE_STAGE and stage.status in ("done", "fresh"):
                    _log_story(child, stage, run.stages)
            _log_best(parent, run.stages)
        except BaseException:
            client.set_terminated(parent, "KILLED")
            raise
        client.set_terminated(parent, "FAILED" if any(stage.status == "failed" for stage in run.stages) else "FINISHED")
        return parent


def _end_dead_runs(pipeline: str) -> None:
    """Marks runs as killed whose driver died while logging: the caller holds this workspace's pipeline, so no other driver is alive."""
    if store.uri() == store.own_uri():
        for run in store.search([f"tags.pipeline = '{store.quoted(pipeline)}'", "attributes.status = 'RUNNING'"], None):
            store.connect().set_terminated(run.run_id, "KILLED")


def _log_best(parent: str, stages: list[StageRun]) -> None:
    """The best candidate's name as tag best_candidate, its headline metrics as best_sharpe_ratio and so on; nothing where there is none."""
    best = best_candidate(stages)
    if best is not None:
        name, metrics = best
        store.log_values(parent, {}, {f"best_{key}": value for key, value in metrics.items()})
        store.connect().set_tag(parent, "best_candidate", name)


def _log_stage(experiment: str, parent: str, stage: StageRun, common: dict[str, str]) -> str:
    """A child run with the stage's evidence, whose metrics fold/... have a step for each fold, and a grandchild for each; its id."""
    own = {"kind": "stage", "stage": stage.name, **stage.loop, "cached": str(stage.status == "fresh").lower(), "stage_key": stage.key}
    hashes = {f"sha256.{path}": str(digest) for path, digest in (stage.inputs | stage.outputs).items()}
    error = {} if stage.error is None else {"error": config.mask(stage.error)[:4000]}
    end = int(time.time() * 1000)
    child = _create(experiment, parent, stage.id, end - int(stage.seconds * 1000), common | own | hashes | error)
    metrics, folds = read_metrics(stage)
    store.log_values(child, stage.loop | stage.params, metrics, map(_step, folds))
    for number, fold in enumerate(folds) if stage.name != CANDIDATE_STAGE else ():  # its folds are those of its training
        number = fold["fold"] if fold.get("fold") == "final" else number  # the search for the final model has no test
        run = _create(experiment, child, f"{stage.id} fold {number}", end, common | own | {"kind": "fold", "fold": str(number)})
        numbers = {key: value for key, value in fold.items() if is_number(value)}
        store.log_values(run, {key: value for key, value in fold.items() if key not in numbers and key != "study"}, numbers)
        if "study" in fold:
            _log_study(run, fold["study"])
        store.connect().set_terminated(run, "FINISHED", end)
    _log_files(child, stage)
    store.connect().set_terminated(child, {"failed": "FAILED", "blocked": "KILLED"}.get(stage.status, "FINISHED"), end)
    return child


def _log_study(run_id: str, study: dict) -> None:
    """A fold's search: what was chosen as params chosen.*, what it came to as metrics search.*, and every set as a step of sets.*.

    A run for each set would take 0.13 s a set: minutes a stage. This takes as long for all sets of a fold.
    """
    chosen = {f"chosen.{key}": value for key, value in study["chosen"].items()}
    found = {f"search.{key}": value for key, value in study.items() if is_number(value)}
    named = [f"sets.{key}" for key in study["sets"]]
    rows = [{key: value for key, value in zip(named, values) if value is not None} for values in zip(*study["sets"].values())]
    store.log_values(run_id, chosen, found, rows)


def _step(fold: dict) -> dict[str, float]:
    """What becomes a curve over the folds."""
    return {f"fold/{key}": value for key, value in fold.items() if is_number(value) and key not in ("fold", "n_train", "n_test")}


def _log_story(run_id: str, stage: StageRun, stages: list[StageRun]) -> None:
    """What a candidate was made from, as artefacts of its own run under evidence/STAGE, and its description."""
    evidence = {
        f"evidence/{other.name}/{path.name}": path
        for other in upstream(stage, stages)
        for path in other.files.values()
        if path.suffix in ARTEFACTS
    }
    for place, path in evidence.items():
        store.connect().log_artifact(run_id, str(path), str(Path(place).parent))
    store.connect().set_tag(run_id, store.NOTE, config.mask(story(stage, evidence)))


def _create(experiment: str, parent: str, name: str, start: int, tags: dict[str, str]) -> str:
    return store.connect().create_run(experiment, start, tags | {"mlflow.parentRunId": parent}, name).info.run_id


def _log_files(run_id: str, stage: StageRun) -> None:
    client = store.connect()
    for name, path in stage.files.items():
        if path.is_dir():
            client.log_artifacts(run_id, str(path), name)
        elif path.suffix in ARTEFACTS:
            client.log_artifact(run_id, str(path))
    if stage.notebook.is_file():
        client.log_artifact(run_id, str(stage.notebook))
