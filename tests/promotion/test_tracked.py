"""Which logged runs a word such as `latest` stands for. The record of runs is a list here; see test_tracking.py for the real one."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from quantalpha import tracking
from quantalpha.errors import DataError, UsageError
from quantalpha.files import tree_sha256
from quantalpha.promotion import tracked
from quantalpha.promotion.tracked import candidates, check_unaltered
from quantalpha.tracking import RunInfo


class Store:
    """Runs as `tracking` lists them, newest first; each added one is a second newer."""

    def __init__(self):
        self.all: list[RunInfo] = []
        self._clock = itertools.count(1)

    def add(self, name: str, status: str, tags: dict[str, str], metrics: dict[str, float]) -> str:
        moment = next(self._clock)
        self.all.insert(0, RunInfo(f"id{moment}", name, status, float(moment), tags, {}, metrics))
        return f"id{moment}"

    def pipeline(self, *sharpes: float | None, status: str = "FINISHED", child: str = "FINISHED", pipeline: str = "research") -> str:
        """A pipeline run with a download and a walk-forward stage for each Sharpe ratio (None: it has none); its id."""
        parent = self.add(pipeline, status, {"kind": "pipeline", "pipeline": pipeline}, {})
        below = {"kind": "stage", "pipeline": pipeline, "mlflow.parentRunId": parent}
        self.add("download-BTCUSDT", "FINISHED", below | {"stage": "download", "symbol": "BTCUSDT"}, {})
        for model, sharpe in zip(("lightgbm", "xgboost"), sharpes):
            tags = below | {"stage": "walk_forward", "symbol": "BTCUSDT", "model": model}
            metrics = {} if sharpe is None else {"sharpe_ratio": sharpe}
            stage = self.add(f"walk_forward-BTCUSDT-{model}", child, tags, metrics)
            self.add("fold 1", "FINISHED", tags | {"kind": "fold", "mlflow.parentRunId": stage}, metrics)
            self.add(f"train-BTCUSDT-{model}", "FINISHED", tags | {"stage": "train"}, {})
        return parent

    def runs(self, *, kind=None, stage=None, parent=None) -> list[RunInfo]:
        wanted = {"kind": kind, "stage": stage, "mlflow.parentRunId": parent}
        terms = {key: value for key, value in wanted.items() if value is not None}
        return [run for run in self.all if terms.items() <= run.tags.items() and (parent is not None or run.tags["kind"] != "fold")]

    def find_run(self, wanted: str) -> RunInfo:
        return next(run for run in self.all if wanted in (run.name, run.run_id))


@pytest.fixture
def store(monkeypatch) -> Store:
    store = Store()
    monkeypatch.setattr(tracking, "runs", store.runs)
    monkeypatch.setattr(tracking, "find_run", store.find_run)
    return store


def found(wanted: str) -> list[tuple[str, float]]:
    return [(run.tags["mlflow.parentRunId"], run.metrics["sharpe_ratio"]) for run in candidates(wanted)]


def test_latest_is_the_best_of_the_newest_pipeline_run(store):
    store.pipeline(9.0)
    newest = store.pipeline(0.5, 1.5)
    assert found("latest") == [(newest, 1.5), (newest, 0.5)]


@pytest.mark.parametrize(
    "later",
    [
        {"sharpes": []},  # --only clean
        {"sharpes": [2.0], "status": "RUNNING"},
        {"sharpes": [2.0], "status": "KILLED"},
        {"sharpes": [2.0], "status": "FAILED"},
        {"sharpes": [2.0], "child": "KILLED"},
        {"sharpes": [None]},
        {"sharpes": [], "pipeline": "another"},
    ],
    ids=str,
)
def test_latest_passes_over_runs_that_hold_nothing_to_judge(store, later):
    good = store.pipeline(1.0)
    store.pipeline(*later.pop("sharpes"), **later)
    assert found("latest") == [(good, 1.0)]


def test_latest_takes_a_newer_run_of_any_pipeline(store):
    store.pipeline(1.0)
    other = store.pipeline(0.1, pipeline="another")
    assert found("latest") == [(other, 0.1)]


def test_latest_without_any_says_what_to_do(store):
    with pytest.raises(UsageError, match="no run is logged yet; run `quantalpha pipeline run` first"):
        candidates("latest")
    store.pipeline(1.0, status="KILLED")
    with pytest.raises(UsageError, match="no finished pipeline run holds a finished walk_forward stage; run `quantalpha pipeline run`"):
        candidates("latest")


def test_a_named_run_stands_for_what_it_is_or_led_to(store):
    parent = store.pipeline(0.5, 1.5)
    store.pipeline()
    both = [(parent, 1.5), (parent, 0.5)]
    assert found(parent) == both
    assert found("walk_forward-BTCUSDT-lightgbm") == found("train-BTCUSDT-lightgbm") == both[1:]
    assert found("train-BTCUSDT-xgboost") == both[:1]


@pytest.mark.parametrize("wanted", ["walk_forward-BTCUSDT-lightgbm", "train-BTCUSDT-lightgbm", "research", "fold 1"])
def test_a_named_run_without_a_finished_stage_is_refused(store, wanted):
    store.pipeline(1.0, child="FAILED")
    with pytest.raises(UsageError, match="holds no finished walk_forward stage"):
        candidates(wanted)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A candidate's folder and the run that recorded its hash; the card stands for all of it."""
    (tmp_path / "candidate.json").write_text(json.dumps({"symbol": "BTCUSDT", "timeframe": "1h", "venue": "bybit"}))

    def load(folder):
        named = SimpleNamespace(**json.loads((folder / "candidate.json").read_text()))
        return SimpleNamespace(trained=SimpleNamespace(origin=named))

    monkeypatch.setattr(tracked, "load_candidate", load)
    tags = {"symbol": "BTCUSDT", "sha256.data/candidates/BTCUSDT-lightgbm": tree_sha256(tmp_path)}
    params = {"data.timeframe": "1h", "venue.name": "bybit", "venue.source": "None"}
    return RunInfo("id1", "walk_forward-BTCUSDT-lightgbm", "FINISHED", 0.0, tags, params, {}), tmp_path


def test_a_candidate_is_what_its_run_recorded(recorded):
    run, folder = recorded
    check_unaltered(run, folder)
    check_unaltered(replace(run, params=run.params | {"venue.name": "binanceusdm", "venue.source": "bybit"}), folder)


@pytest.mark.parametrize("claim", [{"symbol": "DOGEUSDT"}, {"timeframe": "1m"}, {"venue": "binanceusdm"}], ids=str)
def test_a_card_edited_after_the_run_is_refused(recorded, claim):
    run, folder = recorded
    card = json.loads((folder / "candidate.json").read_text())
    (folder / "candidate.json").write_text(json.dumps(card | claim))
    with pytest.raises(DataError, match="walk_forward-BTCUSDT-lightgbm: its candidate was altered since the pipeline recorded it"):
        check_unaltered(run, folder)
    rehashed = replace(run, tags=run.tags | {"sha256.data/candidates/BTCUSDT-lightgbm": tree_sha256(folder)})
    with pytest.raises(DataError, match="made for BTCUSDT 1h on bybit, but its candidate is named "):
        check_unaltered(rehashed, folder)
