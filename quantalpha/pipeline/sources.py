"""Which files of this package a notebook uses, directly or through other files, lazily imported ones included."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import quantalpha
from quantalpha.pipeline.digests import Digests

PACKAGE = Path(quantalpha.__file__).parent


def used_by(tree: ast.Module, digests: Digests) -> dict[str, str]:
    """Path from the package's parent -> sha256 of every file the code depends on; data files beside a used module count."""
    waiting, seen, files = _modules(tree, ""), set(), set()
    while waiting:
        module = waiting.pop()
        path = _file_of(module)
        if path is None or module in seen:
            continue
        seen.add(module)
        files |= {path, *_data_beside(path)}
        waiting |= _modules_of(path, digests.file(path)) - seen
    return {path.relative_to(PACKAGE.parent).as_posix(): digests.file(path) for path in sorted(files)}


@lru_cache(maxsize=1000)
def _modules_of(path: Path, digest: str) -> set[str]:
    """Modules of this package that the file (of this content) names in imports, or as text (`import_module`, lazy tables)."""
    parent = path.parent.relative_to(PACKAGE.parent).parts
    return _modules(ast.parse(path.read_bytes()), ".".join(parent))


def _modules(tree: ast.Module, package: str) -> set[str]:
    names = {name for node in ast.walk(tree) for name in _named(node, package)}
    return {name[:end] for name in names if _ours(name) for end in _ends(name)}


def _named(node: ast.AST, package: str) -> Iterator[str]:
    """Dotted names one node may import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("quantalpha."):
        yield node.value


def _ours(name: str) -> bool:
    return name.split(".")[0] == PACKAGE.name and all(part.isidentifier() or part == "*" for part in name.split("."))


def _ends(name: str) -> list[int]:
    """Ends of the name and of each package it lies in: importing a.b.c runs a and a.b too."""
    return [i for i, letter in enumerate(name) if letter == "."] + [len(name)]


def _file_of(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _data_beside(path: Path) -> list[Path]:
    """What a module may read from its own folder; not source, not an editor's leftovers."""
    files = [file for file in path.parent.iterdir() if file.is_file()]
    return [file for file in files if file.suffix != ".py" and file.name[0] != "." and file.name[-1] != "~"]
