"""Candidates side by side: what they earned, and in what they differ."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import CYCLE, GREY, INK, bare, figure, format_axis, log_if_wide, styled, thin

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure

LESS_IS_BETTER = ("max_drawdown", "turnover", "brier", "log_loss")


@styled
def parallel_coordinates(board: pd.DataFrame, less_is_better: Collection[str] = LESS_IS_BETTER, *, title: str = "Candidates") -> "Figure":
    """A line a candidate (rows, best first) through an axis a number (columns): upwards is better on every axis, whose ends are written.

    The first six are drawn in colour and named, the others in grey behind them. A candidate without a number has a gap there; a number that
    none has is left out.
    """
    fig, axes = figure(1, height=4.6)
    board = board.dropna(axis="columns", how="all")
    values = board.to_numpy(float)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    place = (values - low) / np.where(high > low, high - low, 1.0)
    place[:, high == low] = 0.5
    flipped = np.isin(board.columns, list(less_is_better))
    place[:, flipped] = 1.0 - place[:, flipped]
    for row in range(len(board) - 1, -1, -1):
        named = row < len(CYCLE)
        looks = {"color": CYCLE[row], "linewidth": 2.4 if row == 0 else 1.5, "marker": "o", "markersize": 4} if named else {"color": GREY}
        axes.plot(place[row], label=board.index[row] if named else None, alpha=1.0 if named else 0.3, **looks)
    for column, (worst, best) in enumerate(zip(np.where(flipped, high, low), np.where(flipped, low, high))):
        axes.axvline(column, color=INK, linewidth=0.8, zorder=0)
        axes.text(column, 1.04, f"{best:.4g}", ha="center", va="bottom", fontsize=9)
        axes.text(column, -0.04, f"{worst:.4g}", ha="center", va="top", fontsize=9, color=GREY)
    axes.set_xticks(range(board.shape[1]), [str(name).replace("_", "\n") for name in board.columns])
    axes.set_yticks([])
    axes.set_ylim(-0.14, 1.14)
    bare(axes)
    axes.set_title(f"{title}: up is better on every axis")
    _legend(axes, len(board))
    return fig


@styled
def equity_overlay(equities: Mapping[str, pd.Series], *, title: str = "Equity after costs") -> "Figure":
    """Each account from 1 at its first bar on one time axis (best first), and below its loss from its highest equity so far.

    The first six in colour and named, the others in grey behind them.
    """
    fig, (top, bottom) = figure(2, height=6.2, sharex=True, height_ratios=(3, 2))
    shown = {name: equity / equity.iloc[0] for name, equity in equities.items()}
    for row, (name, path) in reversed(list(enumerate(shown.items()))):
        colour, alpha = (CYCLE[row], 1.0) if row < len(CYCLE) else (GREY, 0.3)
        looks = {"color": colour, "alpha": alpha, "linewidth": 2.0 if row == 0 else 1.2}
        top.plot(thin(path), label=name if row < len(CYCLE) else None, **looks)
        bottom.plot(thin(path / path.cummax() - 1.0), **looks | {"linewidth": 1.0})
    log_if_wide(top, pd.concat([path.agg(["min", "max"]) for path in shown.values()]))
    format_axis(top.yaxis, "{:.3g}")
    format_axis(bottom.yaxis, "{:.0%}")
    top.axhline(1.0, color=INK, linewidth=0.8)
    top.set(title=title, ylabel="equity, first bar = 1")
    bottom.set(ylabel="drawdown", xlabel="time (UTC)")
    _legend(top, len(shown))
    return fig


def _legend(axes, count: int) -> None:
    """Best first, and how many there are besides."""
    handles, labels = axes.get_legend_handles_labels()
    if count > len(CYCLE):
        (more,) = axes.plot([], [], color=GREY, alpha=0.4)
        handles, labels = [more, *handles], [f"{count - len(CYCLE)} more", *labels]
    axes.legend(
        handles[::-1], labels[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.14 if axes.get_yticks().size == 0 else -0.02), ncols=4
    )
