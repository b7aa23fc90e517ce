"""A whole session at two venues: decided once, held as two legs, told again after a restart."""

import pytest
import small_bundle

from quantalpha import review
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape
from quantalpha.practice.background import played
from quantalpha.runner import Request, run_session
from quantalpha.runner.events import AccountEvent, FillEvent, InstructionEvent, SwitchEvent, ValidatedOrderEvent
from quantalpha.runner.journal import FILE, read
from quantalpha.runner.protection import EXITS

HOUR = 3_600_000
SPEED, START = 3600.0, 400


@pytest.fixture(scope="module")
def played_bundle(tmp_path_factory):
    """(params, bundle) at a practice exchange with both venues' faces; either wallet holds half of what the largest position takes."""
    settings = small_bundle.params(
        "venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}", "route.venue=bybit", "account.leverage=1",
        "policy.leverage=1", "risk.max_var=null", "risk.max_cvar=null",
    )  # fmt: skip
    bars = synthetic_bars("BTCUSDT", settings.synthetic)
    made = small_bundle.build(tmp_path_factory.mktemp("bundles"), bars, settings)
    now = int(settings.synthetic.start.timestamp() * 1000) + START * HOUR
    with played(Tape.synthetic(settings.synthetic), speed=SPEED, now=now) as server:
        address = {"rest_url": server.url, "ws_url": server.ws_url, "name": "binanceusdm"}
        yield settings.model_copy(update={"venue": settings.venue.model_copy(update=address)}), made


def decisions(params, number: int):
    return params.model_copy(update={"runner": params.runner.model_copy(update={"bars": number, "watchdog": False})})


def test_a_session_holds_two_legs_and_is_told_again(played_bundle, tmp_path):
    params, made = played_bundle
    asked = {"sessions": tmp_path / "sessions", "capital": 16_000.0}
    first = run_session(made, decisions(params, 8), Request("rehearse", "two", **asked))
    assert set(first.positions) == {"BTCUSDT", "BTCUSDT@bybit"}
    again = run_session(made, decisions(params, 12), Request("rehearse", "two", resume=True, **asked))
    assert again.decisions == 12
    events = read(tmp_path / "sessions" / "two" / FILE)
    assert not [each for each in events if isinstance(each, SwitchEvent)]
    assert {each.symbol for each in events if isinstance(each, AccountEvent)} == {"", "@bybit"}
    orders = [each for each in events if type(each) is ValidatedOrderEvent and each.quantity]
    routes = [each for each in events if isinstance(each, InstructionEvent) and each.action == "route"]
    assert {each.symbol for each in routes} == {"BTCUSDT", "BTCUSDT@bybit"}, "so large a position takes both"
    for order in orders[:-1]:
        assert sum(each.quantity for each in routes if each.parent == order.client_id) == pytest.approx(order.quantity)
    filled = sum(each.quantity for each in events if isinstance(each, FillEvent))
    assert filled == pytest.approx(sum(again.positions.values()))
    found = review.review(tmp_path / "sessions" / "two")
    served = found.told.orders[found.told.orders["filled"] != 0.0]
    decided = [each for each in events if isinstance(each, FillEvent) and each.reason not in EXITS]
    assert set(found.told.forced["reason"]) <= set(EXITS), "every fill that was decided on, at either venue, belongs to an order"
    assert served["filled"].sum() == pytest.approx(sum(each.quantity for each in decided))
    assert served["fee"].sum() == pytest.approx(sum(each.fee for each in decided))
    assert served["reference"].notna().all() and served["sent"].notna().all()
    paid = sum(each.quantity * each.price for each in decided)
    assert (served["filled"] * served["price"]).sum() == pytest.approx(paid), "an order's price is that of both legs"
    shown = [each.reference for each in events if isinstance(each, InstructionEvent) and each.reference is not None]
    assert served["reference"].between(0.999 * min(shown), 1.001 * max(shown)).all()
    assert found.attribution.unexplained < 0.05
    accounts = sorted(each.name for each in (tmp_path / "accounts").iterdir())
    assert accounts == ["rehearse-practice", "rehearse-practice-bybit"]
