"""The contract of `simulate`: what it takes, what it refuses, and cases whose answer is known without a simulator."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

FREE = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)
ACCOUNT = Account(10_000.0, 3.0)


def walk(n=400, seed=0, volatility=0.005):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, n)))
    open_ = np.append(100.0, close[:-1])
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    frame = {"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}
    return pd.DataFrame(frame, index=from_epoch_ms(np.arange(n) * 3_600_000))


def swings(bars, every=7, seed=1):
    rng = np.random.default_rng(seed)
    return pd.Series(np.repeat(rng.choice([-1.0, 0.0, 1.0, 2.0], len(bars) // every + 1), every)[: len(bars)], index=bars.index)


def test_free_buy_and_hold_is_the_price_ratio():
    bars = walk()
    result = simulate(bars, pd.Series(1.0, index=bars.index), account=Account(10_000.0), costs=FREE)
    bought = bars["open"].iloc[1]
    quantity = 10_000.0 / bars["close"].iloc[0]
    np.testing.assert_allclose(result.equity[1:], 10_000.0 + quantity * (bars["close"][1:] - bought), rtol=1e-12)
    bars["open"] = bars["close"].shift(1, fill_value=100.0)
    np.testing.assert_allclose(result.equity / 10_000.0, bars["close"] / bars["close"].iloc[0], rtol=1e-12)


def test_flat_target_changes_nothing():
    bars = walk(50).assign(funding_rate=0.001)
    result = simulate(bars, pd.Series(0.0, index=bars.index), account=ACCOUNT, costs=COSTS)
    assert (result.equity == 10_000.0).all() and result.fills.empty and result.funding.empty and result.trades.empty


def test_a_prefix_of_the_bars_gives_a_prefix_of_the_result():
    bars = walk().assign(funding_rate=1e-4)
    target = swings(bars)
    whole = simulate(bars, target, account=ACCOUNT, costs=COSTS, stops=Stops(0.02, 0.03))
    for cut in (1, 2, 57, 399):
        part = simulate(bars.iloc[:cut], target.iloc[:cut], account=ACCOUNT, costs=COSTS, stops=Stops(0.02, 0.03))
        assert part.equity.tolist() == whole.equity.iloc[:cut].tolist()
        pd.testing.assert_frame_equal(part.fills, whole.fills[whole.fills["time"] < bars.index[cut - 1] + pd.Timedelta("1h")])


def test_the_last_decision_never_fills_and_bars_before_the_first_hold_nothing():
    bars = walk(10)
    target = pd.Series([1.0, -1.0], index=bars.index[[4, 9]])
    result = simulate(bars, target, account=ACCOUNT, costs=COSTS)
    assert result.fills["time"].tolist() == [bars.index[5]]
    assert (result.equity.iloc[:5] == 10_000.0).all()


def test_rows_without_target_keep_the_previous_one():
    bars = walk()
    target = swings(bars)
    changes = target[target.ne(target.shift())].sample(frac=1.0, random_state=3)
    dense, sparse = (simulate(bars, path, account=ACCOUNT, costs=COSTS) for path in (target, changes))
    assert dense.equity.tolist() == sparse.equity.tolist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_index_does_not_matter(unit):
    bars = walk(100)
    target = swings(bars)
    other = bars.set_axis(bars.index.as_unit(unit))
    result = simulate(other, target.set_axis(other.index), account=ACCOUNT, costs=COSTS)
    assert result.metrics() == pytest.approx(simulate(bars, target, account=ACCOUNT, costs=COSTS).metrics(), nan_ok=True)


def test_inputs_are_left_alone():
    bars, before = walk(100), walk(100)
    target = swings(bars)
    simulate(bars, target, account=ACCOUNT, costs=COSTS, stops=Stops(0.01))
    pd.testing.assert_frame_equal(bars, before)
    pd.testing.assert_series_equal(target, swings(before))


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (lambda i: pd.Series([1.0, np.nan], index=i[:2]), DataError, r"1970-01-01 01:00:00\+00:00: target must be a number"),
        (lambda i: pd.Series([1.0, np.inf], index=i[:2]), DataError, "must be a number"),
        (lambda i: pd.Series([1.0, -3.5], index=i[:2]), UsageError, r"1970-01-01 01:00:00\+00:00: target -3.5 exceeds account.leverage 3"),
        (lambda i: pd.Series([1.0], index=i[:1] + pd.Timedelta("1min")), DataError, "not the open time of a bar"),
        (lambda i: pd.Series([1.0, 1.0], index=i[[0, 0]]), DataError, "unique"),
        (lambda i: pd.Series([1.0], index=i[:1].tz_localize(None)), DataError, "UTC"),
        (lambda i: pd.Series([1.0]), DataError, "UTC"),
    ],
)
def test_refuses_a_target_it_cannot_follow(target, error, words):
    bars = walk(10)
    with pytest.raises(error, match=words):
        simulate(bars, target(bars.index), account=ACCOUNT, costs=COSTS)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("close", np.nan, "impossible bar"), ("low", 1e9, "impossible bar"), ("mark", -1.0, "mark"), ("funding_rate", np.nan, "funding_rate")],
)
def test_refuses_unsound_bars(column, value, words):
    bars = walk(10).assign(mark=100.0, funding_rate=0.0)
    bars.loc[bars.index[4], column] = value
    with pytest.raises(DataError, match=words + ".*1970-01-01 04:00"):
        simulate(bars, swings(bars), account=ACCOUNT, costs=COSTS)


def test_an_unknown_mark_is_the_open_for_funding_and_the_close_for_equity():
    bars = walk(100).assign(funding_rate=1e-3)
    target = swings(bars)
    without = simulate(bars, target, account=ACCOUNT, costs=COSTS)
    unknown = simulate(bars.assign(mark=np.nan), target, account=ACCOUNT, costs=COSTS)
    assert without.equity.tolist() == unknown.equity.tolist()
    assert (without.funding["mark"].to_numpy() == bars["open"].loc[without.funding["time"]].to_numpy()).all()


def test_market_orders_agree_with_vectorbt():
    """Without leverage, funding and stops vectorbt's `from_orders` is an independent judge: orders of a given size at the open."""
    vectorbt = pytest.importorskip("vectorbt")
    bars = walk(300)
    target = swings(bars).clip(-1.0, 1.0) * 0.5
    result = simulate(bars, target, account=Account(10_000.0), costs=COSTS)
    size = pd.Series(0.0, index=bars.index)
    size[result.fills["time"]] = result.fills["quantity"].to_numpy()
    naive = bars.index.tz_localize(None)
    judge = vectorbt.Portfolio.from_orders(
        bars["close"].set_axis(naive), size.set_axis(naive), price=bars["open"].set_axis(naive), fees=COSTS.taker, slippage=COSTS.slippage,
        init_cash=10_000.0, direction="both", freq="1h",
    )  # fmt: skip
    assert len(result.fills) > 20
    np.testing.assert_allclose(result.equity, judge.value(), rtol=1e-10)
