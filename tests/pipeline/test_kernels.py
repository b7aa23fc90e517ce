"""Stages in real kernels, on this machine and on a Dask cluster."""

import json

import pytest

from quantalpha import pipeline
from quantalpha.errors import StageFailed, UsageError

from .support import PREPARE, executed
from .test_kill import artefacts

pytestmark = pytest.mark.usefixtures("no_tracking")
CHECK = "from quantalpha.config import stage_params\nassert stage_params(params).labels.horizon == 24"


def test_two_dask_workers_make_the_same_artefacts_as_local_kernels(chain):
    from distributed import LocalCluster

    chain.notebook("prepare", *PREPARE, CHECK)
    assert executed(pipeline.run("chain", progress=False)) == ["join", "prepare-BTCUSDT", "prepare-ETHUSDT"]
    local = artefacts(chain.root)
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        overrides = ["pipeline.executor=dask", f"pipeline.dask_address={cluster.scheduler_address}"]
        assert executed(pipeline.run("chain", "default", overrides, progress=False)) == []
        report = pipeline.run("chain", "default", overrides, force=True, progress=False)
    assert executed(report) == ["join", "prepare-BTCUSDT", "prepare-ETHUSDT"]
    assert artefacts(chain.root) == local
    kept = json.loads(chain.read("data/pipeline/chain/notebooks/prepare-ETHUSDT.ipynb"))
    injected = "".join("".join(cell["source"]) for cell in kept["cells"])
    assert 'symbol = "ETHUSDT"' in injected
    assert f'clean = "{chain.root}/data/clean/ETHUSDT.txt"' in injected


def test_an_absent_dask_scheduler_is_named(chain):
    with pytest.raises(UsageError, match="no Dask scheduler answers at https://127.0.0.1:1"):
        pipeline.run("chain", "default", ["pipeline.executor=dask", "pipeline.dask_address='https://127.0.0.1:1'"], progress=False)


def test_a_failure_names_cell_and_error_and_keeps_the_notebook_without_secrets(chain, monkeypatch):
    monkeypatch.setenv("EXCHANGE_API_SECRET", "hunter2hunter2")
    wrong = "import os\nprint(secret := os.environ['EXCHANGE_API_SECRET'])", "raise ValueError('one line\\nwith ' + secret)"
    dead = "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"
    heads = {name: f"from pathlib import Path\n{name}: str = ''" for name in ("wrong", "dead", "fine")}
    chain.notebook("wrong", heads["wrong"], *wrong)
    chain.notebook("dead", heads["dead"], *dead)
    chain.notebook("fine", heads["fine"], "Path(fine).write_text('ok')\nfigure = __import__('os').environ['MPLBACKEND']")
    chain.pipeline("odd", **{name: {"notebook": name, "outputs": {name: f"data/{name}.txt"}} for name in heads})
    with pytest.raises(StageFailed):
        pipeline.run("odd", progress=False)
    rows = {row["stage"]: row for row in pipeline.status("odd")}
    assert {name: row["status"] for name, row in rows.items()} == {"wrong": "failed", "dead": "failed", "fine": "fresh"}
    kept = "data/pipeline/odd/failed/wrong.ipynb"
    assert rows["wrong"]["reason"] == f"stage wrong, code cell 3: ValueError: one line | with ***; the notebook as it stopped: {kept}"
    assert rows["dead"]["reason"].startswith("stage dead, code cell 3: DeadKernelError")
    assert "***" in chain.read(kept)
    assert "hunter2" not in chain.read(kept)
