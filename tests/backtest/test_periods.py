"""Days, months, moving windows and drawdowns against their definitions."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_result import sample_bars, sample_result

from quantalpha.backtest import periods, simulate
from quantalpha.perp import Account, Costs
from quantalpha.schema import from_epoch_ms

DAY = 86_400_000


@pytest.fixture(scope="module")
def result():
    return sample_result()


def falls(values) -> pd.Series:
    return pd.Series(values, index=from_epoch_ms(np.arange(len(values)) * DAY), dtype=float)


def test_days_compound_to_months_to_years_and_to_the_whole(result):
    daily, table = periods.daily_returns(result.returns), periods.monthly_returns(result.returns)
    assert len(daily) == 250 and table.index.tolist() == [2022, 2023] and table.columns.tolist() == [*range(1, 13), "year"]
    pd.testing.assert_frame_equal(periods.monthly_returns(daily), table)
    assert table.loc[2022, list(range(1, 11))].isna().all() and table.loc[2022, [11, 12]].notna().all()
    np.testing.assert_allclose((1 + table[list(range(1, 13))]).prod(axis=1), 1 + table["year"])
    assert (1 + table["year"]).prod() * 10_000.0 == pytest.approx(result.equity.iloc[-1])
    assert (1 + daily).prod() * 10_000.0 == pytest.approx(result.equity.iloc[-1])


def test_a_moving_window_is_the_metrics_of_its_days(result):
    table, daily, day = periods.rolling(result, 30), periods.daily_returns(result.returns), result.index.floor("D")
    assert table.index.equals(daily.index) and table.iloc[:29].isna().all(axis=None) and table.iloc[29:].notna().all(axis=None)
    last, days = table.iloc[-1], daily.iloc[-30:]
    bars = day >= daily.index[-30]
    assert last["volatility"] == pytest.approx(days.std() * math.sqrt(365))
    assert last["sharpe_ratio"] == pytest.approx(days.mean() / days.std() * math.sqrt(365))
    assert last["exposure"] == pytest.approx((result.position[bars] != 0.0).mean())
    expected = (result.position[bars].abs() * result.marks[bars] / result.equity[bars]).mean()
    assert last["leverage"] == pytest.approx(expected)


def test_a_window_without_variance_has_no_sharpe():
    bars = sample_bars(24 * 40)
    idle = simulate(bars, pd.Series(0.0, index=bars.index), account=Account(1000.0), costs=Costs(0.0, 0.0, 0.0, 0.0))
    table = periods.rolling(idle, 7).iloc[7:]
    assert table["sharpe_ratio"].isna().all() and (table["volatility"] == 0.0).all() and (table["exposure"] == 0.0).all()


@pytest.mark.parametrize(("bars", "days"), [(24 * 10, 7), (24 * 130, 30), (24 * 400, 90), (24 * 1500, 365)])
def test_the_window_fits_the_length(bars, days):
    table = sample_bars(bars)
    result = simulate(table, pd.Series(0.0, index=table.index), account=Account(1000.0), costs=Costs(0.0, 0.0, 0.0, 0.0))
    assert periods.window(result) == days


def test_underwater_counts_the_initial_cash_as_a_high(result):
    fall = periods.underwater(result)
    assert -fall.min() == pytest.approx(result.metrics()["max_drawdown"])
    assert fall.iloc[0] == pytest.approx(min(result.equity.iloc[0] / 10_000.0 - 1.0, 0.0))


def test_drawdowns_by_hand():
    """Two days of 5 and 10 % down from the second day, recovered on the fifth; then one of 20 %, never recovered."""
    table = periods.drawdowns(falls([0.0, 0.0, -0.05, -0.10, 0.0, 0.0, -0.20, -0.15]))
    day = table["peak"].iloc[0] - pd.Timedelta("5D")
    assert table["depth"].tolist() == [-0.20, -0.10]
    assert ((table["peak"] - day) / pd.Timedelta("1D")).tolist() == [5, 1]
    assert ((table["trough"] - day) / pd.Timedelta("1D")).tolist() == [6, 3]
    assert table["recovered"].isna().tolist() == [True, False] and (table["recovered"].iloc[1] - day) == pd.Timedelta("4D")
    assert table["days_down"].tolist() == [1.0, 2.0] and table["days"].tolist() == [2.0, 3.0]


def test_nothing_lost_is_no_drawdown():
    assert len(periods.drawdowns(falls([0.0, 0.0]))) == 0


@given(st.lists(st.sampled_from([0.0, 0.0, -0.1, -0.2, -0.3]), min_size=1, max_size=40))
def test_drawdowns_are_the_stretches_below_the_high(values):
    found = periods.drawdowns(falls(values), count=len(values))
    stretches = list("".join("x" if value < 0.0 else " " for value in values).split())
    assert len(found) == len(stretches)
    assert (found["days"] >= found["days_down"]).all()
    if len(found):
        assert found["depth"].iloc[0] == min(values) and found["depth"].is_monotonic_increasing
        assert found["recovered"].isna().sum() == (values[-1] < 0.0)
