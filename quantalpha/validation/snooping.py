"""Is the best of many tries more than luck? Tests of all tries at once, which keep in mind how alike they are.

The reality check of White (Econometrica 68, 2000), superior predictive ability of Hansen (Journal of Business & Economic Statistics 23,
2005) and the stepwise test of Romano & Wolf (Econometrica 73, 2005), on the stationary bootstrap of Politis & Romano (1994). p-values are
(1 + resamples as good) / (1 + resamples), never 0 (Phipson & Smyth, 2010).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.bootstrap import block_length, resampled_means
from quantalpha.validation.matrix import moving, return_matrix


@dataclass(frozen=True, eq=False)
class Snooping:
    """p-values of "no try has a mean return above 0", and which tries survive."""

    reality_check: float  # White: the largest mean; tries that vary much drown the others
    spa_lower: float  # Hansen: the largest t statistic; tries worse than 0 are taken to be no better than they look: too easily rejected
    spa_consistent: float  # only the clearly worse ones are
    spa_upper: float  # all are taken to be as good as 0: too hard to reject where many are bad
    expected_maximum: float  # t statistic that the best of tries as alike as these shows by luck
    tries: pd.DataFrame  # index tries; columns mean, t_statistic, p_value (adjusted for all the tries), superior
    block: float  # mean length of a block, rows


def superior_tries(returns, *, level: float = 0.05, paths: int = 1000, block: float | None = None, seed: int = 0) -> Snooping:
    """Which tries earn more than 0, with a chance of at most `level` that any of those named does not (Romano & Wolf, one-sided).

    returns: [rows, tries], simple per-period returns, or what they exceed a benchmark's by. block None: the median of what `block_length`
    asks for the tries. t statistics are studentised by the bootstrap's own deviation. A try without variance is never superior.
    """
    table = return_matrix(returns)
    moves = moving(table.to_numpy())
    values = table.to_numpy()[:, moves]
    block = _checked_block(values, level, paths, block)
    mean = values.mean(axis=0)
    noise = resampled_means(values - mean, block, paths, seed)
    deviation = np.sqrt((noise**2).mean(axis=0))
    statistic, luck = mean / deviation, noise / deviation
    clearly_worse = statistic < -math.sqrt(2.0 * math.log(math.log(len(values))))
    tries = pd.DataFrame({"mean": table.mean(), "t_statistic": np.nan, "p_value": 1.0}, index=table.columns)
    tries.loc[moves, "t_statistic"], tries.loc[moves, "p_value"] = statistic, _stepwise(statistic, luck)
    return Snooping(
        reality_check=_p_value(mean.max(), noise.max(axis=1)),
        spa_lower=_superior(statistic, luck + np.minimum(statistic, 0.0)),
        spa_consistent=_superior(statistic, luck + np.where(clearly_worse, statistic, 0.0)),
        spa_upper=_superior(statistic, luck),
        expected_maximum=float(luck.max(axis=1).mean()),
        tries=tries.assign(superior=tries["p_value"] <= level),
        block=block,
    )


def _checked_block(values: np.ndarray, level: float, paths: int, block: float | None) -> float:
    """The mean length of a block, where all else is fit as well."""
    if not values.size:
        raise DataError("superior_tries: none of the tries moves; there is nothing to test")
    if not 0.0 < level < 1.0 or paths * level < 1.0:
        raise UsageError(f"superior_tries: expected a level of (0, 1) and at least 1 / level paths, found {level} and {paths}")
    block = float(np.median([block_length(column) for column in values.T])) if block is None else float(block)
    if not 1.0 <= block <= len(values):
        raise UsageError(f"superior_tries: expected a block of 1 to {len(values)} rows, found {block:g}")
    return block


def _superior(statistic: np.ndarray, luck: np.ndarray) -> float:
    """Hansen's test of the largest t statistic, 0 being the least of it."""
    return _p_value(max(statistic.max(), 0.0), np.maximum(luck.max(axis=1), 0.0))


def _stepwise(statistic: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """float64[tries]: the level at which each try would be named, the better ones having been named before it and set aside.

    The steps of Romano & Wolf at all levels at once (Statistics & Probability Letters 113, 2016): the k-th best is compared with the
    largest of itself and the worse ones in each resample.
    """
    rising = np.argsort(statistic, kind="stable")
    largest = np.maximum.accumulate(luck[:, rising], axis=1)
    level = (1 + (largest >= statistic[rising]).sum(axis=0)) / (1 + len(luck))
    out = np.empty(len(statistic))
    out[rising[::-1]] = np.maximum.accumulate(level[::-1])
    return out


def _p_value(observed: float, luck: np.ndarray) -> float:
    return float((1 + (luck >= observed).sum()) / (1 + len(luck)))
