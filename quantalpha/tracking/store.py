"""The record of every run, in MLflow: one parent for each pipeline run, a child for each stage, a grandchild for each fold.

Store: `mlruns/mlflow.db` (SQLite) and `mlruns/artifacts` in the workspace, or MLFLOW_TRACKING_URI if `.env` or the environment sets it.
Only the process that drives a pipeline, or promotes, writes.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlparse

from quantalpha import config
from quantalpha.errors import QuantalphaError, UsageError, did_you_mean
from quantalpha.files import locked
from quantalpha.tracking.record import CANDIDATE_STAGE, PipelineRun, RunInfo, StageRun, best_candidate, is_number, read_metrics

EXPERIMENT = "quantalpha"
ARTEFACTS = (".png", ".csv", ".json", ".html", ".txt")
ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")  # MLflow reads them from the environment only
SQLITE = "sqlite:///"
CHUNK, STEPS = 100, 1000  # MLflow takes so many params or tags, and so many metrics, at once
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
SERVER_URIS = ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI")
NOTE = "mlflow.note.content"  # the description an experiment's page shows
HOW_TO_READ = (
    "Each pipeline run is one parent run: its parameters, the code it ran with, and the headline metrics of its best candidate (best_...). "
    "Its children are the stages, with metrics, figures and the executed notebook; their children are the folds. "
    f"Candidates for promotion are the runs of stage {CANDIDATE_STAGE}: search "
    f"`tags.stage = '{CANDIDATE_STAGE}' AND tags.kind = 'stage'` and sort by `sharpe_ratio`."
)


def log_run(run: PipelineRun) -> str:
    """Writes the parent and all its children; returns the parent's id. Raises QuantalphaError when MLflow or its disk fails."""
    with _explained("stage results are kept, but the run was not tracked"):
        client, experiment = _client(), experiment_id()
        _end_dead_runs(run.name)
        if NOTE not in client.get_experiment(experiment).tags:  # the user may have written another
            client.set_experiment_tag(experiment, NOTE, HOW_TO_READ)
        tags = {"pipeline": run.name, "profile": run.profile, "lock_sha256": str(run.lock), "code_version": run.code_version}
        name = f"{run.name} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(run.started))}"
        parent = client.create_run(experiment, int(run.started * 1000), tags | {"kind": "pipeline"}, name).info.run_id
        try:
            _log(parent, run.params, {})
            if run.uncommitted:
                client.log_text(parent, run.uncommitted, "uncommitted.diff")
            for stage in run.stages:
                _log_stage(experiment, parent, stage, tags)
            _log_best(parent, run.stages)
        except BaseException:
            client.set_terminated(parent, "KILLED")
            raise
        client.set_terminated(parent, "FAILED" if any(stage.status == "failed" for stage in run.stages) else "FINISHED")
        return parent


def store_name() -> str:
    """Where runs are logged now, without its password."""
    return config.mask(_uri())


def holds(run_id: str, store: str) -> bool:
    """Whether the store of that name is the one in use and knows the run. A store that is not a local file is taken at its word.

    Asks SQLite itself: importing MLflow takes seconds, and a pipeline run that has nothing to do asks this.
    """
    if store != store_name() or not _uri().startswith(SQLITE):
        return store == store_name()
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(f"{Path(_uri().removeprefix(SQLITE)).absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, [run_id]).fetchone() is not None
    except sqlite3.Error:  # no such file, or no store of MLflow
        return False


def find_run(wanted: str) -> RunInfo:
    """A run by its name (the newest so named, such as train-BTCUSDT-lightgbm), its id, or the beginning of its id. Raises UsageError."""
    named = _search([f"attributes.run_name = '{_quoted(wanted)}'"], 1)
    if named:
        return named[0]
    begun = _search([f"attributes.run_id LIKE '{_quoted(wanted)}%'"], 3) if wanted else []
    if not begun:
        names = {run.name for run in _search(["tags.kind != 'fold'"], 50)}
        raise UsageError(f"run {wanted!r}: not found; {did_you_mean(wanted, names) if names else 'no run is logged yet'}")
    if len(begun) > 1:
        raise UsageError(f"run {wanted!r}: several runs begin so ({', '.join(run.run_id[:12] for run in begun)}); give more of the id")
    return begun[0]


def runs(*, kind: str | None = None, pipeline: str | None = None, stage: str | None = None, parent: str | None = None) -> list[RunInfo]:
    """Logged runs, newest first: of a kind (pipeline, stage), of a pipeline, of a stage, of one parent.

    Folds are listed by their stage's run as `parent` only.
    """
    wanted = {"kind": kind, "pipeline": pipeline, "stage": stage, "mlflow.parentRunId": parent}
    terms = [f"tags.`{key}` = '{_quoted(value)}'" for key, value in wanted.items() if value is not None]
    return _search(terms if parent is not None else [*terms, "tags.kind != 'fold'"], None)


def artifact_folder(run_id: str) -> Path:
    """Where a run's artifacts lie on this machine (fetched into data/cache first, if the store is remote)."""
    with _explained(f"artifacts of run {run_id} cannot be read"):
        uri = _client().get_run(run_id).info.artifact_uri
        if uri.startswith("file://"):
            return _path_of(uri)
        kept = config.path("data/cache") / "runs" / run_id
        kept.mkdir(parents=True, exist_ok=True)
        return Path(_client().download_artifacts(run_id, "", str(kept)))


def register(name: str, folder: Path, run_id: str, alias: str) -> str:
    """Enters an immutable folder (a bundle) into the model registry, moves `alias` to it last; returns the version. Twice is harmless.

    Raises QuantalphaError where the registry is a remote server's, which refuses folders of this machine.
    """
    if is_remote():
        raise QuantalphaError(
            f"model {name}: the registry at {store_name()} cannot hold a folder of this machine; {folder} is sealed and kept; "
            "unset MLFLOW_TRACKING_URI (also in .env), run the pipeline once, which logs its results in mlruns/, and promote again"
        )
    with _explained(f"model {name} cannot be registered"):
        client, source = _client(), folder.resolve().as_uri()
        with locked(_artifact_root()):
            return _enter(client, name, source, run_id, alias)


def _enter(client, name: str, source: str, run_id: str, alias: str) -> str:
    """Look, then create what is missing: one process at a time."""
    found = f"name = '{_quoted(name)}'"
    if not client.search_registered_models(found):
        client.create_registered_model(name)
    entered = [version for version in client.search_model_versions(found) if version.source == source]
    version = entered[0] if entered else client.create_model_version(name, source, run_id)
    client.set_registered_model_alias(name, alias, version.version)
    return str(version.version)


def find_alias(name: str, alias: str) -> Path | None:
    """The folder an alias points to; None when there is none."""
    with _explained(f"alias {alias} of {name} cannot be read"):
        found = _client().search_registered_models(f"name = '{_quoted(name)}'")
        known = found and alias in found[0].aliases
        return _path_of(_client().get_model_version_by_alias(name, alias).source) if known else None


def log_report(run_id: str, file: str, report: dict, tags: dict[str, str]) -> None:
    """Adds a JSON artifact and tags to a finished run: what was judged of it later."""
    from mlflow.entities import RunTag

    with _explained(f"{file} of run {run_id} cannot be logged"):
        _client().log_text(run_id, config.mask(json.dumps(report, indent=1)), file)
        _client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_best(parent: str, stages: list[StageRun]) -> None:
    """The best candidate's name as tag best_candidate, its headline metrics as best_sharpe_ratio and so on; nothing where there is none."""
    best = best_candidate(stages)
    if best is not None:
        name, metrics = best
        _log(parent, {}, {f"best_{key}": value for key, value in metrics.items()})
        _client().set_tag(parent, "best_candidate", name)


def _log_stage(experiment: str, parent: str, stage: StageRun, common: dict[str, str]) -> None:
    """A child run with the stage's evidence, and a grandchild for each fold."""
    own = {"kind": "stage", "stage": stage.name, **stage.loop, "cached": str(stage.status == "fresh").lower(), "stage_key": stage.key}
    hashes = {f"sha256.{path}": str(digest) for path, digest in (stage.inputs | stage.outputs).items()}
    error = {} if stage.error is None else {"error": config.mask(stage.error)[:4000]}
    end = int(time.time() * 1000)
    child = _create(experiment, parent, stage.id, end - int(stage.seconds * 1000), common | own | hashes | error)
    metrics, folds = read_metrics(stage)
    _log(child, stage.loop | stage.params, metrics)
    for number, fold in enumerate(folds, 1):
        number = fold["fold"] if fold.get("fold") == "final" else number
        run = _create(experiment, child, f"{stage.id} fold {number}", end, common | own | {"kind": "fold", "fold": str(number)})
        numbers = {key: value for key, value in fold.items() if is_number(value)}
        _log(run, {key: value for key, value in fold.items() if key not in numbers and key != "study"}, numbers)
        if "study" in fold:
            _log_study(run, fold["study"])
        _client().set_terminated(run, "FINISHED", end)
    _log_files(child, stage)
    _client().set_terminated(child, {"failed": "FAILED", "blocked": "KILLED"}.get(stage.status, "FINISHED"), end)


def _log_study(run_id: str, study: dict) -> None:
    """A fold's search: what was chosen as params, what that came to as metrics, and every set as a step of metrics sets.sharpe_ratio ...

    A set that is a run of its own would take as long as a whole study does here: 0.13 s, times sets, folds and stages.
    """
    from mlflow.entities import Metric

    now, scores = int(time.time() * 1000), {key: value for key, value in study.items() if key not in ("chosen", "sets")}
    _log(
        run_id,
        {f"chosen.{key}": value for key, value in study["chosen"].items()},
        {f"search.{key}": value for key, value in scores.items()},
    )
    steps = [Metric(f"sets.{key}", x, now, n) for key, values in study["sets"].items() for n, x in enumerate(values) if x is not None]
    for start in range(0, len(steps), STEPS):
        _client().log_batch(run_id, metrics=steps[start : start + STEPS])


def _create(experiment: str, parent: str, name: str, start: int, tags: dict[str, str]) -> str:
    return _client().create_run(experiment, start, tags | {"mlflow.parentRunId": parent}, name).info.run_id


def _log(run_id: str, params: dict, metrics: dict[str, float]) -> None:
    from mlflow.entities import Metric, Param

    client, now = _client(), int(time.time() * 1000)
    logged = [Param(key, config.mask(str(value))[:6000]) for key, value in params.items()]
    for start in range(0, len(logged), CHUNK):
        client.log_batch(run_id, params=logged[start : start + CHUNK])
    client.log_batch(run_id, metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()])


def _log_files(run_id: str, stage: StageRun) -> None:
    client = _client()
    for name, path in stage.files.items():
        if path.is_dir():
            client.log_artifacts(run_id, str(path), name)
        elif path.suffix in ARTEFACTS:
            client.log_artifact(run_id, str(path))
    if stage.notebook.is_file():
        client.log_artifact(run_id, str(stage.notebook))


def _search(terms: list[str], limit: int | None) -> list[RunInfo]:
    with _explained("runs cannot be listed"):
        client, found, token = _client(), [], None
        while True:
            page = client.search_runs([experiment_id()], " and ".join(terms), max_results=limit or 1000, page_token=token)
            found += map(_info, page)
            token = page.token
            if limit is not None or not token:
                return found


def _info(run) -> RunInfo:
    info, data = run.info, run.data
    return RunInfo(info.run_id, info.run_name, info.status, info.start_time / 1000, data.tags, data.params, data.metrics)


def _quoted(text: str) -> str:
    if "'" in text or "%" in text:
        raise UsageError(f"run {text!r}: a name or id holds no ' and no %")
    return text


def _end_dead_runs(pipeline: str) -> None:
    """Marks runs as killed whose driver died while logging: the caller holds this workspace's pipeline, so no other driver is alive."""
    if _uri() == _own_uri():
        for run in _search([f"tags.pipeline = '{_quoted(pipeline)}'", "attributes.status = 'RUNNING'"], None):
            _client().set_terminated(run.run_id, "KILLED")


def _uri() -> str:
    return config.environment().get("MLFLOW_TRACKING_URI") or _own_uri()


def _own_uri() -> str:
    return f"{SQLITE}{config.root() / 'mlruns' / 'mlflow.db'}"


def is_remote() -> bool:
    """A tracking server's, not a database this process opens itself."""
    return _uri().startswith(("http://", "https://"))


def _artifact_root() -> Path:
    return config.root() / "mlruns" / "artifacts"


def _path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def server_environment() -> dict[str, str]:
    """What a server of this store is started with. Not its command line: an address may hold a password, and everybody can read that."""
    return QUIET | {name: _uri() for name in SERVER_URIS} | {"MLFLOW_DEFAULT_ARTIFACT_ROOT": _artifact_root().as_uri()}


def _client():
    return _store(_uri())[0]


def experiment_id() -> str:
    """The experiment all runs belong to; created if need be."""
    return _store(_uri())[1]


@cache
def _store(uri: str):
    """(client, experiment id). The database and the experiment are created by one process at a time: two at once would both fail."""
    account = {name: value for name, value in config.environment().items() if name in ACCOUNT}
    os.environ.update({name: value for name, value in (QUIET | account).items() if name not in os.environ})
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with locked(_artifact_root()):
        client = MlflowClient(uri, uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        place = None if is_remote() else _artifact_root().as_uri()
        return client, known.experiment_id if known is not None else client.create_experiment(EXPERIMENT, place)


@contextmanager
def _explained(consequence: str) -> Iterator[None]:
    """MLflow's and the disk's errors as one line."""
    try:
        yield
    except OSError as error:
        raise QuantalphaError(f"MLflow: {consequence}: {config.mask(str(error))}") from error
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow.", "sqlalchemy.", "alembic.")):
            raise
        first = next(iter(config.mask(str(error)).strip().splitlines()), type(error).__name__)
        raise QuantalphaError(f"MLflow: {consequence}: {first}") from error
