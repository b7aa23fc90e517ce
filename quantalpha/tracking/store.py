"""The record of every run, in MLflow: where it is kept, how it is found again, and the only way to MLflow itself.

Store: `mlruns/mlflow.db` (SQLite) and `mlruns/artifacts` in the workspace, or MLFLOW_TRACKING_URI if `.env` or the environment sets it.
Only the process that drives a pipeline, or promotes, writes.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlparse

from quantalpha import config
from quantalpha.errors import QuantalphaError, UsageError, did_you_mean
from quantalpha.files import locked
from quantalpha.tracking.record import GATE_FILE, RunInfo
from quantalpha.tracking.story import judged

EXPERIMENT = "quantalpha"
ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")  # MLflow reads them from the environment only
SQLITE = "sqlite:///"
CHUNK, METRICS = 100, 1000  # MLflow takes so many params or tags, and so many metrics at once
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
SERVER_URIS = ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI")
NOTE = "mlflow.note.content"  # the description the page of an experiment or of a run shows


def store_name() -> str:
    """Where runs are logged now, without its password."""
    return config.mask(uri())


def holds(run_id: str, store: str) -> bool:
    """Whether the store of that name is the one in use and knows the run. A store that is not a local file is taken at its word.

    Asks SQLite itself: importing MLflow takes seconds, and a pipeline run that has nothing to do asks this.
    """
    if store != store_name() or not uri().startswith(SQLITE):
        return store == store_name()
    return bool(rows("SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", run_id))


def rows(query: str, *values: str) -> list[tuple] | None:
    """What a local store answers, asked without MLflow; None where it is no such file, or no store of MLflow."""
    if not uri().startswith(SQLITE):
        return None
    try:
        with closing(sqlite3.connect(f"{Path(uri().removeprefix(SQLITE)).absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return None


def find_run(wanted: str) -> RunInfo:
    """A run by its name (the newest so named, such as train-BTCUSDT-lightgbm), its id, or the beginning of its id. Raises UsageError."""
    named = search([f"attributes.run_name = '{quoted(wanted)}'"], 1)
    if named:
        return named[0]
    begun = search([f"attributes.run_id LIKE '{quoted(wanted)}%'"], 3) if wanted else []
    if not begun:
        names = {run.name for run in search(["tags.kind != 'fold'"], 50)}
        raise UsageError(f"run {wanted!r}: not found; {did_you_mean(wanted, names) if names else 'no run is logged yet'}")
    if len(begun) > 1:
        raise UsageError(f"run {wanted!r}: several runs begin so ({', '.join(run.run_id[:12] for run in begun)}); give more of the id")
    return begun[0]


def runs(*, kind: str | None = None, pipeline: str | None = None, stage: str | None = None, parent: str | None = None) -> list[RunInfo]:
    """Logged runs, newest first: of a kind (pipeline, stage), of a pipeline, of a stage, of one parent.

    Folds are listed by their stage's run as `parent` only.
    """
    wanted = {"kind": kind, "pipeline": pipeline, "stage": stage, "mlflow.parentRunId": parent}
    terms = [f"tags.`{key}` = '{quoted(value)}'" for key, value in wanted.items() if value is not None]
    return search(terms if parent is not None else [*terms, "tags.kind != 'fold'"], None)


def artifact_folder(run_id: str) -> Path:
    """Where a run's artifacts lie on this machine (fetched into data/cache first, if the store is remote)."""
    with explained(f"artifacts of run {run_id} cannot be read"):
        uri = connect().get_run(run_id).info.artifact_uri
        if uri.startswith("file://"):
            return path_of(uri)
        kept = config.path("data/cache") / "runs" / run_id
        kept.mkdir(parents=True, exist_ok=True)
        return Path(connect().download_artifacts(run_id, "", str(kept)))


def log_values(run_id: str, params: dict, metrics: dict[str, float], steps: Iterable[dict[str, float]] = ()) -> None:
    """Parameters, metrics, and of further metrics one value a step, from 0."""
    from mlflow.entities import Metric, Param

    client, now = connect(), int(time.time() * 1000)
    logged = [Param(key, config.mask(str(value))[:6000]) for key, value in params.items()]
    for start in range(0, len(logged), CHUNK):
        client.log_batch(run_id, params=logged[start : start + CHUNK])
    values = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
    values += [Metric(key, float(value), now, step) for step, row in enumerate(steps) for key, value in row.items()]
    for start in range(0, max(len(values), 1), METRICS):
        client.log_batch(run_id, metrics=values[start : start + METRICS])


def log_report(run_id: str, file: str, report: dict, tags: dict[str, str]) -> None:
    """Adds a JSON artifact and tags to a finished run: what was judged of it later."""
    from mlflow.entities import RunTag

    with explained(f"{file} of run {run_id} cannot be logged"):
        connect().log_text(run_id, config.mask(json.dumps(report, indent=1)), file)
        note = connect().get_run(run_id).data.tags.get(NOTE)
        if file == GATE_FILE and note is not None:
            tags = tags | {NOTE: config.mask(judged(note, tags.get("gate", "judged"), report))}
        connect().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def search(terms: list[str], limit: int | None) -> list[RunInfo]:
    with explained("runs cannot be listed"):
        client, found, token = connect(), [], None
        while True:
            page = client.search_runs([experiment_id()], " and ".join(terms), max_results=limit or 1000, page_token=token)
            found += map(_info, page)
            token = page.token
            if limit is not None or not token:
                return found


def _info(run) -> RunInfo:
    info, data = run.info, run.data
    return RunInfo(info.run_id, info.run_name, info.status, info.start_time / 1000, data.tags, data.params, data.metrics)


def quoted(text: str) -> str:
    if "'" in text or "%" in text:
        raise UsageError(f"run {text!r}: a name or id holds no ' and no %")
    return text


def uri() -> str:
    return config.environment().get("MLFLOW_TRACKING_URI") or own_uri()


def own_uri() -> str:
    return f"{SQLITE}{config.root() / 'mlruns' / 'mlflow.db'}"


def is_remote() -> bool:
    """A tracking server's, not a database this process opens itself."""
    return uri().startswith(("http://", "https://"))


def artifact_root() -> Path:
    return config.root() / "mlruns" / "artifacts"


def path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def server_environment() -> dict[str, str]:
    """What a server of this store is started with. Not its command line: an address may hold a password, and everybody can read that."""
    return QUIET | {name: uri() for name in SERVER_URIS} | {"MLFLOW_DEFAULT_ARTIFACT_ROOT": artifact_root().as_uri()}


def connect():
    return _store(uri())[0]


def experiment_id() -> str:
    """The experiment all runs belong to; created if need be."""
    return _store(uri())[1]


@cache
def _store(uri: str):
    """(client, experiment id). The database and the experiment are created by one process at a time: two at once would both fail."""
    account = {name: value for name, value in config.environment().items() if name in ACCOUNT}
    os.environ.update({name: value for name, value in (QUIET | account).items() if name not in os.environ})
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with locked(artifact_root()):
        client = MlflowClient(uri, uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        place = None if is_remote() else artifact_root().as_uri()
        return client, known.experiment_id if known is not None else client.create_experiment(EXPERIMENT, place)


@contextmanager
def explained(consequence: str) -> Iterator[None]:
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
