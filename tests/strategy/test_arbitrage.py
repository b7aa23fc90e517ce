"""Two legs of one coin: when they are worth their costs, that they cancel, what is refused."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Instrument
from quantalpha.strategy.arbitrage import basis_arbitrage, funding_arbitrage

EIGHT_HOURS = 8 * 3_600_000


def funded(make_bars, rates) -> dict[str, pd.DataFrame]:
    """Spot and perpetual at one price, a settlement every bar of eight hours."""
    close = np.full(len(rates), 100.0)
    return {"spot": make_bars(close, EIGHT_HOURS), "perp": make_bars(close, EIGHT_HOURS, funding_rate=np.asarray(rates, dtype=float))}


def test_funding_is_harvested_once_it_pays_for_the_round_trip_and_until_it_is_gone(make_bars):
    # a window of one day holds three settlements; ten days' carry is ten times their sum: above 0.2 % from a sum of 2 bp on
    bars = funded(make_bars, [0, 0, 0, 1e-4, 0.9e-4, 0.2e-4, 0, 0, 0, 0, -1e-4])
    target = funding_arbitrage(bars, window=1.0, holding=10.0, round_trip=0.002)
    # sums in bp from row 3, when a day has passed: 1, 1.9, 2.1 (in), 1.1, 0.2, 0 (out)
    assert target["spot"].tolist() == [0, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0, 0, 0]
    assert (target["perp"] == -target["spot"]).all()


def test_a_higher_level_to_leave_at_gives_up_sooner(make_bars):
    bars = funded(make_bars, [0, 0, 0, 1e-4, 0.9e-4, 0.2e-4, 0, 0, 0, 0, -1e-4])
    target = funding_arbitrage(bars, window=1.0, holding=10.0, round_trip=0.002, leave=0.000_15 * 365, weight=0.25)
    assert target["spot"].tolist() == [0, 0, 0, 0, 0, 0.25, 0, 0, 0, 0, 0]


def test_what_the_long_venue_charges_counts_against_the_carry(make_bars):
    bars = funded(make_bars, [1e-4] * 9)
    assert funding_arbitrage(bars, window=1.0, round_trip=0.008)["perp"].iloc[-1] == -0.5  # 3 bp a day for 30 days: 0.9 %
    bars["spot"]["funding_rate"] = 0.5e-4
    assert funding_arbitrage(bars, window=1.0, round_trip=0.008)["perp"].eq(0).all()


def test_negative_funding_is_not_traded(make_bars):
    assert funding_arbitrage(funded(make_bars, [-1e-3] * 30), window=1.0).eq(0).all(axis=None)


def gapped(make_bars, gap, first=0.0, second=0.0) -> dict[str, pd.DataFrame]:
    """Two venues whose log prices differ by `gap`, with constant funding rates a bar of eight hours."""
    gap = np.asarray(gap, dtype=float)
    one = make_bars(100 * np.exp(gap), EIGHT_HOURS, funding_rate=np.full(len(gap), first))
    return {"one": one, "other": make_bars(np.full(len(gap), 100.0), EIGHT_HOURS, funding_rate=np.full(len(gap), second))}


def test_the_dearer_venue_is_sold_until_the_gap_closes(make_bars):
    gap = [0, 0.001, 0, 0.001, 0, 0.001, 0.02, 0.02, 0.001, 0]
    target = basis_arbitrage(gapped(make_bars, gap), window=4, enter=1.4, exit=0.5, holding=1.0, round_trip=0.002)
    # row 6: edge 0.02 - mean(0.001, 0, 0.001, 0.02) = 0.0145, 1.49 deviations of 0.0097; row 7: 0.975 deviations; row 8: -0.83
    assert target["one"].tolist() == [0, 0, 0, 0, 0, 0, -0.5, -0.5, 0, 0]
    assert (target["other"] == -target["one"]).all()


def test_a_gap_that_does_not_pay_for_four_trades_is_left_alone(make_bars):
    gap = [0, 0.001, 0, 0.001, 0, 0.001, 0.02, 0.02, 0.001, 0]
    assert basis_arbitrage(gapped(make_bars, gap), window=4, enter=1.4, round_trip=0.015).eq(0).all(axis=None)


def test_funding_difference_alone_can_pay(make_bars):
    gap = [0, 0.001] * 10
    paying = gapped(make_bars, gap, first=5e-4, second=-5e-4)  # 30 bp a day for who is short the first and long the second
    target = basis_arbitrage(paying, window=8, enter=2.0, round_trip=0.002)
    assert target["one"].iloc[-8:].eq(-0.5).all()


def test_swapping_the_venues_swaps_the_columns(legs):
    options = {"window": 48, "enter": 1.0, "round_trip": 0.001}
    there_and_back = basis_arbitrage(dict(reversed(legs.items())), **options)
    target = basis_arbitrage(legs, **options)
    assert target["here"].ne(0).mean() > 0.05
    np.testing.assert_allclose(there_and_back[["here", "there"]], target)


def test_targets_stand_where_both_legs_have_a_bar(legs):
    gone = {"here": legs["here"].drop(legs["here"].index[[5, 700]]), "there": legs["there"].iloc[:-3]}
    shared = gone["here"].index.intersection(gone["there"].index)
    for strategy in (basis_arbitrage, funding_arbitrage):
        assert strategy(gone).index.equals(shared) and len(shared) == len(legs["here"]) - 5


@pytest.mark.parametrize(
    ("strategy", "parameters", "message"),
    [
        (funding_arbitrage, {"window": 0.0}, "window above 0 days, found 0.0"),
        (funding_arbitrage, {"holding": np.nan}, "holding above 0 days"),
        (funding_arbitrage, {"leave": 1.0}, "leave <= round_trip"),
        (funding_arbitrage, {"weight": 0.0}, "weight"),
        (funding_arbitrage, {"round_trip": -0.1}, "round_trip"),
        (basis_arbitrage, {"window": 1}, "window"),
        (basis_arbitrage, {"exit": 2.0}, "exit < enter"),
        (basis_arbitrage, {"holding": -1.0}, "holding"),
        (basis_arbitrage, {"weight": 1.5}, "weight"),
        (basis_arbitrage, {"round_trip": 1.0}, "round_trip"),
    ],
)
def test_impossible_parameters_are_refused(legs, strategy, parameters, message):
    with pytest.raises(UsageError, match=f"{strategy.__name__}: expected .*{message}"):
        strategy(legs, **parameters)


@pytest.mark.parametrize("strategy", [funding_arbitrage, basis_arbitrage])
def test_one_leg_or_a_leg_without_funding_is_refused(legs, strategy):
    with pytest.raises(UsageError, match="mapping of two legs, name -> bars, found DataFrame"):
        strategy(legs["here"])
    with pytest.raises(UsageError, match=r"found \['here'\]"):
        strategy({"here": legs["here"]})
    with pytest.raises(DataError, match="needs column 'funding_rate'"):
        strategy(legs | {"there": legs["there"].drop(columns="funding_rate")})


def traded(bars, **account):
    """The harvest in one account of 10,000 that owns its spot, 5 bp a trade."""
    terms = Account(10_000.0, instruments={"spot": Instrument(spot=True)}, **account)
    costs = Costs(maker=0.0005, taker=0.0005, slippage=0.0, liquidation=0.01)
    return simulate(bars, funding_arbitrage(bars, window=1.0), account=terms, costs=costs)


def test_one_account_earns_the_funding_less_the_fees_of_both_legs(make_bars):
    bars = funded(make_bars, [1e-4] * 13)
    # a day's settlements are known at row 3, both legs of 5,000 are bought and sold at row 4, rows 5 to 12 pay 0.50 each, fees are 2 * 2.50
    assert traded(bars).equity.iloc[-1] == pytest.approx(10_000 - 5 + 8 * 0.5)


def test_a_coin_that_doubles_is_survived_by_rebalancing_only(make_bars):
    close = np.r_[np.full(10, 100.0), np.geomspace(100, 230, 60), np.full(10, 230.0)]
    bars = {"spot": make_bars(close, EIGHT_HOURS), "perp": make_bars(close, EIGHT_HOURS, funding_rate=np.full(80, 1e-4))}
    left_alone, banded = traded(bars), traded(bars, rebalance_band=0.05)
    assert len(left_alone.liquidations) == 1
    assert banded.liquidations.empty and banded.equity.iloc[-1] == pytest.approx(10_000, rel=0.01)
    assert banded.equity.pct_change().abs().max() < 0.001
