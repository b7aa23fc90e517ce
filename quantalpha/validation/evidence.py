"""All that the returns of the tries say about the one that was chosen, in one record."""

import math
from dataclasses import dataclass

import numpy as np

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.validation.clusters import effective_trials
from quantalpha.validation.distribution import shape
from quantalpha.validation.matrix import return_matrix
from quantalpha.validation.metrics import NAN, sharpe_ratio
from quantalpha.validation.overfitting import probability_of_backtest_overfitting
from quantalpha.validation.sharpe import expected_maximum_sharpe, minimum_track_record_length, probabilistic_sharpe_ratio
from quantalpha.validation.snooping import superior_tries


@dataclass(frozen=True)
class Evidence:
    """Plain numbers; Sharpe ratios per period; NaN where undefined, which passes no comparison."""

    sharpe: float  # of the chosen try
    n_obs: int  # periods
    skew: float
    kurtosis: float  # 3 for a normal distribution
    n_tries: int  # as many as were given, and the unseen
    effective_trials: int  # independent ones among them
    trials_std: float  # standard deviation of the independent ones' Sharpe ratios, at least what luck alone gives
    expected_maximum: float  # Sharpe ratio that the best shows by luck: of the independent ones, or of all resampled, whichever is more
    psr: float  # probability that the true Sharpe ratio is above 0
    dsr: float  # above `expected_maximum`
    compared: int  # tries whose returns are given and whose Sharpe ratio is not above the chosen one's, itself included
    pbo: float  # probability of backtest overfitting among these; NaN where it is alone
    degradation: float  # slope of the best's Sharpe ratio out of sample on that in sample
    probability_of_loss: float  # of the best in sample, out of sample
    spa: float  # p-value of "no try is any good" (Hansen's consistent one)
    p_value: float  # of the chosen try, adjusted for all of them (Romano & Wolf)
    minimum_track_record: float  # periods until `dsr` reaches the confidence asked for, if all stays as it is; may be infinite
    still_needed: float  # periods of these that are missing, whole


def evidence(returns, best, *, own=None, unseen: int = 0, confidence: float = 0.95, seed: int = 0) -> Evidence:
    """Of try `best` among the tries of returns [rows, tries], simple and per period: all that were made, the bad ones too.

    best: a column's name, or its number where returns is an array. own: float[n], all returns of the chosen try, where the rows are only
    those that the tries share. unseen: further tries of which nothing is known but their number; each
    is taken for an independent one. seed: of the bootstrap.
    """
    table = return_matrix(returns)
    if isinstance(unseen, bool) or not isinstance(unseen, int) or unseen < 0:
        raise UsageError(f"evidence: unseen: expected a whole number of at least 0, found {unseen!r}")
    if best not in table.columns:
        raise UsageError(f"evidence: {best!r} is not among the {table.shape[1]} tries; {did_you_mean(best, table.columns)}")
    trials, rows = effective_trials(table), len(table)
    chosen = table[best].to_numpy() if own is None else return_matrix(np.asarray(own, dtype=float)[:, None]).to_numpy()[:, 0]
    n_obs = len(chosen)
    moments = {"skew": shape(chosen).skewness, "kurtosis": shape(chosen).kurtosis}
    sharpe = sharpe_ratio(chosen, periods_per_year=1.0)
    snooping = superior_tries(table, seed=seed)
    # Independent tries that are worth nothing differ by the error of their estimates; a few of them may look closer by chance.
    trials_std = max(_spread(trials.sharpe), 1.0 / math.sqrt(rows - 1))
    # Clusters forget that the best of a cluster was chosen as well; resampling knows how alike the tries are, but not how they differ.
    independent = trials.count + unseen
    benchmark = max(expected_maximum_sharpe(independent, trials_std), snooping.expected_maximum / math.sqrt(rows))
    needed = minimum_track_record_length(sharpe, benchmark=benchmark, confidence=confidence, **moments)
    # Nobody who looks at Sharpe ratios chose it over a try that has a better one: among those the best says nothing of the chosen one.
    beaten = table.loc[
        :, table.apply(sharpe_ratio, periods_per_year=1.0).fillna(-np.inf) <= sharpe_ratio(table[best], periods_per_year=1.0)
    ]
    split = probability_of_backtest_overfitting(beaten) if beaten.shape[1] > 1 else None
    return Evidence(
        sharpe=sharpe,
        n_obs=n_obs,
        **moments,
        n_tries=table.shape[1] + unseen,
        effective_trials=independent,
        trials_std=trials_std,
        expected_maximum=benchmark,
        psr=probabilistic_sharpe_ratio(sharpe, n_obs=n_obs, **moments),
        dsr=probabilistic_sharpe_ratio(sharpe, n_obs=n_obs, benchmark=benchmark, **moments),
        compared=beaten.shape[1],
        pbo=split.pbo if split else NAN,
        degradation=split.slope if split else NAN,
        probability_of_loss=split.probability_of_loss if split else NAN,
        spa=snooping.spa_consistent,
        p_value=float(snooping.tries.loc[best, "p_value"]),
        minimum_track_record=needed,
        still_needed=float(np.maximum(np.ceil(needed - n_obs), 0.0)),
    )


def _spread(sharpe: np.ndarray) -> float:
    """Standard deviation; of tries one of which ruined itself, what the median distance from the median says of normal ones."""
    if len(sharpe) < 2:
        return 0.0
    return min(float(sharpe.std(ddof=1)), 1.4826 * float(np.median(np.abs(sharpe - np.median(sharpe)))))
