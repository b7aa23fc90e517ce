"""The demo's research pipeline, its driver's process group killed (-9) at random moments and resumed until done.

    python benchmarks/kill_resume.py [kills] [section.key=value ...]

An undisturbed run on the same practice exchange says what must come out. Exits 1 unless every artefact has the same hash. The settings are
smaller than the demo's unless told otherwise.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
MADE = ("clean", "features", "labels", "models", "candidates", "backtest", "compare")
SMALL = [
    "data.end=2021-10-01", "exchange.now=2021-10-04", "synthetic.bars=7000", "splits.train=2000", "splits.test=800",
    "models.lightgbm.trees=40", "models.xgboost.trees=40",
]  # fmt: skip
QUANTALPHA = [sys.executable, "-m", "quantalpha"]
SEED = 7


def workspace(root: Path) -> Path:
    """What a clone holds beside the package."""
    root.mkdir()
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(CHECKOUT / name, root)
    for name in ("notebooks", "pipelines"):
        shutil.copytree(CHECKOUT / name, root / name)
    return root


def start(root: Path, *words: str, **options) -> subprocess.Popen:
    """A quantalpha command in a process group of its own."""
    environment = os.environ | {"QUANTALPHA_ROOT": str(root)}
    return subprocess.Popen([*QUANTALPHA, *words], cwd=root, env=environment, start_new_session=True, text=True, **options)


def research(root: Path, settings: list[str]) -> subprocess.Popen:
    return start(root, "pipeline", "run", "--profile", "demo", "--json", *settings, stdout=subprocess.DEVNULL)


def finish(root: Path, settings: list[str]) -> float:
    """Runs to the end; returns seconds."""
    since = time.monotonic()
    if research(root, settings).wait() != 0:
        sys.exit("the pipeline failed")
    return time.monotonic() - since


def kill(driver: subprocess.Popen, after: float) -> bool:
    """Whether the driver was still at work after so many seconds, and is dead now."""
    try:
        driver.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        return True
    return False


def disturbed(root: Path, settings: list[str], kills: int, longest: float) -> list[dict[str, str]]:
    """Artefacts of each run that got done: the last, after `kills` kills, and any before, after which it began again from nothing."""
    moments, left, results = random.Random(SEED), kills, []
    while left:
        after = moments.uniform(0.5, longest)
        if kill(research(root, settings), after):
            left -= 1
            print(
                f"killed after {after:5.1f} s with {len(list(root.glob('data/pipeline/research/state/*.json'))):2d} stages done", flush=True
            )
        else:
            results.append(artefacts(root))
            print("done before its time was up; again from nothing", flush=True)
            shutil.rmtree(root / "data")
    print(f"last run, to the end: {finish(root, settings):.1f} s")
    return [*results, artefacts(root)]


def artefacts(root: Path) -> dict[str, str]:
    """sha256 of every file the stages made."""
    files = [path for name in MADE for path in (root / "data" / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def compare(expected: dict[str, str], found: dict[str, str]) -> int:
    """Exit code: 0 where both hold the same files with the same hashes."""
    differ = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    digest = hashlib.sha256("".join(f"{path} {sha}\n" for path, sha in found.items()).encode()).hexdigest()
    print(f"{len(expected)} artefacts undisturbed, {len(found)} after the kills, {len(differ)} differ; hash of all hashes {digest[:16]}")
    for path in differ:
        print(f"differs: {path}  {expected.get(path, 'missing')[:16]}  {found.get(path, 'missing')[:16]}")
    return 1 if differ or not expected else 0


def main(kills: int, overrides: list[str]) -> int:
    settings = [word for each in [*SMALL, *overrides] for word in ("--set", each)]
    with tempfile.TemporaryDirectory() as scratch:
        whole, cut = workspace(Path(scratch) / "whole"), workspace(Path(scratch) / "cut")
        exchange = start(whole, "exchange", "--port", "0", "--speed", "0", *settings, stdout=subprocess.PIPE)
        try:
            url = next(line.split()[1] for line in exchange.stdout if line.startswith("REST"))
            settings += ["--set", f"venue.rest_url={url}", "--set", f"venue.ws_url={url.replace('http', 'ws')}"]
            seconds = finish(whole, settings)
            print(f"undisturbed run: {seconds:.1f} s", flush=True)
            return max(compare(artefacts(whole), found) for found in disturbed(cut, settings, kills, seconds / 2))
        finally:
            exchange.terminate()
            exchange.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:]))
