"""Labels and events: how they fall in time, how they overlap, what they returned."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREEN, GREY, INK, ORANGE, RED, SKY, figure, format_axis, log_if_wide, styled, thin

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure


@styled
def label_balance(label: pd.Series, *, period: str = "MS", title: str = "Labels over time") -> "Figure":
    """Share of -1, 0 and +1 among the finished labels of each period (pandas offset; 'MS': month)."""
    fig, axes = figure(1, height=3.2)
    shares = pd.get_dummies(label.dropna()).reindex(columns=[-1, 0, 1], fill_value=False).resample(period).mean().dropna()
    names = ("-1 down", "0 flat", "+1 up")
    axes.stackplot(shares.index, shares.to_numpy(float).T, labels=names, colors=(RED, "#D1D5DB", BLUE), alpha=0.85, step="post")
    format_axis(axes.yaxis, "{:.0%}")
    axes.set(title=title, ylabel="share of labels", xlabel="time (UTC)", ylim=(0, 1), xlim=(shares.index[0], shares.index[-1]))
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@styled
def label_overlap(concurrency: pd.Series, uniqueness: pd.Series, *, period: str = "MS", title: str = "How much labels overlap") -> "Figure":
    """Labels alive in each bar, below it the uniqueness of each label: mean and middle 80 % of each period (pandas offset; 'MS': month)."""
    fig, both = figure(2, height=4.4, sharex=True)
    for axes, line in zip(both, (concurrency, uniqueness.dropna())):
        groups = line.resample(period)
        low, mean, high = groups.quantile(0.1), groups.mean(), groups.quantile(0.9)
        axes.fill_between(mean.index, low, high, color=SKY, alpha=0.35, linewidth=0, label="middle 80 %")
        axes.plot(mean, color=BLUE, label="mean of the period")
        axes.axhline(float(line.mean()), color=ORANGE, linestyle="--", linewidth=1.1, label=f"mean {line.mean():.3g}")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right", ncols=3)
    both[0].set(title=title, ylabel="labels alive")
    both[1].set(ylabel="uniqueness", xlabel="time (UTC)")
    return fig


@styled
def return_by_ending(ret: pd.Series, ending: pd.Series, *, bins: int = 80, title: str = "Return by how the path ended") -> "Figure":
    """Histogram of each label's return, coloured by its ending (barrier, or label), with count and mean; 0.5 % cut off either side."""
    fig, axes = figure(1, height=3.6)
    pair = pd.DataFrame({"ret": ret, "ending": ending}).dropna()
    edges = np.linspace(*pair["ret"].quantile([0.005, 0.995]), bins + 1)
    names = {"stop_loss": "stop loss", "take_profit": "take profit", -1.0: "-1 down", 0.0: "0 flat", 1.0: "+1 up"}
    known = dict(zip(("stop_loss", "take_profit", "time", -1.0, 1.0, 0.0), (RED, BLUE, "#D1D5DB") * 2))
    groups = dict(iter(pair.groupby("ending", observed=True)["ret"]))
    notes = [f"{names.get(name, name)}: {len(group) / len(pair):.1%}, mean {group.mean():+.2%}" for name, group in groups.items()]
    colours = [known.get(name, GREEN) for name in groups]
    axes.hist(list(groups.values()), edges, stacked=True, color=colours, label=notes)
    axes.axvline(float(pair["ret"].mean()), color=INK, linestyle="--", linewidth=1.1, label=f"all: mean {pair['ret'].mean():+.3%}")
    format_axis(axes.xaxis, "{:+.1%}")
    format_axis(axes.yaxis, "{:,.0f}")
    axes.set(title=title, ylabel="labels", xlabel="return from entry to exit, before costs")
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


@styled
def events_on_price(close: pd.Series, events: pd.Series, *, title: str = "Events on price") -> "Figure":
    """Price, and a triangle at every bar with an event: up for +1, down for -1."""
    fig, axes = figure(1, height=3.8)
    axes.plot(thin(close), color=GREY, linewidth=0.9)
    for side, marker, colour, name in ((1, "^", BLUE, "ran up"), (-1, "v", RED, "ran down")):
        at = close[events == side]
        axes.scatter(at.index, at, marker=marker, color=colour, s=22, linewidths=0, label=f"{name} ({len(at):,})", zorder=3)
    log_if_wide(axes, close)
    format_axis(axes.yaxis, "{:,.6g}")
    axes.set(title=title, ylabel="price (quote currency)", xlabel="time (UTC)")
    axes.legend(loc="best", ncols=2)
    return fig
