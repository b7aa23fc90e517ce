"""The page a result is judged by: what looks wrong first, then money, trades, costs and luck, each as an interactive figure or a table.

    sheet = tearsheet(result, title="BTCUSDT trend", baselines={"buy and hold": held.equity}, findings=critique(result))
    sheet                      # shows in a notebook
    sheet.write("trend.html")  # one file, no network needed

A section whose input is not given is left out. What takes long to compute (resampling, frontier, luck) is computed by the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from quantalpha.backtest import figures, page
from quantalpha.backtest.critic import Finding
from quantalpha.backtest.monte_carlo import MonteCarlo
from quantalpha.backtest.result import Result
from quantalpha.backtest.sections import Sections, span
from quantalpha.backtest.significance import RandomEntry
from quantalpha.files import write_atomic

if TYPE_CHECKING:
    from quantalpha.backtest.figures import Figure

NOTEBOOK_HEIGHT = 900  # pixels of the frame a notebook shows the page in
FOOT = "Times are UTC and name a bar by its open. Returns are simple, years have 365 days, money is in quote currency."


@dataclass(frozen=True)
class Tearsheet:
    """A finished page. sections: (name, HTML) each; figures: every one on its own, by name."""

    title: str
    lines: tuple[str, ...]  # below the title
    sections: tuple[tuple[str, str], ...]
    figures: Mapping[str, "Figure"]

    @cached_property
    def html(self) -> str:
        """One self-contained document: styles, figures and the drawing library in it."""
        drawn = {name: figure.to_json() for name, figure in self.figures.items()}
        head = "".join(page.paragraph(line) for line in self.lines)
        return page.page(self.title, head, self.sections, page.paragraph(FOOT), drawn, figures.library())

    def write(self, path: Path | str) -> int:
        """Write the page to `path`, whole or not at all; its size in bytes."""
        return write_atomic(Path(path), self.html).stat().st_size

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and scripts and the notebook's leave each other alone."""
        style = f"width:100%;height:{NOTEBOOK_HEIGHT}px;border:1px solid #d1d5db;border-radius:8px"
        return f'<iframe title="{escape(self.title)}" srcdoc="{escape(self.html)}" style="{style}"></iframe>'


def tearsheet(
    result: Result,
    *,
    title: str,
    subtitle: str = "",
    baselines: Mapping[str, pd.Series] | None = None,
    findings: Sequence[Finding] | None = None,
    regimes: pd.Series | None = None,
    frontier: pd.DataFrame | None = None,
    break_even: float | None = None,
    capacity: pd.DataFrame | None = None,
    monte_carlo: MonteCarlo | Mapping[str, MonteCarlo] | None = None,
    significance: RandomEntry | None = None,
    data: Mapping[str, object] | None = None,
) -> Tearsheet:
    """The page of `result`.

    baselines: name -> equity at the closes of the same bars, grown from the same cash. findings: of `critique`; an empty list says that it
    found nothing. regimes: a label per bar (`by_regime`). frontier: of `cost_frontier`; break_even and capacity: of the functions of those
    names. monte_carlo: one, or several by what was resampled. significance: of `random_entry`. data: what the bars were (file, sha256).
    """
    parts = Sections(result)
    parts.critic(findings)
    parts.headline()
    parts.money({} if baselines is None else baselines)
    parts.calendar()
    parts.trades(regimes)
    parts.costs(frontier, break_even, capacity)
    parts.luck({"": monte_carlo} if isinstance(monte_carlo, MonteCarlo) else monte_carlo or {}, significance)
    parts.parameters({} if data is None else data)
    return Tearsheet(title, (subtitle, span(result)), tuple(parts.sections), parts.figures)
