"""`quantalpha report` and `quantalpha approve`, on sessions as they lie on the disk."""

import json
from dataclasses import replace

import happened
import pytest
from workspace import Workspace

from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.desk import Desk
from quantalpha.runner.journal import FILE, Journal


@pytest.fixture
def session(tmp_path):
    """(workspace, folder of its session s1, which saw 30 bars)."""
    workspace = Workspace(tmp_path / "w")
    folder = workspace.root / "data/sessions/s1"
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(
        json.dumps({"session": "s1", "mode": "paper", "bundles": [{"id": "0" * 64, "folder": "/nowhere"}]})
    )
    journal = Journal(folder / FILE, "s1")
    for hour in range(30):
        for event in (happened.opened(hour), happened.closed(hour), happened.equity(hour, 1000.0 + hour)):
            journal.append(event)
    journal.close()
    return workspace, folder


def test_a_report_for_people_and_for_programs(session):
    workspace, _ = session
    answer = workspace.call("report")
    assert answer.code == 0 and answer.out.startswith("session of s1, 2024-01-01") and "return +2.90 %" in answer.out
    days = workspace.call("report", "s1", "--period", "day", "--json").json
    assert [day["bars"] for day in days] == [24, 6] and days[1]["return"] == pytest.approx(1029 / 1023 - 1)
    workspace.call("report", "s1", "--period", "hour").complains(2, "--period: expected session, day, week, month")
    workspace.call("report", "s2").complains(2, "did you mean 's1'")


def test_a_session_without_its_card_is_no_session_to_report(session):
    workspace, folder = session
    (folder / "session.json").write_text("{")
    workspace.call("report", "s1").complains(4, "session.json: cannot be read")


@pytest.fixture
def running(session):
    """As `session`, while it runs."""
    account = AccountFolder("paper-s1", session[0].root / "data/accounts")
    with account.hold({"mode": "paper", "session": "s1", "symbols": ["BTCUSDT"], "venue": {}, "params": {}}):
        yield session


def test_nobody_is_asked_for_a_session_that_has_ended(session):
    workspace, folder = session
    desk = Desk(folder, 60.0, lambda: 0.0)
    desk.ask(happened.order())
    assert "no order waits" in workspace.call("approve", "--list").out
    workspace.call("approve", "qa-1").complains(2, "no session waits for a word")
    desk.close()
    assert not list((folder / "approvals").iterdir())


def test_a_trader_sees_what_would_be_traded_and_how_long_there_is(running):
    workspace, folder = running
    Desk(folder, 60.0, lambda: 0.0).ask(replace(happened.order(), quantity=-0.25, price=63320.0))
    shown = workspace.call("approve", "--list").out
    assert all(word in shown for word in ("sell", "0.25", "63,320", "15,830.00", "seconds left")) and "e+04" not in shown
    (told,) = workspace.call("approve", "--list", "--json").json
    assert (told["side"], told["notional"]) == ("sell", 15830.0) and 0.0 < told["left"] <= 60.0


def test_orders_wait_until_a_person_says_a_word(running):
    workspace, folder = running
    desk = Desk(folder, 60.0, lambda: 0.0)
    for hour in (1, 2):
        desk.ask(happened.order(hour=hour))
    listed = workspace.call("approve", "--list", "--json").json
    assert [(each["client_id"], each["session"]) for each in listed] == [("qa-1", "s1"), ("qa-2", "s1")]
    assert "qa-2" in workspace.call("approve", "--list").out
    assert "approved: buy 0.25 BTCUSDT at about 100; session s1" in workspace.call("approve", "qa-1").out
    assert workspace.call("approve", "qa-2", "--refuse").out.startswith("refused: buy 0.25 BTCUSDT")
    said = desk.poll({"event_time": 0, "recv_time": 0}, lambda symbol: 100.0)
    assert [(each.client_id, each.approved) for each in said] == [
        ("qa-1", True),
        ("qa-2", False),
    ]
    workspace.call("approve", "qa-1").complains(2, "nobody asks about it (any more); no session waits for a word")


@pytest.mark.parametrize("words", [(), ("qa-1", "--list")])
def test_an_order_or_the_list(session, words):
    session[0].call("approve", *words).complains(2, "expected the name of an order, or --list")
