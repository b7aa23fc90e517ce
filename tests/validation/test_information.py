"""How well a forecast ranks what comes, and that overlapping returns make no evidence."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import information_coefficient, information_decay


def test_rank_correlation_by_hand():
    assert information_coefficient([1, 2, 3, 4], [1, 3, 2, 40]) == pytest.approx(1 - 6 * 2 / (4 * 15))  # two ranks changed places
    assert information_coefficient([1, 2, np.nan, 4], [1, 3, 9, 40]) == pytest.approx(1)
    assert np.isnan(information_coefficient([1, 1], [1, 2])) and np.isnan(information_coefficient([1], [2]))


def test_the_return_begins_at_the_next_open():
    """A forecast of the return over 2 bars from the next open on: perfect there, and of no use one bar earlier."""
    opens = pd.Series(100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 500).cumsum()))
    forecast = (opens.shift(-3) / opens.shift(-1) - 1).iloc[:400]
    table = information_decay(forecast, opens, [1, 2, 4])
    assert table.loc[2, "information_coefficient"] == pytest.approx(1)
    assert 0.5 < table.loc[1, "information_coefficient"] < 0.9
    assert table["independent"].tolist() == [400, 200, 100]


def test_the_t_value_counts_rows_that_do_not_overlap():
    opens = pd.Series(100 * np.exp(np.random.default_rng(1).normal(0, 0.01, 300).cumsum()))
    table = information_decay(opens.diff(), opens, [10])
    correlation, independent = table.loc[10, "information_coefficient"], 288 // 10
    assert table.loc[10, "t_value"] == pytest.approx(correlation * np.sqrt((independent - 2) / (1 - correlation**2)))
    assert np.isnan(information_decay(opens.diff(), opens, [298]).loc[298, "t_value"])


def test_a_forecast_that_knows_nothing_is_seldom_taken_for_one_that_does():
    """Slow edges on overlapping returns: the naive t-value of all rows would reject most of these."""
    rng, rejected = np.random.default_rng(2), 0
    for _ in range(100):
        opens = pd.Series(100 * np.exp(rng.normal(0, 0.01, 1_500).cumsum()))
        edge = pd.Series(rng.normal(size=1_500)).ewm(span=100).mean()
        rejected += abs(information_decay(edge, opens, [24]).loc[24, "t_value"]) > 1.96
    assert rejected <= 11  # 5 are expected; 12 or more come once in two hundred


def test_what_cannot_be_asked_is_refused():
    opens = pd.Series([1.0, 2.0, 3.0])
    with pytest.raises(UsageError, match="horizons of at least one bar"):
        information_decay(opens, opens, [0])
    with pytest.raises(DataError, match="no open at 9"):
        information_decay(pd.Series([1.0], index=[9]), opens)
