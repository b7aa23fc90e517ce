"""What a run was made of, complete enough to make it again: logged with it, read by `reproduce`. A JSON object:

commit, fault       of the workspace; why the logged patch is not all that differed from it (None: it is)
package             sha256 of each of this package's files
workspace           digests of what the run used beside it: the pipeline's table, notebooks (their code), modules
lock, params        sha256 of requirements.lock; every section, resolved
machine             python, system, cpu, versions of the libraries
stages              of each that succeeded: name, model, inputs {path: sha256}, outputs {name: [path, sha256]}
"""

from pathlib import Path

from quantalpha.errors import DataError
from quantalpha.pipeline import notebook, sources
from quantalpha.pipeline.cache import LOCK
from quantalpha.pipeline.digests import Digests
from quantalpha.pipeline.graph import Stage
from quantalpha.pipeline.machine import locked_libraries, machine
from quantalpha.pipeline.plan import Plan
from quantalpha.pipeline.version import Version, git_version

FORMAT = 1
RAW = "data/raw/"  # what stands here was fetched or brought, not computed


def recipe(plan: Plan, states: dict[str, dict]) -> tuple[dict, Version]:
    """The recipe of the stages whose records are `states`, and the version of the workspace."""
    parts = [state["parts"] for state in states.values()]
    package = sources.all_files(plan.digests) | {path: digest for part in parts for path, digest in part["package"].items()}
    table = f"pipelines/{plan.name}.yaml"
    own = {table: plan.digests.path(plan.root / table)}
    own |= {path: digest for part in parts for group in ("notebook", "module") for path, digest in part[group].items()}
    version = git_version(plan.root, [plan.root / path for path in [*own, LOCK]] + [sources.PACKAGE.parent / path for path in package])
    made = {"format": FORMAT, "pipeline": plan.name, "profile": plan.profile, "commit": version.commit, "fault": version.fault}
    made |= {"package": package, "workspace": own, "lock": plan.digests.path(plan.root / LOCK)}
    made |= {"params": plan.params.model_dump(mode="json"), "machine": machine(locked_libraries(plan.root / LOCK))}
    return made | {"stages": {stage.id: _stage(stage, states[stage.id]) for stage in plan.stages if stage.id in states}}, version


def _stage(stage: Stage, state: dict) -> dict:
    outputs = {name: [path, state["outputs"][path]] for name, path in stage.outputs.items()}
    return {"name": stage.name, "model": stage.loop.get("model"), "inputs": state["parts"]["input"], "outputs": outputs}


def paths(stage: dict) -> list[str]:
    """What a stage of a recipe writes."""
    return [path for path, _ in stage["outputs"].values()]


def place(root: Path, path: str) -> Path:
    """Where a path that a recipe names lies in the workspace at `root`. Raises DataError for one that leads out of it."""
    found = (root / path).resolve()
    if Path(path).is_absolute() or ".." in Path(path).parts or not found.is_relative_to(root.resolve()):
        raise DataError(f"{path}: the run's recipe names a path outside its workspace; it may be forged, and is not used")
    return found


def is_source(stage: dict) -> bool:
    """Whether all that a stage of a recipe makes is raw data, or a list of it: it is not made again, but put back."""
    return all(path.startswith(RAW) for path in paths(stage))


def used_digest(root: Path, path: str, digests: Digests) -> str | None:
    """Digest of a file of a workspace as a recipe holds it; None where there is none."""
    if not (root / path).is_file():
        return None
    if not path.endswith(".ipynb"):
        return digests.path(root / path)
    return notebook.read(root, path).digest
