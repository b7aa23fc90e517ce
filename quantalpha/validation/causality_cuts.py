"""Other futures for the same past, and the rows at which a leak would show."""

import numpy as np
import pandas as pd

from quantalpha.schema import epoch_ms
from quantalpha.timeframe import UNITS

RARE = 0.02  # a value that fewer rows hold is a flag worth a cut


def replaced(bars: pd.DataFrame, rows: np.ndarray, rng) -> pd.DataFrame:
    """`bars` with `rows` replaced by bars of other times, each scaled by one random factor (so high stays above low); dtypes stay."""
    drawn = rng.integers(0, len(bars), len(rows))
    factor = np.exp(np.clip(0.1 * rng.standard_t(2, len(rows)), -2, 2))
    columns = {}
    for position in range(bars.shape[1]):
        given = bars.iloc[:, position].array
        other, columns[position] = given[drawn], given.copy()
        if pd.api.types.is_float_dtype(given.dtype):
            other = other * factor
        elif pd.api.types.is_integer_dtype(given.dtype):
            other = np.rint(np.asarray(other, dtype=float) * factor).astype(np.int64)
        columns[position][rows] = other
    found = pd.DataFrame(columns, index=bars.index, copy=False)
    found.columns, found.attrs = bars.columns, bars.attrs
    return found


def moved(bars: pd.DataFrame, cut: int, rng) -> pd.DataFrame:
    """The bars from row `cut` on replaced, some bars later than they were, and fewer of them: a future with other times too."""
    other = replaced(bars, np.arange(cut, len(bars)), rng)
    if not isinstance(bars.index, pd.DatetimeIndex):
        return other
    last = cut + max(int((len(bars) - cut) * rng.uniform(0.3, 1.0)), 1)
    step = pd.Timedelta(np.median(np.diff(bars.index.asi8)).astype(np.int64), unit=bars.index.unit)
    times = bars.index[:cut].append(bars.index[cut:last] + step * int(rng.integers(1, 50)))
    return other.iloc[:last].set_axis(times.rename(bars.index.name))


def borders(index: pd.Index, rng) -> list[int]:
    """First rows of two days, weeks, months, quarters and years, and the rows after them."""
    if not isinstance(index, pd.DatetimeIndex):
        return []
    day, month = epoch_ms(index) // UNITS["d"], index.year.to_numpy() * 12 + index.month.to_numpy() - 1
    found = []
    for period in (day, (day + 3) // 7, month, month // 3, month // 12):
        first = np.flatnonzero(np.diff(period)) + 1
        found += rng.choice(first, min(2, first.size), replace=False).tolist()
    return [row + side for row in found for side in (0, 1)]


def events(bars: pd.DataFrame, values: np.ndarray) -> list[int]:
    """Rows where something rare happens: the widest gap in time, missing values, rare flags, the largest moves of inputs and results."""
    rows = [int(np.diff(bars.index.asi8).argmax()) + 1] if isinstance(bars.index, pd.DatetimeIndex) else []
    inputs = bars.select_dtypes(["number", "bool"]).to_numpy(float)
    missing = np.isnan(inputs).any(axis=1)
    rows += (np.flatnonzero(np.diff(missing)) + 1)[:2].tolist()
    for column in inputs.T:
        found, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        if found.size < RARE * len(column):
            rows += np.flatnonzero(column == found[counts.argmin()])[:2].tolist() if counts.min() <= RARE * len(column) else []
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.hstack([np.abs(np.diff(inputs, axis=0) / inputs[:-1]), np.abs(np.diff(values, axis=0))])
    moves[~np.isfinite(moves)] = 0.0
    rows += (moves.argmax(axis=0) + 1).tolist()
    return list(dict.fromkeys(rows))


def odd_rows(bars: pd.DataFrame, column: np.ndarray, count: int) -> list[int]:
    """The `count` rows that a linear rule of this bar, the one before and the column's last value explains worst."""
    inputs = bars.select_dtypes("number").to_numpy(float)
    given = np.column_stack([np.ones(len(inputs) - 1), column[:-1], inputs[1:], inputs[:-1]])
    sound = np.flatnonzero(np.isfinite(given).all(axis=1) & np.isfinite(column[1:]))
    if sound.size < 2 * given.shape[1]:
        return []
    given, wanted = given[sound] / np.maximum(np.abs(given[sound]).max(axis=0), 1e-300), column[1:][sound]
    rest = np.abs(wanted - given @ np.linalg.lstsq(given, wanted, rcond=None)[0])
    return (sound[np.argsort(rest)[-count:]] + 1).tolist()
