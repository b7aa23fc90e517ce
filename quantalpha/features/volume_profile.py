"""At which prices the volume was traded: point of control and value area of the last bars (Steidlmayer's market profile, by volume).

Bars do not tell where inside them was traded, so each bar's volume is laid evenly over its low to high: all of it at the typical price
would put the volume of a wide bar where perhaps nobody traded, and make the profile of few bars a comb.

Volumes are counted in whole units, 2^-30 of the power of two above the largest bar's: sums of whole numbers are exact in any order, so a
bar may leave the profile as it came, and the profile of a window never depends on how it was reached.
"""

import math

import numpy as np
import pandas as pd
from numba import njit

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import highest, lowest, ratio

FAMILY = "volume_profile"
VALUE_AREA = 0.7  # share of the volume in the value area, by custom
TINY = np.finfo(float).tiny  # no cell is narrower: cells in a unit of price would be more than a number can count
UNITS = 30  # bits a bar's volume is counted in: windows of 2^22 bars stay exact


def volume_profile(bars: pd.DataFrame, *, bins: int = 48) -> pd.DataFrame:
    """DataFrame[bins] (price, volume), upwards: the volume of all `bars` in `bins` equal cells from their lowest low to their highest high.

    price: the middle of the cell; volume: in the unit of the bars, to 1e-9 of the largest bar's. One price alone: all in the first cell.
    """
    schema.check_bars(bars, FAMILY)
    bins = _check_bins(bins)
    high, low, volume = (bars[name].to_numpy(float).copy() for name in ("high", "low", "volume"))
    if not len(bars) or np.isnan([high, low, volume]).any():
        raise DataError(f"{FAMILY}: expected bars without missing prices or volumes, found {len(bars)} bars; drop the missing rows first")
    bottom, top, scale = low.min(), high.max(), _scale(volume.max())
    cells, per_price = np.empty(bins), bins / (top - bottom) if top - bottom > bins * TINY else 0.0
    _fill(cells, high, low, volume, 0, len(bars), bottom, per_price, scale)
    return pd.DataFrame({"price": bottom + (np.arange(bins) + 0.5) * ((top - bottom) / bins), "volume": cells / scale})


def volume_profile_feature(window: int, bins: int) -> Feature:
    """Distance of the close from the profile of `window` bars in `bins` cells; windows and bins >= 2.

    poc              close / point of control - 1, the middle of the cell with most volume (the lower one where two have the same)
    value_area_high  close / upper edge of the value area - 1
    value_area_low   close / lower edge of the value area - 1
    position         -1 at the lower edge, +1 at the upper one, beyond them outside

    0.01: the close is 1 % above. The value area holds 70 % of the volume: grown from the point of control by the cell above or the one
    below, whichever holds more (the upper one where both hold the same). All are 0 where nothing moved or traded, and NaN where a bar of
    the window is unsound: a missing or infinite number, high below low, volume below 0.
    """
    window, bins = check_window(FAMILY, window, 2), _check_bins(bins)

    def compute(bars):
        high, low, close, volume = bars["high"], bars["low"], bars["close"], bars["volume"]
        control, upper, lower = _levels(
            high, low, volume, highest(high, window), lowest(low, window), highest(volume, window), bins, window, close
        )
        position = 2 * ratio(close - lower, upper - lower, empty=0.5) - 1
        return close / control - 1, close / upper - 1, close / lower - 1, position

    parts = ("poc", "value_area_high", "value_area_low", "position")
    return Feature(f"{FAMILY}_{window}_{bins}", window, ("high", "low", "close", "volume"), compute, parts)


def _check_bins(bins: int) -> int:
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise UsageError(f"features.{FAMILY}: expected at least 2 bins (a whole number), found {bins!r}")
    return int(bins)


@njit(cache=True)
def _scale(largest):
    """Units in a volume of one: a power of two, the same for all volumes up to the next one; finite, so that what is next to 0 is 0."""
    return math.ldexp(1.0, UNITS - max(math.frexp(largest)[1], -900))


@njit(cache=True)
def _spread(cells, low, high, bottom, per_price, units):
    """Lays `units` (negative: takes them back) evenly over the cells from low to high, whole units in each; returns their sum."""
    start, end = (low - bottom) * per_price, (high - bottom) * per_price
    first, last = max(min(int(start), len(cells) - 1), 0), max(min(int(end), len(cells) - 1), 0)  # compiled code checks no bound
    if first == last:
        cells[first] += units
        return units
    density = units / (end - start)
    below, above, each = np.rint(density * (first + 1 - start)), np.rint(density * (end - last)), np.rint(density)
    cells[first] += below
    cells[last] += above
    for cell in range(first + 1, last):
        cells[cell] += each
    return below + above + each * (last - first - 1)


@njit(cache=True)
def _fill(cells, high, low, volume, first, end, bottom, per_price, scale):
    """The profile of rows first .. end-1, from nothing; returns its sum."""
    cells[:] = 0.0
    total = 0.0
    for row in range(first, end):
        total += _spread(cells, low[row], high[row], bottom, per_price, np.rint(volume[row] * scale))
    return total


@njit(cache=True)
def _value_area(cells, total):
    """(point of control, lowest, highest) cell."""
    control = 0
    for cell in range(len(cells)):
        if cells[cell] > cells[control]:
            control = cell
    lowest_cell, highest_cell, inside = control, control, cells[control]
    while inside < VALUE_AREA * total and highest_cell - lowest_cell < len(cells) - 1:
        above = cells[highest_cell + 1] if highest_cell + 1 < len(cells) else -1.0
        below = cells[lowest_cell - 1] if lowest_cell > 0 else -1.0
        if above >= below:
            highest_cell += 1
        else:
            lowest_cell -= 1
        inside += max(above, below)
    return control, lowest_cell, highest_cell


@njit(cache=True)
def _levels(high, low, volume, top, bottom, largest, bins, window, neutral):
    """(point of control, value area high, value area low), float64[n] each; `neutral` where nothing moved or traded.

    The profile is filled anew when its grid (the extremes) or its unit has changed; else the newest bar comes and the oldest one goes.
    """
    rows = len(high)
    control, upper, lower = np.full(rows, np.nan), np.full(rows, np.nan), np.full(rows, np.nan)
    cells, total, scale, held, unsound = np.zeros(bins), 0.0, 0.0, False, -1
    for row in range(rows):
        if not (-np.inf < low[row] <= high[row] < np.inf and 0.0 <= volume[row] < np.inf):
            unsound = row
        if row < window - 1 or unsound > row - window:
            held = False
            continue
        reach = top[row] - bottom[row]
        if not (reach > bins * TINY and largest[row] > 0.0):
            held, control[row], upper[row], lower[row] = False, neutral[row], neutral[row], neutral[row]
            continue
        now, per_price = _scale(largest[row]), bins / reach
        if held and now == scale and top[row] == top[row - 1] and bottom[row] == bottom[row - 1]:
            total += _spread(cells, low[row], high[row], bottom[row], per_price, np.rint(volume[row] * scale))
            gone = row - window
            total += _spread(cells, low[gone], high[gone], bottom[row], per_price, -np.rint(volume[gone] * scale))
        else:
            scale, held = now, True
            total = _fill(cells, high, low, volume, row - window + 1, row + 1, bottom[row], per_price, scale)
        middle, first, last = _value_area(cells, total)
        height = reach / bins
        control[row] = bottom[row] + (middle + 0.5) * height
        upper[row], lower[row] = bottom[row] + (last + 1) * height, bottom[row] + first * height
    return control, upper, lower
