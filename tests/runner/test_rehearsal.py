"""Whole sessions on the practice exchange: how they end, go on, take over, and share an account."""

import math
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal

import pytest
import small_bundle
from workspace import Workspace

from quantalpha.drill import scene as scenes
from quantalpha.drill.exercises import falling
from quantalpha.drill.scene import Hold, Stage, with_values
from quantalpha.errors import Halted, ReconcileError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.ops.reports import reports
from quantalpha.practice.keys import KEY
from quantalpha.practice.orders import Order
from quantalpha.runner import Request, recorded, run_session
from quantalpha.runner.events import CarriedEvent, EquityEvent, FillEvent, HealthEvent, SignalEvent
from quantalpha.runner.journal import FILE, read

LONG = Hold(1.0)


@pytest.fixture(scope="module")
def settings():
    return small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}")


@pytest.fixture(scope="module")
def bundle(settings, tmp_path_factory):
    return small_bundle.build(tmp_path_factory.mktemp("bundles"), synthetic_bars("BTCUSDT", settings.synthetic), settings)


@pytest.fixture
def stage(settings, bundle, tmp_path):
    with Workspace(tmp_path / "workspace").entered():
        yield Stage.build(bundle, settings, tmp_path / "drill")


def play(scene, name, **changes):
    """A session in the scene; `bundles`, `on_event` and whatever else a request has."""
    watch, bundles = changes.pop("watch", lambda event: None), changes.pop("bundles", scene.bundle)
    values = {"watching": lambda folder, past: nullcontext([watch]), "sessions": scene.root / "data/sessions"}
    return run_session(bundles, scene.params, Request("rehearse", name, **values, **changes))


class Interrupt:
    """Ctrl-C, once, after so many events of a kind."""

    def __init__(self, kind, count=1):
        self.kind, self.left, self.seen = kind, count, []

    def __call__(self, event):
        self.seen.append(event)
        self.left -= isinstance(event, self.kind)
        if self.left == 0:
            self.left = -1
            os.kill(os.getpid(), signal.SIGINT)


def held(scene):
    """(signed position, purposes of what rests) by the venue's own books."""
    desk = scene.server.binance.desks[KEY]
    return float(desk.account.position("BTCUSDT").quantity), len(desk.records.working)


@pytest.mark.parametrize("on_stop", ["keep", "cancel", "flatten"])
def test_ctrl_c_ends_a_session_as_on_stop_says_and_it_goes_on_from_there(stage, on_stop):
    """Whoever keeps the position keeps its stop; nobody buys twice."""
    with stage.scene(stage.actor(LONG), stage.bars, {"runner": {"on_stop": on_stop}}) as scene:
        ended = play(scene, "one", watch=Interrupt(FillEvent))
        assert ended.reason == "interrupted" and scene.account.latch.standing() is None and scene.account.beaten() is None
        quantity, resting = held(scene)
        assert (quantity > 0, resting) == ((False, 0) if on_stop == "flatten" else (True, 1))
        scene.params = with_values(scene.params, {"runner": {"bars": ended.decisions + 2}})
        again = play(scene, "one", resume=True)
        assert again.decisions == ended.decisions + 2
        assert held(scene) == ((0.0, 0) if on_stop == "flatten" else (quantity, 1))


def test_a_position_of_somebody_else_is_adopted_only_where_that_was_asked_for(stage):
    with stage.scene(stage.actor(LONG), stage.bars, {"runner": {"bars": 2}}) as scene:
        desk = scene.server.binance.desks[KEY]
        desk.place(Order("BTCUSDT", -1, Decimal("0.5")))
        with pytest.raises(ReconcileError, match="position BTCUSDT"):
            play(scene, "one")
        assert held(scene) == (-0.5, 0)
        adopted = play(scene, "two", adopt=True)
        assert adopted.decisions == 2 and held(scene)[1] == 1, "what was taken over has its stop"


def test_a_session_counts_on_from_what_the_one_before_has_lost(stage):
    """Beyond its limit with that, it decides nothing, until a person has reset the account."""
    fall, seen = stage.bars, Interrupt(CarriedEvent, math.inf)
    for begun in range(stage.first, stage.first + 300, 60):  # however long a busy machine takes to begin
        fall = falling(fall, begun)
    with stage.scene(stage.actor(LONG), fall, {"runner": {"bars": 3, "on_stop": "flatten"}}) as scene:
        first = play(scene, "one")
        lost = 1 - first.equity / scenes.CAPITAL
        assert lost > 0.0
        wide, scene.params = scene.params, with_values(scene.params, {"switches": {"daily_loss": 0.9 * lost}})
        with pytest.raises(Halted, match="daily_loss"):
            play(scene, "two", watch=seen)
        assert not any(isinstance(each, SignalEvent) for each in seen.seen)
        scene.account.latch.reset("looked into it")
        scene.params = wide
        assert play(scene, "three").decisions == 3


def test_a_session_has_one_equity_in_the_end_whoever_tells_it(stage):
    """What was traded and paid after the last close counts too; going on, the bar in which it was left is told once."""
    with stage.scene(stage.actor(LONG), stage.bars, {"runner": {"bars": 3}}) as scene:
        ended, folder = play(scene, "one"), scene.root / "data/sessions/one"
        table, last = recorded(folder)["equity"], read(folder / FILE)[-2]
        assert isinstance(last, EquityEvent) and last.quantity == held(scene)[0]
        assert ended.equity == reports(folder)[0].equity == table["equity"].iloc[-1] == last.equity
        scene.params = with_values(scene.params, {"runner": {"bars": 6}})
        again, table = play(scene, "one", resume=True), recorded(folder)["equity"]
        assert table.index.is_unique and again.equity == reports(folder)[0].equity == table["equity"].iloc[-1]


def test_two_bundles_share_an_account(stage, settings, tmp_path):
    bars, gate = synthetic_bars("BTCUSDT", settings.synthetic), small_bundle.GATE | {"second": 1}
    other = small_bundle.build(tmp_path / "bundles", bars, settings, gate=gate)
    with stage.scene(stage.actor(LONG), stage.bars, {"runner": {"bars": 4}}) as scene:
        pair = [scene.bundle, replace(scene.bundle, id=other.id, policy=Hold(0.5))]
        done = play(scene, "two", bundles=pair)
        price = scene.server.binance.desks[KEY].view.mark("BTCUSDT")
        assert done.decisions == 4 and held(scene)[0] * float(price) == pytest.approx(0.75 * scenes.CAPITAL, rel=0.1)


def test_a_market_that_quotes_is_not_silent_between_two_bars(stage, monkeypatch):
    """An hourly bar is longer than any limit on silence."""
    monkeypatch.setattr(scenes, "PACE", 1 / 60)
    watch = Interrupt(HealthEvent, 3)
    with stage.scene(stage.actor(LONG), stage.bars, {"switches": {"silence": 60.0}}) as scene:
        assert play(scene, "quiet", watch=watch).decisions == 0
    first, *later = [each for each in watch.seen if isinstance(each, HealthEvent)]
    assert any(each.silence < (each.recv_time - first.recv_time) / 1000 for each in later), "no bar was told since the first"
