"""Columns that many features read, made from the bars once for all of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from quantalpha.features.windows import lagged

TIME = "timestamp"  # not in the frame: the index, as int64 epoch milliseconds


class Derived(NamedTuple):
    reads: tuple[str, ...]
    make: Callable[..., np.ndarray]  # float64[n] from one array for each of `reads`


# Row i of log_return and true_range also needs the close before it: a feature that reads them counts that row in its lookback.
DERIVED: Mapping[str, Derived] = {
    "log_close": Derived(("close",), np.log),
    "log_return": Derived(("close",), lambda close: np.log(close / lagged(close, 1))),  # the ratio first: the unit leaves no rounding
    "log_range": Derived(("high", "low"), lambda high, low: np.log(high / low)),
    "true_range": Derived(
        ("high", "low", "close"), lambda high, low, close: np.maximum(high, lagged(close, 1)) - np.minimum(low, lagged(close, 1))
    ),
    "typical_price": Derived(("high", "low", "close"), lambda high, low, close: (high + low + close) / 3.0),
    "traded_value": Derived(("close", "volume"), lambda close, volume: close * volume),  # quote currency
}


class Columns(Mapping):
    """Arrays by name: those given, and those of DERIVED, made when first asked for."""

    def __init__(self, given: Mapping[str, np.ndarray]):
        self._made = dict(given)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            reads, make = DERIVED[name]
            self._made[name] = make(*(self[read] for read in reads))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def sources(names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the bars that `names` are made from, each once, in order."""
    found = (source for name in names for source in (sources(DERIVED[name].reads) if name in DERIVED else (name,)))
    return tuple(dict.fromkeys(found))
