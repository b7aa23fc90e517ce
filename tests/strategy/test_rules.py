"""The list of rule strategies: what holds for every one of them."""

import inspect

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.strategy.rules import ARBITRAGES, SEARCH, STRATEGIES
from quantalpha.validation import check_causal

SHORT = {"trend": {"fast": 4}, "momentum": {"shortest": 8, "longest": 100}, "basis_arbitrage": {"window": 48, "round_trip": 0.0}}
SHORT["funding_arbitrage"] = {"window": 2.0, "holding": 10.0}


def frame(result) -> pd.DataFrame:
    return result.to_frame() if isinstance(result, pd.Series) else result


def joined(legs) -> pd.DataFrame:
    """Two legs as one table, for what alters tables row by row."""
    return pd.concat(legs, axis=1).pipe(lambda wide: wide.set_axis([f"{leg} {column}" for leg, column in wide], axis=1))


def parted(wide: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {
        leg: wide.filter(regex=f"^{leg} ").rename(columns=lambda name: name.split(" ", 1)[1]) for leg in wide.columns.str.split(" ").str[0]
    }


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_bears_its_name(name):
    assert STRATEGIES[name].__name__ == name  # under which the ledger of tries knows it


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_strategy_looks_ahead(market, name):
    report = check_causal(lambda bars: frame(STRATEGIES[name](bars, **SHORT.get(name, {}))), market, cuts=10)
    assert report.clean, report


@pytest.mark.parametrize("name", ARBITRAGES)
def test_no_arbitrage_looks_ahead(legs, name):
    report = check_causal(lambda wide: ARBITRAGES[name](parted(wide), **SHORT.get(name, {})), joined(legs), cuts=10)
    assert report.clean, report


@pytest.mark.parametrize("name", STRATEGIES)
def test_targets_are_numbers_within_one_flat_at_first_and_then_at_work(market, name):
    target = frame(STRATEGIES[name](market, **SHORT.get(name, {})))["target"]
    assert target.index.equals(market.index) and target.notna().all() and target.abs().max() <= 1
    assert (target.iloc[0] == 0) == (name != "buy_and_hold")
    assert set(np.sign(target)) == ({1.0} if name == "buy_and_hold" else {-1.0, 0.0, 1.0})


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_unit_of_the_price_does_not_matter(market, name):
    prices = ["open", "high", "low", "close"]
    scaled = market.assign(**{column: market[column] * 1024 for column in prices})
    was, now = (frame(STRATEGIES[name](bars, **SHORT.get(name, {}))) for bars in (market, scaled))
    np.testing.assert_allclose(now["target"], was["target"], atol=1e-9)
    if "limit" in was:
        np.testing.assert_allclose(now["limit"], was["limit"] * 1024)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"buy_and_hold", "ma_cross"}))
def test_a_market_quoted_the_other_way_round_gives_the_opposite_target(market, mirror, name):
    was, now = (frame(STRATEGIES[name](bars, **SHORT.get(name, {}))) for bars in (market, mirror(market)))
    np.testing.assert_allclose(now["target"], -was["target"], atol=1e-9)
    if "limit" in was:
        np.testing.assert_allclose(now["limit"], 1 / was["limit"])


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"buy_and_hold"}))
def test_a_price_that_stands_still_is_not_traded(make_bars, name):
    still = make_bars(np.full(600, 100.0))
    assert frame(STRATEGIES[name](still))["target"].eq(0).all()


def test_every_strategy_with_parameters_has_a_box_of_real_parameters():
    assert set(SEARCH) == (set(STRATEGIES) | set(ARBITRAGES)) - {"buy_and_hold"}
    for name, box in SEARCH.items():
        known = inspect.signature((STRATEGIES | ARBITRAGES)[name]).parameters
        assert set(box) <= set(known), name
        for low, high, kind in box.values():
            assert kind in ("int", "float", "log") and low < high and (kind != "log" or low > 0)


@pytest.mark.parametrize("name", SEARCH)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_point_of_a_box_is_a_valid_set(name, market, legs, data):
    parameters = {
        key: data.draw(st.integers(low, high) if kind == "int" else st.floats(low, high), label=key)
        for key, (low, high, kind) in SEARCH[name].items()
    }
    result = STRATEGIES[name](market, **parameters) if name in STRATEGIES else ARBITRAGES[name](legs, **parameters)
    assert len(result) == len(market)
