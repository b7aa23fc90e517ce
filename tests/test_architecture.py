"""The house rules that a reader cannot see in one file: who imports whom, one door per library, start-up cost."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "quantalpha"

LAYERS = [
    {"errors", "files", "lazy", "windows"},
    {"workspace", "timeframe"},
    {"secrets"},
    {"config", "schema", "plots", "audit", "signing", "verdict"},
    {"perp"},
    {"market", "features", "labels"},
    {"validation", "models", "strategy"},
    {"golden"},
    {"backtest", "bundle"},
    {"promotion", "tracking"},
    {"pipeline", "runner", "practice"},
    {"rehearsal", "review", "ops", "drill"},
    {"demo"},
    {"cli", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
NEVER = {
    "features": {"labels", "market"},
    "labels": {"features", "market"},
    "market": {"features", "labels"},
    "models": {"market"},
    "practice": {"runner"},
    "runner": {"labels", "validation", "backtest", "promotion", "tracking", "plots", "practice", "pipeline"},
    "bundle": {"backtest"},
    "backtest": {"bundle"},
}
DOORS = {
    "talib": {"features/talib.py"},
    "pywt": {"features/wavelet.py"},
    "ccxt": {"market/connect.py", "market/stream.py"},
    "papermill": {"pipeline/execute.py"},
    "mlflow": {"tracking/store.py"},
    "lightgbm": {"models/boosting.py"},
    "xgboost": {"models/boosting.py"},
    "matplotlib": {"plots/style.py"},
    "plotly": {"backtest/figures.py"},
    "vectorbt": {"backtest/vector.py"},
    "quantstats": {"backtest/vector.py"},
    "apprise": {"ops/alerts.py"},
    "skfolio": {"strategy/portfolio.py"},
    "optuna": {"backtest/study.py"},
    "sklearn": {"validation/discrimination.py"},
    "sqlalchemy": {"runner/journal.py"},
    "distributed": {"pipeline/execute.py"},
    "apscheduler": {"pipeline/schedule.py"},
    "pyarrow": {"files.py", "market/archive_files.py", "market/passport.py", "market/ticks/record.py"},
    "cryptography": {"signing.py"},
    "duckdb": {"market/query.py"},
    "pandera": {"market/tables.py"},
    "psycopg": {"market/sinks/postgres.py"},
    "redis": {"market/sinks/redis.py", "market/sinks/ticks.py"},
    "pickle": set(),
}
FORBIDDEN_LIVE = [
    "torch",
    "lightning",
    "pytorch_lightning",
    "vectorbt",
    "papermill",
    "optuna",
    "mlflow",
    "matplotlib",
    "plotly",
    "quantstats",
    "skfolio",
    "sklearn",
    "quantalpha.labels",
    "quantalpha.validation",
    "quantalpha.backtest",
    "quantalpha.promotion",
]


@functools.cache
def imports(path: Path) -> set[str]:
    """Dotted names a file imports, anywhere in it, relative ones resolved."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ("quantalpha", *path.relative_to(PACKAGE).parts)[: -node.level]
                base = ".".join([*parts, base]).rstrip(".")
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str | None:
    """'quantalpha.perp.ledger' -> 'perp'; None for what is not a room of the house."""
    parts = name.split(".")
    return parts[1] if parts[0] == "quantalpha" and len(parts) > 1 and parts[1] in LEVEL else None


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in LEVEL, f"{own} has no place in the import table"
    for name in imports(path):
        other = room(name)
        if other is None or other == own:
            continue
        assert other not in NEVER.get(own, ()), f"{path.name} imports {name}"
        assert LEVEL[other] <= LEVEL[own], f"{path.name} imports {name}, which stands above it"


@pytest.mark.parametrize("library", DOORS)
def test_one_door_per_library(library):
    users = {str(p.relative_to(PACKAGE)) for p in FILES if any(n.split(".")[0] == library for n in imports(p))}
    assert users <= DOORS[library], f"{library} is imported by {sorted(users - DOORS[library])}"


def test_parquet_is_read_through_one_door():
    """Others leave a thread of Arrow's behind that can abort a process at its end: see files.read_parquet."""
    others = [
        str(path)
        for path in FILES
        if path != PACKAGE / "files.py" and re.search(r"(pd|pq|pandas)\.read_(parquet|table)\(", path.read_text())
    ]
    assert not others


def test_runner_process_holds_nothing_that_looks_ahead():
    code = f"import sys, quantalpha.runner.session, quantalpha.bundle; print([m for m in {FORBIDDEN_LIVE} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_command_line_starts_light():
    heavy = ["pandas", "numba", "mlflow", "ccxt", "papermill", "torch", "lightgbm", "xgboost", "matplotlib", "vectorbt", "sqlalchemy"]
    heavy += ["plotly", "skfolio", "optuna", "sklearn", "cryptography", "duckdb", "pandera", "redis", "psycopg", "apprise"]
    code = f"import sys, quantalpha.cli; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_compiled_code_calls_none_of_another_file():
    """Numba's cache watches the file of the function it keeps: a change in a file it merely calls would leave the old code in force."""
    compiled: dict[str, list[tuple[Path, ast.FunctionDef]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any("njit" in ast.dump(mark) for mark in node.decorator_list):
                compiled.setdefault(node.name, []).append((path, node))
    assert len(compiled) > 50
    for name, versions in compiled.items():
        for path, node in versions:
            called = {call.func.id for call in ast.walk(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}
            elsewhere = [other for other in called & compiled.keys() if all(home != path for home, _ in compiled[other])]
            assert not elsewhere, f"{path.name}: {name} calls {', '.join(elsewhere)} of another file; put them together"


@pytest.mark.parametrize("package", ["quantalpha.market", "quantalpha.runner"])
def test_names_that_are_loaded_late_are_there(package):
    """Whichever of its modules were loaded before."""
    names = importlib.import_module(package).__all__
    modules = {each.stem for each in PACKAGE.joinpath(package.split(".")[1]).iterdir()}
    assert names and not modules & set(names), "Python gives such a name to the module once that is loaded"
    assert all(hasattr(importlib.import_module(package), name) for name in names)


def test_a_kill_waits_for_nothing_that_it_does_not_need():
    heavy = ["pandas", "numba", "pyarrow", "sqlalchemy", "lightgbm", "onnxruntime", "quantalpha.runner.session"]
    code = f"import sys, quantalpha.cli, quantalpha.runner.emergency; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
