"""Which package files a notebook depends on, and how files are hashed."""

import ast
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.pipeline import digests, sources
from quantalpha.pipeline.digests import Digests

FILES = {
    "__init__.py": "",
    "errors.py": "",
    "unused.py": "",
    "features/__init__.py": "from quantalpha.features.base import Feature\n",
    "features/base.py": "Feature = 1\n",
    "features/rsi.py": "from ..errors import DataError\n",
    "features/table.json": "{}",
    "models/__init__.py": "def create(name):\n    from . import boosting\n    return boosting\n",
    "models/boosting.py": "import importlib\nhelper = importlib.import_module('quantalpha.models.helper')\n",
    "models/helper.py": "import quantalpha.models  # a circle\n",
}
OWN = {
    "params.yaml": "",
    "helper.py": "from desk import levels\n",
    "unused.py": "",
    "desk/levels.py": "from . import rounding\nfrom quantalpha import errors\n",
    "desk/rounding.py": "import numpy\n",
    "desk/table.csv": "",
    "notebooks/beside.py": "import helper\n",
    "numpyy/__init__.py": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for path, text in FILES.items():
        (tmp_path / "quantalpha" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "quantalpha" / path).write_text(text)
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "quantalpha")
    return tmp_path / "quantalpha"


@pytest.fixture
def workspace(tmp_path):
    """A workspace with modules of its own."""
    root = tmp_path / "workspace"
    for path, text in OWN.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy", set()),
        ("import quantalpha", {"__init__.py"}),
        ("from quantalpha import errors", {"__init__.py", "errors.py"}),
        ("from quantalpha.features import Feature", {"__init__.py", "features/__init__.py", "features/base.py", "features/table.json"}),
        ("def f():\n    from quantalpha.features import rsi", {"features/rsi.py", "errors.py"}),
        ("import quantalpha.models as m", {"models/__init__.py", "models/boosting.py", "models/helper.py"}),
    ],
)
def test_direct_lazy_relative_and_textual_imports_are_followed(package, code, expected):
    found = {path.removeprefix("quantalpha/") for path in sources.used_by(ast.parse(code), Digests(), package.parent / "none")[0]}
    assert expected <= found if "\n" in code or " as " in code else found == expected
    assert "unused.py" not in found


def test_the_hash_follows_an_edit_of_an_indirectly_used_file(package):
    code, known = ast.parse("import quantalpha.models"), Digests()
    before, _ = sources.used_by(code, known, package.parent / "none")
    (package / "models" / "helper.py").write_text("from quantalpha import errors")
    after, _ = sources.used_by(code, known, package.parent / "none")
    assert {path for path in after if after[path] != before.get(path)} == {"quantalpha/models/helper.py", "quantalpha/errors.py"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy, json, desk", set()),
        ("import helper", {"helper.py", "desk/levels.py", "desk/rounding.py"}),
        ("def f():\n    from desk.rounding import up", {"desk/rounding.py"}),
        ("from numpyy import *", {"numpyy/__init__.py"}),
        ("import beside", {"notebooks/beside.py", "helper.py", "desk/levels.py", "desk/rounding.py"}),
    ],
)
def test_modules_of_the_workspace_are_followed_and_lead_on_into_the_package(package, workspace, code, expected):
    used, own = sources.used_by(ast.parse(code), Digests(), workspace)
    assert set(own) == expected
    assert ("quantalpha/errors.py" in used) == ("desk/levels.py" in expected)


def test_a_module_that_is_not_python_is_named(package, workspace):
    (workspace / "helper.py").write_text("def (")
    with pytest.raises(UsageError, match="helper.py: imported by a notebook, but not Python: .*line 1"):
        sources.used_by(ast.parse("import helper"), Digests(), workspace)


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_NS", -1)  # as if the file had lain there for long
    path, known = tmp_path / "f", Digests()
    path.write_text("one")
    stat = path.stat()
    first = known.file(path)
    with path.open("r+") as file:
        file.write("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert known.file(path) != first == hashlib.sha256(b"one").hexdigest()


def test_a_settled_file_is_read_once_also_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    path, known = tmp_path / "f", Digests()
    path.write_text("one")
    digest = known.file(path)
    monkeypatch.setattr(digests, "sha256", lambda *_: pytest.fail("read again"))
    assert known.file(path) == digest == Digests(known.content()).file(path)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.binary(max_size=4), min_size=1, max_size=4))
def test_a_folder_hash_depends_on_names_and_contents_only(tmp_path_factory, files):
    folders = [tmp_path_factory.mktemp("x") for _ in range(2)]
    for folder, names in zip(folders, (list(files), list(files)[::-1])):
        for name in names:
            (folder / name).write_bytes(files[name])
    (folders[1] / ".hidden").write_text("not counted")
    assert Digests().path(folders[0]) == Digests().path(folders[1])
    (folders[1] / next(iter(files))).write_bytes(b"other")
    assert Digests().path(folders[0]) != Digests().path(folders[1])
