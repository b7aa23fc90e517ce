"""Which code ran: the workspace's commit and what differs from it."""

import shutil
import subprocess
from pathlib import Path

from quantalpha import config

DIFF_BYTES = 1_000_000


def git_version(root: Path) -> tuple[str, str]:
    """(commit, or "none" outside a repository; the uncommitted diff, masked and cut at DIFF_BYTES, and the names of untracked files)."""
    commit = _git(root, "rev-parse", "--verify", "HEAD").strip() or "none"
    diff = _git(root, "diff", "HEAD") if commit != "none" else ""
    untracked = _git(root, "ls-files", "--others", "--exclude-standard")
    text = config.mask(diff)
    text = text[:DIFF_BYTES] + ("\n# cut here\n" if len(text) > DIFF_BYTES else "")
    return commit, text + (f"# untracked files\n{config.mask(untracked)}" if untracked else "")


def _git(root: Path, *arguments: str) -> str:
    """Output of a git command; empty where git, or the repository, is not there."""
    if shutil.which("git") is None:
        return ""
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, errors="replace", check=False).stdout
