"""The patch that makes of a commit what lay in the workspace."""

import pytest

from quantalpha.errors import DataError
from quantalpha.pipeline import version
from quantalpha.pipeline.version import git_version

from .again import commit, git
from .support import Workspace


@pytest.fixture
def workspace(workspace) -> Workspace:
    workspace.write("old.py", "a = 1\r\nb = 2\n")
    git(workspace.root, "init", "-q")
    commit(workspace)
    return workspace


def test_it_holds_changes_and_the_new_files_a_run_used_and_leaves_git_alone(workspace, tmp_path_factory):
    root = workspace.root
    workspace.write("old.py", "a = 3\r\nb = 2\n")
    (root / "picture.bin").write_bytes(bytes(range(256)))
    workspace.write("new [1].py", "c = 'ä'")
    workspace.write("nobody's business.py", "")
    (root / "params.yaml").unlink()
    git(root, "config", "diff.noprefix", "true")
    before = sorted(root.rglob(".git/**/*")), git(root, "status", "--porcelain")
    found = git_version(root, [root / "new [1].py", root / "picture.bin", root / "old.py"])
    assert (found.commit, found.fault) == (git(root, "rev-parse", "HEAD").strip(), None)
    assert (sorted(root.rglob(".git/**/*")), git(root, "status", "--porcelain")) == before
    other = tmp_path_factory.mktemp("other")
    git(root, "clone", "-q", str(root), str(other))
    version.git(other, "apply", "-", text=found.patch.encode())
    names = {path.name for path in other.iterdir()} - {".git"}
    assert names == {"old.py", "picture.bin", "new [1].py", "requirements.lock"}
    assert all((other / name).read_bytes() == (root / name).read_bytes() for name in names)


def test_a_patch_that_is_not_whole_says_why(workspace, monkeypatch):
    workspace.write("old.py", "key = 'hunter2hunter2'\n")
    monkeypatch.setenv("VENUE_SECRET", "hunter2hunter2")
    found = git_version(workspace.root)
    assert "hunter2" not in found.patch and found.fault == "holds secrets, which were masked"
    monkeypatch.setattr(version, "PATCH_BYTES", 50)
    assert "cut" in git_version(workspace.root).fault


def test_outside_a_repository_there_is_no_commit(tmp_path):
    assert git_version(tmp_path) == version.Version("none", "", None)


def test_bytes_that_are_no_text_are_said_to_be_lost(workspace):
    (workspace.root / "old.py").write_bytes("a = 'café'\n".encode("latin-1"))
    assert git_version(workspace.root).fault == "holds bytes that are no UTF-8, which were replaced"


def test_a_patch_that_does_not_fit_is_told_in_gits_words(workspace):
    workspace.write("old.py", "a = 3\r\nb = 2\n")
    patch = git_version(workspace.root).patch.encode()
    workspace.write("old.py", "another\n")
    with pytest.raises(DataError, match="does not fit its commit: error: patch failed: old.py:1"):
        version.apply(workspace.root, patch)
