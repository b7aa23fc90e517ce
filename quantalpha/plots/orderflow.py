"""Order flow and the price it moves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, CYCLE, GREY, INK, ORANGE, figure, format_axis, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure

PANELS = 4  # in a row
MARKERS = "osD^vPX"


@styled
def impact_scatter(bars: Mapping[str, pd.DataFrame], *, title: str = "The price follows the order flow") -> "Figure":
    """A panel per capture: each bar's `move` (ticks) on its order-flow imbalance in mean queues (`depth`), the fitted line, its R2."""
    rows = -(-len(bars) // PANELS)
    fig, grid = figure(rows, min(PANELS, len(bars)), height=2.5 * rows + 0.7, squeeze=False)
    for axes in grid.flat[len(bars) :]:
        axes.set_visible(False)
    for axes, (name, table) in zip(grid.flat, bars.items()):
        flow, move = table["order_flow_imbalance"] / table["depth"].mean(), table["move"]
        axes.scatter(flow, move, s=9, color=BLUE, alpha=0.45, linewidths=0)
        slope, level = np.polyfit(flow, move, 1)
        ends = np.array([flow.min(), flow.max()])
        axes.plot(ends, level + slope * ends, color=ORANGE, linewidth=1.6)
        axes.set_title(name, fontsize=9.5)
        axes.text(0.04, 0.95, f"R² {np.corrcoef(flow, move)[0, 1] ** 2:.2f}", transform=axes.transAxes, va="top", color=INK)
        axes.locator_params(nbins=5)
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    fig.supxlabel("order-flow imbalance (mean queues at the best price)", fontsize=10)
    fig.supylabel("change of the mid (ticks)", fontsize=10)
    return fig


@styled
def explained_by(table: pd.DataFrame, *, title: str = "What explains the moves of the mid") -> "Figure":
    """Per bar length a panel, per capture a line from the R2 of signed volume to that of order flow, and a tick for both together.

    table: index (capture, seconds), columns r2_trades, r2_flow, r2_both.
    """
    lengths = table.index.unique("seconds")
    captures = table.index.unique("capture")[::-1]
    fig, both = figure(1, len(lengths), height=0.42 * len(captures) + 1.5, sharey=True, sharex=True, squeeze=False)
    at = np.arange(len(captures))
    for axes, seconds in zip(both.flat, lengths):
        part = table.xs(seconds, level="seconds").loc[captures]
        axes.hlines(at, part["r2_trades"], part["r2_flow"], color="#D1D5DB", linewidth=3, zorder=1)
        axes.scatter(part["r2_trades"], at, color=ORANGE, s=42, label="signed volume", zorder=2)
        axes.scatter(part["r2_flow"], at, color=BLUE, s=42, label="order-flow imbalance", zorder=2)
        axes.scatter(part["r2_both"], at, color=INK, s=90, marker="|", linewidths=1.6, label="both", zorder=3)
        axes.set_title(f"bars of {seconds:g} s, mean R² of the flow {part['r2_flow'].mean():.2f}", fontsize=10)
        axes.set(yticks=at, yticklabels=captures, xlim=(0, 1), xlabel="R²")
        axes.grid(axis="y", visible=False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    fig.legend(*both.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@styled
def impact_by_depth(table: pd.DataFrame, levels: pd.DataFrame, *, title: str = "Thin books move more, deep levels tell more") -> "Figure":
    """Left: slope on depth, a point per minute over its capture's mean (table: capture, slope, depth). Right: adjusted R2 by levels.

    levels: index the number of levels, a column per capture.
    """
    fig, (left, right) = figure(1, 2, height=4.3)
    names = dict.fromkeys([*table["capture"], *levels])
    colours = (*CYCLE, GREY)
    looks = {name: (colours[i % len(colours)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}
    for name, part in table.groupby("capture", sort=False):
        left.scatter(part["depth"], part["slope"], color=looks[name][0], marker=looks[name][1], s=24, alpha=0.8, linewidths=0)
    power, level = np.polyfit(np.log(table["depth"]), np.log(table["slope"]), 1)
    ends = np.array([table["depth"].min(), table["depth"].max()])
    left.plot(ends, np.exp(level) * ends**power, color=INK, linestyle="--", linewidth=1.2)
    left.text(0.96, 0.94, f"slope ~ depth$^{{{power:.2f}}}$", transform=left.transAxes, ha="right", va="top", color=INK)
    left.set(xscale="log", yscale="log", xlabel="depth of the minute / mean of its capture", ylabel="slope / mean of its capture")
    for axis in (left.xaxis, left.yaxis):
        axis.set_minor_formatter(lambda value, _: f"{value:.1g}" if f"{value:e}"[0] in "235" else "")
        format_axis(axis, "{:g}")
    for name, line in levels.items():
        right.plot(line.index, line, color=looks[name][0], marker=looks[name][1], markersize=4.5, label=name)
    right.set(xlabel="levels of the book read", ylabel="adjusted R², bars of a second", ylim=(0, 1), xticks=levels.index)
    fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig
