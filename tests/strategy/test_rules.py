"""Rules without a model: the sides they take, and that they cannot see ahead."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.strategy import buy_and_hold, ma_cross


def walk(n=400, seed=3):
    prices = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).normal(size=n)))
    return pd.Series(prices, index=pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC"))


def test_buy_and_hold_is_long_throughout():
    close = walk(10)
    target = buy_and_hold(close, leverage=2)
    assert target.tolist() == [2.0] * 10 and target.index.equals(close.index)


def test_ma_cross_follows_a_ramp_up_and_down():
    up_down = pd.Series(np.r_[np.arange(1.0, 31), np.arange(30.0, 0, -1)])
    target = ma_cross(up_down, fast=3, slow=9, leverage=1.5)
    assert target[:8].eq(0).all() and target[8:31].eq(1.5).all() and target[-20:].eq(-1.5).all()


def test_ma_cross_compares_the_two_plain_means():
    close = walk()
    target = ma_cross(close, fast=5, slow=20)
    for i in range(19, 400, 37):
        assert target.iloc[i] == np.sign(close.iloc[i - 4 : i + 1].mean() - close.iloc[i - 19 : i + 1].mean())


@pytest.mark.parametrize("cut", [19, 20, 133, 399])
def test_ma_cross_of_a_truncated_series_is_its_own_past(cut):
    close = walk()
    assert ma_cross(close, 5, 20).iloc[:cut].equals(ma_cross(close.iloc[:cut], 5, 20))


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (9, 5)])
def test_ma_cross_refuses_windows_out_of_order(fast, slow):
    with pytest.raises(UsageError, match="fast < slow"):
        ma_cross(walk(), fast, slow)
