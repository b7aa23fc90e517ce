"""Forecast to target: one policy with hysteresis, stepped bar by bar; a whole series is the fold of the same step."""

from dataclasses import dataclass
from math import copysign, inf, isfinite

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError


def edge(probabilities: np.ndarray) -> np.ndarray:
    """P(up) - P(down), float64[n] in [-1, 1], of forecasts float64[n, 3] = P(down), P(flat), P(up); NaN where the forecast is NaN."""
    return probabilities[:, 2] - probabilities[:, 0]


@dataclass(frozen=True)
class HysteresisPolicy:
    """Enter a side when |edge| reaches `enter`, hold it while the edge keeps that sign above `exit`, turn over at the other side's entry.

    Targets are signed leverage in {-leverage, 0, +leverage}, known at the bar's close. No finite edge, no position.
    """

    enter: float
    exit: float
    leverage: float

    def __post_init__(self):
        if not (0 <= self.exit <= self.enter <= 1 and 0 < self.leverage < inf):
            raise UsageError(f"policy: expected 0 <= exit <= enter <= 1 and leverage above 0, found {self}")

    def step(self, edge: float, previous: float) -> float:
        """The target after one bar; `previous` is the target before it, of which only the sign counts."""
        if not isfinite(edge) or edge == 0:
            return 0.0
        if abs(edge) >= self.enter:
            return copysign(self.leverage, edge)
        held = previous != 0 and (edge > 0) == (previous > 0) and abs(edge) > self.exit
        return copysign(self.leverage, previous) if held else 0.0

    def targets(self, edge: pd.Series) -> pd.Series:
        """`step` folded over the series from a flat start."""
        target, targets = 0.0, []
        for value in edge.to_numpy(float).tolist():
            target = self.step(value, target)
            targets.append(target)
        return pd.Series(targets, index=edge.index, name="target", dtype=float)
