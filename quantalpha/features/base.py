"""What a feature is, and a list of features as one table: the same call in research (all bars) and live (the last few)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.features.derived import DERIVED, TIME, derive, sources

Arrays = Mapping[str, np.ndarray]
BLOCK = 16_384  # rows made at a time: what they read and what lies between stays in the cache


@dataclass(frozen=True)
class Feature:
    """One pure function of bars.

    `compute` maps {column: array[n]} (only `columns`: of the bars, of `derived.DERIVED`, or "timestamp", int64 open times in epoch ms) to
    float64[n], or to one such array for each of `parts`. Row i is known at the close of bar i and uses rows i-lookback+1 .. i of the bars:
    rows before them do not change it by a single bit.
    """

    name: str
    lookback: int
    columns: tuple[str, ...]
    compute: Callable[[Arrays], np.ndarray | tuple[np.ndarray, ...]]
    parts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of the result: `rsi_14`, or `calendar_24_sin`, `calendar_24_cos`."""
        return tuple(f"{self.name}_{part}" for part in self.parts) or (self.name,)

    def values(self, arrays: Arrays) -> tuple[np.ndarray, ...]:
        """float64[n] for each of `names` from an array for each of `columns`; rows before the lookback is full mean nothing."""
        found = self.compute(arrays)
        return found if self.parts else (found,)


class FeatureSet:
    """An ordered list of features. `names` are the columns of the result, `lookback` the rows `latest` needs, `columns` what it reads."""

    def __init__(self, features: Iterable[Feature]):
        self.features = tuple(features)
        self.names = tuple(name for feature in self.features for name in feature.names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise UsageError(f"features: expected at least one, and each name once, found {list(self.names)}")
        self.lookback = max(feature.lookback for feature in self.features)
        read = tuple(dict.fromkeys(name for feature in self.features for name in feature.columns))
        self.columns, self._derived = sources(read), tuple(name for name in read if name in DERIVED)
        self._reach = max((feature.lookback - 1 for feature in self.features if not DERIVED.keys().isdisjoint(feature.columns)), default=0)

    def compute(self, bars: pd.DataFrame) -> pd.DataFrame:
        """DataFrame[len(bars), names] float64; row t is known at the close of bar t. Each column is NaN before its own lookback is full."""
        table = self.matrix(self.arrays(bars, len(bars)), len(bars))
        return pd.DataFrame(table, index=bars.index, columns=list(self.names), copy=False)

    def latest(self, window: pd.DataFrame) -> np.ndarray:
        """float64[len(names)] at the last bar of `window` (at least `lookback` bars): equal to `compute(window).iloc[-1]`."""
        if len(window) < self.lookback:
            raise DataError(f"features: expected at least {self.lookback} bars (the lookback), found {len(window)}; pass a longer window")
        rows = self._rows(self.arrays(window, self.lookback), self.lookback - 1, self.lookback)
        return np.array([values[-1] for values in rows])

    def matrix(self, arrays: Arrays, rows: int) -> np.ndarray:
        """float64[rows, names] of arrays of that length; made block by block, which costs no bit: no feature sees beyond its lookback."""
        table = np.full((rows, len(self.names)), np.nan, order="F")
        block = max(BLOCK, 4 * self.lookback)
        for first in range(0, rows, block):
            end = min(first + block, rows)
            for position, values in enumerate(self._rows(arrays, first, end)):
                table[end - len(values) : end, position] = values
        return table

    def _rows(self, arrays: Arrays, first: int, end: int) -> Iterator[np.ndarray]:
        """For each of `names` its values at the rows first .. end-1, those whose lookback is full."""
        columns = {name: array[:end] for name, array in arrays.items()}
        columns |= derive(self._derived, {name: array[max(first - self._reach, 0) :] for name, array in columns.items()})
        for feature in self.features:
            before = feature.lookback - 1
            rows = min(end, end - first + before)
            for values in feature.values({name: columns[name][-rows:] for name in feature.columns}):
                yield values[before:]

    def arrays(self, bars: pd.DataFrame, rows: int) -> dict[str, np.ndarray]:
        """The last `rows` rows of every column read, each contiguous and ours."""
        names, first = [name for name in self.columns if name != TIME], len(bars) - rows
        if missing := [name for name in names if name not in bars.columns]:
            user = next(feature.name for feature in self.features if missing[0] in sources(feature.columns))
            raise DataError(
                f"feature {user!r} needs column {missing[0]!r}; found {', '.join(map(str, bars.columns))}; "
                f"supply it or remove the feature from params.yaml `features`"
            )
        if TIME in self.columns and not isinstance(bars.index, pd.DatetimeIndex):
            raise DataError(f"features: expected a DatetimeIndex of bar open times, found {type(bars.index).__name__}")
        if len(set(bars.dtypes)) == 1:  # to_numpy is a view then, and all columns together cost less than one of the frame
            table = bars.to_numpy().T[[bars.columns.get_loc(name) for name in names], first:]
        else:
            table = [bars[name].to_numpy()[first:] for name in names]
        arrays = dict(zip(names, np.ascontiguousarray(table, dtype=float)))
        return arrays | ({TIME: schema.epoch_ms(bars.index)[first:]} if TIME in self.columns else {})


def check_window(family: str, window: int, least: int = 1) -> int:
    """`window` if it is an integer of at least `least` bars, else a UsageError."""
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < least:
        raise UsageError(f"features.{family}: expected a window of at least {least} (a whole number), found {window!r}")
    return int(window)


def check_number(family: str, name: str, value: float, low: float, high: float) -> float:
    """`value` if it is a number in (low, high], else a UsageError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low < value <= high:
        raise UsageError(f"features.{family}: expected {name} in ({low:g}, {high:g}], found {value!r}")
    return float(value)
