"""The latch: whole or not there, kept through kill -9, closed where it cannot be read, opened by a reasoned reset alone."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from workspace import Workspace

from quantalpha import audit
from quantalpha.errors import DataError, ExchangeError, Halted, UsageError
from quantalpha.files import sole
from quantalpha.runner.accounts import AccountFolder, find, known
from quantalpha.runner.latch import FILE, HISTORY, Latch

CARD = {"mode": "paper", "venue": {}, "symbols": ["BTCUSDT"], "session": "s1", "params": {}}


@pytest.fixture
def latch(tmp_path):
    (tmp_path / "paper-x").mkdir()
    return Latch(tmp_path / "paper-x")


def test_the_first_cause_stands(latch):
    assert latch.standing() is None
    first = latch.set("drawdown", "lost", {"drawdown": 0.21})
    assert latch.set("kill", "by hand") == first == latch.standing()
    assert (first["name"], first["reason"], first["values"]) == ("drawdown", "lost", {"drawdown": 0.21})
    with pytest.raises(Halted, match="latched by drawdown .*quantalpha reset"):
        latch.require_open()


def test_a_value_that_is_no_number_is_kept(latch):
    latch.set("daily_loss", "unknown", {"loss": float("nan")})
    assert latch.reset("mended")["latch"]["values"] == {"loss": "nan"}
    assert latch.standing() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"name": "kill"}', b"\xff\xfe", b"null"])
def test_a_damaged_latch_latches(latch, content):
    (latch.folder / FILE).write_bytes(content)
    assert "cannot be read" in latch.standing()["reason"]
    assert latch.set("kill", "by hand")["name"] == "latch"
    latch.reset("looked into it")
    assert latch.standing() is None


def test_a_latch_that_is_no_file_latches(latch):
    (latch.folder / FILE).mkdir()
    assert latch.standing() is not None


def test_a_reset_says_why(latch):
    with pytest.raises(UsageError, match="not latched"):
        latch.reset("nothing to do")
    latch.set("kill", "by hand")
    for nothing in ("", "  "):
        with pytest.raises(UsageError, match="--reason"):
            latch.reset(nothing)
    latch.reset("first"), latch.set("kill", "again"), latch.reset("second")
    assert [(each["reason"], each["latch"]["reason"]) for each in latch.history()] == [("first", "by hand"), ("second", "again")]


def test_a_kill_during_a_reset_is_not_lost(latch, monkeypatch):
    """It lands once the history has its line, before the latch is gone."""
    killer, write = threading.Thread(target=lambda: Latch(latch.folder).set("kill", "now")), audit.write_atomic

    def written(path, data):
        write(path, data)
        killer.start()
        killer.join(0.2)

    latch.set("drawdown", "lost")
    monkeypatch.setattr(audit, "write_atomic", written)
    latch.reset("looked into it")
    killer.join()
    assert latch.standing()["name"] == "kill"


def test_an_altered_history_refuses_a_reset(latch):
    latch.set("kill", "one"), latch.reset("first"), latch.set("kill", "two"), latch.reset("second"), latch.set("kill", "three")
    history = latch.folder / HISTORY
    history.write_text(history.read_text().replace("first", "other"))
    with pytest.raises(DataError, match="altered"):
        latch.reset("third")
    assert latch.standing() is not None


def test_kill_9_leaves_a_latch_whole_or_none(tmp_path):
    """A writer that latches and resets as fast as it can, killed at a random moment."""
    code = (
        "import sys; from pathlib import Path; from quantalpha.runner.latch import Latch\n"
        "latch = Latch(Path(sys.argv[1]))\nprint('go', flush=True)\n"
        "while True:\n    latch.set('kill', 'x' * 2000)\n    (latch.folder / 'latch.json').unlink()"
    )
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        writer.stdout.readline()
        os.sched_yield()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        standing = Latch(folder).standing()
        assert standing is None or standing["reason"] == "x" * 2000


def test_an_account_has_one_session(tmp_path):
    account = AccountFolder("paper-x", tmp_path)
    with account.hold(CARD):
        assert account.running() and account.card()["pid"] == os.getpid()
        with pytest.raises(UsageError, match="another session"), AccountFolder("paper-x", tmp_path).hold(CARD):
            pass
    assert not account.running() and account.beaten() is None


def test_who_only_looks_keeps_no_session_from_its_account(tmp_path):
    """Nor is one that looks too told of a session."""
    account, taken = AccountFolder("paper-x", tmp_path), threading.Event()

    def look():
        with sole(account.path / "lock"):
            taken.set()
            time.sleep(0.03)

    for attempt in (lambda: account.hold(CARD), lambda: contextlib.nullcontext(account.running())):
        taken.clear()
        looking = threading.Thread(target=look)
        looking.start()
        taken.wait()
        with attempt() as told:
            assert not told
        looking.join()


def test_a_latched_account_starts_no_session(tmp_path):
    account = AccountFolder("paper-x", tmp_path)
    account.latch.set("kill", "by hand")
    with pytest.raises(Halted), account.hold(CARD):
        pass
    account.latch.reset("mended")
    with account.hold(CARD):
        pass


def test_a_crash_leaves_its_heartbeat_but_not_its_lock(tmp_path):
    account = AccountFolder("paper-x", tmp_path)
    with pytest.raises(ValueError), account.hold(CARD):
        account.beat()
        raise ValueError
    assert account.beaten() is not None and not account.running()


def _die(root):
    with AccountFolder("paper-x", root).hold(CARD):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_session_frees_the_account(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path,))
    process.start(), process.join()
    account = AccountFolder("paper-x", tmp_path)
    assert account.beaten() is not None and not account.running()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "-x", "a" * 121])
def test_an_account_is_a_plain_name(tmp_path, name):
    with pytest.raises(UsageError, match="account"):
        AccountFolder(name, tmp_path)


def test_the_running_account_is_found(tmp_path):
    with pytest.raises(UsageError, match="there is none"):
        find(None, tmp_path)
    for name in ("paper-x", "paper-y"):
        with AccountFolder(name, tmp_path).hold(CARD):
            assert find(None, tmp_path).name == name
    with pytest.raises(UsageError, match="paper-x, paper-y"):
        find(None, tmp_path)
    with pytest.raises(UsageError, match="did you mean 'paper-x'"):
        find("papr-x", tmp_path)
    assert [each.row()["running"] for each in known(tmp_path)] == ["no", "no"]
    two, told = (
        (AccountFolder(name, tmp_path) for name in ("live-a", "live-b")),
        r"live-a, live-b; name one, or kill them --all \(no session",
    )
    with next(two).hold(CARD), next(two).hold(CARD), pytest.raises(UsageError, match=told):
        find(None, tmp_path)


def test_all_that_run_are_killed_at_once_and_the_idle_are_told_apart(tmp_path):
    workspace = Workspace(tmp_path / "w")
    root = workspace.root / "data/accounts"
    workspace.call("kill").complains(2, "no account has been traded here yet")
    workspace.call("kill", "--all").complains(2, "no session runs")
    told = {"mode": "paper", "session": "s", "symbols": [], "venue": {}, "params": {}}
    for name in ("paper-old", "paper-older"):
        with AccountFolder(name, root).hold(told):
            pass
    assert "nothing is latched in 2 accounts: --all" in workspace.call("accounts").out
    with AccountFolder("paper-a", root).hold(told), AccountFolder("paper-b", root).hold(told):
        workspace.call("kill").complains(2, "sessions run in paper-a, paper-b", "no session runs in paper-old")
        assert workspace.call("kill", "--all", "--json").json["account"] == "paper-a, paper-b"
    assert [each["account"] for each in workspace.call("accounts", "--json").json] == ["paper-a", "paper-b"], "latched"
    assert len(workspace.call("accounts", "--all", "--json").json) == 4


def test_the_card_keeps_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTALPHA_API_SECRET", "hunter2hunter2")
    from quantalpha import secrets

    secrets.environment.cache_clear()
    account = AccountFolder("paper-x", tmp_path)
    with account.hold(CARD | {"note": "hunter2hunter2"}):
        account.latch.set("kill", "hunter2hunter2")
        for file in account.path.iterdir():
            assert "hunter2" not in file.read_text()
    assert json.loads((account.path / FILE).read_text())["reason"] == "***"
    secrets.environment.cache_clear()


def test_a_venue_that_has_gone_for_good_keeps_no_account_latched(tmp_path, monkeypatch):
    def gone(card):
        raise ExchangeError("venue: no usable answer")

    monkeypatch.setattr("quantalpha.runner.emergency.desk_of", gone)
    workspace = Workspace(tmp_path / "w")
    account = AccountFolder("rehearse-a", workspace.root / "data/accounts")
    with account.hold({"mode": "rehearse", "session": "s", "symbols": [], "venue": {}, "params": {}}):
        account.latch.set("kill", "by hand")
    workspace.call("reset", "--reason", "mended").complains(5, "no usable answer", "reset with --keep-position")
    assert workspace.call("reset", "--reason", "mended", "--keep-position").code == 0
