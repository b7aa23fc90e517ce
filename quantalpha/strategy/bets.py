"""From the probability that a bet gains to its size."""

import numpy as np

from quantalpha.errors import DataError


def bet_size(probability) -> np.ndarray:
    """Size in [0, 1] of a bet that gains with `probability`, of two outcomes: max(0, 2 Phi(z) - 1), z = (p - 1/2) / sqrt(p (1 - p)).

    Phi is the normal distribution function: 0 up to p = 1/2, 0.16 at 0.6, 0.82 at 0.9, 1 at 1; NaN stays NaN. Times the side of the rule,
    and a leverage, it is a target for `quantalpha.backtest.simulate`.
    Source: López de Prado, "Advances in Financial Machine Learning" (2018), section 10.3.
    """
    from scipy.special import ndtr

    p = np.asarray(probability, dtype=float)
    if ((p < 0) | (p > 1)).any():
        raise DataError(f"bet_size: expected probabilities in [0, 1], found {p[(p < 0) | (p > 1)][0]}")
    with np.errstate(divide="ignore"):
        return np.maximum(2.0 * ndtr((p - 0.5) / np.sqrt(p * (1.0 - p))) - 1.0, 0.0)
