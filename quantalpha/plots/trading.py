"""What a backtest or a paper session earned, and what it was earned with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    bare,
    figure,
    format_axis,
    log_if_wide,
    segments,
    styled,
    thin,
)

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure


@styled
def equity_and_drawdown(
    equity: pd.Series, baselines: Mapping[str, pd.Series] | None = None, *, title: str = "Equity after costs"
) -> "Figure":
    """Equity at each bar's close, its baselines behind it, and below the loss from the highest equity so far."""
    baselines = {} if baselines is None else baselines
    fig, (top, bottom) = figure(2, height=5.6, sharex=True, height_ratios=(3, 1))
    for colour, (name, other) in zip((ORANGE, GREEN, PURPLE, SKY, GREY), baselines.items()):
        top.plot(thin(other), color=colour, linewidth=1.0, alpha=0.9, label=name)
    top.plot(thin(equity), color=BLUE, linewidth=1.8, label=equity.name or "equity")
    drawdown = thin(equity / equity.cummax() - 1.0)
    bottom.fill_between(drawdown.index, drawdown, 0.0, color=RED, alpha=0.35, linewidth=0)
    bottom.plot(drawdown, color=RED, linewidth=0.8)
    log_if_wide(top, equity)
    format_axis(top.yaxis, "{:,.0f}")
    format_axis(bottom.yaxis, "{:.0%}")
    bottom.set(ylabel="drawdown", xlabel="time (UTC)")
    top.set(title=title, ylabel="equity (quote currency)")
    if baselines:
        top.legend(loc="upper left", ncols=3)
    return fig


@styled
def monthly_returns(table: pd.DataFrame, *, title: str = "Monthly returns after costs") -> "Figure":
    """Heat map of `backtest.periods.monthly_returns`: years down, months across, the whole year apart on the right."""
    fig, axes = figure(1, height=0.42 * len(table) + 1.4)
    values = table.to_numpy(float)
    bound = max(float(np.nanpercentile(np.abs(values[:, :-1]), 95)), 1e-4)
    x = np.r_[0:12, 12.4]
    axes.pcolormesh(np.r_[0:13] - 0.5, np.arange(len(table) + 1) - 0.5, values[:, :12], cmap="RdBu", vmin=-bound, vmax=bound)
    axes.pcolormesh([11.9, 12.9], np.arange(len(table) + 1) - 0.5, values[:, 12:], cmap="RdBu", vmin=-3 * bound, vmax=3 * bound)
    for row, column in zip(*np.nonzero(np.isfinite(values))):
        value, limit = values[row, column], bound * (3 if column == 12 else 1)
        colour = "white" if abs(value) > 0.6 * limit else INK
        weight = "bold" if column == 12 else "normal"
        axes.text(x[column], row, f"{value:+.1%}", ha="center", va="center", fontsize=8.5, color=colour, fontweight=weight)
    names = [pd.Timestamp(2000, month, 1).strftime("%b") for month in range(1, 13)]
    axes.set_xticks(x, [*names, "Year"])
    axes.set_yticks(range(len(table)), table.index)
    axes.invert_yaxis()
    bare(axes)
    axes.set_title(title)
    return fig


@styled
def trades_on_price(
    close: pd.Series, trades: pd.DataFrame, fills: pd.DataFrame | None = None, *, title: str = "Trades on price"
) -> "Figure":
    """Price with every trade of `Result.trades` entered in its span: triangles in, crosses out, joined in the colour of gain or loss.

    fills: DataFrame[time, price] of a session that should have done the same, as circles around.
    """
    fig, axes = figure(1, height=4.6)
    axes.plot(thin(close), color=GREY, linewidth=0.9)
    shown = trades[(trades["entry_time"] >= close.index[0]) & (trades["entry_time"] <= close.index[-1])]
    ends = shown["exit_time"].fillna(close.index[-1])
    for gained, colour, name in ((True, BLUE, "gain"), (False, RED, "loss")):
        rows = (shown["pnl"] > 0.0) == gained
        trips = zip(shown["entry_time"][rows], shown["entry_price"][rows], ends[rows], shown["exit_price"][rows])
        axes.plot([], [], color=colour, label=f"{name} ({rows.sum()})")
        axes.add_collection(segments(trips, colour))
    for side, marker in (("long", "^"), ("short", "v")):
        rows = shown["side"] == side
        axes.scatter(shown["entry_time"][rows], shown["entry_price"][rows], marker=marker, s=34, color=INK, label=f"{side} entry", zorder=3)
    closed = shown["exit_time"].notna()
    axes.scatter(shown["exit_time"][closed], shown["exit_price"][closed], marker="x", s=22, color=INK, label="exit", zorder=3)
    if fills is not None:
        look = {"s": 110, "facecolors": "none", "edgecolors": ORANGE, "linewidths": 1.6, "label": f"fills of the session ({len(fills)})"}
        axes.scatter(fills["time"], fills["price"], zorder=4, **look)
    axes.set_xlim(close.index[0], close.index[-1])
    log_if_wide(axes, close)
    format_axis(axes.yaxis, "{:,.6g}")
    axes.set(title=title, ylabel="price (quote currency)", xlabel="time (UTC)")
    axes.legend(loc="best", ncols=3)
    return fig


@styled
def parameter_heatmap(scores: pd.DataFrame, chosen: tuple | None = None, *, title: str = "Score over two parameters") -> "Figure":
    """Heat map of `backtest.plateau.heat_map`, red below 0 and blue above; `chosen` (row value, column value): its cell is framed."""
    values = scores.to_numpy(float)
    rows, columns = values.shape
    fig, axes = figure(1, height=0.42 * rows + 1.6, width=min(WIDTH, 0.75 * columns + 2.5))
    bound = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-4)
    image = axes.imshow(values, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto", origin="lower")
    for row, column in zip(*np.nonzero(np.isfinite(values))):
        colour = "white" if abs(values[row, column]) > 0.6 * bound else INK
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    if chosen is not None:
        row, column = (int(np.abs(axis.to_numpy(float) - value).argmin()) for axis, value in zip((scores.index, scores.columns), chosen))
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * 0.47 + [column, row]
        axes.plot(*corners.T, color=ORANGE, linewidth=3, solid_joinstyle="miter")
    axes.set_xticks(range(columns), [f"{value:.4g}" for value in scores.columns])
    axes.set_yticks(range(rows), [f"{value:.4g}" for value in scores.index])
    bare(axes)
    axes.set(title=title, xlabel=scores.columns.name, ylabel=scores.index.name)
    fig.colorbar(image, ax=axes, shrink=0.8, label="score")
    return fig


@styled
def paper_vs_backtest(paper: pd.Series, backtest: pd.Series, *, title: str = "Session against its backtest") -> "Figure":
    """Both equities on the same bars, and below the session's difference from the backtest; a flat zero is the goal."""
    fig, (top, bottom) = figure(2, height=5.0, sharex=True, height_ratios=(2, 1))
    both = pd.concat({"session": paper, "backtest": backtest}, axis=1, join="inner")
    difference = both["session"] - both["backtest"]
    top.plot(thin(both["backtest"]), color=ORANGE, linewidth=4.0, alpha=0.55, label="backtest")
    top.plot(thin(both["session"]), color=BLUE, linewidth=1.4, label="session")
    bottom.axhline(0.0, color="#374151", linewidth=0.9)
    bottom.plot(thin(difference), color=RED, linewidth=1.2)
    bottom.set_ylim(*(np.array([-1.0, 1.0]) * max(1.15 * float(difference.abs().max()), 1e-9)))
    format_axis(top.yaxis, "{:,.2f}" if 0.0 < both.to_numpy().max() - both.to_numpy().min() < 10.0 else "{:,.0f}")
    top.set(title=title, ylabel="equity (quote currency)")
    bottom.set(ylabel="difference", xlabel="time (UTC)")
    top.legend(loc="upper left", ncols=2)
    return fig
