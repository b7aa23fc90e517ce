"""Resampled accounts: centred on the one that happened, wide as chance says, never more in memory than what is kept."""

import math

import numpy as np
import pandas as pd
import pytest
from made_results import bars_of, busy, run, tape, together

from quantalpha.backtest.monte_carlo import bootstrap_bars, bootstrap_trades
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Costs

BOTH = pytest.mark.parametrize("bootstrap", [bootstrap_bars, bootstrap_trades])
FREE = Costs(0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def result():
    return busy()


@BOTH
def test_bands_are_ordered_thinned_and_lead_to_the_figures(result, bootstrap):
    found = bootstrap(result, paths=300, points=50)
    columns = ["p5", "p25", "p50", "p75", "p95"]
    assert list(found.bands.columns) == [*columns, "observed"] and len(found.bands) <= 50
    assert (np.diff(found.bands[columns], axis=1) >= 0).all()
    assert found.bands["observed"].iloc[-1] == pytest.approx(result.equity.iloc[-1])
    np.testing.assert_allclose(found.bands[columns].iloc[-1] / 1000.0 - 1, found.figures.loc["total_return", columns], rtol=1e-12)
    assert list(found.figures.index) == ["total_return", "cagr", "sharpe_ratio", "max_drawdown"]
    assert (np.diff(found.figures[columns], axis=1) >= 0).all() and found.paths == 300 and found.block >= 1.0


def test_observed_figures_are_those_of_the_result(result):
    metrics, bars, trades = result.metrics(), bootstrap_bars(result, paths=10), bootstrap_trades(result, paths=10)
    for name in bars.figures.index:
        assert bars.figures.loc[name, "observed"] == pytest.approx(metrics[name], rel=1e-9)
    for name in ("total_return", "cagr"):
        assert trades.figures.loc[name, "observed"] == pytest.approx(metrics[name], rel=1e-9)
    assert trades.figures.loc["max_drawdown", "observed"] <= metrics["max_drawdown"]


def test_bands_of_bars_are_dated_and_those_of_trades_numbered(result):
    bars, trades = bootstrap_bars(result, paths=5), bootstrap_trades(result, paths=5)
    assert bars.bands.index[-1] == result.index[-1] and bars.bands["observed"].tolist() == result.equity[bars.bands.index].tolist()
    assert trades.bands.index[-1] == len(result.trades)


def test_the_spread_is_that_of_chance():
    """Held for 1,500 bars of independent returns: log growth is normal with 1,500 times their variance."""
    result = run(tape(1500, scale=0.005, seed=3), 1.0, costs=FREE)
    found = bootstrap_bars(result, paths=3000, block=1.0).figures.loc["total_return"]
    spread = np.log1p(result.returns).std() * math.sqrt(1500)
    assert math.log((1 + found["p95"]) / (1 + found["p5"])) == pytest.approx(2 * 1.645 * spread, rel=0.06)
    assert found["p50"] == pytest.approx(found["observed"], abs=0.05)


def test_loss_and_ruin_by_hand():
    """Two trades, one doubles the account, one loses 60 %: drawn singly, equity ends at 4, 0.8, 0.8 or 0.16 of the cash."""
    result = run(bars_of([100, 100, 200, 200, 200, 80, 80, 80]), [1, 0, 0, 1, 0, 0, 0, 0], costs=FREE)
    assert result.trades["return"].tolist() == pytest.approx([1.0, -0.6])
    found = bootstrap_trades(result, paths=4000, block=1.0)
    assert found.probability_of_loss == pytest.approx(3 / 4, abs=0.03)
    assert found.probability_of_ruin == pytest.approx(1 / 2, abs=0.03)  # the first trade loses: at 0.4 or lower; else at 0.8
    assert bootstrap_trades(result, paths=4000, block=1.0, ruin=0.8).probability_of_ruin == pytest.approx(1 / 4, abs=0.03)


@BOTH
def test_a_seed_is_a_promise(result, bootstrap):
    one, same, other = (bootstrap(result, paths=50, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one.bands, same.bands, check_exact=True)
    pd.testing.assert_frame_equal(one.figures, same.figures, check_exact=True)
    assert (one.bands["p50"].iloc[1:] != other.bands["p50"].iloc[1:]).any()


def test_the_block_of_stormy_returns_is_long_though_their_signs_are_independent():
    storm = np.repeat(np.random.default_rng(5).choice([0.002, 0.02], 60), 50)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(6).normal(0, 1, 3000) * storm))
    result = run(bars_of(close), 1.0, costs=FREE)
    assert bootstrap_bars(result, paths=2).block > 20.0


def test_trades_of_several_symbols_lead_to_the_same_end():
    both = together(A=busy(seed=4), B=busy(seed=5))
    found = bootstrap_trades(both, paths=20)
    assert found.bands["observed"].iloc[-1] == pytest.approx(both.equity.iloc[-1])


def test_ruin_is_drawn_too():
    result = run(bars_of([[100] * 4, [100, 100, 99, 99], [50] * 4, [50] * 4]), 10.0, leverage=10.0)
    found = bootstrap_bars(result, paths=200, block=1.0)
    assert found.figures.loc["max_drawdown", "p95"] == 1.0 and found.probability_of_ruin > 0.5
    assert found.figures.loc["cagr", "p5"] == -1.0


@BOTH
def test_unfit_choices_are_refused(result, bootstrap):
    for choice in ({"paths": 0}, {"block": 0.1}, {"ruin": 0.0}, {"ruin": 1.5}, {"points": 0}):
        with pytest.raises(UsageError, match="bootstrap"):
            bootstrap(result, **choice)


def test_too_little_to_resample_is_refused():
    with pytest.raises(DataError, match="two trades, found 0"):
        bootstrap_trades(run(bars_of([100, 100, 100]), 0.0))
