"""kill -9 at any moment, run again: the artefacts are those of an undisturbed run."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantalpha import pipeline
from quantalpha.errors import UsageError

from .support import executed, run_here

RUN = "from quantalpha import pipeline, tracking; tracking.log_run = lambda run: 'r'; pipeline.run('chain', progress=False)"
SLEEP = "import os, time\nPath('{}').write_text(str(os.getpid()))\nPath(clean).write_text('half')\ntime.sleep(60)"


def artefacts(root: Path) -> dict[str, str]:
    """sha256 of everything the stages made."""
    made = [root / "data/join.json", *(root / "data/clean").rglob("*"), *(root / "data/model").rglob("*")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in made if path.is_file()}


def run_and_die(steps: int) -> bool:
    """Runs the pipeline in a fork that kills itself at its `steps`-th write to disk; False: it finished before."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def step(handle: int) -> None:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = step  # called before each rename and after it
        pipeline.run("chain", progress=False)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_at_every_write_in_turn_it_ends_where_an_undisturbed_run_ends(chain, no_kernel, no_tracking):
    pipeline.run("chain", progress=False)
    expected = artefacts(chain.root)
    for text, result in (("z", None), ("b", expected)):  # another input, and back: old and new results mix
        chain.write("data/raw/ETHUSDT.txt", text)
        steps = 1
        while run_and_die(steps):
            steps += 1
            assert len(pipeline.status("chain")) == 3  # every record can be read
        pipeline.run("chain", progress=False)
        found = artefacts(chain.root)
        assert found == result if result is not None else found != expected
        assert [path.name for path in (chain.root / "data").rglob(".*") if path.suffix in (".partial", ".tmp")] == []


def start(root: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", RUN], env=os.environ | {"QUANTALPHA_ROOT": str(root)}, stderr=subprocess.DEVNULL)


def test_killed_at_random_moments_with_real_kernels(chain, no_tracking):
    with pytest.MonkeyPatch.context() as here:
        here.setattr("quantalpha.pipeline.execute.execute", run_here)
        pipeline.run("chain", progress=False)
    expected = artefacts(chain.root)
    for path in ("join.json", "clean", "model", "pipeline"):
        subprocess.run(["rm", "-r", str(chain.root / "data" / path)], check=True)
    moments = random.Random(7)
    for _ in range(4):
        process = start(chain.root)
        time.sleep(moments.uniform(0.5, 3.0))
        process.kill()
        process.wait()
    assert pipeline.run("chain", progress=False).exit_code == 0
    assert artefacts(chain.root) == expected
    assert executed(pipeline.run("chain", progress=False)) == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds: float = 30.0) -> bool:
    """Waits for `condition`; False when it did not come true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_or_killed_driver_takes_its_kernels_along_and_leaves_nothing_half_done(workspace, no_tracking, sign, code):
    pid_file = workspace.root / "pid"
    cell = "from pathlib import Path\nclean: str = ''"
    workspace.notebook("slow", cell, SLEEP.format(pid_file))
    workspace.pipeline("chain", slow={"notebook": "slow", "outputs": {"clean": "data/clean.txt"}})
    process = start(workspace.root)
    assert until(lambda: pid_file.exists() and pid_file.read_text())
    assert [row["status"] for row in pipeline.status("chain")] == ["running"]
    with pytest.raises(UsageError, match="another run is under way"):
        pipeline.run("chain", progress=False)
    process.send_signal(sign)
    assert process.wait(timeout=30) in (code, -sign)
    assert until(lambda: not alive(int(pid_file.read_text())))
    assert not (workspace.root / "data/clean.txt").exists()
    assert [row["status"] for row in pipeline.status("chain")] == ["never run"]
    workspace.notebook("slow", cell, "Path(clean).write_text('whole')")
    assert executed(pipeline.run("chain", progress=False)) == ["slow"]
    assert [path.name for path in (workspace.root / "data/pipeline/chain").iterdir() if path.name.startswith(("scratch", "dead"))] == []
