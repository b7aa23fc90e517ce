"""A session whose kill switch has tripped at a venue that says nothing more: it is never taken for flat."""

from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.errors import ExchangeError, Halted
from quantalpha.runner import halting
from quantalpha.runner.events import SwitchEvent
from quantalpha.runner.halting import Halting
from quantalpha.runner.views import AccountView, Position

NOW = 1_000_000


def tripped(phase="tripped", told=NOW, sides=1, since=NOW):
    """At `since` (ms); the venue's last word was at `told`."""
    event = SwitchEvent(event_time=0, recv_time=since, symbol="", name="kill", phase=phase, reason="by hand")
    orders = SimpleNamespace(unfinished=lambda: [SimpleNamespace(client_id="qa-1")])
    asked = []
    side = SimpleNamespace(
        broker=SimpleNamespace(told=SimpleNamespace(recv_time=told), orders=orders), line=SimpleNamespace(ask=lambda: asked.append(1))
    )
    account = AccountView(1.0, {"BTCUSDT": Position(0.25, 100.0, 100.0, 0.0), "ETHUSDT": Position(0.0, 0.0, 1.0, 0.0)})
    engine = SimpleNamespace(halted=event, broker=SimpleNamespace(account=lambda: account))
    session = SimpleNamespace(engine=engine, clock=lambda: NOW, params=config.load(), step=3_600_000)
    return Halting(session, [side] * sides), asked


def test_what_ends_a_tripped_session_is_told_with_what_is_believed_held():
    error = tripped()[0].told(ExchangeError("the venue stays away"))
    assert type(error) is Halted and error.details == {"flat": False, "held": {"BTCUSDT": 0.25}, "orders": ["qa-1"]}
    for words in ("NOT verified flat", "the venue stays away", "BTCUSDT +0.25", "its watchdog goes on"):
        assert words in str(error)


@pytest.mark.parametrize("phase, sides", [("flat", 1), ("reset", 1), ("tripped", 0)])
def test_any_other_end_is_told_as_it_is(phase, sides):
    error = ExchangeError("the venue stays away")
    assert tripped(phase, sides=sides)[0].told(error) is error


@pytest.mark.parametrize("told, since, given_up", [(0, 0, True), (NOW, 0, False), (0, NOW, False)])
def test_a_tripped_session_gives_up_on_a_silent_venue(told, since, given_up):
    waiting, _ = tripped(told=told, since=since)
    now = halting.time.monotonic()
    if given_up:
        with pytest.raises(Halted, match="no word on the account"):
            waiting.require_news(now)
    else:
        waiting.require_news(now)


def test_a_trip_asks_the_venue():
    waiting, asked = tripped(sides=2)
    waiting.ask(waiting.session.engine.halted)
    assert len(asked) == 2
