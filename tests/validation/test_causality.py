"""What the proof reports, and what it refuses to judge."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.validation import LeakReport, check_causal


@pytest.fixture
def bars():
    close = 100 + np.sin(np.arange(200.0)) + np.arange(200) / 50
    frame = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0 + np.arange(200)}
    return pd.DataFrame(frame, index=schema.from_epoch_ms(np.arange(200) * 3_600_000))


def test_a_clean_report(bars):
    report = check_causal(lambda b: b[["close"]].rolling(5).mean(), bars)
    assert report.clean and isinstance(report, LeakReport)
    assert list(report.columns) == ["name", "leaks", "first_cut", "max_diff"]
    assert report.columns.iloc[0].tolist() == ["close", False, pd.NaT, 0.0] or report.columns.first_cut.isna().all()
    assert str(report) == "causal: none of 1 columns changed when later bars were hidden or replaced"


def test_a_leak_names_column_proof_and_remedy(bars):
    report = check_causal(lambda b: pd.DataFrame({"past": b.close.shift(1), "future": b.close.shift(-1)}), bars)
    past, future = report.columns.itertuples()
    assert not past.leaks and past.max_diff == 0 and past.first_cut is pd.NaT
    assert future.leaks and future.max_diff == np.inf
    text = str(report)
    assert "1 of 2 columns look ahead" in text and f"future: rows before {future.first_cut}" in text and "shift(-n)" in text


def test_the_size_of_a_leak_is_measured(bars):
    report = check_causal(lambda b: (b[["close"]] * 0 + 1).assign(close=lambda f: f.close + (len(b) == 200) * 0.5), bars)
    assert report.columns.max_diff[0] == 0.5


def test_a_number_that_appears_where_none_was_is_a_leak(bars):
    def compute(b):
        return pd.DataFrame({"late": np.where(np.arange(len(b)) < len(b) - 1, 1.0, np.nan)}, index=b.index)

    assert check_causal(compute, bars).columns.max_diff[0] == np.inf


def test_rounding_is_no_leak(bars):
    assert check_causal(lambda b: b[["close"]] * (1 + 1e-13 * len(b)), bars).clean


def test_the_same_seed_gives_the_same_report(bars):
    def compute(b):
        return pd.DataFrame({"x": b.close.rolling(9, center=True).mean(), "y": b.close.expanding().max()})

    first, second = (check_causal(compute, bars, seed=3).columns for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_rows_left_out_count_as_missing_and_bars_stay_as_they_are(bars):
    before = bars.copy()
    report = check_causal(lambda b: pd.DataFrame({"x": b.close.rolling(5).mean(), "y": b.close.shift(-2)}).dropna(), bars)
    assert report.columns.leaks.tolist() == [True, True]
    pd.testing.assert_frame_equal(bars, before)


def test_times_are_compared_and_text_is_refused(bars):
    times = check_causal(lambda b: pd.DataFrame({"end": b.index.to_series().shift(-1), "now": b.index.to_series()}), bars)
    assert times.columns.leaks.tolist() == [True, False]
    with pytest.raises(UsageError, match="column 'word' must hold numbers"):
        check_causal(lambda b: pd.DataFrame({"word": "up"}, index=b.index), bars)


def test_what_cannot_be_judged_is_refused(bars):
    with pytest.raises(UsageError, match="must return a DataFrame, found Series"):
        check_causal(lambda b: b.close, bars)
    with pytest.raises(DataError, match="column 'x' has no value in 200 bars"):
        check_causal(lambda b: pd.DataFrame({"x": b.close.rolling(500).mean()}), bars)
    with pytest.raises(DataError, match="at least 3 bars, found 2"):
        check_causal(lambda b: b, bars.iloc[:2])
    with pytest.raises(UsageError, match="cuts must be at least 1"):
        check_causal(lambda b: b, bars, cuts=0)
