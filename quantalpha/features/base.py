"""What a feature is, and a list of features as one table: the same call in research (all bars) and live (the last few)."""

import hashlib
from collections import Counter
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

    def __post_init__(self):
        for field, expected, sound in (
            ("name", "a text", isinstance(self.name, str) and self.name != ""),
            ("lookback", "a whole number of bars, at least 1", _is_whole(self.lookback, 1)),
            ("columns", 'a tuple of names such as ("close",)', _are_names(self.columns)),
            ("compute", "a function of {column: array}", callable(self.compute)),
            ("parts", 'a tuple of names such as ("upper", "lower")', _are_names(self.parts)),
        ):
            if not sound:
                raise UsageError(f"feature {self.name!r}: expected {field} to be {expected}, found {getattr(self, field)!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names of the result: `rsi_14`, or `calendar_24_sin`, `calendar_24_cos`."""
        return tuple(f"{self.name}_{part}" for part in self.parts) or (self.name,)

    def values(self, arrays: Arrays) -> tuple[np.ndarray, ...]:
        """float64[n] for each of `names` from an array for each of `columns`; rows before the lookback is full mean nothing."""
        found, shape = self.compute(arrays), next(iter(arrays.values())).shape if arrays else None
        columns = found if self.parts else (found,)
        if not isinstance(columns, (tuple, list)) or len(columns) != (len(self.parts) or 1):
            raise self._refusal(found, arrays)
        if not all(isinstance(column, np.ndarray) and column.shape == shape and column.dtype == float for column in columns):
            raise self._refusal(found, arrays)
        return columns

    def trusted(self, arrays: Arrays) -> tuple[np.ndarray, ...]:
        """`values` of a function that has been looked at: a look at every feature costs a live bar 5 % of its time."""
        found = self.compute(arrays)
        return found if self.parts else (found,)

    def _refusal(self, found, arrays: Arrays) -> UsageError:
        rows = len(next(iter(arrays.values()), ()))
        each = f"a tuple of float64[{rows}], one for each of {', '.join(self.parts)}" if self.parts else f"float64[{rows}], a number a row"
        return UsageError(f"feature {self.name!r}: expected its compute to give {each}, found {_told(found)}; mend that function")


def fingerprint(row: np.ndarray) -> str:
    """A name for the exact bits of one row of features: 16 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype=float).tobytes()).hexdigest()[:16]


class FeatureSet:
    """An ordered list of features. `names` are the columns of the result, `lookback` the rows `latest` needs, `columns` what it reads."""

    def __init__(self, features: Iterable[Feature]):
        self.features = tuple(features)
        if strange := [feature for feature in self.features if not isinstance(feature, Feature)]:
            raise UsageError(f"features: expected a list of Feature, found {strange[0]!r}; wrap it: Feature(name, lookback, columns, ...)")
        self.names = tuple(name for feature in self.features for name in feature.names)
        if not self.names:
            raise UsageError("features: expected at least one feature, found none; write one such as rsi: [14]")
        if twice := [name for name, times in Counter(self.names).items() if times > 1]:
            raise UsageError(f"features: expected each name once, found {twice[0]} twice; remove one of them")
        self._seen = False  # what the features give, by `latest`
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
        return self.last(self.arrays(window, self.lookback))

    def last(self, arrays: Arrays) -> np.ndarray:
        """`latest` of `lookback` rows as arrays, float64 for each of `columns` ("timestamp": int64). A frame would cost as much again."""
        give, found = Feature.trusted if self._seen else Feature.values, []
        columns = arrays | derive(self._derived, {name: array[-self._reach - 1 :] for name, array in arrays.items()})
        for feature in self.features:
            rows = -feature.lookback
            found += [values[-1] for values in give(feature, {name: columns[name][rows:] for name in feature.columns})]
        self._seen = True
        return np.array(found)

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
        places = {name: place for place, name in enumerate(bars.columns)}
        if missing := [name for name in names if name not in places]:
            raise DataError(self._absent(missing[0], bars))
        schema.check_columns(bars, "features")
        if isinstance(bars.index, pd.DatetimeIndex):
            schema.check_order(bars.index, "features")
        elif TIME in self.columns:
            raise DataError(f"features: expected a DatetimeIndex of bar open times, found {type(bars.index).__name__}")
        if len(set(bars.dtypes)) == 1:  # to_numpy is a view then, and all columns together cost less than one of the frame
            table = bars.to_numpy().T[[places[name] for name in names], first:]
        else:
            table = [bars[name].to_numpy()[first:] for name in names]
        try:
            table = np.ascontiguousarray(table, dtype=float)
        except (TypeError, ValueError):
            wrong = next(name for name in names if bars[name].dtype.kind not in "fiub" or bars[name].hasnans)
            hint = "use astype(float), with NaN for what is missing"
            raise DataError(f"features: column {wrong!r}: expected float64, found {bars[wrong].dtype}; {hint}") from None
        arrays = dict(zip(names, table))
        return arrays | ({TIME: schema.epoch_ms(bars.index)[first:]} if TIME in self.columns else {})

    def _absent(self, name: str, bars: pd.DataFrame) -> str:
        user = next(feature.name for feature in self.features if name in sources(feature.columns))
        remedy = "supply it"
        if name.endswith(".close"):
            remedy = f"set context.leaders: [{name.removesuffix('.close')}]"
        elif name.startswith("onchain_"):
            remedy = f"set context.onchain to a file with the series {name.removeprefix('onchain_')}"
        found = ", ".join(map(str, bars.columns))
        return f"feature {user!r} needs column {name!r}; found {found}; {remedy} or remove the feature from params.yaml `features`"


def _is_whole(value, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


def _are_names(listed) -> bool:
    return isinstance(listed, (tuple, list)) and all(isinstance(name, str) for name in listed)


def _told(found) -> str:
    if isinstance(found, (tuple, list)):
        return f"{type(found).__name__} of {', '.join(map(_told, found)) or 'nothing'}"
    return f"{found.dtype}{list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__


def check_window(family: str, window: int, least: int = 1) -> int:
    """`window` if it is an integer of at least `least` bars, else a UsageError."""
    if not _is_whole(window, least):
        raise UsageError(f"features.{family}: expected a window of at least {least} (a whole number), found {window!r}")
    return int(window)


def check_order(family: str, names: tuple[str, str], values: tuple[int, int], least: int = 1) -> None:
    """UsageError unless both are windows of at least `least` bars and the second is the longer one."""
    for value in values:
        check_window(family, value, least)
    if values[0] >= values[1]:
        raise UsageError(f"features.{family}: expected {names[0]} below {names[1]}, found {values[0]} and {values[1]}")


def check_number(family: str, name: str, value: float, low: float, high: float) -> float:
    """`value` if it is a number in (low, high], else a UsageError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low < value <= high:
        raise UsageError(f"features.{family}: expected {name} in ({low:g}, {high:g}], found {value!r}")
    return float(value)
