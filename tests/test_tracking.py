"""What MLflow holds after a run, and how it is found again. One store serves all tests here: creating one takes a second or two."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from quantalpha import config, tracking
from quantalpha.errors import QuantalphaError, UsageError
from quantalpha.tracking import log as log_of
from quantalpha.tracking import server
from quantalpha.tracking import store as place


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture
def root(template, monkeypatch) -> Path:
    """The workspace whose store the tests share."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("VENUE_API_KEY", "hunter2hunter2")
    use(monkeypatch, template)
    return template


def use(monkeypatch, workspace: Path) -> None:
    monkeypatch.setenv("QUANTALPHA_ROOT", str(workspace))
    _forget()


@pytest.fixture(autouse=True)
def forgotten():
    """No test leaves its workspace behind."""
    yield
    _forget()


def _forget() -> None:
    config.root.cache_clear()
    config.environment.cache_clear()


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
    steps = place.connect().get_metric_history(child.run_id, "fold/sharpe_ratio")
    assert [(step.step, step.value) for step in steps] == [(0, 1.0), (1, -0.5)]  # a curve over the folds
    assert child.metrics == {"sharpe_ratio": 0.3, "n_trades": 12.0, "fold/sharpe_ratio": -0.5}
    assert (child.params["models.seed"], child.params["symbol"], child.params["many.p149"]) == ("7", "BTCUSDT", "149")
    assert child.params["venue.rest_url"] == "http://***@host"
    assert (child.tags["sha256.data/features.parquet"], child.tags["sha256.data/model"], child.tags["stage_key"]) == ("aa", "bb", "k" * 64)
    assert (child.tags["symbol"], child.tags["model"]) == ("BTCUSDT", "lightgbm")
    folds = sorted(tracking.runs(parent=child.run_id), key=lambda fold: fold.name)
    assert [(fold.metrics, fold.params) for fold in folds] == [
        ({"sharpe_ratio": 1.0}, {"test_start": "2021-01-01"}),
        ({"sharpe_ratio": -0.5}, {"test_start": "2021-04-01"}),
    ]
    files = {str(path.relative_to(tracking.artifact_folder(child.run_id))) for path in tracking.artifact_folder(child.run_id).rglob("*.*")}
    assert files == {"metrics.json", "curve.png", "trained/model.txt", "train.ipynb"}


def test_a_folds_search_is_in_its_run_what_was_chosen_and_every_set(root, stage):
    sets = {"sharpe_ratio": [0.5, None, 1.5], "turnover": [10.0, 20.0, 30.0]}
    study = {"chosen": {"trees": 50, "l2": 0.25}, "trials": 3, "within": True, "sharpe_ratio": 1.5, "sets": sets}
    content = json.loads(stage.files["metrics"].read_text())
    folds = [content["folds"][0] | {"study": study}, {"fold": "final", "study": study}]
    stage.files["metrics"].write_text(json.dumps(content | {"folds": folds}))
    log(stage)
    child = tracking.find_run(stage.id)
    runs = {run.name: run for run in tracking.runs(parent=child.run_id)}
    assert set(runs) == {f"{stage.id} fold 0", f"{stage.id} fold final"}
    run = runs[f"{stage.id} fold 0"]
    assert (run.params["chosen.trees"], run.params["chosen.l2"], run.metrics["search.sharpe_ratio"]) == ("50", "0.25", 1.5)
    assert run.metrics["sharpe_ratio"] == 1.0 and run.params["test_start"] == "2021-01-01"
    steps = place.connect().get_metric_history(run.run_id, "sets.sharpe_ratio")
    assert [(point.step, point.value) for point in steps] == [(0, 0.5), (2, 1.5)]


def test_the_parent_names_its_best_candidate_and_the_experiment_says_how_to_read_it(root, stage):
    def candidate(model: str, metrics: dict, status: str = "done") -> tracking.StageRun:
        file = root / f"{model}.json"
        file.write_text(json.dumps(metrics))
        return replace(stage, id=f"walk_forward-{model}", name="walk_forward", status=status, files={"metrics": file})

    good = {"sharpe_ratio": 1.5, "total_return": 0.4, "max_drawdown": -0.1, "n_trades": 9}
    worse = [candidate("worse", {"sharpe_ratio": -1.0}), candidate("flat", {"sharpe_ratio": math.nan}), candidate("mute", {})]
    failed = candidate("failed", {"sharpe_ratio": 9.0}, "failed")
    run = tracking.find_run(log(stage, *worse, candidate("good", good, "fresh"), failed))
    assert run.tags["best_candidate"] == "walk_forward-good"
    assert run.metrics == {"best_sharpe_ratio": 1.5, "best_total_return": 0.4, "best_max_drawdown": -0.1}
    without = tracking.find_run(log(stage, *worse[1:]))
    assert without.metrics == {} and "best_candidate" not in without.tags
    client = place.connect()
    assert client.get_experiment(tracking.experiment_id()).tags["mlflow.note.content"] == log_of.HOW_TO_READ
    client.set_experiment_tag(tracking.experiment_id(), "mlflow.note.content", "my own")
    log(stage)
    assert client.get_experiment(tracking.experiment_id()).tags["mlflow.note.content"] == "my own"


@pytest.fixture
def candidate(root, stage) -> list[tracking.StageRun]:
    """Cleaning, training and the walk-forward of a candidate, and a stage of another market."""

    def made(name: str, outputs: dict[str, str], inputs: list[str], **files: dict) -> tracking.StageRun:
        paths = {key: root / outputs[key] for key in outputs}
        for key, content in files.items():
            paths[key].parent.mkdir(parents=True, exist_ok=True)
            paths[key].write_text(json.dumps(content))
        hashes = dict.fromkeys(outputs.values(), "aa")
        return replace(
            stage, id=f"{name}-BTCUSDT-lightgbm", name=name, inputs=dict.fromkeys(inputs, "aa"), outputs=hashes, files=paths,
            params={"costs.maker": 0.0002, "costs.taker": 0.0005, "costs.slippage": 0.0001, "policy.leverage": 1.0},
        )  # fmt: skip

    passport = {"rows_out": 1234, "first": "2021-01-01T00:00:00Z", "last": "2022-01-01T00:00:00Z", "missing": {"bars": 3}}
    clean = made("clean", {"report": "data/clean/BTCUSDT.json"}, [], report=passport)
    strange = replace(clean, id="clean-ETHUSDT", outputs={"data/clean/ETHUSDT.json": "bb"})
    train = made("train", {"trained": "data/train.json"}, ["data/clean/BTCUSDT.json"], trained={})
    folds = [{"fold": k, "n_train": 9, "brier": 0.6 + k, "test_start": "2021-03-01", "test_end": "2021-04-01"} for k in (0, 1)]
    metrics = {"sharpe_ratio": 1.234, "max_drawdown": 0.2, "total_return": math.nan, "log_loss": 1.05, "folds": folds}
    outputs = {"candidate": "data/candidate", "metrics": "data/backtest.json"}
    last = made("walk_forward", outputs, ["data/train.json"], metrics=metrics)
    folder = root / "data/candidate"
    folder.mkdir(exist_ok=True)
    card = {"venue": "binanceusdm", "symbol": "BTCUSDT", "timeframe": "1h", "sections": {"features": {"rsi": [14]}}, "data": {}}
    (folder / "candidate.json").write_text(json.dumps(card))
    (folder / "baselines.json").write_text(json.dumps({"buy_and_hold": {"sharpe_ratio": 0.5, "profit_factor": None}}))
    return [clean, strange, train, last]


def test_a_candidates_page_tells_its_story_and_holds_what_it_was_made_from(candidate):
    run = tracking.find_run(tracking.runs(parent=log(*candidate), stage="walk_forward")[0].run_id)
    folder = tracking.artifact_folder(run.run_id)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert {"evidence/clean/BTCUSDT.json", "evidence/train/train.json", "candidate/candidate.json"} <= found
    assert "evidence/clean/ETHUSDT.json" not in found
    note = run.tags[place.NOTE]
    for told in (
        "**BTCUSDT lightgbm** on binanceusdm, 1h bars, out of sample 2021-03-01 to 2021-04-01 in 2 folds",
        "| **this candidate** | 1.23 | - | 20.0% | - | - | - |",
        "| buy_and_hold | 0.50 | - | - | - | - | - |",
        "log loss 1.050",
        "1,234 from 2021-01-01 to 2022-01-01, 3 missing",
        "**Features**: rsi",
        "taker 5 bp, maker 2 bp, slippage 1 bp a side",
        "**Gate**: not judged yet; `quantalpha promote walk_forward-BTCUSDT-lightgbm` asks",
    ):
        assert told in note
    steps = place.connect().get_metric_history(run.run_id, "fold/brier")
    assert [(step.step, step.value) for step in steps] == [(0, 0.6), (1, 1.6)] and "fold/n_train" not in run.metrics
    assert tracking.runs(parent=run.run_id) == []


def test_the_gates_word_takes_its_place_in_the_story(candidate):
    run = tracking.runs(parent=log(*candidate), stage="walk_forward")[0]
    lines = [{"name": "trades", "passed": True}, {"name": "net_result", "passed": False}]
    tracking.log_report(run.run_id, "gate.json", {"lines": lines}, {"gate": "refused"})
    after = tracking.find_run(run.run_id).tags[place.NOTE]
    assert "- **Gate**: **refused**, 1 of 2 lines passed; failed: net_result (gate.json)\n" in after and "not judged" not in after
    assert len(after.splitlines()) == len(run.tags[place.NOTE].splitlines())


def test_the_candidates_link_is_the_sorted_table_of_runs():
    assert server.candidates_link("http://127.0.0.1:5000", "1") == (
        "http://127.0.0.1:5000/#/experiments/1/runs?searchFilter=tags.stage%20%3D%20%27walk_forward%27%20AND%20tags.kind%20%3D%20%27stage%27"
        "&orderByKey=metrics.%60sharpe_ratio%60&orderByAsc=false&workflowType=machine_learning"
    )


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
    dead = log_of._create(tracking.experiment_id(), "", "x", 0, {"pipeline": "dying", "kind": "pipeline"})
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


def test_folders_may_be_registered_at_the_same_time(root, stage, tmp_path):
    run = log(stage)
    register = "print(tracking.register('twice', Path(sys.argv[1]), sys.argv[2], 'paper'))"
    code = f"import sys; from pathlib import Path; from quantalpha import tracking; {register}"
    folders = [tmp_path / name for name in ("one", "two")]
    started = [subprocess.Popen([sys.executable, "-c", code, str(folder), run], stdout=subprocess.PIPE, text=True) for folder in folders]
    assert sorted(process.communicate()[0].strip() for process in started) == ["1", "2"]
    assert tracking.find_alias("twice", "paper") in folders


def test_the_store_says_what_it_holds_without_mlflow(root, stage, monkeypatch, tmp_path):
    run, store = log(stage), tracking.store_name()
    code = f"import sys; from quantalpha import tracking; print(tracking.holds({run!r}, {store!r}), 'mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["True", "False"]
    assert not tracking.holds("0" * 32, store)
    assert not tracking.holds(run, "sqlite:///elsewhere.db")
    place.connect().delete_run(run)
    assert not tracking.holds(run, store)
    use(monkeypatch, tmp_path)
    for content in (None, "not a database " * 100):
        if content is not None:
            (tmp_path / "mlruns").mkdir()
            (tmp_path / "mlruns/mlflow.db").write_text(content)
        assert not tracking.holds(run, tracking.store_name())
    assert [path.name for path in tmp_path.rglob("*")] == ["mlruns", "mlflow.db"]  # asking made nothing


def test_the_tracking_server_may_stand_in_the_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_URI=http://me:hunter2hunter2@127.0.0.1:9\n")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    use(monkeypatch, tmp_path)
    assert place.uri() == "http://me:hunter2hunter2@127.0.0.1:9"
    assert tracking.store_name() == "http://***@127.0.0.1:9"
    assert tracking.holds("a", "http://***@127.0.0.1:9") and not tracking.holds("a", "sqlite:///x")
    with pytest.raises(UsageError, match=r"open http://\*\*\*@127.0.0.1:9 in a browser"):
        server.serve(0)
    with pytest.raises(
        QuantalphaError, match="cannot hold a folder of this machine; .*bundle is sealed and kept; unset MLFLOW_TRACKING_URI"
    ) as caught:
        tracking.register("m", tmp_path / "bundle", "a", "paper")
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:10")
    _forget()
    assert place.uri() == "http://127.0.0.1:10"


def test_artifacts_of_a_server_are_kept_by_run(monkeypatch, tmp_path):
    class Server:
        def get_run(self, run_id):
            return SimpleNamespace(info=SimpleNamespace(artifact_uri=f"mlflow-artifacts:/{run_id}"))

        def download_artifacts(self, run_id, path, target):
            (Path(target) / "candidate.json").write_text(run_id)
            return target

    use(monkeypatch, tmp_path)
    monkeypatch.setattr(place, "connect", Server)
    assert tracking.artifact_folder("abc") == tracking.artifact_folder("abc") == tmp_path / "data/cache/runs/abc"
    assert (tmp_path / "data/cache/runs/abc/candidate.json").read_text() == "abc"


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
    use(monkeypatch, tmp_path)
    with pytest.raises(QuantalphaError, match="MLflow: runs cannot be listed: .*not a database"):
        tracking.runs()


def test_processes_may_create_the_store_at_the_same_time(tmp_path):
    code = "from quantalpha import tracking; print(tracking.experiment_id())"
    environment = os.environ | {"QUANTALPHA_ROOT": str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(set(answers)) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_a_taken_port_is_refused_and_nothing_stays_behind(root, stage, sign, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port} cannot be used .*choose another"):
            server.serve(port)
    assert capsys.readouterr().out == ""
    code = f"from quantalpha import tracking; raise SystemExit(tracking.serve({port}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert _answer(f"http://127.0.0.1:{port}/health") == b"OK"
        served = psutil.Process(process.pid).children(recursive=True)
        assert served and not any("mlflow.db" in word for each in served for word in each.cmdline())
        process.send_signal(sign)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert out.splitlines()[1].endswith(server.candidates_link(f"http://127.0.0.1:{port}", tracking.experiment_id()))
        assert psutil.wait_procs(served, timeout=10)[1] == []
    finally:
        process.kill()
        process.wait()


def _answer(url: str) -> bytes:
    end = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
