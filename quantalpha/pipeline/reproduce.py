"""`reproduce`: a logged run made again from its recipe in a scratch workspace, and held against what it left.

Bits count: forecasts, models, metrics and tables must come out as they were, byte by byte (`compare.TOLERANCE` says for which models less
is asked). The workspace, its MLflow store and its ledger of tries are only read.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from quantalpha import config, tracking
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_json
from quantalpha.pipeline import compare, rebuild
from quantalpha.pipeline.cache import flatten
from quantalpha.pipeline.folder import Folder
from quantalpha.pipeline.graph import overlap
from quantalpha.pipeline.machine import machine
from quantalpha.pipeline.recipe import FORMAT, is_source, paths
from quantalpha.pipeline.verdict import MISSING, Input, Output, Reproduction, judged
from quantalpha.secrets import NAMES, USER_INFO
from quantalpha.tracking import RunInfo, store

RECIPE, PATCH = "recipe.json", "uncommitted.diff"
PATIENCE = 20.0  # seconds an interrupted run has to put its workers away


def reproduce(wanted: str, keep: Path | None = None, quiet: bool = False) -> Reproduction:
    """Makes a run again. wanted: 'latest' (the newest finished pipeline run), or the name, id or beginning of the id of a pipeline run, or
    of one of its stages: then that one and what it needs. keep: a new folder for the scratch workspace, which is removed otherwise.

    Raises UsageError where there is no such run, or a server keeps it; DataError naming what it takes and is gone.
    """
    if store.is_remote():
        raise UsageError(
            f"reproduce: runs its code, and anybody may have written to {tracking.store_name()}; "
            "unset MLFLOW_TRACKING_URI (also in .env) for the runs of mlruns/"
        )
    started, (run, only) = time.monotonic(), _find(wanted)
    artefacts = tracking.artifact_folder(run.run_id)
    recipe, stages = _recipe(run, artefacts, only)
    patch = (artefacts / PATCH).read_bytes() if (artefacts / PATCH).is_file() else b""
    kept = _keeper(run, recipe)
    with tracking.as_interrupt(signal.SIGTERM), _scratch(keep) as folder:
        _say(quiet, f"1/4 code: commit {recipe['commit'][:12]}{' and its uncommitted changes' if patch else ''}, in {folder}")
        root, inputs = rebuild.code(recipe, patch, folder)
        rebuild.settings(recipe, stages, root)
        _say(quiet, "2/4 data: as the run found it, by sha256")
        inputs += rebuild.data(stages, kept, root)
        _say(quiet, f"3/4 run: {len(stages)} stages")
        run_again(recipe, list(stages), root, quiet)
        _say(quiet, "4/4 compare")
        made = Folder(root, recipe["pipeline"])
        outputs = [each for key, stage in stages.items() for each in _outputs(key, stage, made, kept)]
        inputs += [_params(recipe["params"], list(stages), made), *_machine(recipe["machine"])]
    return Reproduction(run, inputs, outputs, time.monotonic() - started)


def _find(wanted: str) -> tuple[RunInfo, str | None]:
    """A pipeline run, and the stage of it that is asked for (None: all)."""
    if wanted == "latest":
        finished = [run for run in tracking.runs(kind="pipeline") if run.status == "FINISHED"]
        if not finished:
            raise UsageError("reproduce: no finished pipeline run is logged; run `quantalpha pipeline run` first")
        return finished[0], None
    run, stage = tracking.find_run(wanted), None
    while "mlflow.parentRunId" in run.tags:
        run, stage = tracking.find_run(run.tags["mlflow.parentRunId"]), run.name
    return run, stage


def _recipe(run: RunInfo, artefacts: Path, only: str | None) -> tuple[dict, dict[str, dict]]:
    """A run's recipe, and those of its stages that are to run again."""
    if not (artefacts / RECIPE).is_file():
        raise DataError(f"run {run.name}: logged without a recipe, by an older version; run the pipeline again and reproduce its new run")
    recipe = read_json(artefacts / RECIPE)
    if recipe.get("format") != FORMAT:
        raise DataError(f"run {run.name}: expected a recipe of format {FORMAT}, found {recipe.get('format')}; use the version that made it")
    everything = recipe["stages"]
    if only is not None and only not in everything:
        raise UsageError(f"reproduce: stage {only} of run {run.name} did not finish; there is nothing to hold a new one against")
    needed = _needed(everything, only)
    wanted = {key: stage for key, stage in everything.items() if key in needed and not is_source(stage)}
    if not wanted:
        raise UsageError(f"reproduce: run {run.name} made nothing but raw data, which is fetched and not computed; name a later stage")
    return recipe, wanted


def _needed(stages: dict[str, dict], only: str | None) -> set[str]:
    """`only` and the stages whose outputs it reads, directly or not; None: all. `stages` are in order."""
    if only is None:
        return set(stages)
    found, read = {only}, list(stages[only]["inputs"])
    for key, stage in reversed(stages.items()):
        if any(overlap(path, other) for path in paths(stage) for other in read):
            found.add(key)
            read += stage["inputs"]
    return found


def _keeper(run: RunInfo, recipe: dict) -> Callable[[str], list[Path]]:
    """Says where what the run made of a path may lie: in the workspace still, and in the store, which keeps of some the hash alone."""
    logged = {child.name: child.run_id for child in tracking.runs(kind="stage", parent=run.run_id)}
    stages = [(logged[key], stage) for key, stage in recipe["stages"].items() if key in logged]
    maker = {path: (run_id, name) for run_id, stage in stages for name, (path, _) in stage["outputs"].items()}

    def kept(path: str) -> list[Path]:
        run_id, name = maker.get(path, (None, ""))
        stored = [] if run_id is None else [tracking.artifact_folder(run_id) / each for each in (name, Path(path).name)]
        return [place for place in (config.path(path), *stored) if place.exists()]

    return kept


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="quantalpha-reproduce-", ignore_cleanup_errors=True) as folder:
            yield Path(folder).resolve()
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UsageError(f"--keep: {keep} exists and is not an empty folder; name a new one")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def run_again(recipe: dict, stages: list[str], root: Path, quiet: bool) -> None:
    """`quantalpha pipeline run` by the scratch workspace's code, into its own store and ledger. What fails there its outputs tell."""
    command = [sys.executable, "-m", "quantalpha", "pipeline", "run", recipe["pipeline"], "--profile", recipe["profile"]]
    search = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [*command, *(word for key in stages for word in ("--only", key))],
        cwd=root, env=_harmless(os.environ) | {"QUANTALPHA_ROOT": str(root), "PYTHONPATH": search},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    try:
        for line in process.stderr:
            _say(quiet, line.rstrip())
        process.wait()
    finally:
        _end(process)


def _harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """Without secrets, which a run's code has no business with, and without the store of runs."""
    hidden = ("MLFLOW_", *NAMES)
    return {
        name: value for name, value in environment.items()
        if not any(word in name.upper() for word in hidden) and not USER_INFO.search(value)
    }  # fmt: skip


def _end(process: subprocess.Popen) -> None:
    """An interrupted run is asked to end, as by Ctrl-C: it stops its workers."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.communicate()


def _outputs(key: str, stage: dict, folder: Folder, kept: Callable[[str], list[Path]]) -> list[Output]:
    state, failure = folder.read("state", key), folder.read("failed", key)
    if state is None:
        note = "the stage did not run" if failure is None else failure["error"]
        return [Output(key, path, recorded, None, MISSING, None, note) for path, recorded in stage["outputs"].values()]
    allowed = compare.tolerance(stage["model"])
    return [
        judged(key, path, recorded, (state["outputs"].get(path), folder.root / path), (kept(path), allowed))
        for path, recorded in stage["outputs"].values()
    ]


def _params(recorded: dict, stages: list[str], made: Folder) -> Input:
    """The parameters that the stages took, seeds among them, as their records tell."""
    states = [state for state in (made.read("state", key) for key in stages) if state is not None]
    taken, then = {name: value for state in states for name, value in state["parts"]["params"].items()}, flatten(recorded)
    changed = [name for name, value in taken.items() if value != then.get(name)]
    note = f"changed: {', '.join(changed)}" if changed else "same, seeds among them"
    return Input("parameters", f"{len(taken)} values", f"{len(taken)} values" + (", others" if changed else ""), note)


def _machine(old: dict) -> list[Input]:
    """What the run was made on, and what it is made on now; of the libraries those that changed, or their number."""
    new = machine(old["libraries"])
    rows = [Input(name, text, new[name]) for name, text in old.items() if isinstance(text, str)]
    pairs = [(name, str(version), str(new["libraries"][name])) for name, version in old["libraries"].items()]
    count = f"{len(pairs)} of the lock"
    return rows + ([Input(f"library {name}", then, now) for name, then, now in pairs if then != now] or [Input("libraries", count, count)])


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)
