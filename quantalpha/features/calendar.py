"""The time of day or week, as a point on a circle."""

import numpy as np

from quantalpha import timeframe
from quantalpha.features.base import TIME, Feature, check_window


def calendar(window: int) -> Feature:
    """Sine and cosine of the bar's open time (UTC) in a cycle of `window` HOURS: 24 the time of day, 168 that of the week. Window >= 1.

    Cycles are counted from 1970-01-01 00:00, a Thursday.
    """
    check_window("calendar", window)
    cycle = window * timeframe.milliseconds("1h")

    def compute(bars):
        angle = 2 * np.pi * (bars[TIME] % cycle) / cycle
        return np.column_stack((np.sin(angle), np.cos(angle)))

    return Feature(f"calendar_{window}", 1, (TIME,), compute, parts=("sin", "cos"))
