"""Who cannot start is told so before anything is made, started or set, and leaves nothing behind."""

import asyncio
import json
import math
import shutil
import sqlite3
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from workspace import Workspace, entered

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.runner import Request, live, run_session, session
from quantalpha.runner import venue as venues
from quantalpha.runner.accounts import AccountFolder, name_of
from quantalpha.runner.composition import compose
from quantalpha.runner.journal import FILE

CARD = {"mode": "rehearse", "session": "reh1", "symbols": ["BTCUSDT"], "venue": {}, "params": {}}


def reached(*_, **__):
    raise AssertionError("a venue was asked, or something started")


@pytest.mark.parametrize("mode", ["paper", "rehearse"])
def test_a_refused_session_leaves_no_folder(trained, tape_settings, sessions, monkeypatch, mode):
    monkeypatch.setattr(venues, "open_trading", reached)
    monkeypatch.setattr(live.stream, "backfill", reached)
    name = "paper-reh2" if mode == "paper" else name_of(mode, tape_settings.venue)
    with AccountFolder(name, sessions.parent / "accounts").hold(CARD), pytest.raises(UsageError, match="another session trades it"):
        run_session(trained, tape_settings, Request(mode, "reh2", sessions=sessions))
    assert not (sessions / "reh2").exists()


def test_a_folder_without_room_for_its_record_goes_again(trained, tape_settings, sessions, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.folders, "write_card", full)
    with pytest.raises(OSError, match="No space left"):
        session.Session.start(*_setting(trained, tape_settings, sessions))
    assert not (sessions / "s").exists()


def _setting(trained, settings, sessions):
    made = compose(trained)
    return made, settings, Request(name="s", sessions=sessions), made.paper()


@pytest.fixture
def workspace(tmp_path, trained, tape_settings, monkeypatch) -> Workspace:
    """With a sound session `s`, a damaged one `d`, and a latched rehearsal's account."""
    monkeypatch.setattr("quantalpha.cli.live.promoted", reached)
    monkeypatch.setattr("quantalpha.practice.process.started", reached)
    made = Workspace(tmp_path / "w")
    root = made.root / "data/sessions"
    session.Session.start(*_setting(trained, tape_settings, root)).journal.close()
    card = root / "s/session.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"mode": "rehearse"}))
    shutil.copytree(root / "s", root / "d")
    (root / "d" / FILE).write_bytes(b"no database")
    return made


@pytest.mark.parametrize(
    "words, code, says",
    [
        (("--session", "../x"), 2, "expected a name of at most 100 letters"),
        (("--session", "s"), 2, "exists already"),
        (("--resume", "--session", "nope"), 2, "not found in data/sessions"),
        (("--resume", "--session", "d"), 4, "damaged"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(workspace, words, code, says):
    workspace.call("run", "--mode", "rehearse", "--profile", "demo", *words).complains(code, says)


def test_a_latched_account_is_refused_before_anything_is_started(workspace):
    with entered(workspace.root):
        AccountFolder(name_of("rehearse", config.load("demo").venue)).latch.set("kill", "by hand")
    for words in ((), ("--resume", "--session", "s")):
        workspace.call("run", "--mode", "rehearse", "--profile", "demo", *words).complains(7, "latched by kill")


def test_an_unregistered_model_needs_no_mlflow(workspace, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("quantalpha.tracking.store.connect", reached)
    mlflow = workspace.root / "mlruns"
    mlflow.mkdir()
    with sqlite3.connect(mlflow / "mlflow.db") as store:
        store.execute("CREATE TABLE registered_models (name TEXT)")
        store.execute("INSERT INTO registered_models VALUES ('binanceusdm-BTCUSDT-1h')")
    workspace.call("run", "--model", "nope").complains(2, "model 'nope': not registered", "binanceusdm-BTCUSDT-1h")


def test_a_session_resumed_with_other_settings_names_them(exchange, trained, sessions):
    def settings(orders, bars):
        runner = exchange.settings.runner.model_copy(update={"orders": orders, "bars": bars})
        return exchange.settings.model_copy(update={"runner": runner})

    run_session(trained, settings("signal", 40), Request(name="s", sessions=sessions))
    with pytest.raises(UsageError, match="runner.orders is send, was signal; add --set runner.orders=signal"):
        run_session(trained, settings("send", 42), Request(name="s", resume=True, sessions=sessions))
    assert run_session(trained, settings("signal", 42), Request(name="s", resume=True, sessions=sessions)).decisions == 42


@pytest.mark.parametrize(("capital", "held", "refused"), [(1e12, 10_000.0, True), (100.0, math.nan, True), (100.0, 100.0, False)])
def test_capital_beyond_the_wallet_is_refused(capital, held, refused):
    async def account():
        return SimpleNamespace(cash=held)

    with pytest.raises(UsageError, match="--capital: .* whose wallet holds") if refused else nullcontext():
        asyncio.run(venues._require_funds(SimpleNamespace(account=account), capital, "binanceusdm"))


def test_a_session_that_has_ended_asks_nobody_any_more(exchange, trained, sessions):
    runner = exchange.settings.runner.model_copy(update={"orders": "approve", "bars": 40, "approve_within": 600.0})
    asked = []

    def look(status):
        asked.extend(path.name for path in (sessions / "s/approvals").glob("*.json"))

    settings = exchange.settings.model_copy(update={"runner": runner})
    run_session(trained, settings, Request(name="s", sessions=sessions, on_status=look))
    assert asked and not list((sessions / "s/approvals").iterdir())
