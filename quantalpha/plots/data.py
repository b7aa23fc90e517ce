"""What data there is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREY, RED, figure, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure


@styled
def data_coverage(indexes: Mapping[str, pd.DatetimeIndex], spacing: pd.Timedelta, *, title: str = "Bars present, gaps marked") -> "Figure":
    """A line per table of bars from its first to its last, cut and marked red where bars `spacing` apart are missing."""
    fig, axes = figure(1, height=0.55 * len(indexes) + 1.3)
    for row, index in enumerate(indexes.values()):
        gap = np.flatnonzero(np.diff(index) > spacing)
        starts, ends = index[np.r_[0, gap + 1]], index[np.r_[gap, len(index) - 1]] + spacing
        axes.hlines(np.full(len(starts), row), starts, ends, color=BLUE, linewidth=9)
        axes.scatter(index[gap] + spacing, np.full(len(gap), row + 0.33), marker="v", color=RED, s=16, zorder=3)
        expected = (index[-1] - index[0]) // spacing + 1
        note = f"{len(index):,} bars, {expected - len(index):,} missing in {len(gap)} gaps"
        axes.text(index[0], row - 0.4, note, fontsize=8.5, va="center", color=GREY)
    axes.set_yticks(range(len(indexes)), indexes)
    axes.set(title=title, xlabel="time (UTC)", ylim=(-0.7, len(indexes) - 0.4))
    axes.grid(axis="y", visible=False)
    return fig
