"""Where the money went: by hand, and to the cent in every grouping."""

import numpy as np
import pandas as pd
import pytest
from made_results import COSTS, bars_of, busy, run, together

from quantalpha.backtest import simulate
from quantalpha.backtest.attribution import COMPONENTS, decompose
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs

GROUPS = ("all", "side", "symbol", "trade")


@pytest.fixture(scope="module")
def result():
    return busy()


@pytest.fixture(scope="module")
def several():
    """Two symbols, one of them liquidated in every sixth bar."""
    bars = bars_of([100, 100, [100, 100, 85, 100], 100, 100, 100] * 500)
    target = pd.Series([1.0, 1.0, 1.0, 0.0, 0.0, 0.0] * 500, index=bars.index)
    forced = simulate(bars, target, account=Account(1000.0, 10.0, "isolated"), costs=COSTS)
    return together(A=busy(), B=forced)


def test_by_hand():
    """10 bought at 101 (quoted 100), sold at 108.9 (quoted 110): gross 100, slippage 10 + 11, fees 1.01 + 1.089, funding 1.1."""
    costs = Costs(maker=0.0, taker=0.001, slippage=0.01, liquidation=0.0)
    result = run(bars_of([100, 100, 110, 110], funding_rate=[0, 0, 0.001, 0]), [1, 0, 0, 0], costs=costs)
    row = decompose(result).loc["all"]
    parts = {"gross": 100.0, "fees": -2.099, "slippage": -21.0, "liquidation": 0.0, "funding": -1.1, "net": 75.801}
    assert row.to_dict() == pytest.approx(parts | {"notional": 1010.0 + 1089.0})
    points = decompose(result, unit="basis_points").loc["all"]
    assert points.to_dict() == pytest.approx({name: value / 2099.0 * 1e4 for name, value in parts.items()})
    assert decompose(result, unit="share_of_gross").loc["all"].to_dict() == pytest.approx(
        {name: value / 100 for name, value in parts.items()}
    )


def test_a_liquidation_fee_is_a_part_of_its_own():
    result = run(bars_of([100, [100, 100, 50, 60], 60, 60]), 10.0, leverage=10.0)
    row = decompose(result).loc["all"]
    bought, forced = result.fills.iloc[0], result.liquidations.iloc[0]
    assert row["liquidation"] == -forced["fee"] < 0.0
    assert row["fees"] == pytest.approx(-bought["fee"]) and row["slippage"] == pytest.approx(-bought["slippage"])
    assert row["gross"] == pytest.approx(100.0 * (forced["price"] - 100.0)) and row["net"] == pytest.approx(result.equity.iloc[-1] - 1000.0)


@pytest.mark.parametrize("by", GROUPS)
def test_the_parts_add_up_in_every_group_and_the_groups_to_the_account(several, by):
    table = decompose(several, by)
    np.testing.assert_allclose(table[list(COMPONENTS)].sum(axis=1), table["net"], rtol=0, atol=1e-9)
    assert table["net"].sum() == pytest.approx(several.equity.iloc[-1] - 2000.0, abs=1e-7)
    assert -table[["fees", "liquidation"]].sum().sum() == pytest.approx(several.fills["fee"].sum(), rel=1e-12)
    assert -table["liquidation"].sum() == pytest.approx(several.liquidations["fee"].sum(), rel=1e-12)
    assert -table["slippage"].sum() == pytest.approx(several.fills["slippage"].sum(), rel=1e-12)
    assert table["funding"].sum() == pytest.approx(several.funding["amount"].sum(), rel=1e-12)


def test_each_forced_close_is_charged_to_the_trade_it_ended(several):
    assert len(several.liquidations) == 500
    table, forced = decompose(several, "trade"), several.trades["exit_reason"] == "liquidation"
    assert (table["liquidation"] < 0.0).sum() == forced.sum() and (table["liquidation"][~forced] == 0.0).all()
    for row in np.flatnonzero(forced):
        trade = several.trades.loc[row]
        mine = several.liquidations[
            (several.liquidations["symbol"] == trade["symbol"]) & (several.liquidations["time"] == trade["exit_time"])
        ]
        assert -table.loc[row, "liquidation"] == mine["fee"].item()


def test_groups_are_sums_of_their_trades(several):
    trades = decompose(several, "trade")
    for by in ("side", "symbol"):
        expected = trades.groupby(several.trades[by]).sum()
        pd.testing.assert_frame_equal(decompose(several, by), expected, check_names=False, check_index_type=False)


def test_notional_is_what_the_fills_traded_and_the_mark_of_what_is_open(result):
    traded = (result.fills["quantity"].abs() * result.fills["price"]).sum()
    still = abs(result.position.iloc[-1]) * result.marks.iloc[-1]
    assert decompose(result)["notional"].item() == pytest.approx(traded + still) and still > 0.0


def test_sides_are_always_both_there_and_no_gross_has_no_shares():
    result = run(bars_of([100, 100, 100]), 1.0, costs=Costs(0.0, 0.0, 0.0, 0.0))
    table = decompose(result, "side", unit="share_of_gross")
    assert list(table.index) == ["long", "short"] and table.isna().all(axis=None)
    nothing = decompose(run(bars_of([100, 100]), 0.0))
    assert list(nothing.index) == ["all"] and (nothing == 0.0).all(axis=None)


def test_unknown_words_are_refused(result):
    with pytest.raises(UsageError, match="did you mean 'side'"):
        decompose(result, "sides")
    with pytest.raises(UsageError, match="basis_points"):
        decompose(result, unit="bp")
    with pytest.raises(UsageError, match="several symbols"):
        decompose(result, "symbol")
