"""What a feature is, and a list of features as one table: the same call in research (all bars) and live (the last few)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError

TIME = "timestamp"  # the one column that is not in the frame: the index, as int64 epoch milliseconds


@dataclass(frozen=True)
class Feature:
    """One pure function of bars.

    `compute` maps {column: array[n]} (only `columns`; "timestamp" is int64 open times in epoch ms) to float64[n], or to
    float64[n, len(parts)] when it yields several. Row i is known at the close of bar i and uses rows i-lookback+1 .. i.
    """

    name: str
    lookback: int
    columns: tuple[str, ...]
    compute: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    parts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of the result: `rsi_14`, or `calendar_24_sin`, `calendar_24_cos`."""
        return tuple(f"{self.name}_{part}" for part in self.parts) or (self.name,)

    def rows(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64[n, len(names)] with the first lookback-1 rows NaN."""
        values = np.array(self.compute({name: arrays[name] for name in self.columns}), dtype=float)
        values = values.reshape(-1, len(self.names))
        values[: self.lookback - 1] = np.nan
        return values


class FeatureSet:
    """An ordered list of features. `names` are the columns of the result, `lookback` the rows `latest` needs, `columns` what it reads."""

    def __init__(self, features):
        self.features = tuple(features)
        self.names = tuple(name for feature in self.features for name in feature.names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise UsageError(f"features: expected at least one, and each name once, found {list(self.names)}")
        self.lookback = max(feature.lookback for feature in self.features)
        self.columns = tuple(dict.fromkeys(name for feature in self.features for name in feature.columns))

    def compute(self, bars: pd.DataFrame) -> pd.DataFrame:
        """DataFrame[len(bars), names] float64; row t is known at the close of bar t. Each column is NaN before its own lookback is full."""
        arrays = self._arrays(bars, len(bars))
        values = np.hstack([feature.rows(arrays) for feature in self.features])
        return pd.DataFrame(values, index=bars.index, columns=list(self.names))

    def latest(self, window: pd.DataFrame) -> np.ndarray:
        """float64[len(names)] at the last bar of `window` (at least `lookback` bars): equal to `compute(window).iloc[-1]`."""
        if len(window) < self.lookback:
            raise DataError(f"features: expected at least {self.lookback} bars (the lookback), found {len(window)}; pass a longer window")
        arrays = self._arrays(window, self.lookback)
        return np.concatenate(
            [feature.rows({name: arrays[name][-feature.lookback :] for name in feature.columns})[-1] for feature in self.features]
        )

    def _arrays(self, bars: pd.DataFrame, rows: int) -> dict[str, np.ndarray]:
        """The last `rows` rows of every column read, each a contiguous array of its own."""
        return {name: self._times(bars, rows) if name == TIME else self._column(bars, name, rows) for name in self.columns}

    def _column(self, bars: pd.DataFrame, name: str, rows: int) -> np.ndarray:
        if name not in bars.columns:
            user = next(feature.name for feature in self.features if name in feature.columns)
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
