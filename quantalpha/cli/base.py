"""What every command shares: the typer application, its options, and how a result is shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from quantalpha.errors import QuantalphaError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Research, promote and run crypto perpetual-futures models.",
)
data_app = typer.Typer(no_args_is_help=True, help="The lake of market data: fill it, prove it, ask it, record streams, copy it elsewhere.")
app.add_typer(data_app, name="data")

WIDE = 200  # characters of a line that goes into a pipe

Profile = Annotated[str, typer.Option(help="Overlay of params.yaml: demo, default or gpu.")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one parameter; repeat for more.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str | None, typer.Option(help="Registered model; default: the first of data.symbols with alias paper.")]


def show(value, as_json: bool, text) -> None:
    """`value` as JSON, or `text` (a string or a rich renderable) for people."""
    if as_json:
        print(json.dumps(value, indent=2, default=str))
        return
    from rich.console import Console

    console = Console(soft_wrap=isinstance(text, str))
    if not console.is_terminal:
        console.width = WIDE  # nobody's screen folds what goes into a pipe
    console.print(text, markup=not isinstance(text, str), highlight=False)


@contextmanager
def judged(result: dict, as_json: bool, text) -> Iterator[None]:
    """Shows `result`; where the judgement inside is bad, --json makes it part of the one document that says so."""
    try:
        yield
    except QuantalphaError as error:
        error.details = result
        if not as_json:
            show(result, as_json, text)
        raise
    show(result, as_json, text)


def table(title: str, rows: list[dict]):
    """Rows of one shape as a rich table."""
    from rich.table import Table

    grid = Table(title=title, title_justify="left", header_style="bold")
    for name in rows[0] if rows else ():
        grid.add_column(name, justify="right" if isinstance(rows[0][name], (int, float)) else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    return grid


def refuse_sealed(overrides: list[str]) -> None:
    """A bundle trades as it was judged: what research decided cannot be set at its promotion or its run."""
    from quantalpha.bundle import SECTIONS

    for text in overrides:
        if text.split(".")[0] in SECTIONS:
            raise UsageError(f"--set {text.partition('=')[0]}: sealed with the model; run the pipeline with it, then promote that run")
