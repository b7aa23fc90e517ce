"""Which files a notebook's code depends on, directly or through other files, lazily imported ones included.

They are files of this package, and the workspace's own modules beside `params.yaml` or beside the notebooks; libraries are not followed,
`requirements.lock` stands for them.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import quantalpha
from quantalpha.errors import UsageError
from quantalpha.pipeline.digests import Digests

PACKAGE = Path(quantalpha.__file__).parent


def used_by(tree: ast.Module, digests: Digests, root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """sha256 of every file the code depends on: of this package, by path from its parent, and of the workspace, by path from `root`.

    Data files beside a used module of the package count as well.
    """
    waiting, seen, package, own = _modules(tree, ""), set(), set(), set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        for base in [PACKAGE.parent] if _is_package(module) else [root, root / "notebooks"]:
            path = _file_of(base, module)
            if path is None:
                continue
            (package if _is_package(module) else own).add(path)
            waiting |= _modules_of(base, path, digests.file(path)) - seen
    package |= {file for path in package for file in _data_beside(path)}
    return _hashed(package, PACKAGE.parent, digests), _hashed(own, root, digests)


@lru_cache(maxsize=1000)
def _modules_of(base: Path, path: Path, digest: str) -> set[str]:
    """Modules that the file (of this content) names in imports, or as text (`import_module`, lazy tables); of the package, its own."""
    names = _modules(_parsed(path), ".".join(path.parent.relative_to(base).parts))
    return {name for name in names if _is_package(name)} if path.is_relative_to(PACKAGE) else names


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path.name}: imported by a notebook, but not Python: {error}") from None


def _modules(tree: ast.Module, package: str) -> set[str]:
    names = {name for node in ast.walk(tree) for name in _named(node, package)}
    return {name[:end] for name in names if _is_name(name) for end in _ends(name)}


def _named(node: ast.AST, package: str) -> Iterator[str]:
    """Dotted names one node may import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("quantalpha."):
        yield node.value


def _is_name(name: str) -> bool:
    return all(part.isidentifier() or part == "*" for part in name.split("."))


def _is_package(module: str) -> bool:
    return module.split(".")[0] == PACKAGE.name


def _ends(name: str) -> list[int]:
    """Ends of the name and of each package it lies in: importing a.b.c runs a and a.b too."""
    return [i for i, letter in enumerate(name) if letter == "."] + [len(name)]


def _file_of(base: Path, module: str) -> Path | None:
    path = base.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _data_beside(path: Path) -> list[Path]:
    """What a module may read from its own folder; not source, not an editor's leftovers."""
    files = [file for file in path.parent.iterdir() if file.is_file()]
    return [file for file in files if file.suffix != ".py" and file.name[0] != "." and file.name[-1] != "~"]


def all_files(digests: Digests, package: Path | None = None) -> dict[str, str]:
    """sha256 of every file of a package (None: of this one), by path from its parent; not what Python or an editor leaves."""
    package = PACKAGE if package is None else package
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return _hashed({path for path in files if path.name[0] != "." and path.name[-1] != "~"}, package.parent, digests)


def _hashed(files: set[Path], base: Path, digests: Digests) -> dict[str, str]:
    return {path.relative_to(base).as_posix(): digests.file(path) for path in sorted(files)}
