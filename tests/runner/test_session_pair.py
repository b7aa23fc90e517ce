"""A whole session of a pair at two practice exchanges, of which the second's longs pay: opened, kept, told again; and its leg risk."""

import contextlib

import pytest
import small_bundle

from quantalpha.errors import GateRefused, UsageError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import ApiKey, Faults, Tape
from quantalpha.practice.background import played
from quantalpha.practice.conditions import Sizes
from quantalpha.runner import Request, run_session, session_bundle
from quantalpha.runner.events import AccountEvent, FillEvent, FundingEvent, InstructionEvent, SwitchEvent
from quantalpha.runner.journal import FILE, read
from quantalpha.runner.pairing import Pairing

HOUR = 3_600_000
SPEED, START = 3600.0, 400
LIMIT = 500.0  # quote currency that may stand without its other leg
PAID = 0.001  # by the second venue's longs at each settlement, beyond the first's
LEG = "BTCUSDT@bybit"


@contextlib.contextmanager
def venues(*overrides: str, **second):
    """(params of a session at both, the second's server). second: what is wrong with that one."""
    changes = ["venue.source=practice", "route.venue=bybit", "runner.bars=6", "runner.watchdog=false", f"pair.unhedged={LIMIT}"]
    settings = small_bundle.params("synthetic.bars=1500", "pair.edge=-0.01", *changes, *overrides)
    bars = synthetic_bars("BTCUSDT", settings.synthetic)
    paying = bars.assign(funding_rate=bars["funding_rate"] + PAID * (bars.index.hour % 8 == 0))
    at = {"speed": SPEED, "now": int(settings.synthetic.start.timestamp() * 1000) + START * HOUR}
    with played(Tape({"BTCUSDT": bars}), **at) as one, played(Tape({"BTCUSDT": paying}), **at, **second) as other:
        first = {"rest_url": one.url, "ws_url": one.ws_url, "name": "binanceusdm"}
        route = settings.route.model_copy(update={"rest_url": other.url, "ws_url": other.ws_url})
        yield settings.model_copy(update={"venue": settings.venue.model_copy(update=first), "route": route}), other


def ran(params, folder, **asked):
    request = {"mode": "rehearse", "name": "p", "sessions": folder / "sessions"} | asked
    return run_session(Pairing(params=params), params, Request(**request))


def events_of(folder):
    return read(folder / "sessions" / "p" / FILE)


def unhedged(events) -> list[float]:
    """Quote currency that stood alone after each fill, as the session heard of them."""
    fills = [each for each in events if isinstance(each, FillEvent)]
    return [abs(sum(each.quantity for each in fills[: k + 1])) * fills[k].price for k in range(len(fills))]


def test_a_pair_is_opened_kept_and_told_again(tmp_path):
    with venues() as (params, _):
        first = ran(params, tmp_path)
        assert first.positions["BTCUSDT"] == pytest.approx(-first.positions[LEG]) and first.positions["BTCUSDT"] > 0.0
        more = params.model_copy(update={"runner": params.runner.model_copy(update={"bars": 16})})
        again = ran(more, tmp_path, resume=True)
        assert again.positions == first.positions
        with pytest.raises(UsageError, match="was rehearse of a pair"):
            changed = more.model_copy(update={"pair": more.pair.model_copy(update={"weight": 0.1})})
            ran(changed, tmp_path, resume=True)
    events = events_of(tmp_path)
    assert not [each for each in events if isinstance(each, SwitchEvent)] and again.decisions == 16
    assert max(unhedged(events)) <= LIMIT * 1.05 and unhedged(events)[-1] == pytest.approx(0.0, abs=1e-6)
    told = {each.symbol: each.positions for each in events if isinstance(each, AccountEvent)}
    assert told["@bybit"][LEG]["quantity"] == again.positions[LEG], "by the venue's word"
    paid = {each.symbol: each.amount for each in events if isinstance(each, FundingEvent)}
    assert paid[LEG] > 0.0, "what it is there for"
    stops = {each.symbol for each in events if isinstance(each, InstructionEvent) and each.purpose == "protection"}
    assert stops == {"BTCUSDT", LEG}
    with pytest.raises(UsageError, match="a pair, which no bundle decides"):
        session_bundle(tmp_path / "sessions" / "p")


WRONG = {
    "a leg is refused": {"keys": [ApiKey(deposit=10.0)]},  # no margin for any order
    "a leg is half filled": {"faults": Faults(sizes=Sizes(share=0.3))},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_one_leg_lacks_is_taken_back_from_the_other(tmp_path, wrong):
    with venues("runner.bars=4", **WRONG[wrong]) as (params, other):
        other.conditions.begin("partial", 60.0) if "half" in wrong else None
        ended = ran(params, tmp_path)
    events = events_of(tmp_path)
    filled = [each for each in events if isinstance(each, FillEvent)]
    assert filled and max(unhedged(events)) <= LIMIT * 1.05
    assert unhedged(events)[-1] < 20.0, "no more than a venue takes"
    assert sum(ended.positions.values()) == pytest.approx(0.0, abs=0.001)
    if "refused" in wrong:
        assert ended.positions == {"BTCUSDT": 0.0, LEG: 0.0} and {each.symbol for each in filled} == {"BTCUSDT"}


def test_a_pair_needs_two_venues_room_for_both_legs_and_no_real_money():
    settings = small_bundle.params("route.venue=bybit")
    with pytest.raises(UsageError, match="names no second venue"):
        Pairing(params=small_bundle.params())
    with pytest.raises(UsageError, match="beyond half of account.leverage"):
        Pairing(params=small_bundle.params("route.venue=bybit", "account.leverage=1", "policy.leverage=1", "pair.weight=0.6"))
    with pytest.raises(GateRefused, match="no gate has judged"):
        run_session(Pairing(params=settings), settings, Request("live", cleared=True))
