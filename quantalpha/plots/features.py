"""Features."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.plots.style import BLUE, INK, ORANGE, WIDTH, bare, figure, styled

if TYPE_CHECKING:
    from quantalpha.plots.style import Figure


@styled
def feature_histograms(features: pd.DataFrame, *, bins: int = 60, title: str = "Distribution of features") -> "Figure":
    """A small histogram of every column between its 0.5 % and 99.5 % quantiles, its median marked."""
    columns = min(4, features.shape[1])
    rows = -(-features.shape[1] // columns)
    fig, grid = figure(rows, columns, height=1.65 * rows + 0.5)
    axes = np.atleast_1d(grid).ravel()
    for ax, (name, column) in zip(axes, features.items()):
        known = column.dropna()
        ax.hist(known, bins=bins, range=tuple(known.quantile([0.005, 0.995])), color=BLUE, alpha=0.85)
        ax.axvline(known.median(), color=ORANGE, linewidth=1.4)
        ax.set_title(name, fontsize=9)
        ax.set_yticks([])
        ax.tick_params(labelsize=8)
        ax.locator_params(axis="x", nbins=4)
    for ax in axes[features.shape[1] :]:
        ax.set_visible(False)
    fig.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return fig


@styled
def feature_correlation(features: pd.DataFrame, *, title: str = "Rank correlation of features, neighbours alike") -> "Figure":
    """Spearman correlation, ordered by hierarchical clustering so that features which say the same stand together."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    correlation = features.corr(method="spearman").fillna(0.0)
    distance = np.clip(1.0 - np.abs(correlation.to_numpy()), 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    order = leaves_list(linkage(squareform(distance, checks=False), "average")) if len(correlation) > 1 else [0]
    ordered = correlation.iloc[order, order]
    size = min(WIDTH, 0.42 * len(ordered) + 3.0)
    fig, axes = figure(1, height=0.85 * size, width=size)
    image = axes.imshow(ordered, cmap="RdBu", vmin=-1, vmax=1)
    if len(ordered) <= 20:
        for (row, column), value in np.ndenumerate(ordered.to_numpy()):
            colour = "white" if abs(value) > 0.6 else INK
            axes.text(column, row, f"{value.round(1) + 0.0:.1f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(ordered)), ordered.columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(ordered)), ordered.columns, fontsize=8)
    bare(axes)
    axes.set_title(title)
    fig.colorbar(image, ax=axes, shrink=0.7, label="rank correlation")
    return fig
