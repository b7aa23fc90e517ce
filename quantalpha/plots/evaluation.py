"""How good class forecasts are, and what they are made of: confusion, curves, reliability, decay, groups, contributions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, GREY, INK, ORANGE, RED, bare, figure, format_axis, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure

COLOUR = {"down": RED, "flat": GREY, "up": BLUE}
SHOWN = 20  # features in a picture of contributions


@styled
def confusion_matrix(table: pd.DataFrame, *, title: str = "Forecast against what came") -> "Figure":
    """Left all folds of `backtest.evaluation.confusion_by_fold`, right what was forecast of each class, fold by fold."""
    fig, axes = figure(1, 4, height=3.9, width_ratios=(1.5, 1, 1, 1))
    total = table.groupby(level="came", sort=False).sum()
    share = total.div(total.sum(axis=1).replace(0, 1), axis=0)
    axes[0].imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(share.shape):
        colour = "white" if share.iat[row, column] > 0.6 else INK
        text = f"{share.iat[row, column]:.0%}\n{total.iat[row, column]:,}"
        axes[0].text(column, row, text, ha="center", va="center", color=colour)
    axes[0].set_xticks(range(3), share.columns)
    axes[0].set_yticks(range(3), share.index)
    bare(axes[0])
    axes[0].set(xlabel="forecast", ylabel="came")
    axes[0].set_title("all folds", fontsize=10)
    for panel, name in zip(axes[1:], total.index):
        _shares(panel, table.xs(name, level="came"), name)
    fig.legend(loc="outside lower right", ncols=3)
    fig.suptitle(title, fontweight="bold", fontsize=12, x=0.01, ha="left")
    axes[1].set_ylabel("share of forecasts")
    return fig


def _shares(axes, folds: pd.DataFrame, came: str) -> None:
    """Stacked shares of what was forecast when `came` came; the right one lies at the bottom."""
    share, base = folds.div(folds.sum(axis=1).replace(0, np.nan), axis=0), np.zeros(len(folds))
    for name in [came, *(other for other in folds.columns if other != came)]:
        axes.bar(range(len(folds)), share[name], bottom=base, color=COLOUR[name], alpha=1.0 if name == came else 0.35, width=0.85)
        base = base + share[name].fillna(0.0)
    for name in folds.columns if came == "up" else ():
        axes.bar([0], [0], color=COLOUR[name], label=f"forecast {name}")
    axes.axhline(1 / 3, color=INK, linestyle="--", linewidth=0.9)
    step = -(-len(folds) // 6)
    axes.set_xticks(range(0, len(folds), step), folds.index[::step])
    axes.set_ylim(0.0, 1.0)
    format_axis(axes.yaxis, "{:.0%}")
    axes.set_title(f"{came} came", fontsize=10)
    axes.set_xlabel("fold")
    axes.grid(axis="x", visible=False)


@styled
def roc_and_precision_recall(roc: pd.DataFrame, precision_recall: pd.DataFrame, areas: pd.DataFrame, *, title: str) -> "Figure":
    """`validation.roc_curves` and `precision_recall_curves`, a line a class; dashed: a forecast that knows nothing."""
    fig, (left, right) = figure(1, 2, height=4.2)
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.0)
    for name, row in areas.dropna().iterrows():
        curve = roc[roc["class"] == name]
        left.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=COLOUR[name], label=f"{name}: area {row.roc_auc:.3f}")
        curve = precision_recall[precision_recall["class"] == name].iloc[:-1]
        text = f"{name}: area {row.average_precision:.3f}, frequency {row.frequency:.3f}"
        right.plot(curve["recall"], curve["precision"], color=COLOUR[name], label=text)
        right.axhline(row.frequency, color=COLOUR[name], linestyle="--", linewidth=1.0)
    left.set(title=title, xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    right.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    left.legend(loc="lower right")
    right.legend(loc="upper right")
    return fig


@styled
def reliability_diagram(table: pd.DataFrame, *, title: str = "Do the probabilities mean what they say?") -> "Figure":
    """`validation.reliability`: how often each class came against what it was given, with 95 % intervals of independent rows; on the
    diagonal the forecast is honest. Overlapping labels make the true intervals wider."""
    fig, axes = figure(1, 3, height=3.9)
    for panel, (name, rows) in zip(axes, table.groupby("class", sort=False)):
        error = 1.96 * np.sqrt(rows["observed"] * (1 - rows["observed"]) / rows["count"])
        ends = [min(rows["forecast"].min(), rows["observed"].min()), max(rows["forecast"].max(), rows["observed"].max())]
        base = np.average(rows["observed"], weights=rows["count"])
        panel.plot(ends, ends, color=INK, linestyle="--", linewidth=1.0, label="honest")
        panel.axhline(base, color=ORANGE, linewidth=1.1, label=f"base rate {base:.0%}")
        panel.errorbar(rows["forecast"], rows["observed"], error, color=COLOUR[name], marker="o", markersize=4.5, capsize=2)
        gap = np.average((rows["forecast"] - rows["observed"]).abs(), weights=rows["count"])
        panel.set_title(f"{name}: off by {gap:.1%} on average", fontsize=10)
        panel.set_xlabel("forecast probability")
        panel.legend(loc="upper left")
        for axis in (panel.xaxis, panel.yaxis):
            format_axis(axis, "{:.0%}")
    axes[0].set_ylabel("came true")
    fig.suptitle(title, fontweight="bold", fontsize=12, x=0.01, ha="left")
    return fig


@styled
def information_decay(table: pd.DataFrame, *, title: str = "How far ahead does the forecast rank returns?") -> "Figure":
    """`validation.information_decay`: the coefficient by horizon, with the 95 % interval of its independent rows."""
    fig, axes = figure(1, height=3.4)
    places, values = np.arange(len(table)), table["information_coefficient"].to_numpy(float)
    width = 1.96 / np.sqrt(np.maximum(table["independent"].to_numpy(float), 3.0))
    axes.fill_between(places, values - width, values + width, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    axes.plot(places, values, color=BLUE, marker="o", label="information coefficient")
    axes.axhline(0.0, color=INK, linewidth=0.9)
    axes.set_xticks(places, [f"{horizon}\nt {t:.1f}" for horizon, t in zip(table.index, table["t_value"])])
    axes.set(title=title, ylabel="rank correlation", xlabel="bars ahead, and the t-value over rows that do not overlap")
    axes.legend(loc="upper left", ncols=2)
    return fig


@styled
def scores_by_group(tables: Mapping[str, pd.DataFrame], *, title: str = "Where is the forecast good?") -> "Figure":
    """Tables of `backtest.evaluation.scores_by` side by side: above the information coefficient, below the log loss, where bars that
    hang lower are better; dashed: a forecast that knows nothing."""
    fig, axes = figure(
        2, len(tables), height=4.8, width_ratios=[max(len(table), 6) for table in tables.values()], squeeze=False, sharex="col"
    )
    marks = ("information_coefficient", 0.0, BLUE, "information coefficient"), ("log_loss", float(np.log(3)), GREY, "log loss (nats)")
    for line, (score, reference, colour, label) in zip(axes, marks):
        for panel, table in zip(line, tables.values()):
            panel.bar(range(len(table)), table[score].astype(float) - reference, bottom=reference, color=colour, width=0.75)
            panel.axhline(reference, color=INK, linestyle="--", linewidth=0.9)
            panel.grid(axis="x", visible=False)
            panel.set_xticks(range(len(table)), [f"{entry}" for entry in table.index], fontsize=8 if len(table) > 9 else 9)
            panel.sharey(line[0])
            panel.tick_params(labelleft=panel is line[0])
        line[0].set_ylabel(label)
    for panel, name in zip(axes[1], tables):
        panel.set_xlabel(name)
    axes[0, 0].set_title(title)
    return fig


@styled
def contributions(table: pd.DataFrame, *, title: str = "What the forecasts are made of") -> "Figure":
    """`backtest.contributions.contributions`: the mean over folds as a bar, each fold as a dot; the twenty that move the forecast most."""
    shown = table.head(SHOWN).iloc[::-1]
    fig, axes = figure(1, height=0.24 * len(shown) + 1.3)
    places = np.arange(len(shown))
    axes.barh(places, shown.mean(axis=1), color=BLUE, alpha=0.75, height=0.7, label="mean over folds")
    for number, fold in enumerate(shown):
        axes.scatter(shown[fold], places, s=12, color=INK, zorder=3, label=None if number else "each fold")
    axes.set_yticks(places, shown.index)
    axes.grid(axis="y", visible=False)
    more = f" ({len(shown)} of {len(table)} features)" if len(table) > SHOWN else ""
    axes.set(title=title + more, xlabel="mean |Shapley value| of the log odds of up against down, test rows (nats)")
    axes.legend(loc="lower right")
    return fig
