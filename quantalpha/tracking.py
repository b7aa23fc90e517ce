"""The record of every run, in MLflow: one parent for each pipeline run, a child for each stage, a grandchild for each fold.

Store: `mlruns/mlflow.db` (SQLite) and `mlruns/artifacts` in the workspace, or MLFLOW_TRACKING_URI if that is set.
Only the process that drives a pipeline, or promotes, writes.
"""

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlparse

from quantalpha import config
from quantalpha.errors import QuantalphaError, UsageError, did_you_mean

EXPERIMENT = "quantalpha"
ARTEFACTS = (".png", ".csv", ".json", ".html", ".txt")
CHUNK = 100  # MLflow takes so many params or tags at once
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


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
    files: dict[str, Path]  # output name -> file or folder; the one named `metrics` is read, see `_metrics`
    notebook: Path


@dataclass(frozen=True)
class PipelineRun:
    """A pipeline run: `started` in seconds since 1970."""

    name: str
    profile: str
    lock: str | None  # sha256 of requirements.lock
    code_version: str  # commit
    uncommitted: str  # diff against it, masked; empty: none
    params: dict
    started: float
    stages: list[StageRun]


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


def log_run(run: PipelineRun) -> str:
    """Writes the parent and all its children; returns the parent's id. Raises QuantalphaError when MLflow or its disk fails."""
    with _explained("stage results are kept, but the run was not tracked"):
        client, experiment = _client(), _experiment()
        _end_dead_runs(run.name)
        tags = {"pipeline": run.name, "profile": run.profile, "lock_sha256": str(run.lock), "code_version": run.code_version}
        name = f"{run.name} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(run.started))}"
        parent = client.create_run(experiment, int(run.started * 1000), tags | {"kind": "pipeline"}, name).info.run_id
        try:
            _log(parent, run.params, {})
            if run.uncommitted:
                client.log_text(parent, run.uncommitted, "uncommitted.diff")
            for stage in run.stages:
                _log_stage(experiment, parent, stage, tags)
        except BaseException:
            client.set_terminated(parent, "KILLED")
            raise
        client.set_terminated(parent, "FAILED" if any(stage.status == "failed" for stage in run.stages) else "FINISHED")
        return parent


def find_run(wanted: str) -> RunInfo:
    """A run by its name (the newest so named, such as train-BTCUSDT-lightgbm), its id, or the beginning of its id. Raises UsageError."""
    named = _search([f"attributes.run_name = '{_quoted(wanted)}'"], 1)
    if named:
        return named[0]
    begun = _search([f"attributes.run_id LIKE '{_quoted(wanted)}%'"], 3) if wanted else []
    if not begun:
        names = {run.name for run in _search([], 20)}
        raise UsageError(f"run {wanted!r}: not found; {did_you_mean(wanted, names) if names else 'no run is logged yet'}")
    if len(begun) > 1:
        raise UsageError(f"run {wanted!r}: several runs begin so ({', '.join(run.run_id[:12] for run in begun)}); give more of the id")
    return begun[0]


def runs(*, pipeline: str | None = None, stage: str | None = None, parent: str | None = None) -> list[RunInfo]:
    """Logged runs, newest first: of a pipeline, of a stage, of one parent. Folds are listed by their stage's run as `parent` only."""
    wanted = {"pipeline": pipeline, "stage": stage, "mlflow.parentRunId": parent}
    terms = [f"tags.`{key}` = '{_quoted(value)}'" for key, value in wanted.items() if value is not None]
    return _search(terms if parent is not None else [*terms, "tags.kind != 'fold'"], None)


def artifact_folder(run_id: str) -> Path:
    """Where a run's artifacts lie on this machine (fetched first, if the store is remote)."""
    with _explained(f"artifacts of run {run_id} cannot be read"):
        uri = _client().get_run(run_id).info.artifact_uri
        if uri.startswith("file://"):
            return _path_of(uri)
        return Path(_client().download_artifacts(run_id, ""))


def register(name: str, folder: Path, run_id: str, alias: str) -> str:
    """Enters an immutable folder (a bundle) into the model registry, moves `alias` to it last; returns the version. Twice is harmless."""
    with _explained(f"model {name} cannot be registered"):
        client, source = _client(), folder.resolve().as_uri()
        if not client.search_registered_models(f"name = '{_quoted(name)}'"):
            client.create_registered_model(name)
        entered = [version for version in client.search_model_versions(f"name = '{_quoted(name)}'") if version.source == source]
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


def ui(port: int, host: str = "127.0.0.1") -> int:
    """Serves the store's web page until interrupted; returns its exit code. Raises UsageError where the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"--port: {host}:{port} cannot be used ({error.strerror}); choose another") from None
    _experiment()
    where = ["--host", host, "--port", str(port), "--backend-store-uri", _uri(), "--default-artifact-root", _artifact_root().as_uri()]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", "server", "--workers", "1", *where], env=os.environ | QUIET)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        return process.wait()


def _log_stage(experiment: str, parent: str, stage: StageRun, common: dict[str, str]) -> None:
    """A child run with the stage's evidence, and a grandchild for each fold."""
    own = {"kind": "stage", "stage": stage.name, **stage.loop, "cached": str(stage.status == "fresh").lower(), "stage_key": stage.key}
    hashes = {f"sha256.{path}": str(digest) for path, digest in (stage.inputs | stage.outputs).items()}
    error = {} if stage.error is None else {"error": config.mask(stage.error)[:4000]}
    end = int(time.time() * 1000)
    child = _create(experiment, parent, stage.id, end - int(stage.seconds * 1000), common | own | hashes | error)
    metrics, folds = _metrics(stage)
    _log(child, stage.loop | stage.params, metrics)
    for number, fold in enumerate(folds, 1):
        run = _create(experiment, child, f"{stage.id} fold {number}", end, common | own | {"kind": "fold", "fold": str(number)})
        numbers = {key: value for key, value in fold.items() if _is_number(value)}
        _log(run, {key: value for key, value in fold.items() if key not in numbers}, numbers)
        _client().set_terminated(run, "FINISHED", end)
    _log_files(child, stage)
    _client().set_terminated(child, {"failed": "FAILED", "blocked": "KILLED"}.get(stage.status, "FINISHED"), end)


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


def _metrics(stage: StageRun) -> tuple[dict[str, float], list[dict]]:
    """The output named `metrics`: a JSON object of numbers, and under `folds` a list of such objects. Other values stay in the file."""
    try:
        content = json.loads(stage.files["metrics"].read_text()) if "metrics" in stage.files else {}
        return {key: value for key, value in content.items() if _is_number(value)}, content.get("folds", [])
    except (ValueError, AttributeError):
        raise QuantalphaError(f"stage {stage.id}: output metrics: expected a JSON object of numbers; the run was not tracked") from None


def _is_number(value) -> bool:
    return isinstance(value, (int, float))


def _search(terms: list[str], limit: int | None) -> list[RunInfo]:
    with _explained("runs cannot be listed"):
        client, found, token = _client(), [], None
        while True:
            page = client.search_runs([_experiment()], " and ".join(terms), max_results=limit or 1000, page_token=token)
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
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        for run in _search([f"tags.pipeline = '{_quoted(pipeline)}'", "attributes.status = 'RUNNING'"], None):
            _client().set_terminated(run.run_id, "KILLED")


def _uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{config.root() / 'mlruns' / 'mlflow.db'}"


def _artifact_root() -> Path:
    return config.root() / "mlruns" / "artifacts"


def _path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def _client():
    return _store(_uri())[0]


def _experiment() -> str:
    return _store(_uri())[1]


@cache
def _store(uri: str):
    """(client, experiment id). The database and the experiment are created by one process at a time: two at once would both fail."""
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _artifact_root().mkdir(parents=True, exist_ok=True)
    with (_artifact_root().parent / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        client = MlflowClient(uri, uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        place = None if uri.startswith("http") else _artifact_root().as_uri()
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
        raise QuantalphaError(f"MLflow: {consequence}: {config.mask(str(error).strip().splitlines()[0])}") from error
