"""What MLflow holds after a run, and how it is found again. One store serves all tests here: creating one takes a second or two."""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from quantalpha import config, tracking
from quantalpha.errors import QuantalphaError, UsageError


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture
def root(template, monkeypatch) -> Path:
    """The workspace whose store the tests share."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("QUANTALPHA_ROOT", str(template))
    monkeypatch.setenv("VENUE_API_KEY", "hunter2hunter2")
    _forget()
    yield template
    _forget()


def _forget() -> None:
    config.root.cache_clear()
    config._environment.cache_clear()


@pytest.fixture
def stage(root) -> tracking.StageRun:
    """A finished stage with metrics, two folds, a figure and a model folder."""
    (root / "model").mkdir(exist_ok=True)
    (root / "model/model.txt").write_text("tree")
    (root / "curve.png").write_bytes(b"png")
    (root / "bars.parquet").write_bytes(b"not an artefact")
    folds = [{"sharpe_ratio": 1.0, "test_start": "2021-01-01"}, {"sharpe_ratio": -0.5, "test_start": "2021-04-01"}]
    metrics = {"sharpe_ratio": 0.3, "n_trades": 12, "note": "words", "empty": math.nan, "folds": folds}
    (root / "metrics.json").write_text(json.dumps(metrics))
    (root / "train.ipynb").write_text("{}")
    return tracking.StageRun(
        id="train-BTCUSDT-lightgbm",
        name="train",
        loop={"symbol": "BTCUSDT", "model": "lightgbm"},
        status="done",
        seconds=2.0,
        error=None,
        key="k" * 64,
        params={"models.seed": 7, "venue.rest_url": "http://me:hunter2hunter2@host"} | {f"many.p{i}": i for i in range(150)},
        inputs={"data/features.parquet": "aa"},
        outputs={"data/model": "bb"},
        files={"metrics": root / "metrics.json", "figure": root / "curve.png", "trained": root / "model", "bars": root / "bars.parquet"},
        notebook=root / "train.ipynb",
    )


def log(*stages: tracking.StageRun, name: str = "research") -> str:
    run = tracking.PipelineRun(name, "demo", "lock", "abc123", "diff of hunter", {"models.seed": 7}, time.time(), list(stages))
    return tracking.log_run(run)


def test_a_run_has_a_child_for_each_stage_and_a_grandchild_for_each_fold(root, stage):
    failed = replace(stage, id="compare", name="compare", loop={}, status="failed", error="boom hunter2hunter2", files={})
    cached = replace(stage, id="train-ETHUSDT-lightgbm", status="fresh")
    parent = log(stage, cached, failed)
    run = tracking.find_run(parent)
    assert (run.status, run.tags["profile"], run.tags["code_version"], run.tags["lock_sha256"]) == ("FAILED", "demo", "abc123", "lock")
    assert (tracking.artifact_folder(parent) / "uncommitted.diff").read_text() == "diff of hunter"
    children = {child.name: child for child in tracking.runs(parent=parent)}
    assert {name: (child.status, child.tags["cached"]) for name, child in children.items()} == {
        "train-BTCUSDT-lightgbm": ("FINISHED", "false"),
        "train-ETHUSDT-lightgbm": ("FINISHED", "true"),
        "compare": ("FAILED", "false"),
    }
    assert children["compare"].tags["error"] == "boom ***"
    child = children["train-BTCUSDT-lightgbm"]
    assert math.isnan(child.metrics.pop("empty"))
    assert child.metrics == {"sharpe_ratio": 0.3, "n_trades": 12.0}
    assert (child.params["models.seed"], child.params["symbol"], child.params["many.p149"]) == ("7", "BTCUSDT", "149")
    assert child.params["venue.rest_url"] == "http://***:***@host"
    assert (child.tags["sha256.data/features.parquet"], child.tags["sha256.data/model"], child.tags["stage_key"]) == ("aa", "bb", "k" * 64)
    assert (child.tags["symbol"], child.tags["model"]) == ("BTCUSDT", "lightgbm")
    folds = sorted(tracking.runs(parent=child.run_id), key=lambda fold: fold.name)
    assert [(fold.metrics, fold.params) for fold in folds] == [
        ({"sharpe_ratio": 1.0}, {"test_start": "2021-01-01"}),
        ({"sharpe_ratio": -0.5}, {"test_start": "2021-04-01"}),
    ]
    files = {str(path.relative_to(tracking.artifact_folder(child.run_id))) for path in tracking.artifact_folder(child.run_id).rglob("*.*")}
    assert files == {"metrics.json", "curve.png", "trained/model.txt", "train.ipynb"}


def test_the_store_lies_in_the_workspace(root, stage):
    folder = tracking.artifact_folder(log(stage))
    assert folder.is_relative_to(root / "mlruns" / "artifacts")
    assert (root / "mlruns" / "mlflow.db").is_file()


def test_a_run_is_found_by_id_beginning_and_name_and_listed_newest_first(root, stage):
    first, second = log(stage, name="listed"), log(stage, name="listed")
    assert [run.run_id for run in tracking.runs(pipeline="listed") if run.tags["kind"] == "pipeline"] == [second, first]
    newest = tracking.runs(stage="train", parent=second)[0]
    assert tracking.find_run("train-BTCUSDT-lightgbm").run_id == newest.run_id
    assert tracking.find_run(first[:12]).run_id == first
    assert all(run.tags["kind"] != "fold" for run in tracking.runs())
    with pytest.raises(UsageError, match="did you mean 'train-BTCUSDT-lightgbm'"):
        tracking.find_run("train-BTCUSDT-lightgmb")
    with pytest.raises(UsageError, match="holds no '"):
        tracking.find_run("x' OR 'y")
    with pytest.raises(UsageError, match="not found"):
        tracking.find_run("")


def test_a_driver_killed_while_logging_leaves_a_run_that_the_next_one_ends(root, stage):
    dead = tracking._create(tracking._experiment(), "", "x", 0, {"pipeline": "dying", "kind": "pipeline"})
    log(stage, name="dying")
    assert tracking.find_run(dead).status == "KILLED"


def test_a_folder_is_registered_once_and_its_alias_moves(root, stage, tmp_path):
    run = log(stage)
    one, two = tmp_path / "one bundle", tmp_path / "two"
    one.mkdir(), two.mkdir()
    assert tracking.find_alias("BTCUSDT-1h", "paper") is None
    assert tracking.register("BTCUSDT-1h", one, run, "paper") == tracking.register("BTCUSDT-1h", one, run, "paper") == "1"
    assert tracking.find_alias("BTCUSDT-1h", "paper") == one
    assert tracking.register("BTCUSDT-1h", two, run, "paper") == "2"
    assert tracking.find_alias("BTCUSDT-1h", "paper") == two
    assert tracking.find_alias("BTCUSDT-1h", "live") is None


def test_a_later_verdict_is_added_to_a_finished_run(root, stage):
    run = log(stage)
    tracking.log_report(run, "gate.json", {"passed": False, "venue": "hunter2hunter2"}, {"gate": "refused"})
    assert tracking.find_run(run).tags["gate"] == "refused"
    assert json.loads((tracking.artifact_folder(run) / "gate.json").read_text()) == {"passed": False, "venue": "***"}


def test_metrics_that_are_no_object_of_numbers_are_named(root, stage):
    (root / "metrics.json").write_text("[1, 2]")
    with pytest.raises(QuantalphaError, match="stage train-BTCUSDT-lightgbm: output metrics: expected a JSON object"):
        log(stage)


def test_a_damaged_store_is_one_line(root, monkeypatch, tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db").write_text("not a database " * 100)
    monkeypatch.setenv("QUANTALPHA_ROOT", str(tmp_path))
    _forget()
    with pytest.raises(QuantalphaError, match="MLflow: runs cannot be listed: .*not a database"):
        tracking.runs()


def test_processes_may_create_the_store_at_the_same_time(tmp_path):
    code = "from quantalpha import tracking; print(tracking._experiment())"
    environment = os.environ | {"QUANTALPHA_ROOT": str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(set(answers)) == 1


def test_the_page_is_served_and_a_taken_port_is_refused(root, stage):
    log(stage)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port} cannot be used .*choose another"):
            tracking.ui(port)
    process = subprocess.Popen([sys.executable, "-c", f"from quantalpha import tracking; tracking.ui({port})"], stderr=subprocess.DEVNULL)
    try:
        assert _answer(f"http://127.0.0.1:{port}/health") == b"OK"
    finally:
        process.send_signal(2)
        process.wait(timeout=30)


def _answer(url: str) -> bytes:
    end = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
