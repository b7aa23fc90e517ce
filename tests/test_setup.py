"""The set-up: one lock, agreed to by pyproject, conda and pip; nothing stored that should not be."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", name, maxsplit=1)[0]).lower()


def locked() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), "every pin is exact and bare"
    return dict(line.split("==") for line in lines)


def test_lock_covers_what_the_package_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {canonical(name) for name in named} <= set(locked())


def test_installed_versions_are_the_locked_ones():
    different = {
        name: (importlib.metadata.version(name), pin)
        for name, pin in locked().items()
        if importlib.metadata.version(name).split("+")[0] != pin
    }
    assert different == {}


def test_conda_environment_agrees_with_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert "-r requirements.lock" in pip
    assert "python=3.11" in plain and set(plain) <= {"python=3.11", "pip", "make"}, "packages come from the lock alone"
    assert not [entry for entry in pip if "==" in entry]


def test_pip_understands_the_conda_file_and_has_nothing_to_add(tmp_path):
    """The pip section as conda hands it over: a requirements file, resolved against what the lock has installed."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    listing = tmp_path / "requirements.txt"
    listing.write_text("\n".join(pip).replace("-r requirements.lock", f"-r {ROOT}/requirements.lock") + "\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation", "-r", str(listing)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Would install (.*)", done.stdout) in ([], ["quantalpha-0.1.0"])


def test_make_refuses_another_python(tmp_path):
    """The real recipe runs under an interpreter that says it is 3.12."""
    fake = tmp_path / "python3.12"
    lines = ["import sys", "sys.version_info = (3, 12, 1, 'final', 0)", "sys.version = '3.12.1 (main)'", "exec(sys.argv[2])"]
    fake.write_text("\n".join([f"#!{sys.executable}", *lines, ""]))
    fake.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(["make", "-C", str(tmp_path), "setup", f"PYTHON={fake}"], capture_output=True, text=True)
    assert done.returncode != 0 and "needs Python 3.11, found 3.12.1" in done.stderr and not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").rglob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_are_thin_and_stripped(path):
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    source = "\n".join("".join(cell["source"]) for cell in code)
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert any("parameters" in cell["metadata"].get("tags", []) for cell in code)
    assert not re.search(r"^\s*(def|class|for|while) ", source, re.M)
    assert len([line for line in source.splitlines() if line.strip()]) <= 60


def test_secrets_and_data_stay_out_of_git():
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", "data/*", "mlruns/*", ".venv"} <= set(ignored)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert not [name for name in tracked if name.endswith((".parquet", ".db", ".env", ".pkl"))]


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "nbstripout --verify --extra-keys KEYS notebooks"])
def test_lint_is_clean(command):
    """What `make lint` asks for, in the suite, so that it stays so."""
    keys = re.search(r'--extra-keys "([^"]+)"', (ROOT / "Makefile").read_text())[1]
    words = [keys if word == "KEYS" else word for word in command.split()]
    words = [*words[:-1], *map(str, sorted((ROOT / "notebooks").rglob("*.ipynb")))] if words[0] == "nbstripout" else words
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
