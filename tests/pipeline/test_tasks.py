"""Tasks of one stage: in order whoever does them, and no worker outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import psutil

from quantalpha import config, pipeline
from quantalpha.pipeline import cache
from quantalpha.pipeline.tasks import task_map

from .support import executed

SLEEPERS = """
import time
from quantalpha import config
from quantalpha.pipeline.tasks import task_map

if __name__ == "__main__":
    with task_map(config.load().pipeline) as run:
        print("begun", flush=True)
        list(run(time.sleep, [60, 60]))
"""


def test_one_worker_is_this_process():
    settings = config.load(overrides=["pipeline.workers=1"]).pipeline
    with task_map(settings) as run:
        assert list(run(lambda x: (x, os.getpid()), [1, 2])) == [(1, os.getpid()), (2, os.getpid())]


def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "sleepers.py")], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"begun\n"
    workers = _until(lambda: [c for c in psutil.Process(parent.pid).children() if "spawn_main" in " ".join(c.cmdline())], 2)
    _until(lambda: [c for c in workers if c.num_threads() > 1], 2)  # they watch
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == []


def _until(found, count):
    deadline = time.time() + 60
    while len(now := found()) < count:
        assert time.time() < deadline
        time.sleep(0.05)
    return now


def test_how_a_run_is_done_makes_no_stage_stale(chain, no_kernel, no_tracking):
    stages = {name: {"notebook": name, "params": ["labels", cache.HOW], "outputs": {"clean": f"data/{name}.txt"}} for name in ("own",)}
    chain.notebook(
        "own", "from pathlib import Path\nclean: str = ''\nparams: dict = {}", "Path(clean).write_text(str(params['pipeline']['workers']))"
    )
    chain.pipeline("own", **stages)
    assert executed(pipeline.run("own", "default", ["pipeline.workers=3"], progress=False)) == ["own"]
    assert chain.read("data/own.txt") == "3"
    assert executed(pipeline.run("own", "default", ["pipeline.workers=4"], progress=False)) == []
    assert executed(pipeline.run("own", "default", ["labels.horizon=12"], progress=False)) == ["own"]
