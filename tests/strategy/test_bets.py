"""Bet sizes from probabilities."""

import numpy as np
import pytest

from quantalpha.errors import DataError
from quantalpha.strategy.bets import bet_size


def test_by_hand():
    # z = (0.8 - 0.5) / 0.4 = 0.75 and 2 Phi(0.75) - 1 = 0.5467 (tables of the normal distribution)
    np.testing.assert_allclose(bet_size([0.0, 0.3, 0.5, 0.8, 1.0, np.nan]), [0, 0, 0, 0.546745, 1, np.nan], atol=1e-6)


def test_size_rises_with_the_probability_and_stays_a_fraction():
    sizes = bet_size(np.linspace(0.5, 0.95, 200))
    assert (np.diff(sizes) > 0).all() and sizes[0] == 0 and sizes[-1] < 1


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match=r"expected probabilities in \[0, 1\], found 1.5"):
        bet_size([0.2, 1.5])
