"""A logged run made again: bit by bit where nothing changed, and by name what changed where something did."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from quantalpha.errors import DataError, ReconcileError, UsageError
from quantalpha.files import sha256, tree_sha256
from quantalpha.pipeline import rebuild, sources
from quantalpha.pipeline.recipe import place
from quantalpha.validation.trials import Trials

from . import again
from .again import commit, edit, git, inside, prepare, record, store
from .support import Workspace

module = importlib.import_module("quantalpha.pipeline.reproduce")
RUN_AGAIN = module.run_again


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    """A workspace with a logged run. The store knows files by their full paths, so that there is one for all tests."""
    workspace = prepare(Workspace(tmp_path_factory.mktemp("made")))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record(workspace.root)
    shutil.copytree(workspace.root, workspace.root.with_name("pristine"), ignore=shutil.ignore_patterns("mlruns"))
    return workspace


@pytest.fixture
def workspace(made, monkeypatch) -> Workspace:
    """The same, for a test to change; put back afterwards."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(module, "run_again", again.run_again)
    yield made
    for path in made.root.iterdir():
        if path.name != "mlruns":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(made.root.with_name("pristine"), made.root, dirs_exist_ok=True)


def reproduce(workspace: Workspace, wanted: str = "latest", **options):
    with inside(workspace.root):
        return module.reproduce(wanted, quiet=True, **options)


def state(root: Path) -> tuple:
    """What a reproduction must leave alone."""
    return tree_sha256(root / "data"), git(root, "status", "--porcelain"), sorted(path.name for path in (root / ".git").rglob("*"))


def inputs(made) -> dict[str, bool]:
    return {each.name: each.same for each in made.inputs}


def test_everything_comes_out_again_and_nothing_of_the_users_is_touched(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = state(workspace.root)
    made = reproduce(workspace)
    assert [(each.path, each.verdict) for each in made.outputs] == [
        (f"data/models/BTCUSDT-{model}{ending}", "same bits") for model in ("lightgbm", "xgboost") for ending in ("", ".json")
    ]
    assert all(inputs(made).values()) and {"commit", "uncommitted changes", "requirements.lock", "data BTCUSDT", "cpu"} <= set(inputs(made))
    made.refuse()
    assert state(workspace.root) == before and list(tmp_path.iterdir()) == []


def test_later_changes_committed_or_not_do_not_matter(workspace):
    edit(workspace.root / "helper.py", "(1, 2, 3)", "(3, 2, 1)")
    edit(workspace.root / "quantalpha/models/boosting.py", '"bagging_freq": 1', '"bagging_freq": 2')
    workspace.write("params.yaml", "models: {}\n")
    commit(workspace)
    workspace.write("requirements.lock", "numpy==3\n")
    (workspace.root / "pipelines/small.yaml").unlink()
    made = reproduce(workspace)
    assert not made.lost() and all(inputs(made).values())


def test_of_a_stage_only_what_it_needs_is_made_again(workspace):
    assert {each.stage for each in reproduce(workspace, "train-BTCUSDT-xgboost").outputs} == {"train-BTCUSDT-xgboost"}
    with pytest.raises(UsageError, match="nothing but raw data"):
        reproduce(workspace, "fetch-BTCUSDT")
    with pytest.raises(UsageError, match="not found"):
        reproduce(workspace, "nothing")


def test_a_month_that_has_grown_since_is_cut_to_what_it_was(workspace):
    store(workspace, again.bars())
    made = reproduce(workspace)
    assert not made.lost() and inputs(made)["data BTCUSDT"]


def revise(workspace) -> None:
    revised = again.bars().iloc[:1000]
    revised.iloc[300:700:2, :4] *= 1.01
    store(workspace, revised, replace=True)


def test_a_month_that_was_revised_since_comes_from_the_file_that_was_kept(workspace):
    revise(workspace)
    made = reproduce(workspace)
    assert not made.lost() and inputs(made)["data BTCUSDT"]


def test_a_revised_month_without_its_earlier_file_is_named_and_so_is_what_it_changed(workspace):
    revise(workspace)
    for kept in (workspace.root / "data/raw/import/BTCUSDT/1h").glob("????-??.*.parquet"):
        kept.unlink()
    made = reproduce(workspace)
    assert [name for name, same in inputs(made).items() if not same] == ["data BTCUSDT"]
    assert len(made.lost()) == 4 and any("edge" in each.note and 0 < each.largest < 1 for each in made.lost())
    with pytest.raises(ReconcileError, match=r"4 of 4 outputs .* data BTCUSDT \(changed: import/BTCUSDT/1h/2021-01.parquet\)"):
        made.refuse()


def test_a_month_that_is_gone_is_named(workspace):
    (workspace.root / "data/raw/import/BTCUSDT/1h/2021-01.parquet").unlink()
    with pytest.raises(DataError, match="2021-01.parquet: the run used this month, and it is gone"):
        reproduce(workspace)


def test_another_manifest_does_not_stand_for_the_runs_own(workspace):
    (kept,) = (workspace.root / "mlruns").rglob("BTCUSDT.manifest.json")
    text = kept.read_text()
    edit(workspace.root / "data/raw/BTCUSDT.manifest.json", "2021-01", "2021-02")
    assert not reproduce(workspace).lost()
    try:
        edit(kept, "2021-01", "2021-02")
        with pytest.raises(DataError, match="BTCUSDT.manifest.json: the run used it, and what it used is gone"):
            reproduce(workspace)
    finally:
        kept.write_text(text)


def test_another_seed_shows_in_the_outputs_and_by_name(workspace, monkeypatch):
    def run_again(recipe, stages, root, quiet):
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["models"]["seed"] = 8
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        again.run_again(recipe, stages, root, quiet)

    monkeypatch.setattr(module, "run_again", run_again)
    made = reproduce(workspace)
    assert [name for name, same in inputs(made).items() if not same] == ["parameters"] and made.lost()
    with pytest.raises(ReconcileError, match=r"parameters \(changed: models.seed\)"):
        made.refuse()


def test_what_no_input_explains_is_said_to_be_undetermined(workspace, monkeypatch):
    monkeypatch.setenv("DRIFT", "0.5")
    made = reproduce(workspace)
    assert all(inputs(made).values())
    names = [f"BTCUSDT-{model}.json" for model in ("lightgbm", "xgboost")]
    assert [each.note for each in made.lost()] == [f"{name} drift: 0.0 -> 0.5 (1.0e+00 of its scale)" for name in names]
    with pytest.raises(ReconcileError, match="no recorded input changed, so a notebook is not determined"):
        made.refuse()


def test_a_stage_that_fails_now_is_missing_with_its_error(workspace, monkeypatch):
    monkeypatch.setenv("DRIFT", "much")
    made = reproduce(workspace)
    assert {each.verdict for each in made.lost()} == {"missing"} and "could not convert string to float" in made.lost()[0].note


def test_an_unknown_commit_is_named_unless_the_present_files_are_the_same(workspace):
    head = git(workspace.root, "rev-parse", "HEAD")
    shutil.rmtree(workspace.root / ".git")
    workspace.write("requirements.lock", "numpy==3\n")
    made = reproduce(workspace)
    assert not made.lost() and [name for name, same in inputs(made).items() if not same] == ["requirements.lock"]
    edit(workspace.root / "quantalpha/models/boosting.py", '"bagging_freq": 1', '"bagging_freq": 2')
    with pytest.raises(DataError, match=f"boosting.py: not as the run used it.*commit {head[:12]} is not in this repository"):
        reproduce(workspace)


def test_the_scratch_workspace_is_kept_where_asked_and_nowhere_else(workspace, tmp_path):
    assert not reproduce(workspace, keep=tmp_path / "kept").lost()
    assert (tmp_path / "kept/data/models/BTCUSDT-xgboost/forecasts.parquet").is_file()
    with pytest.raises(UsageError, match="kept exists and is not an empty folder"):
        reproduce(workspace, keep=tmp_path / "kept")


@pytest.mark.parametrize("path", ["../file", "data/raw/../../../file", "/etc/file", "out/file", "data/../params.yaml"])
def test_a_path_that_leads_out_of_the_workspace_is_refused_before_anything_is_written(tmp_path, path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/out").symlink_to(tmp_path)
    (tmp_path / "evil").write_text("evil")
    stages = {"x": {"inputs": {"data/first": sha256(tmp_path / "evil"), path: sha256(tmp_path / "evil")}, "outputs": {}}}
    with pytest.raises(DataError, match=f"^{path}: the run's recipe names a path outside its workspace"):
        rebuild.data(stages, lambda path: [tmp_path / "evil"], tmp_path / "root")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["evil", "out", "root"]
    assert place(tmp_path / "root", "data/file") == (tmp_path / "root/data/file").resolve()


def test_a_manifest_names_no_month_outside_the_lake(tmp_path):
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps({"bars": [{"file": "../../../../file.parquet", "sha256": "", "rows": 1}]}))
    stages = {"x": {"inputs": {"data/raw/X.manifest.json": sha256(forged)}, "outputs": {}}}
    with pytest.raises(DataError, match="file.parquet: the run's recipe names a path outside"):
        rebuild.data(stages, lambda path: [forged], tmp_path / "root")


def test_an_input_that_is_another_by_now_is_not_used(tmp_path):
    (tmp_path / "held").write_text("another")
    stages = {"x": {"inputs": {"data/raw/bars.csv": "0" * 64}, "outputs": {}}}
    with pytest.raises(DataError, match="data/raw/bars.csv: the run used it, and what it used is gone"):
        rebuild.data(stages, lambda path: [tmp_path / "held"], tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_the_scratch_workspace_has_a_package_of_its_own(workspace, tmp_path):
    reproduce(workspace, keep=tmp_path / "kept")
    live, copy = workspace.root / "quantalpha/errors.py", tmp_path / "kept/quantalpha/errors.py"
    assert copy.resolve() != live.resolve() and not copy.parent.is_symlink()
    assert copy.stat().st_mtime_ns == live.stat().st_mtime_ns  # numba's caches go by it


def test_a_package_is_copied_with_its_caches(tmp_path, monkeypatch):
    (tmp_path / "quantalpha/__pycache__").mkdir(parents=True)
    (tmp_path / "quantalpha/__pycache__/x.nbi").touch()
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "quantalpha")
    (tmp_path / "root").mkdir()
    rebuild._copy_package(tmp_path / "root")
    assert (tmp_path / "root/quantalpha/__pycache__/x.nbi").is_file()


def test_a_runs_code_is_told_no_secret(tmp_path, monkeypatch):
    """The child is a package of this name that writes down what it was given."""
    secrets = ["QUANTALPHA_SIGNING_KEY", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "VENUE_SECRET"]
    for name in secrets:
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("PROXY", "http://user:hidden@host")
    (tmp_path / "quantalpha").mkdir()
    (tmp_path / "quantalpha/__init__.py").touch()
    (tmp_path / "quantalpha/__main__.py").write_text("import json, os\nopen('given.json', 'w').write(json.dumps(dict(os.environ)))")
    RUN_AGAIN({"pipeline": "small", "profile": "default"}, [], tmp_path, True)
    given = json.loads((tmp_path / "given.json").read_text())
    assert "hidden" not in " ".join(given.values()) and given["QUANTALPHA_ROOT"] == str(tmp_path) and given["PATH"] == os.environ["PATH"]


def test_a_servers_runs_are_refused(workspace):
    with inside(workspace.root, MLFLOW_TRACKING_URI="http://127.0.0.1:9"), pytest.raises(UsageError, match="unset MLFLOW_TRACKING_URI"):
        module.reproduce("latest", quiet=True)


def test_as_the_user_does_it_in_processes_of_their_own(tmp_path, monkeypatch):
    """Kernels, worker processes, command line; then interrupted."""
    (tmp_path / "user").mkdir()
    (tmp_path / "tmp").mkdir()
    workspace = prepare(Workspace(tmp_path / "user"))
    monkeypatch.setenv("QUANTALPHA_ROOT", str(workspace.root))
    monkeypatch.setenv("PYTHONPATH", str(workspace.root))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = [word for text in again.SETTINGS for word in ("--set", text)]
    start = [sys.executable, "-m", "quantalpha"]
    ran = subprocess.run([*start, "pipeline", "run", "small", *settings], cwd=workspace.root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    edit(workspace.root / "quantalpha/models/boosting.py", '"bagging_freq": 1', '"bagging_freq": 2')  # it would make other trees
    edit(workspace.root / "helper.py", "(1, 2, 3)", "(3, 2, 1)")
    commit(workspace)
    Trials(workspace.root / "mlruns/trials.db").count()
    before = tree_sha256(workspace.root / "mlruns/artifacts"), (workspace.root / "mlruns/trials.db").read_bytes()
    done = subprocess.run([*start, "reproduce", "latest", "--json"], cwd=workspace.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reproduced"] and {each["verdict"] for each in report["outputs"]} == {"same bits"} and len(report["outputs"]) == 4
    assert (tree_sha256(workspace.root / "mlruns/artifacts"), (workspace.root / "mlruns/trials.db").read_bytes()) == before
    process = subprocess.Popen([*start, "reproduce", "latest"], cwd=workspace.root, stderr=subprocess.PIPE, text=True)
    next(line for line in process.stderr if line.startswith("3/4"))
    scratch = next((tmp_path / "tmp").glob("quantalpha-reproduce-*"))
    await_any(scratch, "data/pipeline/small/scratch/*/*")
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130 and not scratch.exists()


def await_any(folder: Path, pattern: str) -> None:
    """Waits until a worker is at work."""
    while folder.exists() and not any(folder.glob(pattern)):
        time.sleep(0.1)
