"""`quantalpha run --mode live` and `prelive`, on the practice exchange posing as a venue: what is refused reaches it with no order."""

import json
import os
import pty
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import small_bundle
from workspace import Workspace, words

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import ApiKey, Tape
from quantalpha.practice.background import played
from quantalpha.practice.keys import KEY, SECRET
from quantalpha.runner.accounts import AccountFolder, name_of
from quantalpha.runner.clearance import DAY, past, traded
from quantalpha.runner.drills import Line, Report
from quantalpha.runner.events import HealthEvent, SessionEvent, SwitchEvent
from quantalpha.runner.journal import FILE, Journal

GATE = {"passed": True, "lines": [{"name": name, "passed": True} for name in ("net_result", "real_data", "paper_days", "paper_agrees")]}
CONFIRM = "live-practice 100"
HOUR = 3_600_000


@pytest.fixture(scope="module")
def settings() -> config.Params:
    return small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}")


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    bars = synthetic_bars("BTCUSDT", settings.synthetic)
    return small_bundle.build(tmp_path_factory.mktemp("bundles"), bars, settings, gate=GATE)


@pytest.fixture
def workspace(tmp_path, trained, settings, monkeypatch) -> Workspace:
    """All that the list asks of a machine; what keeps live orders from this exchange, and from practice data, is out of the way."""
    monkeypatch.setattr("quantalpha.promotion.champion", lambda *_: trained)
    monkeypatch.setattr("quantalpha.cli.live.require_place", lambda *_: None)
    monkeypatch.setattr("quantalpha.runner.composition.Composition.require_origin", lambda *_: None)
    for name, value in {"API_KEY": KEY, "API_SECRET": SECRET, "ALERTS": "json://127.0.0.1:9"}.items():
        monkeypatch.setenv(f"QUANTALPHA_{name}", value)
    made = Workspace(tmp_path / "workspace")
    with made.entered():
        drilled = Report.of(trained.id, [Line("kill", "by hand", 0.5, 0.1, "kill", True, True)], "here")
        drilled.write(AccountFolder(name_of("rehearse", settings.venue)))
    return made


@contextmanager
def venue(settings, *, speed=3600.0, **key):
    """(the account's desk at the venue, words that point to it)."""
    now = int(settings.synthetic.start.timestamp() * 1000) + 900 * HOUR
    with played(Tape.synthetic(settings.synthetic), speed=speed, now=now, keys=[ApiKey(**key)]) as server:
        told = {"venue.source": "practice", "venue.rest_url": server.url, "venue.ws_url": server.ws_url, "runner.bars": 1}
        told |= {"runner.watchdog": True, "runner.max_model_age": None, "alerts.tell": []}
        yield server.binance.desks, words(told)


REFUSED = {
    "a key that may withdraw": ({"withdraws": True}, ("--capital", "100"), CONFIRM, 3, "key: withdrawals"),
    "capital above its rung": ({}, ("--capital", "101"), "live-practice 101", 3, "capital ladder"),
    "more than there is": ({"deposit": 50.0}, ("--capital", "100"), CONFIRM, 3, "balance"),
    "the wrong words": ({}, ("--capital", "100"), "yes", 3, "expected the words"),
    "another capital confirmed": ({}, ("--capital", "100"), "live-practice 1000", 3, "expected the words"),
    "nobody there to confirm": ({}, ("--capital", "100"), None, 2, '--confirm "live-practice 100"'),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_sends_no_order(workspace, settings, case):
    key, capital, confirm, code, says = REFUSED[case]
    given = () if confirm is None else ("--confirm", confirm)
    with venue(settings, speed=1.0, **key) as (desks, at):
        answer = workspace.call("run", "--mode", "live", *capital, *given, *at)
        assert answer.code == code and says in answer.err.splitlines()[-1], answer
        assert not desks[KEY].records.orders
    assert not list(workspace.root.glob("data/sessions/*/session.json"))


@contextmanager
def terminal(typed: str):
    """Standard input is a terminal at which somebody types this."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with os.fdopen(theirs, "r") as keyboard, patch.object(sys, "stdin", keyboard):
        yield
    os.close(ours)


TYPED = {
    "other words": "yes\n",
    "another account": "live-bybit 100\n",
    "nothing": "\n",
    "the end of the file": "\x04",
    "half": "live-practice\n",
}


@pytest.mark.parametrize("case", TYPED)
def test_other_words_at_a_terminal_send_nothing(workspace, settings, case):
    with venue(settings, speed=1.0) as (desks, at), terminal(TYPED[case]):
        answer = workspace.call("run", "--mode", "live", "--capital", "100", *at)
        assert answer.code == 3 and "expected the words" in answer.err.splitlines()[-1] and "nothing was sent" in answer.err, answer
        assert 'type "live-practice 100" to trade' in answer.err and answer.out == ""
        assert not desks[KEY].records.orders
    assert not list(workspace.root.glob("data/sessions/*/session.json"))


def test_the_right_words_at_a_terminal_go_on(workspace, settings, monkeypatch):
    def reached(*_):
        raise UsageError("the session was reached")

    monkeypatch.setattr("quantalpha.runner.run_session", reached, raising=False)
    with venue(settings, speed=1.0) as (_, at), terminal(CONFIRM + "\n"):
        answer = workspace.call("run", "--mode", "live", "--capital", "100", *at)
    assert answer.code == 2 and "the session was reached" in answer.err, answer


def test_a_list_that_fails_asks_nobody_to_type(workspace, settings):
    with venue(settings, speed=1.0, withdraws=True) as (_, at), terminal(CONFIRM + "\n"):
        answer = workspace.call("run", "--mode", "live", "--capital", "100", *at)
    assert answer.code == 3 and "key: withdrawals" in answer.err and "to trade it with real money" not in answer.err


MISSING = {
    "no gate for live": ("gate", "paper_days"), "no alerts": ("alerts", "nobody would be told"), "no drill": ("drill", "never"),
    "a latch": ("latch", "kill: by hand"), "no watchdog": ("watchdog", "switched off"),
}  # fmt: skip


@pytest.mark.parametrize("piece", MISSING)
def test_each_missing_piece_refuses_by_its_own_line(workspace, settings, trained, monkeypatch, piece):
    name, found = MISSING[piece]
    more = ["--set", "runner.watchdog=false"] if name == "watchdog" else []
    if name == "alerts":
        monkeypatch.delenv("QUANTALPHA_ALERTS")
    with workspace.entered():
        if name == "gate":
            other = replace(trained, gate={"passed": True, "lines": [{"name": "net_result", "passed": True}]})
            monkeypatch.setattr("quantalpha.promotion.champion", lambda *_: other)
        if name == "drill":
            shutil.rmtree(AccountFolder(name_of("rehearse", settings.venue)).path)
        if name == "latch":
            AccountFolder(name_of("live", settings.venue)).latch.set("kill", "by hand")
    with venue(settings, speed=1.0) as (desks, at):
        answer = workspace.call("run", "--mode", "live", "--capital", "100", "--confirm", CONFIRM, *at, *more)
        assert not desks[KEY].records.orders
    assert answer.code == 3 and "1 of" in answer.err.splitlines()[-1] and f"{name}" in answer.err.splitlines()[-1], answer
    assert found in answer.err.splitlines()[-1]


def test_what_holds_trades_and_the_account_is_set_up_first(workspace, settings, trained):
    with venue(settings) as (desks, at):
        desks[KEY].set_leverage("BTCUSDT", 20)
        desks[KEY].set_margin_mode("BTCUSDT", "isolated")
        answer = workspace.call("run", "--mode", "live", "--capital", "100", "--confirm", CONFIRM, "--json", *at)
        assert answer.code == 0, answer
        assert answer.json["mode"] == "live" and answer.json["decisions"] == 1
        assert answer.err.count("set at the start") == 2
        found = desks[KEY].account.setting("BTCUSDT")
        assert (found.leverage, found.margin_mode) == (trained.account.leverage, trained.account.margin_mode)


def test_the_list_alone_trades_nothing(workspace, settings):
    with venue(settings, speed=1.0) as (desks, at):
        answer = workspace.call("prelive", "--capital", "100", "--json", *at)
        assert not desks[KEY].records.orders
    told = {line["name"]: line["passed"] for line in answer.json["lines"]}
    assert told["drill"] and told["key: withdrawals"] and answer.code == (0 if all(told.values()) else 3)


@pytest.mark.parametrize("source", [None, "practice"])
@pytest.mark.parametrize("command", [("prelive",), ("run", "--mode", "live", "--confirm", "live-practice 100")])
def test_a_bundle_of_practice_data_is_refused_before_any_venue_is_asked(tmp_path, trained, monkeypatch, command, source):
    def asked(*_, **__):
        raise AssertionError("a venue was asked")

    monkeypatch.setattr("quantalpha.promotion.champion", lambda *_: trained)
    monkeypatch.setattr("quantalpha.runner.clearance.open_trading", asked)
    answer = Workspace(tmp_path / "workspace").call(*command, "--capital", "100", *words({"venue.source": source}))
    answer.complains(3, "made from data of practice", "promote that run")


def test_a_second_venue_is_asked_too(workspace, settings, monkeypatch):
    for name, value in {"KEY": KEY, "SECRET": SECRET}.items():
        monkeypatch.setenv(f"QUANTALPHA_SECOND_API_{name}", value)
    with venue(settings, speed=1.0, withdraws=True) as (_, at):
        answer = workspace.call("prelive", "--capital", "100", "--json", *at, "--set", "route.venue=bybit")
    told = {line["name"]: line["passed"] for line in answer.json["lines"]}
    assert answer.code == 3 and told["second venue: balance"] and not told["second venue: key: withdrawals"]


def test_on_the_testnet_the_list_only_warns(workspace, settings, monkeypatch):
    def reached(*_):
        raise UsageError("the session was reached")

    monkeypatch.setattr("quantalpha.runner.run_session", reached, raising=False)
    with venue(settings, speed=1.0, withdraws=True) as (_, at):
        answer = workspace.call("run", "--mode", "testnet", *at)
    assert answer.code == 2 and "the session was reached" in answer.err
    assert "with real money these lines would refuse" in answer.err and "key: withdrawals" in answer.err


def test_what_the_watchdog_latched_stopped_the_session_that_had_died(workspace, settings):
    """Its word stands in the latch, not in the journal, whether somebody has reset it or not."""
    with workspace.entered():
        root, latch = config.path("data/sessions"), AccountFolder("live-practice").latch
        for name, started in (
            ("a", "2020-01-01T00:00:00.5+00:00"),
            ("b", "2020-02-01T00:00:00.5+00:00"),
            ("c", "2999-01-01T00:00:00.5+00:00"),
        ):
            session(root / name, 100.0, "practice", [said("start", 1), said("stop", 25)])
            card = root / name / "session.json"
            card.write_text(json.dumps(json.loads(card.read_text()) | {"started": started}))
        stopped = [[each.tripped for each in past(settings, "live")]]
        latch.set("watchdog:heartbeat", "it hangs")
        stopped.append([each.tripped for each in past(settings, "live")])
        latch.reset("looked into it")
        stopped.append([each.tripped for each in past(settings, "live")])
    assert stopped == [[False] * 3, [False, True, False], [False, True, False]]


def session(folder: Path, capital: float, kept_as: str, events) -> None:
    from quantalpha.runner import folders

    folder.mkdir(parents=True)
    params = {"venue": config.load().venue.model_copy(update={"source": kept_as}).model_dump(mode="json")}
    folders.write_card(folder, {"session": folder.name, "mode": "live", "capital": capital, "params": params, "bundles": []})
    journal = Journal(folder / FILE, folder.name)
    for event in events:
        journal.append(event)
    journal.close()


def said(phase: str, hours: float) -> SessionEvent:
    return SessionEvent(event_time=int(hours * HOUR), recv_time=int(hours * HOUR), symbol="BTCUSDT", phase=phase, reason="")


def seen(hours: float) -> HealthEvent:
    return HealthEvent(
        event_time=int(hours * HOUR), recv_time=int(hours * HOUR), symbol="", api_errors=0.0, silence=0.0, clock_skew=0.0, connected=True
    )


def test_time_between_two_runs_of_a_session_is_not_traded():
    assert traded([]) == 0.0
    assert traded([said("start", 5), seen(8), said("stop", 9), said("resume", 100), seen(101)]) * DAY == 5 * HOUR


def test_the_past_is_that_of_the_account(workspace, settings):
    trip = SwitchEvent(event_time=HOUR, recv_time=HOUR, symbol="", name="drawdown", phase="tripped", reason="", values={})
    left = SwitchEvent(event_time=HOUR, recv_time=HOUR, symbol="", name="on_stop", phase="tripped", reason="", values={})
    with workspace.entered():
        root = config.path("data/sessions")
        session(root / "a", 100.0, "practice", [said("start", 1), left, said("stop", 25)])
        session(root / "b", 100.0, "elsewhere", [said("start", 1), said("stop", 25)])
        session(root / "c", 500.0, "practice", [said("start", 30), trip, said("stop", 54)])
        (root / "d").mkdir()
        (root / "d/session.json").write_text((root / "a/session.json").read_text())
        found = past(settings, "live")
    assert [(each.capital, round(each.days, 3), each.tripped) for each in found] == [
        (100.0, 1.0, False),
        (500.0, 1.0, True),
        (0.0, 0.0, True),
    ]
