"""A workspace of its own for each test."""

import pytest

from quantalpha import config, tracking
from quantalpha.pipeline import execute

from .support import JOIN, PREPARE, Workspace, run_here


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.setenv("QUANTALPHA_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config.root.cache_clear()
    config.environment.cache_clear()
    yield Workspace(tmp_path)
    config.root.cache_clear()
    config.environment.cache_clear()


@pytest.fixture
def no_kernel(monkeypatch):
    """Stages run in this process: what is under test is the driver."""
    monkeypatch.setattr(execute, "execute", run_here)


@pytest.fixture
def no_tracking(monkeypatch) -> list[tracking.PipelineRun]:
    """Collects what would be logged; every run so logged is held."""
    logged: list[tracking.PipelineRun] = []

    def log_run(run: tracking.PipelineRun) -> str:
        logged.append(run)
        return f"run{len(logged)}"

    monkeypatch.setattr(tracking, "log_run", log_run)
    monkeypatch.setattr(tracking, "holds", lambda run_id, store: run_id in {f"run{number + 1}" for number in range(len(logged))})
    return logged


@pytest.fixture
def chain(workspace) -> Workspace:
    """Two symbols prepared side by side from files no stage writes, then joined: pipeline `chain`, three stages."""
    workspace.write("data/raw/BTCUSDT.txt", "a")
    workspace.write("data/raw/ETHUSDT.txt", "b")
    workspace.notebook("prepare", *PREPARE)
    workspace.notebook("join", *JOIN)
    prepare = {"inputs": {"raw": "data/raw/{symbol}.txt"}, "outputs": {"clean": "data/clean/{symbol}.txt"}}
    join = {"inputs": {"each": "data/clean/{symbol}.txt"}, "outputs": {"metrics": "data/join.json", "model": "data/model/"}}
    workspace.pipeline(
        "chain",
        prepare={"notebook": "prepare", "foreach": "symbol", "params": ["labels"], **prepare},
        join={"notebook": "join", "params": ["splits"], **join},
    )
    return workspace
