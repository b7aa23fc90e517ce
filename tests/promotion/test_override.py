"""An override: asked for by name and reason, kept in the report and the bundle, and never of a line about integrity."""

import json

import numpy as np
import pytest
import small_bundle

from quantalpha import bundle, verdict
from quantalpha.errors import GateRefused, UsageError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.promotion import GateLine, GateReport, gate
from quantalpha.promotion.gate_report import check_override

TRADES = GateLine("trades", False, 12.0, 30.0, "12 round trips, at least 30 needed")
RESULT = GateLine("net_result", False, -0.3, 0.9, "net return -2% is not above 0")
COSTS = GateLine("real_costs", True, 0.0006, 0.0004, "6.0 bp a side")


@pytest.fixture
def report() -> GateReport:
    return GateReport("BTCUSDT-lightgbm", [COSTS, TRADES, RESULT], {})


def test_an_overridden_line_stays_failed_and_says_who_when_and_why(report):
    one = report.overridden(["trades"], "a short tape")
    assert not report.passed and not one.passed and (report.outcome, one.outcome) == ("refused", "refused")
    with pytest.raises(GateRefused, match="refused by 1 of 3 gate lines: net_result: net return") as refused:
        one.refuse()
    assert "trades" not in str(refused.value)
    both = report.overridden(["trades", "net_result"], " a short tape ")
    both.refuse()
    assert both.passed and both.outcome == "overridden"
    costs, trades, _ = both.to_dict()["lines"]
    assert "override" not in costs and trades["passed"] is False
    assert set(trades["override"]) == {"who", "time", "reason"} and trades["override"]["reason"] == "a short tape"
    assert [row[:2] for row in str(both).splitlines()[1:]] == ["ok", "OV", "OV"]
    assert "at least 30 needed; OVERRIDDEN by " in str(both) and str(both).count("a short tape") == 2
    assert [line["name"] for line in verdict.overridden(both.to_dict())] == ["trades", "net_result"]


def test_nothing_asked_is_nothing_changed(report):
    assert report.overridden([], "") == report


@pytest.mark.parametrize(
    ("names", "reason", "says"),
    [
        (["trades"], "", "--reason: expected why trades may fail"),
        (["trades"], " \n", "--reason: expected why trades may fail"),
        ([], "because", "--reason: there is nothing to give a reason for"),
        (["trade"], "because", "--override trade: the gate has no such line; did you mean 'trades'"),
        (["real_costs"], "because", "--override real_costs: that line passed, there is nothing to override"),
        (["trades", "bundle_roundtrip"], "because", "--override bundle_roundtrip: nobody may override this line: what would trade is not"),
    ],
)
def test_a_wrong_override_is_refused(report, names, reason, says):
    with pytest.raises(UsageError, match=says):
        report.overridden(names, reason)


def test_lines_about_integrity_are_lines_of_the_gate_and_cannot_be_overridden():
    known = {line.__name__ for line in gate.LINES + gate.LIVE_LINES}
    for name, why in verdict.INTEGRITY.items():
        assert name in known, "a line that the gate no longer has"
        with pytest.raises(UsageError, match=f"--override {name}: nobody may override this line: {why}"):
            check_override([name], "because", list(known))
        word = {"who": "me@here", "time": "2026-01-01T00:00:00+00:00", "reason": "because"}
        assert not verdict.stands({"name": name, "passed": False, "override": word})
        assert verdict.stands({"name": "trades", "passed": False, "override": word})


WORD = {"who": "me@here", "time": "2026-01-01T00:00:00+00:00", "reason": "because"}


@pytest.mark.parametrize(
    "changed",
    [{"override": None}, {"override": {}}, {"override": WORD | {"reason": " "}}, {"override": "yes"}, {"passed": True}, {"passed": 1},
     {"override": WORD | {"more": "x"}}],
)  # fmt: skip
def test_anything_but_a_proper_override_of_a_failed_line_fails(changed):
    line = {"name": "trades", "passed": False, "override": WORD}
    verdict.require({"passed": True, "lines": [line]}, "gate.json")
    with pytest.raises(GateRefused, match="failed: trades .its override is not valid"):
        verdict.require({"passed": True, "lines": [line | changed]}, "gate.json")
    with pytest.raises(GateRefused, match="needs a gate that passed"):
        verdict.require({"passed": False, "lines": [line]}, "gate.json")


def test_an_overridden_report_is_sealed_with_its_override(tmp_path, report, monkeypatch):
    params = small_bundle.params("venue.name=import", "synthetic.bars=1000")
    plain = small_bundle.build(tmp_path / "plain", synthetic_bars("BTCUSDT", params.synthetic), params)
    given = []
    monkeypatch.setattr(gate.gate_live, "content", lambda candidate, bars, judged: given.append(judged.to_dict()) or given)
    monkeypatch.setattr(gate.bundle, "write", lambda destination, content: plain)
    assert gate.seal(None, None, report, tmp_path) is None and not given
    assert gate.seal(None, None, report.overridden(["trades", "net_result"], "x"), tmp_path) is plain
    assert json.dumps(given[0]).count('"override"') == 2


def test_a_bundle_of_an_overridden_gate_is_sealed_and_loaded_again(tmp_path, report):
    params = small_bundle.params("venue.name=import", "synthetic.bars=1000")
    bars, judged = synthetic_bars("BTCUSDT", params.synthetic), report.overridden(["trades", "net_result"], "x").to_dict()
    sealed = small_bundle.build(tmp_path, bars, params, gate=judged)
    again = bundle.load(sealed.folder)
    assert again.gate == judged and np.array_equal(again.features.names, sealed.features.names)
