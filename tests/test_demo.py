"""The whole demo, small: run once for all tests, in a workspace of its own."""

import fcntl
import json
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from workspace import Answer, Workspace, at, free_port, words

from quantalpha import bundle, demo, features

SECRET = "s3cr3t-f9c1d07e52"
TELLTALE = "import os\nprint('the secret is', os.environ['QA_TEST_SECRET'])"
SMALL = {
    "data.end": "2021-07-15", "exchange.now": "2021-07-18", "synthetic.bars": 5200, "synthetic.edge": {"BTCUSDT": 0.015, "ETHUSDT": 0.0},
    "splits.train": 1200, "splits.test": 650, "models.names": ["xgboost"], "models.xgboost.trees": 60,
    "gate.min_trades": 20, "gate.random_seeds": 20, "gate.causality_cuts": 5,
    "gate.max_calibration_error": 0.2, "gate.min_neighbour": 0.3, "gate.min_deflated_sharpe": 0.9,  # half a year tells little
    "runner.bars": 40,
}  # fmt: skip
STAGES = [f"{stage}-{symbol}" for stage in ("download", "clean", "features", "labels") for symbol in ("BTCUSDT", "ETHUSDT")]
LAST = ["compare", "walk_forward-BTCUSDT-xgboost", "walk_forward-ETHUSDT-xgboost"]
STAGES += ["train-BTCUSDT-xgboost", "train-ETHUSDT-xgboost", *LAST]
CHAMPION, LOSER = "BTCUSDT-xgboost", "ETHUSDT-xgboost"


@dataclass(frozen=True)
class Shown:
    """The workspace after the demo, the settings it ran with, and what it printed."""

    workspace: Workspace
    settings: list[str]
    answer: Answer

    @property
    def summary(self) -> dict:
        return json.loads((self.workspace.root / "data/runs/latest/summary.json").read_text())

    def research(self, *command: str) -> Answer:
        return self.workspace.call("pipeline", *command, "--profile", "demo", *self.settings)


@pytest.fixture(scope="session")
def shown(tmp_path_factory) -> Shown:
    """Shared by pytest's worker processes: the first to come runs the demo, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, told = base / "demo", base / "demo.json"
    with (base / "demo.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            settings, answer = _run_demo(root)
            told.write_text(json.dumps([settings, vars(answer)]))
    settings, answer = json.loads(told.read_text())
    workspace = Workspace.__new__(Workspace)
    workspace.root = root
    return Shown(workspace, settings, Answer(**answer))


def _run_demo(root: Path) -> tuple[list[str], Answer]:
    """Every secret-hunting thing a user may do on the way: a secret in the environment, and a notebook that prints it.

    One feature is fitted on the first training window of each market.
    """
    workspace = Workspace(root)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("  rsi: [14]\n", "  rsi: [14]\n  fractional_difference: [[auto, 1e-3]]\n"))
    notebook = root / "notebooks/03_features.ipynb"
    content = json.loads(notebook.read_text())
    content["cells"].append(
        {"cell_type": "code", "id": "telltale", "metadata": {}, "source": TELLTALE, "outputs": [], "execution_count": None}
    )
    notebook.write_text(json.dumps(content))
    port = free_port()
    settings = words(SMALL | {"exchange.port": port} | at(f"http://127.0.0.1:{port}"))
    return settings, workspace.run("demo", *settings, QA_TEST_SECRET=SECRET)


@pytest.fixture(scope="module")
def store(shown):
    """The MLflow store, seen as MLflow's own page sees it."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{shown.workspace.root}/mlruns/mlflow.db")


def children(store, run_id: str) -> dict:
    """Runs below a run by name."""
    experiment = store.get_run(run_id).info.experiment_id
    found = store.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'", max_results=1000)
    return {run.info.run_name: run for run in found}


def artifacts(run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_it_succeeds_and_says_that_its_data_are_synthetic(shown):
    assert shown.answer.code == 0, shown.answer.err
    assert "SYNTHETIC DATA" in shown.answer.out and "Nothing here says anything about a real market" in shown.answer.out
    assert "SYNTHETIC DATA" in demo.text(shown.summary) and shown.summary["data"].startswith("synthetic tape, seed 11")
    assert "Next:" in shown.answer.out and "quantalpha ui" in shown.answer.out
    assert "Traceback" not in shown.answer.err


def test_its_summary_names_the_champion_the_refusal_and_the_agreement(shown):
    summary = shown.summary
    assert summary["pipeline"]["executed"] == len(STAGES) and summary["pipeline"]["skipped"] == 0
    champion = summary["champion"]
    assert champion["name"] == CHAMPION and re.fullmatch(r"practice-[0-9a-f]{8}-BTCUSDT-1h", champion["registered"])
    assert champion["metrics"]["sharpe_ratio"] > champion["best_baseline"]["sharpe_ratio"]
    assert champion["metrics"]["total_return"] > 0 and champion["metrics"]["n_trades"] >= 20
    (refused,) = summary["refused"]
    assert refused["name"] == LOSER and "net_result" in refused["reason"] and "does not beat" in refused["reason"]
    assert f"refused    {LOSER}: {refused['reason']}" in shown.answer.out
    paper, agreed = summary["paper"], summary["reconcile"]
    assert paper["decisions"] == 40 == agreed["decisions"] and paper["reason"] == "40 decisions made"
    assert paper["fills"] == agreed["fills"] >= 1 and agreed["difference"] <= 1e-9
    assert paper["bundle"] == champion["bundle"]


def test_what_was_fitted_on_the_first_training_window_is_what_trades(shown):
    """From the features stage through candidate and gate into the bundle; the runner finds plain numbers."""
    asked, bars = {"fractional_difference": [["auto", 1e-3]]}, pd.read_parquet(shown.workspace.root / "data/clean/BTCUSDT.parquet")
    resolved = json.loads((shown.workspace.root / "data/features/BTCUSDT.json").read_text())
    assert {"fractional_difference": resolved["fractional_difference"]} == features.resolve(asked, bars.iloc[:1200])
    sealed = json.loads((next((shown.workspace.root / "data").rglob("manifest.json")).parent / "params.json").read_text())
    assert sealed["sections"]["features"] == resolved
    columns = list(pd.read_parquet(shown.workspace.root / "data/features/BTCUSDT.parquet"))
    for proof in ("causality", "warm_up"):
        assert pd.read_csv(shown.workspace.root / f"data/features/BTCUSDT.{proof}.csv")["name"].tolist() == columns


def test_mlflow_has_a_parent_a_child_for_each_stage_and_one_for_each_fold(shown, store):
    parent = store.get_run(shown.summary["pipeline"]["run_id"])
    assert parent.info.status == "FINISHED" and parent.data.params["splits.train"] == "1200"
    stages = children(store, parent.info.run_id)
    assert sorted(stages) == sorted(STAGES)
    assert {run.info.status for run in stages.values()} == {"FINISHED"}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        train = stages[f"train-{symbol}-xgboost"]
        folds = children(store, train.info.run_id)
        assert sorted(folds) == [f"train-{symbol}-xgboost fold {number}" for number in range(len(folds))] and len(folds) >= 5
        assert all("information_coefficient" in fold.data.metrics for fold in folds.values())
        assert any(name.startswith("sha256.data/features") for name in train.data.tags)


def test_the_walk_forward_run_holds_metrics_curve_trades_and_the_executed_notebook(shown, store):
    stages = children(store, shown.summary["pipeline"]["run_id"])
    folder = artifacts(stages[f"walk_forward-{CHAMPION}"])
    metrics = json.loads((folder / "candidate/performance_metrics.json").read_text())
    trades = pd.read_csv(folder / "candidate/trades.csv")
    assert metrics["sharpe_ratio"] == pytest.approx(shown.summary["champion"]["metrics"]["sharpe_ratio"])
    assert len(trades) == metrics["n_trades"] and {"entry_time", "exit_time", "quantity"} <= set(trades)
    assert (folder / "candidate/equity_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "What looks wrong" in (folder / "candidate/tearsheet.html").read_text()
    for name, run in stages.items():
        cells = json.loads((artifacts(run) / f"{name}.ipynb").read_text())["cells"]
        ran = [cell for cell in cells if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in ran) and any(cell["outputs"] for cell in ran), name


def test_the_alias_points_to_a_bundle_that_verifies(shown, store):
    version = store.get_model_version_by_alias(shown.summary["champion"]["registered"], "paper")
    folder = Path(version.source.removeprefix("file://"))
    bundle.verify(folder)
    sealed = bundle.load(folder, shown.summary["champion"]["bundle"])
    assert (sealed.symbol, sealed.timeframe) == ("BTCUSDT", "1h") and sealed.venue.startswith("practice-")
    champion = children(store, shown.summary["pipeline"]["run_id"])[f"walk_forward-{CHAMPION}"]
    assert version.run_id == champion.info.run_id
    assert not store.search_registered_models("name = 'ETHUSDT-1h'"), "the refused candidate is registered nowhere"


def test_no_secret_is_written_anywhere(shown):
    root, seen = shown.workspace.root, 0
    for path in [*root.joinpath("data").rglob("*"), *root.joinpath("mlruns").rglob("*")]:
        if path.is_file():
            seen += 1
            assert SECRET.encode() not in path.read_bytes(), path
    assert seen > 100 and SECRET not in shown.answer.out + shown.answer.err
    executed = (root / "data/pipeline/research/notebooks/features-BTCUSDT.ipynb").read_text()
    assert "the secret is ***" in executed, "the notebook did print it"


def test_nothing_half_written_is_left(shown):
    names = shown.workspace.files()
    assert [name for name in names if name.endswith((".tmp", ".partial"))] == []
    assert [name for name in names if name.startswith("data/bundles/.")] == []


def test_a_second_run_executes_nothing_and_a_changed_parameter_only_what_depends_on_it(shown):
    rows = json.loads(shown.research("status", "--json").out)
    assert sorted(row["id"] for row in rows) == sorted(STAGES) and {row["status"] for row in rows} == {"fresh"}
    again = shown.research("run", "--json").json
    assert {row["status"] for row in again["stages"]} == {"fresh"} and again["run_id"] == shown.summary["pipeline"]["run_id"]

    change = ["--set", "policy.enter=0.25"]
    stale = {row["id"]: row["reason"] for row in shown.research("status", "--json", *change).json if row["status"] == "stale"}
    assert sorted(stale) == LAST
    assert stale[f"walk_forward-{CHAMPION}"] == "params policy.enter 0.2 -> 0.25"
    assert stale["compare"] == f"stage walk_forward-{CHAMPION}, stage walk_forward-{LOSER}"

    answer = shown.research("run", "--json", *change)
    assert answer.code == 0, answer.err
    assert sorted(row["id"] for row in answer.json["stages"] if row["status"] == "done") == LAST


def test_reconcile_agrees_with_the_paper_session_and_with_a_replay(shown):
    answer = shown.workspace.call("reconcile", "latest", "--json")
    assert answer.code == 0 and answer.json["agrees"] and answer.json["session"] == shown.summary["paper"]["session"]
    assert {line["name"]: line["compared"] for line in answer.json["lines"]}["decisions"] == 40

    bars = shown.workspace.root / "data/clean/BTCUSDT.parquet"
    replay = ("run", "--mode", "replay", "--bars", str(bars), "--session", "replayed", "--profile", "demo", "--json", *shown.settings)
    answer = shown.workspace.call(*replay)
    assert answer.code == 0, answer.err
    assert answer.json["mode"] == "replay" and answer.json["decisions"] > 1000 and answer.json["fills"] > 10
    answer = shown.workspace.call("reconcile", "replayed", "--json")
    assert answer.code == 0 and answer.json["agrees"]
    assert max(line["difference"] for line in answer.json["lines"]) <= 1e-9


def test_a_tampered_journal_does_not_reconcile(shown, tmp_path):
    name = shown.summary["paper"]["session"]
    other = Workspace(tmp_path)
    shutil.copytree(shown.workspace.root / "data/sessions" / name, tmp_path / "data/sessions" / name)
    with sqlite3.connect(tmp_path / "data/sessions" / name / "journal.db") as journal:
        row, payload = journal.execute("SELECT seq, payload FROM events WHERE kind = 'Fill' LIMIT 1").fetchone()
        event = json.loads(payload)
        change = ("UPDATE events SET payload = ? WHERE seq = ?", (json.dumps(event | {"price": event["price"] + 0.01}), row))
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            journal.execute(*change)
        journal.execute("DROP TRIGGER no_update")
        journal.execute(*change)
    journal.close()
    answer = other.call("reconcile", "latest", "--json")
    answer.complains(6, name, "paper and backtest differ")
    wrong = {line["name"]: line for line in answer.json["lines"] if line["matched"] < line["compared"]}
    assert list(wrong) == ["fills"] and wrong["fills"]["difference"] == pytest.approx(0.01)


def test_the_fair_market_is_refused_by_name_and_reason(shown):
    refused = shown.summary["refused"][0]["run_id"]
    answer = shown.workspace.call("promote", refused, "--profile", "demo", "--json", *shown.settings)
    answer.complains(3, LOSER, "refused by", "net_result", "does not beat")
    document = answer.json
    assert document["exit_code"] == 3 and document["passed"] is False and document["bundle"] is None
    failed = {line["name"]: line["reason"] for line in document["lines"] if not line["passed"]}
    assert "does not beat" in failed["net_result"] and {"walk_forward_net", "deflated_sharpe"} <= failed.keys()
    assert not failed.keys() & {"features_causal", "labels_known", "forecasts_reproduce", "model_saw_no_test", "replay_identical"}
