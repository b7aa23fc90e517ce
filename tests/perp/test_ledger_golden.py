"""The cases worked by hand in golden/ledger.json, through the ledger bar by bar and through `simulate`."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Fill, Ledger, Stops
from quantalpha.schema import epoch_ms, from_epoch_ms

CASES = json.loads((Path(__file__).parents[1] / "golden" / "ledger.json").read_text())["cases"]
FREE = {"maker": 0.0, "taker": 0.0, "slippage": 0.0, "liquidation": 0.0}
COMES = {"rel": 1e-12, "abs": 1e-9}


def number(value):
    return float(Fraction(value)) if isinstance(value, str) else float(value)


@pytest.fixture(params=CASES, ids=lambda case: case["name"])
def case(request):
    return request.param


def setting(case):
    names = ["open", "high", "low", "close", *case.get("columns", [])]
    bars = pd.DataFrame(case["bars"], columns=names, index=from_epoch_ms(np.arange(len(case["bars"])) * 3_600_000), dtype=float)
    terms = {
        "account": Account(1000.0, **({"leverage": 1.0} | case.get("account", {}))),
        "costs": Costs(**(FREE | case.get("costs", {}))),
        "stops": Stops(**case.get("stops", {})),
    }
    return bars.assign(volume=1.0), terms


def test_derivation_is_written_down(case):
    assert case["derivation"] and all(case["derivation"])


def test_simulate(case):
    bars, terms = setting(case)
    target = pd.Series(case["targets"], index=bars.index, dtype=float).dropna()
    result = simulate(bars, target, **terms)
    assert result.equity.tolist() == pytest.approx([number(x) for x in case["equity"]], **COMES)
    rows = bars.index.get_indexer(result.fills["time"])
    assert [(bar, reason) for bar, reason in zip(rows, result.fills["reason"])] == [(fill[0], fill[5]) for fill in case["fills"]]
    for k, name in enumerate(("quantity", "price", "fee", "realised"), start=1):
        assert result.fills[name].tolist() == pytest.approx([number(fill[k]) for fill in case["fills"]], **COMES), name
    funding = case.get("funding", [])
    assert list(bars.index.get_indexer(result.funding["time"])) == [bar for bar, _ in funding]
    assert result.funding["amount"].tolist() == pytest.approx([amount for _, amount in funding], **COMES)
    assert result.trades["pnl"].sum() == pytest.approx(number(case["equity"][-1]) - 1000.0, **COMES)


def test_ledger(case):
    bars, terms = setting(case)
    ledger, fills, before = Ledger(**terms), [], None
    for bar, time, target, equity in zip(bars.to_dict("records"), epoch_ms(bars.index), case["targets"], case["equity"]):
        events = ledger.open_bar(time, bar["open"], before, bar.get("funding_rate", 0.0))
        events += ledger.inside_bar(time, bar["open"], bar["high"], bar["low"])
        fills += [event for event in events if isinstance(event, Fill)]
        before = bar.get("mark")
        assert ledger.close_bar(bar["close"], before) == ledger.equity == pytest.approx(number(equity), **COMES)
        if target is not None:
            ledger.decide(target, bar["close"], before)
    assert [fill.reason for fill in fills] == [fill[5] for fill in case["fills"]]
    assert [fill.quantity for fill in fills] == pytest.approx([number(fill[1]) for fill in case["fills"]], **COMES)
