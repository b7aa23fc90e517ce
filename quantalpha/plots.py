"""Figures in one style: each function takes frames and returns a matplotlib Figure, ready to show in a notebook or to `savefig`.

Times are UTC, returns and drawdowns simple fractions shown as percent, money in quote currency. Colours are Okabe and Ito's, told apart by
colour-blind readers too.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY, INK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#6B7280", "#111827"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
STYLE = {
    "figure.dpi": 110, "savefig.dpi": 150, "figure.constrained_layout.use": True, "figure.facecolor": "white",
    "font.size": 10, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9CA3AF", "axes.labelcolor": "#374151",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E5E7EB", "grid.linewidth": 0.8, "xtick.color": "#374151",
    "ytick.color": "#374151", "date.converter": "concise",
    "lines.linewidth": 1.4, "legend.frameon": False, "legend.fontsize": 9, "patch.edgecolor": "none",
}  # fmt: skip
WIDTH = 10.0  # inches: a notebook's column
POINTS = 4000  # more than this many points are thinned to the extremes of each stretch


def _styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Draw in the house style; the figure is closed, so that a notebook shows it once: as the value of its cell."""

    @wraps(draw)
    def styled(*args, **options):
        import matplotlib
        from matplotlib import pyplot

        with matplotlib.rc_context(STYLE | {"axes.prop_cycle": matplotlib.cycler(color=CYCLE)}):
            fig = draw(*args, **options)
        pyplot.close(fig)
        return fig

    return styled


def thin(series: pd.Series, points: int = POINTS) -> pd.Series:
    """The lowest and highest point of each of `points` / 2 stretches, and the ends: the same picture from few points. Without NaN."""
    n = len(series)
    if n <= points:
        return series
    values, stretch = series.to_numpy(), -(-n * 2 // points)
    starts = np.arange(0, n, stretch)
    padded = np.append(values, np.full(len(starts) * stretch - n, values[-1])).reshape(-1, stretch)
    extremes = np.r_[starts + padded.argmin(axis=1), starts + padded.argmax(axis=1)]
    return series.iloc[np.unique(np.minimum(np.r_[0, extremes, n - 1], n - 1))]


@_styled
def equity_and_drawdown(
    equity: pd.Series, baselines: Mapping[str, pd.Series] | None = None, *, title: str = "Equity after costs"
) -> "Figure":
    """Equity at each bar's close, its baselines behind it, and below the loss from the highest equity so far."""
    baselines = {} if baselines is None else baselines
    fig, (top, bottom) = _figure(2, height=5.6, sharex=True, height_ratios=(3, 1))
    for colour, (name, other) in zip((ORANGE, GREEN, PURPLE, SKY, GREY), baselines.items()):
        top.plot(thin(other), color=colour, linewidth=1.0, alpha=0.9, label=name)
    top.plot(thin(equity), color=BLUE, linewidth=1.8, label=equity.name or "equity")
    drawdown = thin(equity / equity.cummax() - 1.0)
    bottom.fill_between(drawdown.index, drawdown, 0.0, color=RED, alpha=0.35, linewidth=0)
    bottom.plot(drawdown, color=RED, linewidth=0.8)
    _log_if_wide(top, equity)
    _format(top.yaxis, "{:,.0f}")
    _format(bottom.yaxis, "{:.0%}")
    bottom.set(ylabel="drawdown", xlabel="time (UTC)")
    top.set(title=title, ylabel="equity (quote currency)")
    if baselines:
        top.legend(loc="upper left", ncols=3)
    return fig


@_styled
def monthly_returns(table: pd.DataFrame, *, title: str = "Monthly returns after costs") -> "Figure":
    """Heat map of `backtest.periods.monthly_returns`: years down, months across, the whole year apart on the right."""
    fig, axes = _figure(1, height=0.42 * len(table) + 1.4)
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
    _bare(axes)
    axes.set_title(title)
    return fig


@_styled
def trades_on_price(close: pd.Series, trades: pd.DataFrame, *, title: str = "Trades on price") -> "Figure":
    """Price with every trade of `Result.trades` entered in its span: triangles in, crosses out, joined in the colour of gain or loss."""
    fig, axes = _figure(1, height=4.6)
    axes.plot(thin(close), color=GREY, linewidth=0.9)
    shown = trades[(trades["entry_time"] >= close.index[0]) & (trades["entry_time"] <= close.index[-1])]
    ends = shown["exit_time"].fillna(close.index[-1])
    for gained, colour, name in ((True, BLUE, "gain"), (False, RED, "loss")):
        rows = (shown["pnl"] > 0.0) == gained
        trips = zip(shown["entry_time"][rows], shown["entry_price"][rows], ends[rows], shown["exit_price"][rows])
        axes.plot([], [], color=colour, label=f"{name} ({rows.sum()})")
        axes.add_collection(_segments(trips, colour))
    for side, marker in (("long", "^"), ("short", "v")):
        rows = shown["side"] == side
        axes.scatter(shown["entry_time"][rows], shown["entry_price"][rows], marker=marker, s=34, color=INK, label=f"{side} entry", zorder=3)
    closed = shown["exit_time"].notna()
    axes.scatter(shown["exit_time"][closed], shown["exit_price"][closed], marker="x", s=22, color=INK, label="exit", zorder=3)
    axes.set_xlim(close.index[0], close.index[-1])
    _log_if_wide(axes, close)
    _format(axes.yaxis, "{:,.6g}")
    axes.set(title=title, ylabel="price (quote currency)", xlabel="time (UTC)")
    axes.legend(loc="best", ncols=5)
    return fig


@_styled
def fold_metric(values: pd.Series, *, metric: str, reference: float = 0.0, title: str | None = None) -> "Figure":
    """One bar per walk-forward fold (index: its number or test start), from `reference` up or down; the dashed line is the mean."""
    fig, axes = _figure(1, height=3.4)
    labels = [f"{name:%Y-%m}" if isinstance(name, pd.Timestamp) else str(name) for name in values.index]
    heights = values.to_numpy(float) - reference
    axes.bar(range(len(values)), heights, bottom=reference, color=np.where(heights >= 0.0, BLUE, RED), width=0.75)
    axes.axhline(reference, color="#374151", linewidth=0.9)
    axes.axhline(float(values.mean()), color=INK, linestyle="--", linewidth=1.1, label=f"mean {values.mean():.3g}")
    step = -(-len(values) // 14)
    axes.set_xticks(range(0, len(values), step), labels[::step])
    axes.set(title=title or f"{metric} by fold", ylabel=metric, xlabel="fold (start of its test block)")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")
    return fig


@_styled
def parameter_heatmap(scores: pd.DataFrame, chosen: tuple | None = None, *, title: str = "Score over two parameters") -> "Figure":
    """Heat map of `backtest.plateau.heat_map`, red below 0 and blue above; `chosen` (row value, column value): its cell is framed."""
    values = scores.to_numpy(float)
    rows, columns = values.shape
    fig, axes = _figure(1, height=0.42 * rows + 1.6, width=min(WIDTH, 0.75 * columns + 2.5))
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
    _bare(axes)
    axes.set(title=title, xlabel=scores.columns.name, ylabel=scores.index.name)
    fig.colorbar(image, ax=axes, shrink=0.8, label="score")
    return fig


@_styled
def feature_histograms(features: pd.DataFrame, *, bins: int = 60, title: str = "Distribution of features") -> "Figure":
    """A small histogram of every column between its 0.5 % and 99.5 % quantiles, its median marked."""
    columns = min(4, features.shape[1])
    rows = -(-features.shape[1] // columns)
    fig, grid = _figure(rows, columns, height=1.65 * rows + 0.5)
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


@_styled
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
    fig, axes = _figure(1, height=0.85 * size, width=size)
    image = axes.imshow(ordered, cmap="RdBu", vmin=-1, vmax=1)
    if len(ordered) <= 20:
        for (row, column), value in np.ndenumerate(ordered.to_numpy()):
            colour = "white" if abs(value) > 0.6 else INK
            axes.text(column, row, f"{value.round(1) + 0.0:.1f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(ordered)), ordered.columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(ordered)), ordered.columns, fontsize=8)
    _bare(axes)
    axes.set_title(title)
    fig.colorbar(image, ax=axes, shrink=0.7, label="rank correlation")
    return fig


@_styled
def label_balance(label: pd.Series, *, period: str = "MS", title: str = "Labels over time") -> "Figure":
    """Share of -1, 0 and +1 among the finished labels of each period (pandas offset; 'MS': month)."""
    fig, axes = _figure(1, height=3.2)
    shares = pd.get_dummies(label.dropna()).reindex(columns=[-1, 0, 1], fill_value=False).resample(period).mean().dropna()
    names = ("down: stop met first", "flat: neither met", "up: target met first")
    axes.stackplot(shares.index, shares.to_numpy(float).T, labels=names, colors=(RED, "#D1D5DB", BLUE), alpha=0.85, step="post")
    _format(axes.yaxis, "{:.0%}")
    axes.set(title=title, ylabel="share of labels", xlabel="time (UTC)", ylim=(0, 1), xlim=(shares.index[0], shares.index[-1]))
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@_styled
def data_coverage(indexes: Mapping[str, pd.DatetimeIndex], spacing: pd.Timedelta, *, title: str = "Bars present, gaps marked") -> "Figure":
    """A line per table of bars from its first to its last, cut and marked red where bars `spacing` apart are missing."""
    fig, axes = _figure(1, height=0.55 * len(indexes) + 1.3)
    for row, index in enumerate(indexes.values()):
        gap = np.flatnonzero(np.diff(index) > spacing)
        starts, ends = index[np.r_[0, gap + 1]], index[np.r_[gap, len(index) - 1]] + spacing
        axes.hlines(np.full(len(starts), row), starts, ends, color=BLUE, linewidth=9)
        axes.scatter(index[gap] + spacing, np.full(len(gap), row + 0.33), marker="v", color=RED, s=16, zorder=3)
        expected = (index[-1] - index[0]) // spacing + 1
        note = f"{len(index):,} bars, {expected - len(index):,} missing in {len(gap)} gaps"
        axes.text(index[0], row - 0.4, note, fontsize=8.5, va="center", color=GREY)
    axes.set_yticks(range(len(indexes)), indexes)
    axes.set(title=title, xlabel="time (UTC)", ylim=(-0.7, len(indexes) - 0.4))
    axes.grid(axis="y", visible=False)
    return fig


@_styled
def forecast_calibration(probability: pd.Series, happened: pd.Series, *, bins: int = 10, title: str = "Forecast calibration") -> "Figure":
    """How often what was given a probability came true, in bins of equal count with 95 % intervals; on the diagonal the forecast is honest.

    probability: forecast of one class. happened: bool or 0/1, whether that class came.
    """
    fig, (top, bottom) = _figure(2, height=5.4, width=0.62 * WIDTH, sharex=True, height_ratios=(3, 1))
    pair = pd.DataFrame({"p": probability, "y": happened.astype(float)}).dropna()
    groups = pair.groupby(pd.qcut(pair["p"], bins, duplicates="drop"), observed=True)
    mean, rate, count = groups["p"].mean(), groups["y"].mean(), groups.size()
    span = float(pair["p"].min()), float(pair["p"].max())
    top.plot(span, span, color=GREY, linestyle="--", linewidth=1.0, label="honest forecast")
    top.errorbar(mean, rate, 1.96 * np.sqrt(rate * (1 - rate) / count), color=BLUE, marker="o", markersize=5, capsize=2, label="observed")
    top.axhline(pair["y"].mean(), color=ORANGE, linewidth=1.1, label=f"base rate {pair['y'].mean():.1%}")
    bottom.hist(pair["p"], bins=60, color=BLUE, alpha=0.8)
    for axis in (top.yaxis, bottom.xaxis):
        _format(axis, "{:.0%}")
    _format(bottom.yaxis, "{:,.0f}")
    top.set(title=title, ylabel="came true")
    bottom.set(ylabel="forecasts", xlabel="forecast probability")
    top.legend(loc="upper left")
    return fig


@_styled
def paper_vs_backtest(paper: pd.Series, backtest: pd.Series, *, title: str = "Paper session against its backtest") -> "Figure":
    """Both equities on the same bars, and below the paper account's difference from the backtest; a flat zero is the goal."""
    fig, (top, bottom) = _figure(2, height=5.0, sharex=True, height_ratios=(2, 1))
    both = pd.concat({"paper": paper, "backtest": backtest}, axis=1, join="inner")
    difference = both["paper"] - both["backtest"]
    top.plot(thin(both["backtest"]), color=ORANGE, linewidth=4.0, alpha=0.55, label="backtest")
    top.plot(thin(both["paper"]), color=BLUE, linewidth=1.4, label="paper")
    bottom.axhline(0.0, color="#374151", linewidth=0.9)
    bottom.plot(thin(difference), color=RED, linewidth=1.2)
    bottom.set_ylim(*(np.array([-1.0, 1.0]) * max(1.15 * float(difference.abs().max()), 1e-9)))
    _format(top.yaxis, "{:,.0f}" if both["paper"].max() - both["paper"].min() > 10 else "{:,.2f}")
    top.set(title=title, ylabel="equity (quote currency)")
    bottom.set(ylabel="paper - backtest", xlabel="time (UTC)")
    top.legend(loc="upper left", ncols=2)
    return fig


@_styled
def label_overlap(concurrency: pd.Series, uniqueness: pd.Series, *, period: str = "MS", title: str = "How much labels overlap") -> "Figure":
    """Labels alive in each bar, below it the uniqueness of each label: mean and middle 80 % of each period (pandas offset; 'MS': month)."""
    fig, both = _figure(2, height=4.4, sharex=True)
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


@_styled
def return_by_ending(ret: pd.Series, ending: pd.Series, *, bins: int = 80, title: str = "Return by how the path ended") -> "Figure":
    """Histogram of each label's return, coloured by its ending (barrier, or label), with count and mean; 0.5 % cut off either side."""
    fig, axes = _figure(1, height=3.6)
    pair = pd.DataFrame({"ret": ret, "ending": ending}).dropna()
    edges = np.linspace(*pair["ret"].quantile([0.005, 0.995]), bins + 1)
    known = dict(zip(("stop_loss", "take_profit", "time", -1.0, 1.0, 0.0), (RED, BLUE, "#D1D5DB") * 2))
    groups = dict(iter(pair.groupby("ending", observed=True)["ret"]))
    notes = [f"{str(name).replace('_', ' ')}: {len(group) / len(pair):.1%}, mean {group.mean():+.2%}" for name, group in groups.items()]
    colours = [known.get(name, GREEN) for name in groups]
    axes.hist(list(groups.values()), edges, stacked=True, color=colours, label=notes)
    axes.axvline(float(pair["ret"].mean()), color=INK, linestyle="--", linewidth=1.1, label=f"all: mean {pair['ret'].mean():+.3%}")
    _format(axes.xaxis, "{:+.1%}")
    _format(axes.yaxis, "{:,.0f}")
    axes.set(title=title, ylabel="labels", xlabel="return from entry to exit, before costs")
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


@_styled
def events_on_price(close: pd.Series, events: pd.Series, *, title: str = "Events on price") -> "Figure":
    """Price, and a triangle at every bar with an event: up for +1, down for -1."""
    fig, axes = _figure(1, height=3.8)
    axes.plot(thin(close), color=GREY, linewidth=0.9)
    for side, marker, colour, name in ((1, "^", BLUE, "ran up"), (-1, "v", RED, "ran down")):
        at = close[events == side]
        axes.scatter(at.index, at, marker=marker, color=colour, s=22, linewidths=0, label=f"{name} ({len(at):,})", zorder=3)
    _log_if_wide(axes, close)
    _format(axes.yaxis, "{:,.6g}")
    axes.set(title=title, ylabel="price (quote currency)", xlabel="time (UTC)")
    axes.legend(loc="best", ncols=2)
    return fig


def _figure(rows: int, columns: int = 1, *, height: float, width: float = WIDTH, sharex: bool = False, height_ratios=None):
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), sharex=sharex, height_ratios=height_ratios)


def _segments(trips, colour: str):
    """Straight lines (time, price) to (time, price)."""
    from matplotlib.collections import LineCollection
    from matplotlib.dates import date2num

    return LineCollection([[(date2num(a), p), (date2num(b), q)] for a, p, b, q in trips], colors=colour, linewidths=1.6)


def _log_if_wide(axes: "Axes", line: pd.Series) -> None:
    """Equal distances for equal ratios once `line` spans more than a factor of 4; what falls far below it is cut off."""
    low, high = float(line.min()), float(line.max())
    if low > 0.0 and high / low > 4.0:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_yscale("log")
        axes.set_ylim(bottom=max(low / 3.0, axes.get_ylim()[0]))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _format(axis, pattern: str) -> None:
    axis.set_major_formatter(lambda value, _: pattern.format(value))


def _bare(axes: "Axes") -> None:
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
