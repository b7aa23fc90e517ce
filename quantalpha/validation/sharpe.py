"""How sure is a Sharpe ratio? Its chance of being above a benchmark, alone or as the best of many, and how long that takes to show.

All Sharpe ratios are per period, of the returns that `n_obs`, `skew` and `kurtosis` (3 for a normal distribution) describe. What is
undefined is NaN, so that no comparison passes on it.

Sources: Bailey & Lopez de Prado, The Sharpe ratio efficient frontier, Journal of Risk 15 (2012), and The deflated Sharpe ratio, Journal
of Portfolio Management 40 (2014).
"""

import math
from statistics import NormalDist

from quantalpha.errors import UsageError

NORMAL = NormalDist()
EULER = 0.5772156649015329  # the Euler-Mascheroni constant
ROUNDING = 1e-9


def probabilistic_sharpe_ratio(sharpe: float, *, n_obs: int, skew: float, kurtosis: float, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `benchmark`; NaN for fewer than two returns.

    UsageError for a kurtosis that no distribution of this skew has: excess kurtosis passed by mistake mostly shows so.
    """
    variance = _variance(sharpe, skew, kurtosis)
    if not (math.isfinite(sharpe - benchmark) and 2 <= n_obs < math.inf and variance > 0.0):
        return math.nan
    return NORMAL.cdf((sharpe - benchmark) * math.sqrt((n_obs - 1) / variance))


def deflated_sharpe_ratio(sharpe: float, *, n_obs: int, skew: float, kurtosis: float, n_trials: float, trials_std: float) -> float:
    """Probability that the true Sharpe ratio is above what the best of `n_trials` independent tries shows by luck (2014, eq. 2)."""
    benchmark = expected_maximum_sharpe(n_trials, trials_std)
    return probabilistic_sharpe_ratio(sharpe, n_obs=n_obs, skew=skew, kurtosis=kurtosis, benchmark=benchmark)


def expected_maximum_sharpe(n_trials: float, trials_std: float) -> float:
    """The Sharpe ratio to expect of the best of `n_trials` independent tries that are worth nothing (2014, eq. 1); 0 for a single one.

    trials_std: standard deviation of the tries' Sharpe ratios. n_trials may be an estimate, of which the approximation falls below 0 just
    above 1; it is never less than 0.
    """
    if n_trials < 1 or trials_std < 0:
        raise UsageError(f"expected_maximum_sharpe: expected n_trials >= 1 and trials_std >= 0, found {n_trials} and {trials_std}")
    if not math.isfinite(n_trials * trials_std):
        return math.nan
    if n_trials == 1:
        return 0.0
    # inv_cdf(1 - p) = -inv_cdf(p), which keeps its digits for any number of tries
    largest = -(1.0 - EULER) * NORMAL.inv_cdf(1.0 / n_trials) - EULER * NORMAL.inv_cdf(1.0 / (n_trials * math.e))
    return trials_std * max(largest, 0.0)


def minimum_track_record_length(sharpe: float, *, skew: float, kurtosis: float, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """How many returns it takes until `probabilistic_sharpe_ratio` reaches `confidence` (2012, eq. 11), not rounded.

    Infinite where `sharpe` is not above `benchmark`: no track record shows what is not there.
    """
    if not 0.5 < confidence < 1.0:
        raise UsageError(f"minimum_track_record_length: expected a confidence between 0.5 and 1, found {confidence}")
    variance, distance = _variance(sharpe, skew, kurtosis), sharpe - benchmark
    if not (math.isfinite(distance) and variance > 0.0):
        return math.nan
    return 1.0 + variance * (NORMAL.inv_cdf(confidence) / distance) ** 2 if distance > 0.0 else math.inf


def _variance(sharpe: float, skew: float, kurtosis: float) -> float:
    """Of the estimated Sharpe ratio, times n - 1 (Mertens, 2002).

    Pearson's inequality, kurtosis >= skew^2 + 1, keeps it at or above (1 - skew sharpe / 2)^2: it is negative for impossible moments only.
    """
    if kurtosis < (skew * skew + 1.0) * (1.0 - ROUNDING):
        raise UsageError(
            f"Sharpe ratio: expected a kurtosis of at least skew^2 + 1 = {skew * skew + 1.0:g}, found {kurtosis:g}; "
            "pass the plain kurtosis, 3 for a normal distribution, not the excess"
        )
    return 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
