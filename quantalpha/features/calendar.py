"""The time of day or week, and that to the next funding, as a point on a circle.

Cycles are counted from 1970-01-01 00:00 UTC, a Thursday.
"""

import numpy as np

from quantalpha import timeframe
from quantalpha.features.base import Feature, check_window
from quantalpha.features.derived import TIME


def calendar(window: int) -> Feature:
    """Sine and cosine of the bar's open time in a cycle of `window` HOURS: 24 the time of day, 168 that of the week. Window >= 1."""
    cycle = _cycle("calendar", window)

    def compute(bars):
        return _circle(bars[TIME] % cycle / cycle)

    return Feature(f"calendar_{window}", 1, (TIME,), compute, parts=("sin", "cos"))


def funding_clock(hours: int) -> Feature:
    """Where the bar's open stands between two settlements `hours` apart: sine, cosine, and the share of the interval still left.

    left: 1 where funding was settled at the bar's own open, then falling; with 8 hours and 1h bars 1/8 is the last bar before the next.
    hours: the venue's interval, 8, 4 or 1. Hours >= 1.
    """
    cycle = _cycle("funding_clock", hours)

    def compute(bars):
        phase = bars[TIME] % cycle / cycle  # the share of it that has passed
        return *_circle(phase), 1 - phase

    return Feature(f"funding_clock_{hours}", 1, (TIME,), compute, parts=("sin", "cos", "left"))


def _cycle(family: str, hours: int) -> int:
    """Milliseconds of a cycle, the parameter checked."""
    return check_window(family, hours) * timeframe.milliseconds("1h")


def _circle(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * phase
    return np.sin(angle), np.cos(angle)
