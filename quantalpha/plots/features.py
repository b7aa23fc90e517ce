"""Features: beside the price, what they are made of, which say the same, and whether they stay what they were."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.plots.style import BLUE, CYCLE, GREY, INK, ORANGE, SKY, WIDTH, bare, figure, format_axis, styled, thin

if TYPE_CHECKING:
    from quantalpha.plots.style import Axes, Figure

TALL = 12  # more panels or families than this stand in two columns, more histograms than twice this in five
SAME_SCALE = 20.0  # lines of one panel whose spreads differ by more are drawn as z-scores


@styled
def features_on_price(
    close: pd.Series, features: pd.DataFrame, families: Mapping[str, Sequence[str]], *, title: str = "Features under the price"
) -> "Figure":
    """Price, and below it a panel per family (title -> columns of `features`) on the same time axis, each line in its own unit.

    Give the last few hundred bars. Where the lines of a family differ in spread by more than 20, they are z-scores of what is shown.
    """
    columns = 1 if len(families) <= TALL else 2
    rows = -(-len(families) // columns)
    sizes = {"height": 2.2 + 0.95 * rows, "width": WIDTH * (1.0 if columns == 1 else 1.5), "height_ratios": [2.0, *[1.0] * rows]}
    fig, grid = figure(rows + 1, columns, sharex=True, **sizes)
    grid = np.asarray(grid).reshape(rows + 1, columns)
    for axes in grid[0]:
        axes.plot(thin(close), color=INK, linewidth=1.0)
        axes.set(ylabel="price\n(quote currency)", xlim=(close.index[0], close.index[-1]))
        format_axis(axes.yaxis, "{:,.6g}")
    panels = grid[1:].T.ravel()
    for axes, (family, names) in zip(panels, families.items()):
        _panel(axes, family, features[list(names)])
    for axes in panels[len(families) :]:
        axes.set_visible(False)
    last = panels[: len(families)][rows - 1 :: rows] if columns > 1 else panels[-1:]
    for axes in {*last, panels[len(families) - 1]}:
        axes.set_xlabel("time (UTC)")
        axes.xaxis.set_tick_params(labelbottom=True)
    fig.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return fig


def _panel(axes: "Axes", family: str, lines: pd.DataFrame) -> None:
    """The lines of one family, named at the right in their colours."""
    spread = lines.std()
    apart = spread.max() > SAME_SCALE * spread[spread > 0].min() if (spread > 0).any() else False
    drawn = (lines - lines.mean()) / spread.where(spread > 0, 1.0) if apart else lines
    for number, name in enumerate(drawn):
        colour, style = CYCLE[number % len(CYCLE)], ("-", "--", ":")[number // len(CYCLE) % 3]
        axes.plot(thin(drawn[name].dropna()), color=colour, linestyle=style, linewidth=1.0, label=_short(name, family))
    axes.set_title(f"{family} (z-scores)" if apart else family, fontsize=9, pad=3)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="y", nbins=3)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7.5, ncols=1 + (len(lines.columns) - 1) // 5, labelcolor="linecolor",
        handlelength=0.8, borderpad=0.1, labelspacing=0.2,
    )  # fmt: skip


def _short(name: str, family: str) -> str:
    """What a column's name adds to its family's: "14" of "rsi_14"."""
    return name.removeprefix(family.replace(" ", "_")).strip("_") or name


@styled
def feature_histograms(
    features: pd.DataFrame, *, bins: int = 60, title: str = "Features, 0.5 to 99.5 % quantile, median orange"
) -> "Figure":
    """A small histogram of every column between its 0.5 % and 99.5 % quantiles, its median marked."""
    many = features.shape[1] > 2 * TALL
    columns = min(5 if many else 4, features.shape[1])
    rows = -(-features.shape[1] // columns)
    fig, grid = figure(rows, columns, height=(1.2 if many else 1.65) * rows + 0.5, width=WIDTH * (1.3 if many else 1.0))
    axes = np.atleast_1d(grid).ravel()
    for ax, (name, column) in zip(axes, features.items()):
        known = column.dropna()
        ax.stairs(*np.histogram(known, bins, range=tuple(known.quantile([0.005, 0.995]))), fill=True, color=BLUE, alpha=0.85)
        ax.axvline(known.median(), color=ORANGE, linewidth=1.4)
        ax.set_title(name, fontsize=min(6.5 if many else 9.0, 250 / len(str(name))))  # one line, whatever its length
        ax.set_yticks([])
        ax.tick_params(labelsize=7 if many else 8)
        ax.locator_params(axis="x", nbins=4)
    for ax in axes[features.shape[1] :]:
        ax.set_visible(False)
    fig.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return fig


@styled
def feature_correlation(
    correlation: pd.DataFrame, groups: Iterable[Sequence[str]] = (), *, title: str = "Rank correlation of features, neighbours alike"
) -> "Figure":
    """Heat map of `validation.rank_correlation`; each group of names that stand together (`validation.alike`) is framed."""
    if not correlation.index.equals(correlation.columns):
        raise UsageError("feature_correlation: expected columns against columns; pass validation.rank_correlation(features)")
    count = len(correlation)
    size = min(1.4 * WIDTH, (0.42 if count <= 20 else 0.19) * count + 3.0)
    fig, axes = figure(1, height=0.85 * size, width=size)
    image = axes.imshow(correlation, cmap="RdBu", vmin=-1, vmax=1)
    if count <= 20:
        _write(axes, correlation.to_numpy(), "{:z.1f}", 0.6)
    _name_axes(axes, correlation.columns, correlation.index, 8 if count <= 40 else 6)
    for group in groups:
        first = correlation.columns.get_indexer(group).min() - 0.5
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * len(group) + first
        axes.plot(*corners.T, color=ORANGE, linewidth=2.0, solid_joinstyle="miter")
    axes.set_title(title)
    fig.colorbar(image, ax=axes, shrink=0.7, label="rank correlation")
    return fig


@styled
def feature_drift(distance: pd.DataFrame, trained_until: pd.Timestamp, *, title: str = "Drift from the first training window") -> "Figure":
    """Heat map of `validation.period_drift`, the features that moved most after training on top; the line: where training ends."""
    later = distance.loc[:, distance.columns >= trained_until]
    ordered = distance.loc[(later if later.shape[1] else distance).mean(axis=1).sort_values(ascending=False, kind="stable").index]
    rows, columns = ordered.shape
    fig, axes = figure(1, height=(0.26 if rows <= 40 else 0.17) * rows + 1.6)
    image = axes.imshow(ordered, cmap="Blues", vmin=0.0, vmax=0.6, aspect="auto")
    if rows <= 40 and columns <= 30:
        _write(axes, ordered.to_numpy(), "{:.2f}", 0.35)
    _name_axes(axes, [f"{start.year} Q{start.quarter}" for start in ordered.columns], ordered.index, 8 if rows <= 40 else 6.5)
    axes.axvline(np.searchsorted(ordered.columns, trained_until) - 0.5, color=ORANGE, linewidth=2.0)
    axes.set(title=title, xlabel="quarter (UTC); left of the line: the training window against itself")
    fig.colorbar(image, ax=axes, shrink=min(0.7, 4.0 / fig.get_figheight()), label="Kolmogorov-Smirnov distance", extend="max")
    return fig


@styled
def feature_bands(
    features: pd.DataFrame, train: int, *, period: str = "MS", title: str = "Median and middle 80 % of each month"
) -> "Figure":
    """A small panel per column over time, in standard deviations from the mean of the first `train` rows, which are shaded."""
    columns = min(3, features.shape[1])
    rows = -(-features.shape[1] // columns)
    learnt = features.iloc[:train]
    scaled = (features - learnt.mean()) / learnt.std().replace(0.0, 1.0)
    fig, grid = figure(rows, columns, height=1.7 * rows + 0.9, sharex=True)
    axes = np.atleast_1d(grid).ravel()
    for ax, name in zip(axes, scaled):
        groups = scaled[name].resample(period)
        low, middle, high = (groups.quantile(share) for share in (0.1, 0.5, 0.9))
        ax.axvspan(features.index[0], learnt.index[-1], color=GREY, alpha=0.12, linewidth=0)
        ax.axhline(0.0, color=GREY, linewidth=0.8)
        ax.fill_between(middle.index, low, high, color=SKY, alpha=0.4, linewidth=0)
        ax.plot(middle, color=BLUE)
        ax.set_title(name, fontsize=9)
        ax.tick_params(labelsize=8)
    for ax in axes[features.shape[1] :]:
        ax.set_visible(False)
    fig.supylabel("training standard deviations", fontsize=9)
    fig.supxlabel("time (UTC); shaded: the first training window", fontsize=9)
    fig.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return fig


def _write(axes: "Axes", values: np.ndarray, pattern: str, dark: float) -> None:
    """Each known value into its cell, white from `dark` on."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > dark else INK
            axes.text(column, row, pattern.format(value), ha="center", va="center", fontsize=7, color=colour)


def _name_axes(axes: "Axes", across: Iterable[str], down: Iterable[str], size: float) -> None:
    axes.set_xticks(range(len(across)), across, rotation=90, fontsize=size)
    axes.set_yticks(range(len(down)), down, fontsize=size)
    bare(axes)
