"""What data there is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, figure, log_prices, styled, thin

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


STATES = {  # of a month, the worst first
    "disputed by a second source": RED,
    "revised by its source": ORANGE,
    "repaired": PURPLE,
    "with gaps": SKY,
    "whole": BLUE,
    "still growing": "#9CA3AF",
}


@styled
def data_passports(months: Mapping[str, list[dict]], *, title: str = "Passports: a square a month") -> "Figure":
    """A row per kind, a square per month in the colour of what its passport tells. months: rows of `market.passports` by kind."""
    names = sorted({row["month"] for rows in months.values() for row in rows})
    fig, axes = figure(1, height=0.34 * len(months) + 1.7)
    for level, rows in enumerate(months.values()):
        at = [names.index(row["month"]) for row in rows]
        axes.scatter(
            at, np.full(len(at), level), marker="s", s=min(130, 40_000 / max(1, len(names)) ** 1.5), c=[STATES[_state(row)] for row in rows]
        )
    shown = range(0, len(names), max(1, len(names) // 12))
    axes.set_xticks(list(shown), [names[i] for i in shown])
    axes.set_yticks(range(len(months)), months)
    axes.set(title=title, ylim=(-0.6, len(months) - 0.4), xlim=(-0.8, len(names) - 0.2))
    axes.grid(visible=False)
    told = {_state(row) for rows in months.values() for row in rows}
    for state, colour in STATES.items():
        if state in told:
            axes.scatter([], [], marker="s", s=60, c=colour, label=state)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=len(told))
    return fig


def _state(row: dict) -> str:
    if row["disputed"]:
        return "disputed by a second source"
    if row["revised"] or row["repaired"]:
        return "revised by its source" if row["revised"] else "repaired"
    if row["complete"] == "no":
        return "still growing"
    return "with gaps" if row["gaps"] else "whole"


FAULT_COLOURS = {"frozen": SKY, "zero_volume": GREY, "outlier": RED, "jump": ORANGE, "sources": PURPLE}


@styled
def data_faults(close: pd.Series, faults: pd.DataFrame, *, title: str = "Bars to be doubted") -> "Figure":
    """The price, and below it a row of ticks for each kind of fault. faults: as `market.judge` gives them."""
    fig, (price, below) = figure(2, height=4.2, sharex=True, height_ratios=[3, 1.1])
    line = thin(close)
    price.plot(line.index, line, color=GREEN, linewidth=0.9)
    log_prices(price)
    price.set(title=title, ylabel="close")
    for level, (name, colour) in enumerate(FAULT_COLOURS.items()):
        times = faults["timestamp"][faults["fault"] == name]
        below.scatter(times, np.full(len(times), level), marker="|", s=110, color=colour)
        below.text(1.005, level, f"{times.nunique():,}", transform=below.get_yaxis_transform(), va="center", fontsize=9, color=GREY)
    below.set_yticks(range(len(FAULT_COLOURS)), [name.replace("_", " ") for name in FAULT_COLOURS])
    below.set(xlabel="time (UTC)", ylim=(len(FAULT_COLOURS) - 0.5, -0.5), xlim=(close.index[0], close.index[-1]))
    below.grid(axis="y", visible=False)
    return fig
