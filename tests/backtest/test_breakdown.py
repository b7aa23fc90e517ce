"""By side and by regime: the parts are the whole, and each part is what its own bars and trades say."""

import numpy as np
import pandas as pd
import pytest
from made_results import bars_of, busy, run, together

from quantalpha.backtest.breakdown import by_regime, by_side
from quantalpha.backtest.performance import trade_metrics
from quantalpha.errors import DataError
from quantalpha.perp import Costs
from quantalpha.validation import max_drawdown, sharpe_ratio


@pytest.fixture(scope="module")
def result():
    return busy()


@pytest.fixture(scope="module")
def regimes(result):
    return pd.Series(np.where(np.arange(3000) % 700 < 300, "calm", "wild"), index=result.index)


def test_sides_by_hand():
    """Long 10 from 100 to 110 for two bars, then short 10 from 110 to 120 for one: +100, -100."""
    free = Costs(0.0, 0.0, 0.0, 0.0)
    table = by_side(run(bars_of([100, 100, 105, 110, 110, 120, 120, 120]), [1, 1, 0, -1, 0, 0, 0, 0], costs=free))
    assert table["pnl"].tolist() == pytest.approx([100.0, -100.0, 0.0])
    assert table["exposure"].tolist() == [2 / 8, 1 / 8, 3 / 8]
    assert table["n_trades"].tolist() == [1.0, 1.0, 2.0] and table["win_rate"].tolist() == [1.0, 0.0, 0.5]


def test_sides_make_up_the_whole(result):
    table, metrics = by_side(result), result.metrics()
    assert list(table.index) == ["long", "short", "all"]
    for name in ("pnl", "n_trades", "exposure"):
        assert table.loc["long", name] + table.loc["short", name] == pytest.approx(table.loc["all", name])
    assert table.loc["all", "pnl"] == pytest.approx(result.equity.iloc[-1] - 1000.0)
    assert table.loc["all"].drop("pnl").to_dict() == pytest.approx({name: metrics[name] for name in table.columns.drop("pnl")})


def test_a_side_never_taken_is_a_row_of_nothing():
    table = by_side(run(bars_of([100, 100, 110]), 1.0))
    assert table.loc["short", ["pnl", "exposure", "n_trades"]].tolist() == [0.0, 0.0, 0.0] and np.isnan(table.loc["short", "win_rate"])


def test_sides_of_several_symbols_may_be_held_at_once():
    both = together(A=run(bars_of([100] * 4), 1.0), B=run(bars_of([100] * 4), -1.0))
    assert by_side(both)["exposure"].tolist() == [0.75, 0.75, 0.75] and by_side(both)["n_trades"].tolist() == [1.0, 1.0, 2.0]


def test_a_regime_is_its_own_bars_and_the_trades_entered_in_it(result, regimes):
    table = by_regime(result, regimes)
    calm = (regimes == "calm").to_numpy()
    returns = result.returns[calm]
    assert list(table.index) == ["calm", "wild"]
    assert table.loc["calm", "share"] == calm.mean()
    assert table.loc["calm", "total_return"] == pytest.approx((1 + returns).prod() - 1)
    assert table.loc["calm", "sharpe_ratio"] == pytest.approx(sharpe_ratio(returns, periods_per_year=8760))
    assert table.loc["calm", "max_drawdown"] == pytest.approx(max_drawdown(np.append(1.0, (1 + returns).cumprod())))
    assert table.loc["calm", "exposure"] == (result.position[calm] != 0).mean()
    trades = result.trades[regimes[result.trades["entry_time"]].to_numpy() == "calm"]
    assert table.loc["calm", "pnl"] == pytest.approx(trades["pnl"].sum())
    expected = trade_metrics(trades)
    assert table.loc["calm", list(expected)].to_dict() == pytest.approx(expected)


def test_regimes_multiply_to_the_whole(result, regimes):
    table = by_regime(result, regimes)
    assert (1 + table["total_return"]).prod() == pytest.approx(result.equity.iloc[-1] / 1000.0)
    assert table["n_trades"].sum() == len(result.trades) and table["share"].sum() == pytest.approx(1.0)


def test_bars_without_a_label_are_in_no_row(result, regimes):
    some = regimes.where(regimes == "calm")
    pd.testing.assert_frame_equal(by_regime(result, some), by_regime(result, regimes).loc[["calm"]])
    pd.testing.assert_frame_equal(by_regime(result, some.dropna()), by_regime(result, some))


def test_labels_may_be_numbers(result, regimes):
    table = by_regime(result, (regimes == "wild").astype(int))
    assert list(table.index) == [0, 1]


def test_labels_of_other_bars_are_refused(result, regimes):
    later = regimes.set_axis(regimes.index + pd.Timedelta("1min"))
    with pytest.raises(DataError, match="no bar of the result"):
        by_regime(result, later)
    with pytest.raises(DataError, match="a time twice"):
        by_regime(result, pd.concat([regimes, regimes]))
    with pytest.raises(DataError, match="at least one label"):
        by_regime(result, pd.Series(np.nan, index=regimes.index))
