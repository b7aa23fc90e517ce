"""The house style, and the one door of matplotlib: palette, sizes, and what several figures share."""

from collections.abc import Callable
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


def styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
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


def figure(rows: int, columns: int = 1, *, height: float, width: float = WIDTH, **layout):
    """A figure and its axes; layout: sharex, height_ratios and other options of `pyplot.subplots`."""
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), **layout)


def segments(trips, colour: str):
    """Straight lines (time, price) to (time, price)."""
    from matplotlib.collections import LineCollection
    from matplotlib.dates import date2num

    return LineCollection([[(date2num(a), p), (date2num(b), q)] for a, p, b, q in trips], colors=colour, linewidths=1.6)


def log_if_wide(axes: "Axes", line: pd.Series) -> None:
    """Equal distances for equal ratios once `line` spans more than a factor of 4; what falls far below it is cut off."""
    low, high = float(line.min()), float(line.max())
    if low > 0.0 and high / low > 4.0:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_yscale("log")
        axes.set_ylim(bottom=max(low / 3.0, axes.get_ylim()[0]))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def format_axis(axis, pattern: str) -> None:
    axis.set_major_formatter(lambda value, _: pattern.format(value))


def bare(axes: "Axes") -> None:
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def log_prices(axes: "Axes") -> None:
    """A logarithmic price axis whose labels are prices, not powers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
