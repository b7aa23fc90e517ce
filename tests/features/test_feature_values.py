"""Funding and calendar against numbers worked by hand."""

import numpy as np
import pandas as pd
from feature_values import column

from quantalpha.features import build


def test_funding_sums_the_rates_settled_in_the_window():
    found = column(pd.DataFrame({"funding_rate": [1e-4, 0.0, 3e-4, -2e-4]}), "funding", 3)
    np.testing.assert_allclose(found, [np.nan, np.nan, 4e-4, 1e-4], rtol=1e-12)


def test_calendar_is_the_phase_of_the_open_time():
    times = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00", "2024-01-04 00:00"], tz="UTC")
    found = build({"calendar": [24, 168]}).compute(pd.DataFrame(index=times))
    assert list(found) == ["calendar_24_sin", "calendar_24_cos", "calendar_168_sin", "calendar_168_cos"]
    np.testing.assert_allclose(found.iloc[:, 0], [0, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.iloc[:, 1], [1, 0, -1, 1], atol=1e-12)
    np.testing.assert_allclose(found.iloc[3, 2:], [0, 1], atol=1e-12)  # a Thursday, as 1970-01-01 was
