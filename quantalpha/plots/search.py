"""A search for hyper-parameters: which of them matter, where the good ones lie, and what a high Sharpe ratio is paid with."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREY, INK, ORANGE, RED, WIDTH, figure, format_axis, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure

LEAST = 4  # points with which a surface can be drawn


@styled
def search_importance(shares: pd.DataFrame, *, title: str = "Which hyper-parameters matter") -> "Figure":
    """Bars: mean over the folds of the share of an objective's variance; dots: single folds.

    shares: DataFrame[hyper-parameter, fold], the most important first, as `search_report.importances`.
    """
    fig, axes = figure(1, height=0.42 * len(shares) + 1.4, width=0.75 * WIDTH)
    places = np.arange(len(shares))[::-1]
    axes.barh(places, shares.mean(axis=1), color=BLUE, height=0.6, label="mean")
    values = shares.to_numpy(float)
    axes.plot(
        values.ravel(), np.repeat(places, values.shape[1]), linestyle="", marker="o", markersize=4, color=INK, alpha=0.5, label="folds"
    )
    axes.set_yticks(places, list(shares.index))
    format_axis(axes.xaxis, "{:.0%}")
    axes.set(title=title, xlabel="share of the variance")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")
    return fig


@styled
def search_contour(
    sets: pd.DataFrame, x: str, y: str, *, value: str = "sharpe_ratio", log: tuple[str, ...] = (), title: str | None = None
) -> "Figure":
    """Surface of `value` over two hyper-parameters, between the sets that were scored; circles without filling were given up.

    sets: rows of one fold of `search_report.all_sets`. log: hyper-parameters with equal distances for equal ratios.
    """
    fig, axes = figure(1, height=4.6, width=0.75 * WIDTH)
    axes.use_sticky_edges = False  # room for the points at the rim of the surface
    scored, pruned, chosen = sets[sets["state"] == "complete"], sets[sets["state"] == "pruned"], sets[sets["chosen"]]
    if len(scored) >= LEAST and all(scored[name].nunique() > 2 for name in (x, y)):
        surface = axes.tricontourf(scored[x], scored[y], scored[value], levels=12, cmap="viridis", alpha=0.85)
        fig.colorbar(surface, ax=axes, shrink=0.85, label=value.replace("_", " "))
    axes.plot(scored[x], scored[y], linestyle="", marker="o", markersize=4, color=INK, label="scored")
    axes.plot(pruned[x], pruned[y], linestyle="", marker="o", markersize=4, fillstyle="none", color=GREY, label="given up")
    axes.plot(chosen[x], chosen[y], linestyle="", marker="*", markersize=16, color=ORANGE, markeredgecolor=INK, label="chosen")
    for name, scale in ((x, axes.set_xscale), (y, axes.set_yscale)):
        scale("log" if name in log else "linear")
    axes.set(title=title or f"{value.replace('_', ' ')} over {x} and {y}", xlabel=x, ylabel=y)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    return fig


@styled
def search_front(sets: pd.DataFrame, limits: tuple[float, float], *, title: str = "What a high Sharpe ratio is paid with") -> "Figure":
    """Net Sharpe ratio against drawdown and against turnover of every set; filled are those on the Pareto front of all three.

    sets: rows of one fold of `search_report.all_sets`. limits: largest drawdown and turnover that may be chosen.
    """
    fig, panels = figure(1, 2, height=4.0)
    scored = sets[sets["state"] == "complete"]
    groups = {"others": (scored[~scored["pareto"]], GREY), "Pareto front": (scored[scored["pareto"]], BLUE)}
    for axes, name, limit in zip(panels, ("max_drawdown", "turnover"), limits):
        for label, (rows, colour) in groups.items():
            axes.plot(rows[name], rows["sharpe_ratio"], linestyle="", marker="o", markersize=5, color=colour, label=label)
        chosen = scored[scored["chosen"]]
        axes.plot(
            chosen[name], chosen["sharpe_ratio"], linestyle="", marker="*", markersize=16, color=ORANGE, markeredgecolor=INK, label="chosen"
        )
        axes.axvline(limit, color=RED, linestyle="--", linewidth=1.1, label="limit")
        axes.set(xlabel=name.replace("_", " "), ylabel="net Sharpe ratio, inner test blocks")
    format_axis(panels[0].xaxis, "{:.0%}")
    format_axis(panels[1].xaxis, "{:,.0f}")
    panels[0].set_title(title)
    panels[1].legend(loc="best")
    return fig
