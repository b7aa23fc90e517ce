"""What is checked in a notebook before its kernel starts."""

import pytest

from quantalpha.errors import UsageError
from quantalpha.pipeline import notebook
from quantalpha.pipeline.graph import Stage

STAGE = Stage("s-BTCUSDT", "s", "notebooks/n.ipynb", {"symbol": "BTCUSDT"}, ("labels",), {"bars": "a", "each": ["b"]}, {"out": "c"}, False)
GOOD = "symbol: str = 'X'\nbars: str = ''\neach: list[str] = []\nout: str = ''\nparams: dict = {}"


def check(workspace, parameters: str | None) -> None:
    workspace.notebook("n", parameters, "print(symbol)")
    notebook.check_parameters(STAGE, notebook.read(workspace.root, STAGE.notebook))


@pytest.mark.parametrize("parameters", [GOOD, GOOD + "\nextra: int = 3", GOOD.replace("bars: str", "bars: str | None"), "# words\n" + GOOD])
def test_a_fitting_parameters_cell_passes(workspace, parameters):
    check(workspace, parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "no code cell is tagged `parameters`"),
        (GOOD.replace("bars", "bar"), "no 'bars', which stage s passes; did you mean 'bar'"),
        (GOOD.replace("bars: str", "bars: int"), "'bars' is declared int, but stage s passes str"),
        (GOOD.replace("each: list[str]", "each: str"), "'each' is declared str, but stage s passes list"),
        (GOOD.replace("params: dict", "params: list"), "'params' is declared list, but stage s passes dict"),
        (GOOD.replace("out: str = ''", "out = ''"), "'out' has no type; write `out: str = ...`"),
        (GOOD + "\nhorizon: int", "'horizon' has no default and stage s does not pass it"),
        (GOOD + "\nx: int = = 3", "parameters cell: line 6: invalid syntax"),
    ],
)
def test_a_wrong_parameters_cell_is_named(workspace, parameters, message):
    with pytest.raises(UsageError, match=message) as caught:
        check(workspace, parameters)
    assert str(caught.value).startswith("notebooks/n.ipynb")


def test_magics_shell_lines_and_await_are_no_faults_but_other_syntax_is(workspace):
    cells = ("%matplotlib inline\n!ls\nx = (7\n % 2)", "%%bash\necho 'hi", "%%time\nimport quantalpha.schema", "y = (7\n % 2)\nawait f()")
    workspace.notebook("n", GOOD, cells[0].split("\nx")[0], *cells[1:])
    tree = notebook.read(workspace.root, "notebooks/n.ipynb").tree
    assert "quantalpha.schema" in notebook.ast.unparse(tree)
    workspace.notebook("n", GOOD, "fine = 1", "def (")
    with pytest.raises(UsageError, match=r"notebooks/n.ipynb: code cell 3: line 1: invalid syntax"):
        notebook.read(workspace.root, "notebooks/n.ipynb").tree  # noqa: B018


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": [{}]}'])
def test_a_file_that_is_no_notebook_is_named(workspace, text):
    workspace.write("notebooks/n.ipynb", text)
    with pytest.raises(UsageError, match="notebooks/n.ipynb: not a notebook"):
        notebook.read(workspace.root, "notebooks/n.ipynb")
