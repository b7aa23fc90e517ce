"""A feature without values where they are needed is named."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.validation import check_coverage


def table(first=0, last=1000):
    values = np.where((np.arange(1000) >= first) & (np.arange(1000) < last), 1.0, np.nan)
    return pd.DataFrame({"sound": 1.0, "other": values}, index=pd.date_range("2024-01-01", periods=1000, freq="h", tz="UTC"))


def test_values_in_the_training_window_and_at_the_end_are_enough():
    check_coverage(table(first=370, last=901), 400, 100)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (371, 1000, r"'other': expected at least 30 values in the first 400 bars \(splits.train\), found 29; shorten its window"),
        (1000, 1000, "found 0"),
        (0, 900, r"'other': expected a value in the last 100 bars, found none: what it reads ended before"),
    ],
)
def test_a_feature_that_says_nothing_is_named(first, last, told):
    with pytest.raises(DataError, match=told):
        check_coverage(table(first, last), 400, 100)
