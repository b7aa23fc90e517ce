"""Columns that many features read, made from the bars once for all of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from quantalpha.windows import lagged

TIME = "timestamp"  # not in the frame: the index, as int64 epoch milliseconds


class Derived(NamedTuple):
    reads: tuple[str, ...]
    make: Callable[..., np.ndarray]  # float64[n] from one array for each of `reads`


# Row i of change, log_return and true_range also needs the close before it: a feature that reads them counts that row in its lookback.
DERIVED: Mapping[str, Derived] = {
    "change": Derived(("close",), lambda close: close - lagged(close, 1)),
    "log_close": Derived(("close",), np.log),
    "log_return": Derived(("close",), lambda close: np.log(close / lagged(close, 1))),  # the ratio first: the unit leaves no rounding
    "log_range": Derived(("high", "low"), lambda high, low: np.log(high / low)),
    "true_range": Derived(
        ("high", "low", "close"), lambda high, low, close: np.maximum(high, lagged(close, 1)) - np.minimum(low, lagged(close, 1))
    ),
    "typical_price": Derived(("high", "low", "close"), lambda high, low, close: (high + low + close) / 3.0),
    "traded_value": Derived(("close", "volume"), lambda close, volume: close * volume),  # quote currency
}


def derive(names: Iterable[str], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of DERIVED that are asked for, each made once."""
    return {name: DERIVED[name].make(*(columns[read] for read in DERIVED[name].reads)) for name in names}


def sources(names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the bars that `names` are made from, each once, in order."""
    found = (source for name in names for source in (DERIVED[name].reads if name in DERIVED else (name,)))
    return tuple(dict.fromkeys(found))
