"""What a feature is, and a list of features as one table: the same call in research (all bars) and live (the last few)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.features.derived import DERIVED, TIME, Columns, sources

Arrays = Mapping[str, np.ndarray]


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
        """float64[n] for each of `names`; rows before the lookback is full mean nothing."""
        found = self.compute({name: arrays[name] for name in self.columns})
        return found if self.parts else (found,)


class FeatureSet:
    """An ordered list of features. `names` are the columns of the result, `lookback` the rows `latest` needs, `columns` what it reads."""

    def __init__(self, features: Iterable[Feature]):
        self.features = tuple(features)
        self.names = tuple(name for feature in self.features for name in feature.names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise UsageError(f"features: expected at least one, and each name once, found {list(self.names)}")
        self.lookback = max(feature.lookback for feature in self.features)
        self._derived = max((feature.lookback for feature in self.features if not DERIVED.keys().isdisjoint(feature.columns)), default=0)
        self.columns = sources(tuple(name for feature in self.features for name in feature.columns))

    def compute(self, bars: pd.DataFrame) -> pd.DataFrame:
        """DataFrame[len(bars), names] float64; row t is known at the close of bar t. Each column is NaN before its own lookback is full."""
        table = self.matrix(self._arrays(bars, len(bars)), len(bars))
        return pd.DataFrame(table, index=bars.index, columns=list(self.names), copy=False)

    def matrix(self, arrays: Arrays, rows: int) -> np.ndarray:
        """float64[rows, names] of arrays of that length."""
        table, columns, first = np.empty((rows, len(self.names)), order="F"), Columns(arrays), 0
        for feature in self.features:
            for position, values in enumerate(feature.values(columns), start=first):
                table[:, position] = values
                table[: feature.lookback - 1, position] = np.nan
            first += len(feature.names)
        return table

    def latest(self, window: pd.DataFrame) -> np.ndarray:
        """float64[len(names)] at the last bar of `window` (at least `lookback` bars): equal to `compute(window).iloc[-1]`."""
        if len(window) < self.lookback:
            raise DataError(f"features: expected at least {self.lookback} bars (the lookback), found {len(window)}; pass a longer window")
        arrays = self._arrays(window, self.lookback)
        columns = Columns({name: array[-self._derived :] for name, array in arrays.items()} if self._derived else {})
        found = []
        for feature in self.features:
            held = {name: (columns if name in DERIVED else arrays)[name][-feature.lookback :] for name in feature.columns}
            found += [values[-1] for values in feature.values(held)]
        return np.array(found, dtype=float)

    def _arrays(self, bars: pd.DataFrame, rows: int) -> dict[str, np.ndarray]:
        """The last `rows` rows of every column read, each a contiguous array of its own."""
        return {name: self._times(bars, rows) if name == TIME else self._column(bars, name, rows) for name in self.columns}

    def _column(self, bars: pd.DataFrame, name: str, rows: int) -> np.ndarray:
        if name not in bars.columns:
            user = next(feature.name for feature in self.features if name in sources(feature.columns))
            raise DataError(
                f"feature {user!r} needs column {name!r}; found {', '.join(map(str, bars.columns))}; "
                f"supply it or remove the feature from params.yaml `features`"
            )
        return np.array(bars[name].to_numpy()[len(bars) - rows :], dtype=float)

    def _times(self, bars: pd.DataFrame, rows: int) -> np.ndarray:
        if not isinstance(bars.index, pd.DatetimeIndex):
            raise DataError(f"features: expected a DatetimeIndex of bar open times, found {type(bars.index).__name__}")
        return schema.epoch_ms(bars.index[len(bars) - rows :])


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
