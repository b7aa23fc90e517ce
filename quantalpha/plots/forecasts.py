"""How good forecasts are: fold by fold, and as probabilities."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREY, INK, ORANGE, RED, WIDTH, figure, format_axis, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure


@styled
def fold_metric(values: pd.Series, *, metric: str, reference: float = 0.0, title: str | None = None) -> "Figure":
    """One bar per walk-forward fold (index: its number or test start), from `reference` up or down; the dashed line is the mean."""
    fig, axes = figure(1, height=3.4)
    labels = [f"{name:%Y-%m}" if isinstance(name, pd.Timestamp) else str(name) for name in values.index]
    heights = values.to_numpy(float) - reference
    axes.bar(range(len(values)), heights, bottom=reference, color=np.where(heights >= 0.0, BLUE, RED), width=0.75)
    axes.axhline(reference, color="#374151", linewidth=0.9)
    axes.axhline(float(values.mean()), color=INK, linestyle="--", linewidth=1.1, label=f"mean {values.mean():.3g}")
    step = -(-len(values) // 14)
    axes.set_xticks(range(0, len(values), step), labels[::step])
    axes.set(title=title or f"{metric} by fold", ylabel=metric, xlabel="fold")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")
    return fig


@styled
def forecast_calibration(probability: pd.Series, happened: pd.Series, *, bins: int = 10, title: str = "Forecast calibration") -> "Figure":
    """How often what was given a probability came true, in bins of equal count with 95 % intervals; on the diagonal the forecast is honest.

    probability: forecast of one class. happened: bool or 0/1, whether that class came.
    """
    fig, (top, bottom) = figure(2, height=5.4, width=0.62 * WIDTH, sharex=True, height_ratios=(3, 1))
    pair = pd.DataFrame({"p": probability, "y": happened.astype(float)}).dropna()
    groups = pair.groupby(pd.qcut(pair["p"], bins, duplicates="drop"), observed=True)
    mean, rate, count = groups["p"].mean(), groups["y"].mean(), groups.size()
    span = float(pair["p"].min()), float(pair["p"].max())
    top.plot(span, span, color=GREY, linestyle="--", linewidth=1.0, label="honest forecast")
    top.errorbar(mean, rate, 1.96 * np.sqrt(rate * (1 - rate) / count), color=BLUE, marker="o", markersize=5, capsize=2, label="observed")
    top.axhline(pair["y"].mean(), color=ORANGE, linewidth=1.1, label=f"base rate {pair['y'].mean():.1%}")
    bottom.hist(pair["p"], bins=60, color=BLUE, alpha=0.8)
    for axis in (top.yaxis, bottom.xaxis):
        format_axis(axis, "{:.0%}")
    format_axis(bottom.yaxis, "{:,.0f}")
    top.set(title=title, ylabel="came true")
    bottom.set(ylabel="forecasts", xlabel="forecast probability")
    top.legend(loc="upper left")
    return fig
