"""Drift is the two-sample distance of Kolmogorov and Smirnov, quarter by quarter."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from quantalpha.errors import DataError
from quantalpha.validation import period_drift

INDEX = pd.date_range("2021-01-01", "2022-12-31 23:00", freq="h", tz="UTC")
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"same": RNG.normal(size=len(INDEX)), "shifted": RNG.normal(size=len(INDEX)), "coarse": RNG.integers(0, 4, len(INDEX))}, INDEX
)
TABLE.loc["2022":, "shifted"] += 9
TRAIN = 8_000


def test_it_is_scipys_statistic_also_with_ties():
    found = period_drift(TABLE.astype(float), TRAIN)
    assert list(found.columns) == list(pd.date_range("2021-01-01", periods=8, freq="QS", tz="UTC"))
    for start, following in zip(found.columns, [*found.columns[1:], INDEX[-1] + pd.Timedelta("1h")]):
        rows = INDEX.slice_indexer(start, following - pd.Timedelta("1h"))
        expected = [ks_2samp(TABLE[name].to_numpy()[:TRAIN], TABLE[name].iloc[rows]).statistic for name in TABLE]
        np.testing.assert_allclose(found[start], expected, atol=1e-12)


def test_what_moves_shows_and_what_stays_does_not():
    found = period_drift(TABLE, TRAIN).loc[:, "2022":]
    assert (found.loc["shifted"] > 0.99).all() and (found.loc[["same", "coarse"]] < 0.05).all(axis=None)


def test_missing_values_are_left_out_and_empty_periods_are_unknown():
    holes = TABLE.astype(float).mask(RNG.random(TABLE.shape) < 0.3)
    holes.loc["2022-04":"2022-06", "same"] = np.nan
    found = period_drift(holes, TRAIN)
    assert found.isna().sum().sum() == 1 and np.isnan(found.loc["same", pd.Timestamp("2022-04-01", tz="UTC")])
    with pytest.raises(DataError, match="'same' has fewer than 30 values in the first 20 rows; train on more"):
        period_drift(holes, 20)
