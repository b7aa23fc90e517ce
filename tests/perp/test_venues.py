"""What the venues themselves published: liquidation, bankruptcy and maintenance figures, and the two positions of Binance's example."""

import json
from pathlib import Path

import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Instrument, bankruptcy_price, liquidation_price, maintenance_margin
from quantalpha.schema import from_epoch_ms

VENUES = json.loads((Path(__file__).parents[1] / "golden" / "venues.json").read_text())
TABLES = {example["name"]: tuple(map(tuple, example["brackets"])) for example in VENUES["maintenance"]}
FREE = Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)


def published(kind):
    return pytest.mark.parametrize("example", VENUES[kind], ids=lambda example: example["name"])


def level(example):
    """Our liquidation price; the wallet is the margin."""
    cash = example.get("cash", example.get("margin"))
    rows = TABLES[example["table"]] if "table" in example else ((0.0, example["rate"]),)
    return liquidation_price(example["quantity"], example["entry"], cash, Account(cash, 125.0, brackets=rows))


@published("maintenance")
def test_maintenance_margin(example):
    assert maintenance_margin(example["notional"], TABLES[example["name"]]) == pytest.approx(example["published"], rel=1e-9)


@published("liquidation")
def test_liquidation_price(example):
    assert round(level(example), example["places"]) == example["published"]


@published("liquidation_with_maintenance_at_entry")
def test_liquidation_price_where_maintenance_is_taken_at_the_entry(example):
    """There the margin kept is rate * notional at the entry, here at the price: the levels differ by rate * |entry - ours|."""
    ours, rate, entry = level(example), example["rate"], example["entry"]
    assert ours + rate * abs(entry - ours) == pytest.approx(example["published"], rel=1e-12)
    left = example["margin"] + example["quantity"] * (example["published"] - entry)
    assert left == pytest.approx(maintenance_margin(abs(example["quantity"]) * entry, [(0.0, rate)]), rel=1e-9)


@published("bankruptcy")
def test_bankruptcy_price(example):
    account = Account(1e6, example["leverage"], "isolated")
    assert bankruptcy_price(example["quantity"], example["entry"], 1e6, account) == pytest.approx(example["published"], rel=1e-12)


@pytest.mark.parametrize("row", VENUES["hyperliquid_formula"]["rows"])
def test_hyperliquids_formula_from_any_price(row):
    side, size, price, rate = row["side"], row["size"], row["price"], row["rate"]
    worth = row["cash"] + side * size * (price - row["entry"])
    theirs = price - side * (worth - rate * size * price) / size / (1.0 - rate * side)
    ours = liquidation_price(side * size, row["entry"], row["cash"], Account(row["cash"], 125.0, brackets=((0.0, rate),)))
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("liquidated", ["ETHUSDT", "BTCUSDT"])
def test_binances_two_positions_in_one_cross_account(liquidated):
    """Wallet 1,535,443.01; 3,683.979 ETH from 1,456.84, marked 1,335.18; 109.488 BTC from 32,481.98, marked 31,967.27.

    The other stands at its mark (the open of the bar) while one falls to the published 1,153.26 or 26,316.89.
    """
    wallet = 1_535_443.01
    held = {"ETHUSDT": (3683.979, 1456.84, 1335.18, 1153.26), "BTCUSDT": (109.488, 32481.98, 31967.27, 26316.89)}
    bars, targets = {}, {}
    for symbol, (quantity, entry, mark, reached) in held.items():
        low = reached * 0.99 if symbol == liquidated else mark
        rows = [[entry] * 4, [entry] * 4, [mark, mark, low, mark]]
        bars[symbol] = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=from_epoch_ms([0, 1, 2])).assign(volume=1.0)
        targets[symbol] = pd.Series([quantity * entry / wallet], index=bars[symbol].index[:1])
    instruments = {symbol: Instrument(brackets=TABLES[f"Binance {symbol}"]) for symbol in held}
    result = simulate(bars, targets, account=Account(wallet, 10.0, instruments=instruments), costs=FREE)
    price = result.liquidations.set_index("symbol")["price"]
    other = "BTCUSDT" if liquidated == "ETHUSDT" else "ETHUSDT"
    assert round(price[liquidated], 2) == held[liquidated][3] and price[other] == held[other][2]
