"""Orders that a person decides on: nothing goes on without a yes, a doubt or silence is a no, and a replay decides the same."""

import io
import itertools
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper_accounts import ACCOUNT, COSTS, Kept, Script

from quantalpha.errors import UsageError
from quantalpha.runner import desk, feed
from quantalpha.runner.approval import APPROVED, PENDING, REFUSED, Gate
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.desk import Desk, Terminal
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import (
    ApprovalEvent,
    FillEvent,
    RejectedOrderEvent,
    TickEvent,
    ValidatedOrderEvent,
    as_kind,
    from_json,
    kind_of,
    to_json,
)
from quantalpha.runner.live import Live
from quantalpha.runner.risk import standard

COLLAR = 0.05


def order(number=1, symbol="BTCUSDT", quantity=0.25, price=100.0):
    times = {"event_time": number * 60_000, "recv_time": number * 60_000, "symbol": symbol, "bar": (number - 1) * 60_000}
    return ValidatedOrderEvent(**times, client_id=f"qa-{number}", quantity=quantity, target=1.0, price=price)


def word(number=1, approved=True, price=100.0, symbol="BTCUSDT"):
    times = {"event_time": number * 60_000 + 5, "recv_time": number * 60_000 + 5, "symbol": symbol}
    return ApprovalEvent(**times, client_id=f"qa-{number}", approved=approved, who="ann@desk", price=price)


class FakeEngine:
    """The wiring an engine needs: a gate between risk and broker, every event journalled and shown to the observers."""

    def __init__(self, gate, *observers):
        self.gate, self.observers, self.journal, self.submitted = gate, observers, [], []

    def feed(self, event):
        self.journal.append(event)
        for observer in self.observers:
            observer(event)
        step = {ValidatedOrderEvent: self.gate.decide, ApprovalEvent: self.gate.answer}.get(type(event))
        decision = None if step is None else step(event)
        if decision is not None:
            self.submitted += [decision.order] if decision.order is not None else []
            for refused in decision.refused:
                self.feed(refused)

    def refused(self):
        return [(event.client_id, event.reason) for event in self.journal if isinstance(event, RejectedOrderEvent)]


def test_send_lets_every_order_pass_and_signal_none():
    assert Gate("send", COLLAR).decide(order()).order == order()
    told = Gate("signal", COLLAR).decide(order())
    assert (told.state, told.order, [each.reason for each in told.refused]) == (REFUSED, None, ["signal_only"])


def test_approve_waits_for_the_word():
    gate = Gate("approve", COLLAR)
    assert gate.decide(order()).state == PENDING and list(gate) == [order()]
    assert gate.answer(word()).order == replace(order(), recv_time=word().recv_time), "its time to trade begins with the word"
    assert list(gate) == []
    assert gate.answer(word()).order is None, "the same word twice is one word"


def test_a_no_is_a_refusal_that_names_the_order_and_the_moment():
    gate = Gate("approve", COLLAR)
    gate.decide(order())
    (refused,) = gate.answer(word(approved=False)).refused
    assert (refused.reason, refused.client_id, refused.quantity, refused.event_time) == ("not_approved", "qa-1", 0.25, 60_005)


@pytest.mark.parametrize(("price", "state"), [(105.0, APPROVED), (95.0, APPROVED), (105.1, REFUSED), (94.9, REFUSED), (math.nan, REFUSED)])
def test_a_price_that_moved_beyond_the_collar_refuses_what_was_approved(price, state):
    gate = Gate("approve", COLLAR)
    gate.decide(order())
    decision = gate.answer(word(price=price))
    assert decision.state == state
    assert [each.reason for each in decision.refused] == ([] if state == APPROVED else ["price_collar"])


def test_an_order_without_a_price_is_refused():
    gate = Gate("approve", COLLAR)
    gate.decide(order(price=0.0))
    assert gate.answer(word(price=0.0)).state == REFUSED


def test_a_newer_order_of_the_symbol_takes_the_place_of_one_that_waits():
    gate = Gate("approve", COLLAR)
    gate.decide(order(1))
    gate.decide(order(2, symbol="ETHUSDT"))
    assert [(each.client_id, each.reason) for each in gate.decide(order(3)).refused] == [("qa-1", "superseded")]
    assert gate.answer(word(1)).order is None and {each.client_id for each in gate} == {"qa-2", "qa-3"}


def test_nothing_to_trade_needs_no_word():
    assert Gate("approve", COLLAR).decide(order(quantity=0.0)).state == APPROVED


def test_a_kill_switch_withdraws_what_waits():
    gate = Gate("approve", COLLAR)
    gate.decide(order())
    tick = TickEvent(event_time=1, recv_time=1, symbol="")
    assert [each.reason for each in gate.withdraw(tick, "halted")] == ["halted"] and gate.answer(word()).order is None


words = st.builds(word, st.integers(1, 5), st.booleans(), st.sampled_from([100.0, 104.0, 120.0, math.nan]))
orders = st.builds(order, st.integers(1, 5), st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.sampled_from([1.0, -2.0, 0.0]))


@given(st.lists(st.one_of(words, orders), max_size=30))
def test_every_order_is_settled_at_most_once_and_only_a_yes_near_the_price_sends_it(events):
    seen, fed = set(), []
    for event in events:
        if isinstance(event, ApprovalEvent) or event.client_id not in seen:
            fed.append(event)
            seen |= {event.client_id} if isinstance(event, ValidatedOrderEvent) else set()
    engine = FakeEngine(Gate("approve", COLLAR))
    for event in fed:
        engine.feed(event)
    sent, refused = [each.client_id for each in engine.submitted], [name for name, _ in engine.refused()]
    waiting = [each.client_id for each in engine.gate]
    assert sorted(sent + refused + waiting) == sorted(seen)
    yes = {each.client_id for each in fed if isinstance(each, ApprovalEvent) and each.approved and abs(each.price - 100) <= 5}
    assert all(each.client_id in yes or each.quantity == 0.0 for each in engine.submitted)
    again = FakeEngine(Gate("approve", COLLAR))
    for event in fed:
        again.feed(from_json(kind_of(event), to_json(event)))
    assert again.submitted == engine.submitted and again.refused() == engine.refused()


@pytest.fixture
def clock():
    return itertools.count().__next__  # a second goes by at every look


def settle(engine, asked, now=70_000, price=100.0):
    for event in asked.poll({"event_time": now, "recv_time": now}, lambda symbol: price):
        engine.feed(event)


def test_another_terminal_answers_through_the_sessions_folder(tmp_path):
    session = tmp_path / "s1"
    asked = Desk(session, 60.0, lambda: 0.0)
    engine = FakeEngine(Gate("approve", COLLAR), asked)
    engine.feed(order())
    settle(engine, asked)
    assert engine.submitted == []
    (question,) = desk.questions(session)
    assert (question["client_id"], question["session"], desk.sentence(question)) == ("qa-1", "s1", "buy 0.25 BTCUSDT at about 100")
    desk.answer([session], "qa-1", approved=True)
    settle(engine, asked)
    assert (
        engine.submitted == [replace(order(), recv_time=70_000)]
        and desk.questions(session) == []
        and not list((session / "approvals").iterdir())
    )
    assert "quantalpha approve" in engine.journal[-1].who


def test_silence_is_a_refusal_and_a_late_yes_changes_nothing(tmp_path, clock):
    asked = Desk(tmp_path, 3.0, clock)
    engine = FakeEngine(Gate("approve", COLLAR), asked)
    engine.feed(order())
    for _ in range(3):
        settle(engine, asked)
    assert engine.refused() == []
    desk.answer([tmp_path], "qa-1", approved=True)
    settle(engine, asked)
    assert engine.refused() == [("qa-1", "not_approved")] and engine.submitted == []
    assert "nobody answered within 3 s" in engine.journal[-2].who
    with pytest.raises(UsageError, match="no session waits"):
        desk.answer([tmp_path], "qa-1", approved=True)


def test_a_word_has_the_time_of_the_market_and_ours(tmp_path):
    """A rehearsal's tape is of another year: with our time the engine's would jump to today."""
    session, trading = SimpleNamespace(clock=lambda: 70_000), SimpleNamespace(now=lambda: 5)
    asked = Desk(tmp_path, -1.0, lambda: 0.0)
    asked.ask(order())
    (said,) = asked.poll(Live._now(SimpleNamespace(session=session, venue=SimpleNamespace(trading=trading))), lambda symbol: 100.0)
    assert (said.event_time, said.recv_time) == (5, 70_000)
    assert Live._now(SimpleNamespace(session=session, venue=None))["event_time"] == 70_000


def test_an_answer_from_before_a_restart_does_not_count(tmp_path):
    before = Desk(tmp_path, 60.0, lambda: 0.0)
    before.ask(order())
    desk.answer([tmp_path], "qa-1", approved=True)
    after = Desk(tmp_path, 60.0, lambda: 0.0)
    after.ask(order())
    assert after.poll({"event_time": 0, "recv_time": 0}, lambda symbol: 100.0) == []


def asking(folder):
    asked = Desk(folder, 60.0, lambda: 0.0)
    engine = FakeEngine(Gate("approve", COLLAR), asked)
    engine.feed(order())
    return engine, asked


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"approved": true}', '{"approved": "yes", "who": "me"}', "\x00"])
def test_an_answer_that_makes_no_sense_is_a_no(tmp_path, text):
    engine, asked = asking(tmp_path)
    asked._answer("qa-1").write_text(text)
    settle(engine, asked)
    assert engine.refused() == [("qa-1", "not_approved")] and "an answer that" in engine.journal[-2].who


def test_an_answer_that_anybody_may_have_written_or_that_is_a_link_is_a_no(tmp_path):
    for number, mode in enumerate((0o666, None)):
        engine, asked = asking(tmp_path / str(number))
        path = asked._answer("qa-1")
        (tmp_path / "elsewhere.json").write_text('{"approved": true, "who": "me"}')
        if mode is None:
            path.symlink_to(tmp_path / "elsewhere.json")
        else:
            path.write_text('{"approved": true, "who": "me"}')
            path.chmod(mode)
        settle(engine, asked)
        assert engine.refused() == [("qa-1", "not_approved")] and "somebody else" in engine.journal[-2].who


def test_what_an_answer_may_name(tmp_path):
    Desk(tmp_path, 60.0, lambda: 0.0).ask(order())
    for name in ("../qa-1", "qa-2", ""):
        with pytest.raises(UsageError, match="did you mean 'qa-1'|known: qa-1"):
            desk.answer([tmp_path], name, approved=True)


def test_the_terminal_asks_one_at_a_time(tmp_path):
    read, write = os.pipe()
    shown = io.StringIO()
    with os.fdopen(read) as source, os.fdopen(write, "w", buffering=1) as keys:
        asked = Desk(tmp_path, 60.0, lambda: 0.0, Terminal(source, shown))
        engine = FakeEngine(Gate("approve", COLLAR), asked)
        for each in (order(1), order(2, symbol="ETHUSDT", quantity=-1.0)):
            engine.feed(each)
        assert shown.getvalue() == "buy 0.25 BTCUSDT at about 100; y or n within 60 s? "
        keys.write("what?\nY\n")
        while not engine.submitted:
            settle(engine, asked)
        assert shown.getvalue().endswith("sell 1 ETHUSDT at about 100; y or n within 60 s? ")
        keys.write("no\n")
        while not engine.refused():
            settle(engine, asked)
    assert [each.client_id for each in engine.submitted] == ["qa-1"] and engine.refused() == [("qa-2", "not_approved")]


@pytest.mark.parametrize("symbol, reason, sent", [
    ("BTCUSDT", "stop_loss", []), ("BTCUSDT", "external", []), ("BTCUSDT", "order", ["qa-1"]), ("ETHUSDT", "stop_loss", ["qa-1"]),
])  # fmt: skip
def test_a_yes_to_what_a_stop_has_overtaken_opens_nothing(tmp_path, symbol, reason, sent):
    """An order to close a long that its stop has closed meanwhile would be a short."""
    asked = Desk(tmp_path / "s1", 60.0, lambda: 0.0)
    engine = FakeEngine(Gate("approve", COLLAR), asked)
    engine.feed(order(quantity=-1.0))
    desk.answer([tmp_path / "s1"], "qa-1", approved=True)
    fill = {"event_time": 1, "recv_time": 1, "symbol": symbol, "bar": 0, "client_id": None, "quantity": -1.0, "price": 99.0, "fee": 0.0}
    engine.feed(FillEvent(**fill, realised=-1.0, reason=reason))
    settle(engine, asked)
    assert [each.client_id for each in engine.submitted] == sent and list(engine.gate) == []


def asked_for_one_order(limits):
    """(engine on paper, its events, the bars to come, the order that waits for a word)"""
    target = pd.Series(1.0, index=pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC"))
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0), index=target.index)
    strategy, gates, events = Strategy("a" * 64, "BTCUSDT", Script(target)), Gates(limits, approval=Gate("approve", COLLAR)), Kept()
    engine = Engine([strategy], PaperBroker("BTCUSDT", ACCOUNT, COSTS), gates, events, lambda: 7)
    bars = feed.replay(table, "BTCUSDT", 3_600_000)
    for event in itertools.islice(bars, 2):
        engine.feed(event)
    (waiting,) = gates.approval
    return engine, events, bars, waiting


def yes_to(waiting):
    when = {"event_time": waiting.event_time + 5, "recv_time": 12, "symbol": "BTCUSDT"}
    return ApprovalEvent(**when, client_id=waiting.client_id, approved=True, who="ann@desk", price=waiting.price)


class Once:
    """Limits that an order passes when it is decided, and not any more when it is approved."""

    def __init__(self):
        self.asked = 0

    def judge(self, order, account):
        self.asked += 1
        if self.asked == 1:
            return as_kind(order, ValidatedOrderEvent)
        return as_kind(order, RejectedOrderEvent, reason="leverage", values={"equity": account.equity})


def test_a_yes_is_judged_again_with_the_account_as_it_is_then():
    limits = Once()
    engine, events, _, waiting = asked_for_one_order(limits)
    engine.broker.submit = None  # nothing may come to it
    engine.feed(yes_to(waiting))
    assert limits.asked == 2 and [kind_of(event) for event in events][-2:] == ["Approval", "RejectedOrder"]
    assert (events[-1].client_id, events[-1].reason, list(engine.targets.values())) == (waiting.client_id, "leverage", [0.0])


def test_a_yes_that_stands_up_to_the_limits_goes_on():
    engine, events, bars, waiting = asked_for_one_order(standard(4.0))
    engine.feed(yes_to(waiting))
    engine.feed(next(bars))
    assert [kind_of(event) for event in events][-3:] == ["Approval", "MarketOpen", "Fill"] and list(engine.targets.values()) == [1.0]
