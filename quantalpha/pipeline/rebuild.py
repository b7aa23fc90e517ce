"""A scratch workspace with what a run had: its code, its parameters, its data. The user's own workspace and repository are only read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from quantalpha import config
from quantalpha.errors import DataError
from quantalpha.files import digest_of
from quantalpha.pipeline import sources
from quantalpha.pipeline.cache import LOCK
from quantalpha.pipeline.digests import Digests
from quantalpha.pipeline.graph import overlap
from quantalpha.pipeline.recipe import paths, place, used_digest
from quantalpha.pipeline.verdict import Input
from quantalpha.pipeline.version import NONE, apply, git, top

MANIFEST = ".manifest.json"


def code(recipe: dict, patch: bytes, folder: Path) -> tuple[Path, list[Input]]:
    """Rebuilds commit, patch, parameters and table of a recipe in `folder`; the workspace there, and what was found.

    What the commit lacks is taken from the workspace, if it is still the same. Raises DataError naming a file that is nowhere.
    """
    digests = Digests()
    known = recipe["commit"] != NONE and git(config.root(), "cat-file", "-e", f"{recipe['commit']}^{{commit}}") is not None
    root = _check_out(recipe, patch, folder) if known else folder
    if sources.all_files(digests) == recipe["package"]:
        _copy_package(root)
    _complete(recipe["package"], root, sources.PACKAGE.parent, lambda base, path: digests.path(base / path), _excuse(recipe, known))
    _complete(recipe["workspace"], root, config.root(), lambda base, path: used_digest(base, path, digests), _excuse(recipe, known))
    if digests.path(root / LOCK) != recipe["lock"] and (config.root() / LOCK).is_file():
        shutil.copyfile(config.root() / LOCK, place(root, LOCK))
    return root, _code_inputs(recipe, patch, known, str(digests.path(root / LOCK)))


def settings(recipe: dict, stages: dict[str, dict], root: Path) -> None:
    """The parameters, resolved, and the pipeline's table with only the stages that run again, on this machine."""
    params = recipe["params"] | {"pipeline": recipe["params"]["pipeline"] | {"executor": "local", "dask_address": None}}
    profiles = {"default": {}, recipe["profile"]: {}}
    place(root, "params.yaml").write_text(yaml.safe_dump(params | {"profiles": profiles}, sort_keys=False))
    path, names = place(root, f"pipelines/{recipe['pipeline']}.yaml"), {stage["name"] for stage in stages.values()}
    table = yaml.safe_load(path.read_text())["stages"]
    path.write_text(yaml.safe_dump({"stages": {name: entry for name, entry in table.items() if name in names}}, sort_keys=False))


def data(stages: dict[str, dict], kept: Callable[[str], list[Path]], root: Path) -> list[Input]:
    """Puts into the workspace at `root` every input that none of `stages` makes, and the months that a manifest among them lists.

    kept: where what the run had of a path may lie. Raises DataError naming what is gone, or is not what the run had.
    """
    made = [path for stage in stages.values() for path in paths(stage)]
    given = {path: digest for stage in stages.values() for path, digest in stage["inputs"].items()}
    for path in [*made, *given]:
        place(root, path)
    outside = {path: digest for path, digest in sorted(given.items()) if not any(overlap(path, other) for other in made)}
    return [_put(path, digest, kept(path), root) for path, digest in outside.items()]


def _check_out(recipe: dict, patch: bytes, folder: Path) -> Path:
    """The commit's files, and the patch on them, by an index of their own: git's records stay as they are."""
    base = top(config.root())
    with TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        done = [git(base, "read-tree", recipe["commit"], **index), git(base, "checkout-index", "--all", f"--prefix={folder}/", **index)]
    if None in done:
        raise DataError(f"commit {recipe['commit'][:12]} cannot be read from this repository; see `git fsck`")
    if patch and recipe["fault"] is None:
        apply(folder, patch)
    root = folder / config.root().relative_to(base)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _copy_package(root: Path) -> None:
    """The package of this process is the run's: copied with its times, so that what numba has compiled of it holds."""
    target = place(root, sources.PACKAGE.name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sources.PACKAGE, target)


def _complete(files: dict[str, str], root: Path, own: Path, digest: Callable[[Path, str], str | None], excuse: str) -> None:
    """Every file at `root` is as recorded, or is copied from `own`, where it is."""
    for path, recorded in files.items():
        target = place(root, path)
        if digest(root, path) == recorded:
            continue
        if digest(own, path) != recorded:
            raise DataError(f"{path}: not as the run used it, and it cannot be rebuilt: {excuse}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own / path, target)


def _excuse(recipe: dict, known: bool) -> str:
    if recipe["commit"] == NONE:
        return "the run was made outside a git repository; put its file back, or run the pipeline again"
    if not known:
        return f"commit {recipe['commit'][:12]} is not in this repository; fetch it (`git fetch --unshallow`)"
    if recipe["fault"] is not None:
        return f"the patch with the run's uncommitted changes {recipe['fault']}; put its file back, or run the pipeline again"
    return f"it is not in commit {recipe['commit'][:12]} and its patch (ignored by git?); put it back, or run the pipeline again"


def _code_inputs(recipe: dict, patch: bytes, known: bool, lock: str) -> list[Input]:
    commit, files = recipe["commit"][:12], f"{len(recipe['package']) + len(recipe['workspace'])} files"
    changes, present = f"{len(patch)} bytes" if patch else "none", "the present files are the same"
    applied = "applied" if known and recipe["fault"] is None else present
    return [
        Input("commit", commit, commit, "rebuilt" if known else present),
        Input("uncommitted changes", changes, changes, applied if patch else ""),
        Input("package and notebooks", files, files, "same, by sha256"),
        Input(LOCK, str(recipe["lock"])[:12], lock[:12]),
    ]


def _put(path: str, recorded: str, held: list[Path], root: Path) -> Input:
    digests, target = Digests(), place(root, path)
    source = next((each for each in held if digests.path(each) == recorded), None)
    if source is None:
        raise DataError(f"{path}: the run used it, and what it used is gone; put it back, or run the pipeline again")
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    if path.endswith(MANIFEST):
        return _put_months(path, target, root)
    return Input(path, recorded[:12], str(digests.path(target))[:12])


def _put_months(path: str, manifest: Path, root: Path) -> Input:
    """The months of a manifest; where they are others by now the manifest says so, as the stage that reads it insists."""
    from quantalpha.market import Lake, put_back

    listing = json.loads(manifest.read_text())
    for entry in (entry for entries in listing.values() for entry in entries):
        place(root / "data" / "raw", entry["file"])
    found, changed = put_back(listing, Lake(config.path("data/raw")), Lake(root / "data" / "raw"))
    if changed:
        manifest.write_text(json.dumps(found, indent=1) + "\n")
    name = f"data {Path(path).name.removesuffix(MANIFEST)}"
    count = sum(map(len, listing.values()))
    note = f"changed: {', '.join(changed)}" if changed else f"{count} months, same by sha256"
    return Input(name, digest_of(listing)[:12], digest_of(found)[:12], note)
