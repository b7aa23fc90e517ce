"""What an account, its costs, stops and brackets accept, and what they refuse in one clear line."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Ledger, Stops, brackets_for, liquidation_price, maintenance_margin, round_quantity
from quantalpha.perp.brackets import rates_and_amounts

COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Account(0.0), "account.initial_cash"),
        (lambda: Account(math.nan), "account.initial_cash"),
        (lambda: Account("10000"), "account.initial_cash"),
        (lambda: Account(1.0, leverage=0.5), "account.leverage"),
        (lambda: Account(1.0, leverage=126), "account.leverage"),
        (lambda: Account(1.0, margin_mode="croos"), "did you mean 'cross'"),
        (lambda: Account(1.0, lot=-0.1), "account.lot"),
        (lambda: Account(1.0, brackets=((10.0, 0.01),)), "first floor is 0"),
        (lambda: Account(1.0, brackets=((0.0, 0.01), (5.0, 0.005))), "must rise"),
        (lambda: Account(1.0, brackets=((0.0, 1.5),)), "between 0 and 1"),
        (lambda: Costs(maker=0.5, taker=0.0, slippage=0.0, liquidation=0.0), "costs.maker"),
        (lambda: Costs(maker=0.0, taker=-0.001, slippage=0.0, liquidation=0.0), "costs.taker"),
        (lambda: Costs(maker=0.0, taker=0.0, slippage=math.inf, liquidation=0.0), "costs.slippage"),
        (lambda: Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=True), "costs.liquidation"),
        (lambda: Stops(stop_loss=0.0), "stops.stop_loss"),
        (lambda: Stops(stop_loss=1.0), "stops.stop_loss"),
        (lambda: Stops(take_profit=-0.1), "stops.take_profit"),
    ],
)
def test_refuses_what_makes_no_sense(build, words):
    with pytest.raises(UsageError, match=words):
        build()


@pytest.mark.parametrize("value", [Account(1.0), COSTS, Stops(0.1)])
def test_frozen(value):
    with pytest.raises(FrozenInstanceError):
        value.lot = 1.0


def test_btc_maintenance_amounts_are_the_published_kind():
    """Amounts by hand: 50,000 * 0.001 = 50; + 250,000 * 0.005 = 1,300; + 1,000,000 * 0.015 = 16,300; + 5,000,000 * 0.025 = 141,300."""
    _, amounts = rates_and_amounts(brackets_for("BTCUSDT", "2021-07-01"))
    assert amounts[:5].tolist() == pytest.approx([0.0, 50.0, 1_300.0, 16_300.0, 141_300.0])


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT"])
def test_maintenance_is_continuous_at_every_floor(symbol):
    table = brackets_for(symbol)
    for bracket in table[1:]:
        below, above = (maintenance_margin(bracket.floor * (1 + step), table) for step in (-1e-9, 1e-9))
        assert above == pytest.approx(below, rel=1e-7) and above > below


def test_maintenance_of_the_first_bracket_is_rate_times_notional():
    assert maintenance_margin(40_000.0, brackets_for("BTCUSDT", "2021-07-01")) == pytest.approx(160.0)


@pytest.mark.parametrize(("quantity", "expected"), [(10.0, 800.0 / 9.9), (-10.0, 1200.0 / 10.1), (0.0, 0.0)])
def test_liquidation_price_by_hand(quantity, expected):
    """Long 10 at 100 on 200, rate 0.01: (1000 - 200) / (10 * 0.99) = 80.81; short: (1000 + 200) / (10 * 1.01); flat: none."""
    assert liquidation_price(quantity, 100.0, 200.0, Account(200.0, 5.0, brackets=((0.0, 0.01),))) == pytest.approx(expected, rel=1e-14)


def test_a_fully_covered_long_is_never_liquidated():
    assert liquidation_price(10.0, 100.0, 1000.0, Account(1000.0)) == 0.0


@pytest.mark.parametrize(
    ("quantity", "lot", "expected"),
    [(0.3, 0.1, 0.3), (-0.3, 0.1, -0.3), (0.29999, 0.1, 0.2), (2.9999999999999996, 1.0, 3.0), (0.0009, 0.001, 0.0),
     (7.7, 5.0, 5.0), (-7.7, 2.5, -7.5), (0.123456, 0.0, 0.123456), (0.29 * 100.0, 1.0, 29.0)],
)  # fmt: skip
def test_round_quantity(quantity, lot, expected):
    assert round_quantity(quantity, lot) == expected


def test_ledger_fails_closed():
    ledger = Ledger(Account(1000.0, 2.0), COSTS)
    with pytest.raises(UsageError, match="exceeds account.leverage 2"):
        ledger.decide(2.5, 100.0, None)
    with pytest.raises(DataError, match="target must be a number"):
        ledger.decide(math.nan, 100.0, None)
    with pytest.raises(DataError, match="open must be a positive price"):
        ledger.open_bar(0, math.nan, None, 0.0)
    with pytest.raises(DataError, match="funding_rate"):
        ledger.open_bar(0, 100.0, None, math.nan)
    with pytest.raises(DataError, match="low must be a positive price"):
        ledger.inside_bar(0, 100.0, 101.0, 0.0)
    assert ledger.state() == Ledger(Account(1000.0, 2.0), COSTS).state()


@pytest.mark.parametrize("damage", [{"cash": math.nan}, {"cash": "1"}, {"extra": 1.0}])
def test_restore_refuses_a_damaged_state(damage):
    ledger = Ledger(Account(1000.0), COSTS)
    with pytest.raises(DataError, match="ledger state"):
        ledger.restore(ledger.state() | damage)


def test_decide_orders_only_on_a_change():
    ledger = Ledger(Account(1000.0, 2.0), COSTS)
    assert ledger.decide(1.0, 100.0, None) == 10.0
    assert ledger.order == 10.0 and ledger.target == 1.0
    ledger.open_bar(0, 100.0, None, 0.0)
    assert ledger.decide(1.0, 120.0, None) is None


def test_importing_is_cheap():
    code = "import sys, quantalpha.perp, quantalpha.backtest; print(sorted({'numba', 'matplotlib', 'vectorbt'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
