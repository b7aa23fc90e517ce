"""A session against its backtest: where the money between them went, and how its orders were filled."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREY, INK, ORANGE, RED, bare, figure, format_axis, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Axes, Figure

SMALL = 1e-9  # money below this is none


@styled
def gap_waterfall(parts: pd.DataFrame, backtest: float, *, title: str = "From the backtest to the session") -> "Figure":
    """Step by step from the backtest's final equity to the session's: a bar a cause, gains and losses in their colours.

    parts: DataFrame[cause, money] in the order of the steps, money in quote currency, + where the session has more.
    """
    money = parts["money"].to_numpy(float)
    levels = backtest + np.r_[0.0, np.cumsum(money)]
    names = ["backtest", *parts["cause"], "session"]
    fig, axes = figure(1, height=0.40 * len(names) + 1.3)
    low, high = levels.min(), levels.max()
    room = max(high - low, 1e-3 * abs(backtest))
    left = low - 0.15 * room
    for row, value in ((0, levels[0]), (len(names) - 1, levels[-1])):
        axes.barh(row, value - left, left=left, color=INK, alpha=0.85, height=0.62)
        axes.text(value + 0.01 * room, row, f"{value:,.2f}", va="center", fontsize=9, fontweight="bold")
    for row, (amount, before, after) in enumerate(zip(money, levels, levels[1:]), start=1):
        _step(axes, row, (amount, before, after), room)
    for row, level in enumerate(levels):
        axes.plot([level, level], [row - 0.31, row + 1.31], color=GREY, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(
        title=f"{title}: {levels[-1] - levels[0]:+,.2f}",
        xlabel="equity (quote currency); the axis does not begin at 0",
        xlim=(left, high + 0.2 * room),
        ylim=(len(names) - 0.5, -0.5),
    )
    axes.grid(axis="y", visible=False)
    format_axis(axes.xaxis, "{:,.0f}" if room > 50.0 else "{:,.2f}")
    return fig


def _step(axes: "Axes", row: int, step: tuple[float, float, float], room: float) -> None:
    amount, before, after = step
    if abs(amount) < SMALL:
        axes.text(before + 0.01 * room, row, "0", va="center", fontsize=9, color=GREY)
        return
    axes.barh(row, amount, left=before, color=BLUE if amount > 0.0 else RED, height=0.62)
    axes.text(max(before, after) + 0.01 * room, row, f"{amount:+,.2f}", va="center", fontsize=9, color=INK)


@styled
def execution_quality(orders: pd.DataFrame, *, title: str = "Slippage of each order, measured and expected") -> "Figure":
    """Slippage in basis points through time, + against us, the expected behind it; below, where it was journalled, how long each order took
    from its bar's close to the market.

    orders: as `promotion.order_table`; refused and unfilled ones are left out.
    """
    filled = orders[(orders["refused"] == "") & (orders["filled"] != 0.0)]
    if filled.empty:
        return _nothing(title, "no order was filled")
    timed = filled["delay"].notna().any()
    fig, panels = figure(2 if timed else 1, height=5.4 if timed else 3.6, sharex=True, squeeze=False, height_ratios=(2, 1)[: 1 + timed])
    top = panels[0, 0]
    top.plot(
        filled.index, filled["expected_slippage"] * 1e4, color=ORANGE, linewidth=3.0, alpha=0.6, drawstyle="steps-mid", label="expected"
    )
    for side, marker, name in ((1.0, "^", "bought"), (-1.0, "v", "sold")):
        rows = filled[np.sign(filled["filled"]) == side]
        top.scatter(rows.index, rows["slippage"] * 1e4, marker=marker, s=34, color=BLUE if side > 0 else RED, label=name, zorder=3)
    weight = (filled["filled"] * filled["price"]).abs()
    mean = float((filled["slippage"] * weight).sum() / weight.sum()) * 1e4
    top.axhline(mean, color=INK, linestyle="--", linewidth=1.0, label=f"mean, weighted by notional: {mean:.2f} bp")
    top.axhline(0.0, color=GREY, linewidth=0.8)
    top.set(title=title, ylabel="slippage (basis points)")
    top.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02 if timed else -0.16), ncols=4)
    if timed:
        panels[1, 0].scatter(filled.index, filled["delay"] / 1000.0, s=20, color=BLUE)
        panels[1, 0].set(ylabel="from close to order (s)", ylim=(0.0, 1.15 * max(float(filled["delay"].max()) / 1000.0, 1e-3)))
        format_axis(panels[1, 0].yaxis, "{:,.4g}")
    panels[-1, 0].set(xlabel="time (UTC)")
    return fig


def _nothing(title: str, words: str) -> "Figure":
    """Says that there is nothing to be drawn."""
    fig, axes = figure(1, height=1.2)
    axes.text(0.0, 0.5, words, transform=axes.transAxes, fontsize=11, color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    axes.set_title(title)
    return fig
