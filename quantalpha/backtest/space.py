"""A space of parameters: name -> (low, high, kind), ends included, as `strategy.SEARCH` lists them.

kind: "int" whole numbers, "float", or "log" (a float, uniform in its logarithm). Each parameter has a unit coordinate in [0, 1], 0 at low
and 1 at high, along which distances mean the same for all of them.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError, did_you_mean

Space = Mapping[str, tuple[float, float, str]]
KINDS = ("int", "float", "log")


def check_space(space: Space) -> Space:
    """`space` unchanged, or a UsageError naming the wrong parameter."""
    for name, bounds in space.items():
        if len(bounds) != 3 or bounds[2] not in KINDS:
            raise UsageError(f"space: {name}: expected (low, high, kind) with kind one of {', '.join(KINDS)}, found {bounds!r}")
        low, high, kind = bounds
        if not (
            np.isfinite([low, high]).all() and low <= high and (kind != "log" or low > 0) and (kind != "int" or low % 1 == high % 1 == 0)
        ):
            raise UsageError(f"space: {name}: expected finite low <= high (log: above 0; int: whole numbers), found {bounds!r}")
    return space


def to_unit(space: Space, params: pd.DataFrame) -> np.ndarray:
    """float64[rows, parameters]: the unit coordinates of parameter sets, one a row; 0 along a parameter that has one value only."""
    missing = [name for name in space if name not in params]
    if missing:
        raise UsageError(f"space: no column {missing[0]!r} among the parameter sets; {did_you_mean(missing[0], params.columns)}")
    units = [_unit(bounds, params[name].to_numpy(float)) for name, bounds in space.items()]
    return np.column_stack(units) if units else np.empty((len(params), 0))


def from_unit(bounds: tuple[float, float, str], unit: np.ndarray) -> list:
    """Values of one parameter at unit coordinates; whole numbers are rounded, halves to the even one."""
    low, high, kind = bounds
    if kind == "int":
        return [int(value) for value in np.rint(low + unit * (high - low))]
    values = low * (high / low) ** unit if kind == "log" else low + unit * (high - low)
    return np.clip(values, low, high).tolist()


def grid(space: Space, budget: int) -> list[dict]:
    """Every combination of equally spaced values, ends included: as many values of each parameter as make at most `budget` sets."""
    sizes = {name: _distinct(bounds, budget) for name, bounds in space.items()}
    points = max(k for k in range(1, budget + 1) if np.prod([float(min(k, size)) for size in sizes.values()]) <= budget)
    if points < 2 and max(sizes.values(), default=1) > 1:
        raise UsageError(
            f"search: a grid over {len(space)} parameters needs a budget of at least {2 ** len(space)}, found {budget}; use tpe"
        )
    values = {name: list(dict.fromkeys(from_unit(space[name], np.linspace(0.0, 1.0, points)))) for name in space}
    return [dict(zip(values, chosen)) for chosen in product(*values.values())]


def _unit(bounds: tuple[float, float, str], values: np.ndarray) -> np.ndarray:
    low, high, kind = bounds
    if low == high:
        return np.zeros(len(values))
    return np.log(values / low) / np.log(high / low) if kind == "log" else (values - low) / (high - low)


def _distinct(bounds: tuple[float, float, str], most: int) -> int:
    """How many values there are to choose from, `most` at most."""
    low, high, kind = bounds
    return 1 if low == high else min(most, int(high - low) + 1) if kind == "int" else most
