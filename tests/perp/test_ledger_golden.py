"""The golden cases, worked by hand or published by a venue: through `simulate`, and through the ledger bar by bar."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden import derive

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Fill, Instrument, Ledger, Slippage, Stops
from quantalpha.schema import epoch_ms, from_epoch_ms

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = [case for name in ("ledger.json", "derived.json", "venues.json") for case in json.loads((GOLDEN / name).read_text())["cases"]]
SINGLE = [case for case in CASES if isinstance(case["bars"], list)]
SEVERAL = [case for case in CASES if isinstance(case["bars"], dict)]
FREE = {"maker": 0.0, "taker": 0.0, "slippage": 0.0, "liquidation": 0.0}
COMES = {"rel": 1e-12, "abs": 1e-9}
HOUR = 3_600_000


def number(value):
    return float(Fraction(value)) if isinstance(value, str) else float(value)


def named(case):
    return case["name"]


def dated(brackets):
    """Brackets as `Account` takes them; those of the file may be dated."""
    if brackets and isinstance(brackets[0][0], str):
        return tuple((pd.Timestamp(start), tuple(map(tuple, rows))) for start, rows in brackets)
    return brackets


def terms_of(case):
    account = {"leverage": 1.0} | case.get("account", {})
    if "brackets" in account:
        account["brackets"] = dated(account["brackets"])
    if "instruments" in account:
        account["instruments"] = {symbol: Instrument(**own) for symbol, own in account["instruments"].items()}
    costs = FREE | case.get("costs", {})
    if isinstance(costs["slippage"], dict):
        costs["slippage"] = Slippage(**costs["slippage"])
    return {"account": Account(1000.0, **account), "costs": Costs(**costs), "stops": Stops(**case.get("stops", {}))}


def table(case, rows):
    """Bars (rows that are null left out) by the hour."""
    columns = ["open", "high", "low", "close", *case.get("columns", [])]
    there = [k for k, row in enumerate(rows) if row is not None]
    index = from_epoch_ms(np.array(there) * HOUR)
    values = [[number(value) for value in rows[k]] for k in there]
    bars = pd.DataFrame(values, columns=columns, index=index)
    return bars if "volume" in bars else bars.assign(volume=1.0)


def plan(targets, limits):
    """What is decided at each hour's close: a Series, or a table with limits."""
    index = from_epoch_ms(np.arange(len(targets)) * HOUR)
    target = pd.Series(targets, index=index, dtype=float)
    if limits is None:
        return target.dropna()
    return pd.DataFrame({"target": target, "limit": pd.Series(limits, index=index, dtype=float)}).dropna(subset="target")


def test_there_are_two_hundred_cases_and_more():
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names) >= 200


def test_the_derived_cases_are_what_their_derivation_gives():
    assert (GOLDEN / "derived.json").read_text() == derive.text()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_derivation_is_written_down(case):
    assert case["derivation"] and all(case["derivation"])


def check_result(case, result, hours):
    """Fills, funding, equity, and that the trades account for every cent."""
    first = 1 if isinstance(case["bars"], dict) else 0
    bars = hours.get_indexer(result.fills["time"])
    assert [(bar, reason) for bar, reason in zip(bars, result.fills["reason"])] == [(fill[first], fill[-1]) for fill in case["fills"]]
    for k, name in enumerate(("quantity", "price", "fee", "realised"), start=first + 1):
        assert result.fills[name].tolist() == pytest.approx([number(fill[k]) for fill in case["fills"]], **COMES), name
    funding = case.get("funding", [])
    assert list(hours.get_indexer(result.funding["time"])) == [payment[first] for payment in funding]
    assert result.funding["amount"].tolist() == pytest.approx([number(payment[-1]) for payment in funding], **COMES)
    if first:
        assert result.fills["symbol"].tolist() == [fill[0] for fill in case["fills"]]
        assert result.funding["symbol"].tolist() == [payment[0] for payment in funding]
    assert result.equity.tolist() == pytest.approx([number(value) for value in case["equity"]], **COMES)
    assert result.trades["pnl"].sum() == pytest.approx(number(case["equity"][-1]) - 1000.0, **COMES)


@pytest.mark.parametrize("case", SINGLE, ids=named)
def test_simulate(case):
    bars = table(case, case["bars"])
    result = simulate(bars, plan(case["targets"], case.get("limits")), **terms_of(case))
    check_result(case, result, bars.index)


@pytest.mark.parametrize("case", SEVERAL, ids=named)
def test_several_symbols(case):
    bars = {symbol: table(case, rows) for symbol, rows in case["bars"].items()}
    limits = case.get("limits", {})
    targets = {symbol: plan(path, limits.get(symbol)) for symbol, path in case["targets"].items()}
    result = simulate(bars, targets, **terms_of(case))
    check_result(case, result, from_epoch_ms(np.arange(len(case["equity"])) * HOUR))


@pytest.mark.parametrize("case", SINGLE, ids=named)
def test_ledger(case):
    bars, terms = table(case, case["bars"]), terms_of(case)
    slippage = terms["costs"].slippage
    curves = list(zip(*slippage.curves(bars))) if isinstance(slippage, Slippage) else [None] * len(bars)
    limits, levels = case.get("limits") or [None] * len(bars), dict(case.get("liquidation_prices", []))
    ledger, fills, before, last = Ledger(**terms), [], None, None
    for k, (bar, time, target, equity) in enumerate(zip(bars.to_dict("records"), epoch_ms(bars.index), case["targets"], case["equity"])):
        events = ledger.open_bar(time, bar["open"], before, bar.get("funding_rate", 0.0), curves[k])
        events += ledger.inside_bar(time, bar["open"], bar["high"], bar["low"], curves[k])
        fills += [event for event in events if isinstance(event, Fill)]
        before = bar.get("mark")
        assert ledger.close_bar(bar["close"], before) == ledger.equity == pytest.approx(number(equity), **COMES)
        again = last if terms["account"].rebalance_band is not None else None  # who rebalances decides at every close
        last = again if target is None else target
        if last is not None:
            ledger.decide(last, bar["close"], before, limits[k])
        if k in levels:
            assert ledger.liquidation_price == pytest.approx(number(levels[k]), rel=1e-12)
    assert [fill.reason for fill in fills] == [fill[5] for fill in case["fills"]]
    assert [fill.quantity for fill in fills] == pytest.approx([number(fill[1]) for fill in case["fills"]], **COMES)
