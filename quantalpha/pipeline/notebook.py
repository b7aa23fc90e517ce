"""What a notebook file says before it runs: its code, and the parameters it takes."""

import ast
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.files import digest_of
from quantalpha.pipeline.graph import Stage


@dataclass(frozen=True)
class Notebook:
    """The file's text, its code cells in order, and which of them carries the tag `parameters` (None: none does)."""

    path: str
    text: str
    code: tuple[str, ...]
    parameters: int | None

    @cached_property
    def digest(self) -> str:
        """Hash of the code, and of which cell holds the parameters: text and outputs do not count."""
        return digest_of([self.code, self.parameters])

    @cached_property
    def tree(self) -> ast.Module:
        """Syntax tree of all code cells; IPython magics and shell lines are left out."""
        body = []
        for number, source in enumerate(self.code, 1):
            body += _parse(source, f"{self.path}: code cell {number}").body
        return ast.Module(body=body, type_ignores=[])


def read(root: Path, path: str) -> Notebook:
    """Raises UsageError where the file is no notebook."""
    try:
        text = (root / path).read_text()
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        code = tuple("".join(cell["source"]) for cell in cells)
        tagged = [i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a notebook ({type(error).__name__}: {error})") from None
    return Notebook(path, text, code, tagged[0] if tagged else None)


def check_parameters(stage: Stage, notebook: Notebook) -> None:
    """The notebook takes exactly the names and types the stage passes; raises UsageError before any kernel starts."""
    taken, passed = _taken(notebook), passed_types(stage)
    where = f"{notebook.path}: parameters cell: "
    for name, kind in passed.items():
        if name not in taken:
            raise UsageError(f"{where}no {name!r}, which stage {stage.name} passes; {did_you_mean(name, taken)}")
        annotation = taken[name].annotation
        if kind not in _accepted(annotation):
            raise UsageError(f"{where}{name!r} is declared {ast.unparse(annotation)}, but stage {stage.name} passes {kind}")
    for name, node in taken.items():
        if node.value is None and name not in passed:
            raise UsageError(f"{where}{name!r} has no default and stage {stage.name} does not pass it; {did_you_mean(name, passed)}")


def passed_types(stage: Stage) -> dict[str, str]:
    """Name -> type of every parameter the stage passes."""
    paths = {name: "list" if isinstance(value, list) else "str" for name, value in (stage.inputs | stage.outputs).items()}
    return dict.fromkeys(stage.loop, "str") | paths | ({"params": "dict"} if stage.sections else {})


def _taken(notebook: Notebook) -> dict[str, ast.AnnAssign]:
    """Name -> assignment in the parameters cell."""
    if notebook.parameters is None:
        raise UsageError(f"{notebook.path}: no code cell is tagged `parameters`; tag the cell that assigns the notebook's parameters")
    where = f"{notebook.path}: parameters cell"
    taken = {}
    for node in _parse(notebook.code[notebook.parameters], where).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            raise UsageError(f"{where}: {name!r} has no type; write `{name}: str = ...`")
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            taken[node.target.id] = node
    return taken


def _accepted(annotation: ast.expr) -> set[str]:
    """Outermost type names of an annotation: `list[str] | None` -> {"list", "None"}."""
    if isinstance(annotation, ast.BinOp):
        return _accepted(annotation.left) | _accepted(annotation.right)
    if isinstance(annotation, ast.Subscript):
        return _accepted(annotation.value)
    return {ast.unparse(annotation)}


def _parse(source: str, where: str) -> ast.Module:
    """Syntax tree of a cell. IPython's magic and shell lines are blanked only where the cell is not plain Python."""
    magic, _, rest = source.lstrip().partition("\n") if source.lstrip().startswith("%%") else ("", "", source)
    for text in (rest, re.sub(r"^(\s*)[%!?].*$", r"\1pass", rest, flags=re.MULTILINE)):
        try:
            return compile(text, where, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            fault = error
    if magic:
        return ast.Module(body=[], type_ignores=[])  # another language, such as %%bash
    raise UsageError(f"{where}: line {fault.lineno}: {fault.msg}")
