"""Which code ran: the workspace's commit, and a patch that makes of it what lay there."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from quantalpha import config
from quantalpha.errors import DataError

PATCH_BYTES = 1_000_000
NONE = "none"  # the commit outside a repository
DIFF = ("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "HEAD")


@dataclass(frozen=True)
class Version:
    """commit: NONE outside a repository. patch: for `git apply` on the commit, without secrets; empty: nothing differed.

    fault: why the patch is not the whole difference; None: it is.
    """

    commit: str
    patch: str
    fault: str | None


def git_version(root: Path, used: Iterable[Path] = ()) -> Version:
    """The version of the workspace at `root`. used: what the run depends on; files of it that git does not follow are in the patch."""
    commit = (git(root, "rev-parse", "--verify", "HEAD") or b"").decode().strip() or NONE
    if commit == NONE:
        return Version(NONE, "", None)
    raw = _patch(root, used)
    if raw is None:
        return Version(commit, "", "was not made, as git failed")
    told = raw.decode(errors="replace")
    patch = config.mask(told)
    if len(patch) > PATCH_BYTES:
        return Version(commit, f"{patch[:PATCH_BYTES]}\n# cut here\n", f"was cut, as it is longer than {PATCH_BYTES} characters")
    if told.encode() != raw:
        return Version(commit, patch, "holds bytes that are no UTF-8, which were replaced")
    return Version(commit, patch, None if patch == told else "holds secrets, which were masked")


def git(folder: Path, *arguments: str, text: bytes = b"", **environment: str) -> bytes | None:
    """What a git command prints; None where it fails, or where there is no git."""
    if shutil.which("git") is None:
        return None
    done = _done(folder, arguments, text, environment)
    return done.stdout if done.returncode == 0 else None


def apply(folder: Path, patch: bytes) -> None:
    """Makes the changes of a patch in a folder that is no repository. Raises DataError with git's words where it does not fit."""
    around = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = _done(folder, ("apply", "--whitespace=nowarn", "-"), patch, around)
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        raise DataError(f"the patch with the run's uncommitted changes does not fit its commit: {told}; run the pipeline again")


def _done(folder: Path, arguments: tuple[str, ...], text: bytes, environment: dict[str, str]) -> subprocess.CompletedProcess:
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | environment  # a hook sets GIT_DIR
    return subprocess.run(["git", "-C", str(folder), *arguments], input=text, capture_output=True, env=around, check=False)


def top(root: Path) -> Path:
    """The repository's folder, of which `root` is a part."""
    return Path(os.fsdecode(git(root, "rev-parse", "--show-toplevel") or b"").removesuffix("\n"))


def _patch(root: Path, used: Iterable[Path]) -> bytes | None:
    """Made with an index and objects of its own, so that the repository stays as it is."""
    base = top(root)
    with TemporaryDirectory() as scratch:
        around = {"GIT_INDEX_FILE": f"{scratch}/index", "GIT_OBJECT_DIRECTORY": scratch, "GIT_LITERAL_PATHSPECS": "1"}
        around["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(_kept(base, "objects"))
        if _kept(base, "index").is_file():
            shutil.copy(_kept(base, "index"), f"{scratch}/index")
        new = _unfollowed(base, used)
        if new:
            git(base, "add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul", text=b"\0".join(new), **around)
        return git(base, *DIFF, **around)


def _kept(base: Path, name: str) -> Path:
    return base / os.fsdecode(git(base, "rev-parse", "--git-path", name)).removesuffix("\n")


def _unfollowed(base: Path, used: Iterable[Path]) -> list[bytes]:
    """Names of the new files among `used`. Others may be anything, and are nobody's business."""
    wanted = {path.resolve() for path in used}
    new = (git(base, "ls-files", "-z", "--others", "--exclude-standard") or b"").split(b"\0")
    return [name for name in new if name and (base / os.fsdecode(name)).resolve() in wanted]
