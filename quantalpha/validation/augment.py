"""More training examples from those there are, and never from any other row: everything here reads training rows alone.

    examples, rows = training_windows(features, fold.train, length=96)     # float64[n, time, features]; their labels: y[rows]
    more = jitter(examples, scale=0.1, seed=1)                             # or magnitude_warp, time_warp: same shape, same labels
    again = block_bootstrap(fold.train, block=24, seed=1)                  # rows of a table: x[again], y[again], end_time[again]

A fold's training rows may have holes: test blocks, purged and embargoed rows. A window or block that ran over one would carry what lies
there into the training set, so both stay within a stretch of consecutive rows. With `end_time` (Series on all rows) rows whose label ends
beyond the last row of their stretch are left out too: then not even a label has seen a bar outside. The same seed gives the same bits.

              keeps                                                changes
jitter        expected values, order in time                       spread x sqrt(1 + scale^2), correlations / (1 + scale^2)
magnitude     sign, order in time, ratios of features              level, slowly over the window
time          range and order of values, first and last row,       speed: what took 10 rows takes 8 or 12
              each time's features together
block         whole rows (features and label), order in blocks     which rows come and how often, what follows what between blocks

jitter and warping: Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional neural
networks" (2017). Blocks: Politis and Romano, "The stationary bootstrap" (1994).
"""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError


def training_windows(values, train, *, length: int, end_time: pd.Series | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(windows float64[n, length, k], rows int64[n]): every run of `length` consecutive training rows, named by its last row.

    values: float64[all rows, k]. train: int64, increasing positions, as `Fold.train`.
    """
    values = np.asarray(values, dtype=float)
    _check(values.ndim == 2, DataError, f"expected values[rows, features], found shape {values.shape}")
    _check(length == int(length) and length >= 1, UsageError, f"length must be a whole number of at least 1, found {length}")
    train, begin, end = _stretches(train, len(values))
    rows = train[_inside(train, end, end_time) & (train - begin >= length - 1)]
    return values[rows[:, None] + np.arange(1 - int(length), 1)], rows


def jitter(windows: np.ndarray, *, scale: float, seed: int) -> np.ndarray:
    """Windows plus independent normal noise of `scale` times each feature's standard deviation over all windows given."""
    windows = _checked(windows, scale)
    noise = np.random.default_rng(seed).standard_normal(windows.shape)
    return windows + scale * windows.std(axis=(0, 1)) * noise


def magnitude_warp(windows: np.ndarray, *, scale: float, seed: int, knots: int = 4) -> np.ndarray:
    """Each window times a smooth positive curve of its own, the same for all of its features.

    The curve is exp of a natural cubic spline through `knots` equally spaced normal draws with standard deviation `scale`.
    """
    windows = _checked(windows, scale, knots)
    return windows * np.exp(_smooth(windows, scale, seed, knots))[:, :, None]


def time_warp(windows: np.ndarray, *, scale: float, seed: int, knots: int = 4) -> np.ndarray:
    """Each window read at a speed that varies smoothly, from its first row to its last; between rows by straight lines.

    The speed is exp of a curve as in `magnitude_warp`, so time never runs backwards; all features of a window are read at the same times.
    """
    windows = _checked(windows, scale, knots)
    last = windows.shape[1] - 1
    _check(last >= 1, DataError, "a window of one row has no time to warp; use a length of at least 2")
    speed = np.exp(_smooth(windows, scale, seed, knots))
    passed = np.cumsum((speed[:, 1:] + speed[:, :-1]) / 2, axis=1)
    at = np.concatenate([np.zeros((len(windows), 1)), last * passed / passed[:, -1:]], axis=1)
    before = np.minimum(at.astype(np.int64), last - 1)
    share = (at - before)[:, :, None]
    each = np.arange(len(windows))[:, None]
    return (1.0 - share) * windows[each, before] + share * windows[each, before + 1]


def block_bootstrap(train, *, block: float, seed: int, rows: int | None = None, end_time: pd.Series | None = None) -> np.ndarray:
    """int64[rows] positions (None: as many as usable training rows), put together of blocks of consecutive training rows.

    A block starts at any usable row and has a geometric length of mean `block`, cut where its stretch of usable rows ends (so rows at the
    beginning of a stretch come a little less often).
    """
    _check(1 <= block < np.inf, UsageError, f"block must be a mean length of at least 1 row, found {block}")
    train, _, end = _stretches(train, None)
    train, _, end = _stretches(train[_inside(train, end, end_time)], None)
    rows = len(train) if rows is None else rows
    _check(len(train) > 0 or rows == 0, DataError, "no training row whose label ends within its stretch; give longer folds")
    rng = np.random.default_rng(seed)
    start = rng.integers(0, max(len(train), 1), rows)  # as many blocks as rows are always enough
    length = np.minimum(rng.geometric(1.0 / block, rows), end[start] - train[start] + 1)
    used = int(np.searchsorted(np.cumsum(length), rows)) + 1
    start, length = start[:used], length[:used]
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return (np.repeat(train[start], length) + step)[:rows]


def _stretches(train, rows: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, first row, last row of each one's stretch of consecutive rows), int64[m]."""
    train = np.asarray(train, dtype=np.int64)
    sound = train.ndim == 1 and (np.diff(train) > 0).all() and (train >= 0).all() and (rows is None or (train < rows).all())
    _check(sound, DataError, "expected increasing positions of training rows, as Fold.train")
    opens = np.diff(train, prepend=-2) > 1
    closes, stretch = np.append(opens[1:], True)[: len(train)], np.cumsum(opens) - 1
    return train, train[opens][stretch], train[closes][stretch]


def _inside(train, end, end_time: pd.Series | None) -> np.ndarray:
    """bool[m]: rows whose label ends at or before the last row of their stretch; all where no `end_time` is given."""
    if end_time is None:
        return np.ones(len(train), dtype=bool)
    known = end_time.notna().to_numpy()[train]
    times = schema.epoch_ms(end_time.index)
    return known & (schema.epoch_ms(pd.DatetimeIndex(end_time))[train] <= times[end])


def _smooth(windows: np.ndarray, scale: float, seed: int, knots: int) -> np.ndarray:
    """float64[n, time]: smooth random curves around 0."""
    from scipy.interpolate import CubicSpline

    points = scale * np.random.default_rng(seed).standard_normal((knots, len(windows)))
    time = np.linspace(0.0, knots - 1.0, windows.shape[1])
    return CubicSpline(np.arange(knots), points, bc_type="natural")(time).T


def _checked(windows, scale: float, knots: int = 2) -> np.ndarray:
    windows = np.asarray(windows, dtype=float)
    _check(windows.ndim == 3, DataError, f"expected windows[n, time, features], found shape {windows.shape}")
    _check(np.isfinite(windows).all(), DataError, "windows hold NaN or infinite values; leave such rows out of the training rows")
    _check(0 <= scale < np.inf, UsageError, f"scale must be a number of at least 0, found {scale}")
    _check(knots == int(knots) and knots >= 2, UsageError, f"knots must be a whole number of at least 2, found {knots}")
    return windows


def _check(true: bool, error: type[Exception], message: str) -> None:
    if not true:
        raise error(f"augment: {message}")
