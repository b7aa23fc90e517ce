"""Kill, reset and the watchdog against a practice exchange: they need nothing of the session, which may hang with its database locked."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from postbox import webhook
from workspace import Workspace

from quantalpha import config
from quantalpha.errors import Halted, UsageError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape
from quantalpha.practice.background import played
from quantalpha.runner import watchdog
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.emergency import desk_of, flatten, look
from quantalpha.runner.events import InstructionEvent

ACCOUNT = "rehearse-practice"
PATIENT = 60.0  # seconds; on a busy machine a living session may not beat for some
SWITCHES = {"silence": 60.0, "unprotected": 2.0}
BEATING = """
import json, sqlite3, sys, time
from pathlib import Path
from quantalpha.runner.accounts import AccountFolder
account, card = AccountFolder(sys.argv[1], Path(sys.argv[2])), json.loads(sys.argv[3])
with account.hold(card):
    database = sqlite3.connect(account.path / "journal.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    print("holds", flush=True)
    while account.latch.standing() is None:
        account.beat()
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def tape():
    settings = config.load("demo").synthetic.model_copy(update={"bars": 600})
    return Tape({"BTCUSDT": synthetic_bars("BTCUSDT", settings)})


@pytest.fixture
def server(tape):
    with played(tape, port=0, speed=1.0) as server:
        yield server


@pytest.fixture
def card(server):
    params = config.load("demo").model_dump(mode="json", include={"venue", "switches", "runner"})
    venue = params.pop("venue") | {"rest_url": server.url, "ws_url": server.ws_url, "timeout": 30.0}
    params["switches"] |= SWITCHES
    params["runner"]["dead_man"] = 2.0
    return {"mode": "rehearse", "venue": venue, "symbols": ["BTCUSDT"], "session": "s1", "params": params}


@pytest.fixture
def space(tmp_path, monkeypatch):
    space = Workspace(tmp_path / "space")
    monkeypatch.setattr(watchdog, "LOOK", 0.1)
    return space


def instruction(name, kind, quantity, price=None, **more):
    times = {"event_time": 0, "recv_time": 0, "symbol": "BTCUSDT", "bar": 0}
    values = {"client_id": name, "parent": "", "action": "place", "kind": kind, "quantity": quantity, "price": price}
    return InstructionEvent(**times, **values, **({"reduce_only": False} | more))


async def _open(card, stop=True):
    async with desk_of(card) as desk:
        await desk.place(instruction("qa-1", "market", 0.01))
        mark = (await desk.account()).positions["BTCUSDT"].mark
        if stop:
            protection = {"reduce_only": True, "purpose": "protection"}
            await desk.place(instruction("qa-2", "stop", -0.01, round(mark * 0.9, 1), **protection))
        await desk.place(instruction("qa-3", "limit", 0.01, round(mark * 0.96, 1)))


async def _left(card):
    async with desk_of(card) as desk:
        return await look(desk)


@contextmanager
def session(space, card):
    """A process that holds the account and beats; killed at the end, stopped or not."""
    command = [sys.executable, "-c", BEATING, ACCOUNT, str(space.root / "data/accounts"), json.dumps(card)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"QUANTALPHA_ROOT": str(space.root)})
    try:
        assert process.stdout.readline() == b"holds\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def folder(space):
    return AccountFolder(ACCOUNT, space.root / "data/accounts")


def test_a_hanging_session_is_made_flat(space, card):
    """Stopped in the middle of a transaction: nothing of it answers any more."""
    asyncio.run(_open(card))
    said = []
    with session(space, card) as process, space.entered():
        dog = watchdog.Watchdog(folder(space), lambda *words: said.append(words))
        process.send_signal(signal.SIGSTOP)
        name, trip = asyncio.run(dog.watch())
        latch = folder(space).latch.standing()
    assert name == "heartbeat" and latch["name"] == "watchdog:heartbeat"
    assert asyncio.run(_left(card)).flat
    assert [title.split(": ")[1] for title, _ in said] == ["heartbeat", "flat"]


@pytest.mark.parametrize("stop", [True, False])
def test_a_killed_session_is_made_flat(space, card, stop):
    asyncio.run(_open(card, stop))
    with session(space, card) as process, space.entered():
        dog = watchdog.Watchdog(folder(space), lambda *_: None)
        process.send_signal(signal.SIGKILL)
        asyncio.run(dog.watch())
    assert asyncio.run(_left(card)).flat


def test_a_living_session_is_left_alone_until_it_ends(space, card):
    asyncio.run(_open(card))

    async def live():
        account = folder(space)
        with account.hold(card):
            watching = asyncio.create_task(watchdog.Watchdog(account, lambda *_: None).watch())
            for _ in range(40):
                account.beat()
                await asyncio.sleep(0.1)
            assert not watching.done()
        return await watching

    with space.entered():
        assert asyncio.run(live()) is None
    left = asyncio.run(_left(card))
    assert left.left == {"BTCUSDT": 0.01} and left.orders == 2


def test_a_session_that_a_kill_switch_ended_needs_no_watchdog(space, card):
    said = []
    with space.entered():
        with pytest.raises(Halted), folder(space).hold(card):
            folder(space).latch.set("drawdown", "lost")
            raise Halted("flat")
        assert asyncio.run(watchdog.Watchdog(folder(space), lambda *words: said.append(words)).watch()) is None
    assert not said


def test_a_venue_that_is_gone_trips_and_is_asked_until_it_is_back(space, card, tape, monkeypatch):
    """The latch at once; flat as soon as the venue lets anybody in."""
    card["params"]["switches"]["silence"] = 0.2
    said = []
    gone = {**card, "venue": card["venue"] | {"rest_url": "http://127.0.0.1:9"}}
    asyncio.run(_open(card))
    with space.entered():
        account = folder(space)
        with account.hold(gone):
            dog = watchdog.Watchdog(account, lambda *words: said.append(words))

            async def back():
                watching = asyncio.create_task(dog.watch())
                while account.latch.standing() is None:
                    account.beat()
                    await asyncio.sleep(0.05)
                dog.card = card
                return await watching

            monkeypatch.setattr(watchdog, "desk_of", impatient)
            name, _ = asyncio.run(back())
    assert name == "silence" and asyncio.run(_left(card)).flat


def impatient(card, watchdog=False):
    """A line that gives up at once where there is no venue."""
    if card["venue"]["rest_url"].endswith(":9"):
        raise OSError("connection refused")
    return desk_of(card, watchdog)


def test_a_watchdog_leaves_when_another_session_trades_the_account(space, card):
    with space.entered():
        with folder(space).hold(card):
            duty = watchdog.Duty(folder(space))
            assert not duty.over() and not duty.lifted()
        with folder(space).hold(card | {"session": "another"}):
            assert duty.over() and duty.lifted()


def test_a_watchdog_that_comes_up_after_its_session_has_ended_leaves(space, card):
    said = []
    with space.entered():
        with folder(space).hold(card):
            pass
        assert asyncio.run(watchdog.Watchdog(folder(space), lambda *words: said.append(words)).watch()) is None
    assert not said and folder(space).latch.standing() is None


def test_a_latched_account_whose_session_has_ended_keeps_its_watchdog(space, card):
    with space.entered():
        with folder(space).hold(card):
            pass
        folder(space).latch.set("kill", "by hand")
        assert not watchdog.Duty(folder(space)).over()


async def _hopeless(dog, until):
    """A watchdog at a venue that is gone, till `until(account)` has been done to its account; what it returns."""
    watching = asyncio.create_task(dog.watch())
    while dog.tripped is None or dog.folder.latch.standing() is None:
        await asyncio.sleep(0.05)
    dog.duty.dismiss()  # not while it is not flat
    await asyncio.sleep(1.0)
    assert not watching.done() and dog.folder.beaten() is not None
    until(dog.folder)
    return await watching


def _another(account):
    account.latch.reset("mended")
    with account.hold(account.card() | {"session": "another"}):
        pass


@pytest.mark.parametrize("until", [lambda account: account.latch.reset("mended"), _another])
def test_a_watchdog_that_cannot_make_flat_leaves_with_the_latch_and_not_before(space, card, monkeypatch, until):
    """Or it would close what a later session has opened."""
    card["params"]["switches"]["silence"] = 0.2
    monkeypatch.setattr(watchdog, "desk_of", impatient)
    said = []
    with space.entered():
        with pytest.raises(Halted), folder(space).hold({**card, "venue": card["venue"] | {"rest_url": "http://127.0.0.1:9"}}):
            raise Halted("left as it was")
        dog = watchdog.Watchdog(folder(space), lambda *words: said.append(words))
        assert asyncio.run(_hopeless(dog, until)) is None
    assert [title.split(": ")[1] for title, _ in said] == ["trouble", "silence", "leaves"]


def test_accounts_show_a_watchdog_that_has_not_made_flat(space, card):
    with folder(space).hold(card):
        assert space.call("accounts", "--json").json[0]["watchdog"] == ""
        with watchdog.sole(folder(space).path / "watchdog.lock"):
            folder(space).note("NOT flat after 30.0 s: BTCUSDT +0.01, 1 orders")
            assert "BTCUSDT +0.01" in space.call("accounts", "--json").json[0]["watchdog"]


def test_the_venues_clock_is_asked_again_after_a_refusal(space, card):
    """The exchange, or this machine's clock, was set back: every request is ahead of its time."""
    asyncio.run(_open(card))

    async def astray():
        async with desk_of(card) as desk:
            while desk.clock._pace is None:
                await asyncio.sleep(0.1)
                await desk.synchronise()
            desk.clock._venue += 3_600_000
            seen = [await dog._look(desk), await dog._look(desk)]
            desk.clock._venue += 3_600_000
            return seen, await flatten(desk, 10.0)

    with space.entered(), folder(space).hold(card):
        dog = watchdog.Watchdog(folder(space), lambda *_: None)
        seen, done = asyncio.run(astray())
    assert seen[0] is None and set(seen[1].view.positions) == {"BTCUSDT"}
    assert done.flat and "-1021" in done.errors[0]


def test_a_second_watchdog_leaves_where_the_first_stays(space, card, monkeypatch):
    monkeypatch.setattr(watchdog, "TAKEOVERS", 1)
    with folder(space).hold(card), space.entered(), watchdog.sole(folder(space).path / "watchdog.lock"), pytest.raises(UsageError):
        watchdog.run(folder(space), lambda *_: None)


def test_a_watchdog_that_is_dismissed_leaves(space, card):
    """As its process: it says nothing, and trips nothing."""
    asyncio.run(_open(card))
    with session(space, card), space.entered():
        command = [sys.executable, "-m", "quantalpha", "watchdog", "--account", ACCOUNT]
        process = subprocess.Popen(command, env=os.environ | {"QUANTALPHA_ROOT": str(space.root)}, stderr=subprocess.PIPE)
        while not (folder(space).path / "watchdog.note").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[1] == b"" and process.returncode == 0
    assert folder(space).latch.standing() is None and asyncio.run(_left(card)).left == {"BTCUSDT": 0.01}


def test_the_watchdog_is_a_process_of_its_own(space, card):
    """By its command, with a trip in its exit code."""
    card["params"]["runner"]["dead_man"] = PATIENT
    asyncio.run(_open(card, stop=False))
    with session(space, card):
        answer = space.run("watchdog", "--account", ACCOUNT)
    answer_lines = answer.err.splitlines()
    assert answer.code == 7 and "unprotected" in answer_lines[-1]
    assert all(json.loads(line)["title"].startswith("watchdog") for line in answer_lines[:-1])
    assert "practice-secret" not in answer.err
    assert asyncio.run(_left(card)).flat


def test_people_are_told_when_the_session_is_dead(space, card, monkeypatch):
    card["params"]["runner"]["dead_man"] = PATIENT
    asyncio.run(_open(card, stop=False))
    with webhook() as box, session(space, card) as process:
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setenv("QUANTALPHA_ALERTS", box.address)
        assert space.run("watchdog", "--account", ACCOUNT).code == 7
        told = " ".join(box.texts(2))
    assert "unprotected" in told and "flat after" in told


def test_alerts_that_are_set_up_badly_keep_no_watchdog_from_watching(space, card, monkeypatch):
    asyncio.run(_open(card, stop=False))
    monkeypatch.setenv("QUANTALPHA_ALERTS", "nonsense")
    with session(space, card):
        assert space.run("watchdog", "--account", ACCOUNT).code == 7
    assert asyncio.run(_left(card)).flat


def test_kill_makes_an_account_flat_that_cannot_be_latched(space, card, monkeypatch):
    """On a full disk."""

    def full(*_):
        raise OSError(28, "No space left on device")

    asyncio.run(_open(card))
    with folder(space).hold(card), space.entered():
        monkeypatch.setattr("quantalpha.runner.latch.write_atomic", full)
        answer = space.call("kill", "--json")
    assert answer.code == 0 and answer.json["flat"] and "NOT LATCHED" in answer.err
    assert asyncio.run(_left(card)).flat


def test_the_venues_own_timer_spares_the_stop(space, card):
    """Session and watchdog are both gone: what may still enter is cancelled, what protects stays."""
    asyncio.run(_open(card))

    async def forgotten():
        async with desk_of(card) as desk:
            assert desk.dead_man_spares_stops
            await desk.dead_man(0.5, card["symbols"])
            while len(orders := await desk.open_orders(card["symbols"])) > 1:
                await asyncio.sleep(0.1)
            return orders

    assert [order.kind for order in asyncio.run(asyncio.wait_for(forgotten(), 30))] == ["stop"]


def test_kill_works_while_the_session_hangs(space, card):
    asyncio.run(_open(card))
    with session(space, card) as process:
        process.send_signal(signal.SIGSTOP)
        answer = space.call("kill", "--reason", "drill", "--json")
        assert answer.code == 0 and answer.json["flat"] and answer.json["account"] == ACCOUNT
        assert asyncio.run(_left(card)).flat
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 0  # it saw the latch
    assert "drill" in space.call("accounts", "--json").json[0]["latched"]


@pytest.mark.parametrize("named", [ACCOUNT, f"{ACCOUNT}-bybit"])
def test_kill_ends_both_legs_of_a_session_at_two_venues(space, card, named):
    """Whichever of its accounts is named; no other session's."""
    second = card | {"venue": card["venue"] | {"name": "bybit", "source": "practice-bybit"}, "second": True}
    cards = {ACCOUNT: card, f"{ACCOUNT}-bybit": second, "rehearse-other": card | {"session": "another"}}
    for name, each in cards.items():
        with AccountFolder(name, space.root / "data/accounts").hold(each):
            pass
    for each in (card, second):
        asyncio.run(_open(each))
    answer = space.call("kill", "--account", named, "--json")
    assert answer.code == 0 and answer.json["flat"] and f"{ACCOUNT}-bybit: flat" in answer.json["venue"]
    assert all(asyncio.run(_left(each)).flat for each in (card, second))
    latched = {row["account"]: row["latched"] for row in space.call("accounts", "--all", "--json").json}
    assert [bool(latched[name]) for name in cards] == [True, True, False]


def test_reset_asks_the_venue_first(space, card):
    asyncio.run(_open(card))
    with folder(space).hold(card):
        pass
    folder(space).latch.set("drawdown", "lost")
    space.call("reset", "--account", ACCOUNT, "--reason", " ").complains(2, "--reason")
    space.call("reset", "--reason", "mended").complains(6, "BTCUSDT +0.01", "--keep-position")
    assert folder(space).latch.standing() is not None
    assert space.call("reset", "--reason", "mended", "--keep-position").code == 0
    assert folder(space).latch.standing() is None
    assert folder(space).latch.history()[0]["reason"] == "mended"
    space.call("reset", "--account", ACCOUNT, "--reason", "again").complains(2, "not latched")


def test_reset_waits_for_the_session_to_end(space, card):
    with folder(space).hold(card):
        folder(space).latch.set("kill", "by hand")
        space.call("reset", "--reason", "mended").complains(7, "still runs")


def test_reset_of_a_flat_account(space, card):
    with folder(space).hold(card):
        pass
    folder(space).latch.set("kill", "by hand")
    assert space.call("reset", "--reason", "mended").code == 0


def test_a_venue_out_of_reach_is_said(space, card):
    with folder(space).hold(card | {"mode": "live"}):
        pass
    space.call("kill").complains(2, "QUANTALPHA_API_KEY")  # latched all the same
    assert folder(space).latch.standing()["name"] == "kill"


def test_a_paper_account_is_latched(space, card):
    with folder(space).hold(card | {"mode": "paper"}):
        answer = space.call("kill", "--json")
    assert answer.code == 0 and folder(space).latch.standing()["name"] == "kill"
    assert space.call("reset", "--reason", "mended").code == 0


def test_no_account_yet(space):
    assert space.call("accounts").out.startswith("no account")
    space.call("kill").complains(2, "--account")


def test_a_trouble_is_told_once_though_its_numbers_change(space, card, monkeypatch):
    """Every second another time stands in a venue's words; nobody is told every second."""
    with folder(space).hold(card):
        said = []
        dog = watchdog.Watchdog(folder(space), lambda *words: said.append(words))
        for second in range(5):
            dog._trouble(OSError(f"maintenance, time {1_611_079_200 + second}"))
            dog._trouble(TimeoutError(f"{second} s"))
        assert len(said) == 2
        monkeypatch.setattr(watchdog, "AGAIN", 0.0)
        dog._trouble(OSError("maintenance, time 1"))
    assert len(said) == 3
