"""Paper sessions on the practice exchange: they reconcile, stop when told, and leave a whole journal when the venue goes."""

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from quantalpha import config, features
from quantalpha.config import Params
from quantalpha.errors import DataError, ExchangeError, GateRefused, Halted, UsageError
from quantalpha.market import stream
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.promotion.reconcile import Recorded, reconcile
from quantalpha.runner import Request, composition, feed, recorded, run_replay, run_session, session_bundle
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.events import SessionEvent, kind_of
from quantalpha.runner.journal import FILE, read
from quantalpha.runner.session import Session


def with_runner(settings: Params, **values) -> Params:
    return settings.model_copy(update={"runner": settings.runner.model_copy(update=values)})


def test_a_paper_session_equals_its_backtest(exchange, trained, sessions):
    seen = []
    settings = with_runner(exchange.settings, bars=30)
    summary = run_session(trained, settings, Request(name="s1", on_status=seen.append, sessions=sessions))
    frames = recorded(sessions / "s1")
    assert summary.decisions == len(frames["decisions"]) == len(seen) == 30
    assert summary.reason == "30 decisions made" and summary.fills == len(frames["fills"]) > 0
    assert len(frames["bars"]) == 30 + trained.features.lookback and frames["bars"].index.is_unique
    assert frames["decisions"]["edge"].notna().all()
    report = reconcile(trained, Recorded(**frames))
    assert report.agrees and report.lines[0].matched == 30 and report.refusals == 0
    assert seen[-1].equity == pytest.approx(summary.equity) and seen[-1].fills == summary.fills
    assert summary.in_sample == 30  # the bundle was trained on the whole tape; history before the session does not count
    card = json.loads((sessions / "s1" / "session.json").read_text())
    assert ([each["id"] for each in card["bundles"]], card["mode"], card["params"]["runner"]["bars"]) == ([trained.id], "paper", 30)


def test_sigterm_ends_a_session_gracefully(exchange, trained, sessions, tmp_path):
    (tmp_path / "settings.json").write_text(exchange.settings.model_dump_json())
    code = f"""
import pathlib
from quantalpha import bundle, config
from quantalpha.runner import Request, composition, run_session
settings = config.Params.model_validate_json(pathlib.Path({str(tmp_path / "settings.json")!r}).read_text())
loaded = bundle.load(pathlib.Path({str(trained.folder)!r}))
said = {{"on_status": lambda status: print(status.decisions, flush=True)}}
summary = run_session(loaded, settings, Request(name="s", sessions=pathlib.Path({str(sessions)!r}), **said))
print(summary.reason, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "3":
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and rest.splitlines()[-1] == "interrupted"
    last = read(sessions / "s" / FILE)[-1]
    assert isinstance(last, SessionEvent) and (last.phase, last.reason) == ("stop", "interrupted")
    assert reconcile(trained, Recorded(**recorded(sessions / "s"))).agrees


def test_a_bundle_of_another_venue_is_refused_before_anything_starts(exchange, trained, sessions):
    elsewhere = exchange.settings.venue.model_copy(update={"source": "practice-other"})
    with pytest.raises(UsageError, match="made from data of practice, but params.venue is practice-other"):
        run_session(trained, exchange.settings.model_copy(update={"venue": elsewhere}), Request(sessions=sessions))
    assert not sessions.exists() or not list(sessions.iterdir())


def test_a_venue_that_goes_away_is_an_error_and_the_journal_is_whole(exchange, trained, sessions):
    def unplug(status):
        if status.decisions == 5:
            exchange.close()

    settings = with_runner(exchange.settings, retries=1)
    settings = settings.model_copy(update={"venue": settings.venue.model_copy(update={"timeout": 2.0})})
    with pytest.raises(ExchangeError):
        run_session(trained, settings, Request(name="s", on_status=unplug, sessions=sessions))
    last = read(sessions / "s" / FILE)[-1]
    assert isinstance(last, SessionEvent) and last.reason.startswith("ExchangeError: ")
    report = reconcile(trained, Recorded(**recorded(sessions / "s")))
    assert report.agrees and report.lines[0].compared >= 5


async def silence(*_, **__):
    await asyncio.sleep(3600)
    yield


async def ending(*_, **__):
    for nothing in ():
        yield nothing


def test_a_silent_venue_halts(exchange, trained, sessions, monkeypatch):
    monkeypatch.setattr(stream, "stream_bars", silence)
    with pytest.raises(Halted, match="stale_after"):
        run_session(trained, with_runner(exchange.settings, stale_after=0.2 / 3600), Request(name="s", sessions=sessions))
    assert read(sessions / "s" / FILE)[-1].reason.startswith("Halted: ")


def test_a_stream_that_ends_is_a_lost_venue(exchange, trained, sessions, monkeypatch):
    monkeypatch.setattr(stream, "stream_bars", ending)
    with pytest.raises(ExchangeError, match="stream ended"):
        run_session(trained, exchange.settings, Request(sessions=sessions))


def test_a_bundle_that_needs_more_than_a_live_bar_tells_never_starts(exchange, trained, sessions):
    trades = features.Feature("trades_1", 1, ("trades",), lambda bars: bars["trades"])
    bundle = type(trained)(**{**vars(trained), "features": features.FeatureSet([trades])})
    with pytest.raises(DataError, match="needs column 'trades'"):
        run_session(bundle, exchange.settings, Request(sessions=sessions))
    assert not sessions.exists()


WORD = {"who": "me@desk", "time": "2026-01-01T00:00:00+00:00", "reason": "a rehearsal"}


def test_an_overridden_gate_is_told_at_every_start_and_in_every_record(trained, tape_settings, sessions, capsys):
    lines = [{"name": "trades", "passed": True}, {"name": "net_result", "passed": False, "override": WORD}]
    overridden = replace(trained, gate={"passed": True, "lines": lines})
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).head(60)
    for name in ("s1", "s2"):
        summary = run_replay(overridden, tape_settings, bars, Request(name=name, sessions=sessions))
        said = (
            f"warning: bundle {trained.id[:12]}: gate line net_result failed and was OVERRIDDEN by me@desk at {WORD['time']}: a rehearsal\n"
        )
        assert capsys.readouterr().err == said and summary.overridden == ["net_result"]
    assert read(sessions / "s1" / FILE)[0].reason == f"replay {trained.id}; net_result overridden"
    assert json.loads((sessions / "s1" / "session.json").read_text())["overridden"] == [{"name": "net_result"} | WORD]
    summary = run_replay(trained, tape_settings, bars, Request(name="s3", sessions=sessions))
    assert capsys.readouterr().err == "" and summary.overridden == []


@pytest.mark.parametrize(("age", "stale"), [("50d", True), ("900d", False), (None, False)])
def test_a_model_that_has_learnt_nothing_for_long_is_not_run(exchange, trained, sessions, age, stale):
    """The session begins about 30 days after the tape does; the model learnt up to 31 days before that."""
    manifest = trained.manifest | {"until": (exchange.settings.synthetic.start - pd.Timedelta("31d")).isoformat()}
    old, settings = replace(trained, manifest=manifest), with_runner(exchange.settings, bars=1, max_model_age=age)
    if not stale:
        assert run_session(old, settings, Request(sessions=sessions)).decisions == 1
        return
    with pytest.raises(
        DataError, match=r"stale: it learnt from bars up to 2020-12-01 00:00, \d+ days before .*runner.max_model_age is 50d"
    ):
        run_session(old, settings, Request(name="s", sessions=sessions))
    assert recorded(sessions / "s")["decisions"].empty


def test_an_unknown_mode_is_a_usage_error(trained, tape_settings, sessions):
    with pytest.raises(UsageError, match="expected paper"):
        run_session(trained, tape_settings, Request(mode="lived", sessions=sessions))


def test_nothing_is_traded_live_before_the_list_was_gone_through(trained, tape_settings, sessions):
    with pytest.raises(GateRefused, match="pre-live"):
        run_session(trained, tape_settings, Request(mode="live", sessions=sessions))
    assert not sessions.exists()


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", "/tmp/x", ".hidden", "a" * 300, "ä" * 90, "a" + "é" * 90])
def test_a_session_stays_in_its_folder(trained, tape_settings, sessions, name):
    with pytest.raises(UsageError, match="expected a name"):
        run_session(trained, tape_settings, Request(name=name, sessions=sessions))


def test_replay_takes_all_bars_and_a_name_once(trained, tape_settings, sessions):
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:300]
    summary = run_replay(trained, with_runner(tape_settings, bars=60), bars, Request(name="r", sessions=sessions))
    assert (summary.decisions, summary.mode, summary.reason) == (300, "replay", "end of data")
    with pytest.raises(UsageError, match="exists already"):
        run_replay(trained, tape_settings, bars, Request(name="r", sessions=sessions))


@pytest.mark.parametrize(("learnt", "expected"), [(1400, 200), (50, 50), (0, 0)])
def test_decisions_on_bars_the_model_may_have_learnt_from_are_counted(trained, tape_settings, sessions, learnt, expected):
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic)
    until = bars.index[0] - pd.Timedelta("1h") if learnt == 0 else bars.index[learnt - 1]
    bundle = replace(trained, manifest=trained.manifest | {"until": until.isoformat()})
    assert run_replay(bundle, tape_settings, bars.iloc[:200], Request(sessions=sessions)).in_sample == expected


def test_a_parent_that_is_no_folder_is_a_usage_error(trained, tape_settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder can be made"):
        run_replay(trained, tape_settings, synthetic_bars("BTCUSDT", tape_settings.synthetic), Request(sessions=tmp_path / "file"))


class Eager:
    """Wants to be long at once."""

    fingerprint, novelty = "", float("nan")

    def __init__(self, bundle):
        pass

    def observe(self, bar):
        pass

    def decide(self, previous):
        return 0.5, 1.0


@pytest.mark.parametrize("kind", ["Equity", "ValidatedOrder"])
def test_nothing_happens_after_the_journal_has_failed(trained, tape_settings, sessions, monkeypatch, kind):
    """The journal fails once and has room again when the session says its last word: no half of a chain is on record."""
    monkeypatch.setattr(composition, "Decider", Eager)
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:3]
    opened, closed, later, *_ = feed.replay(bars, "BTCUSDT", 3_600_000)
    made = composition.compose(trained)
    session = Session.start(made, tape_settings, Request(name="s", sessions=sessions), made.paper())
    with pytest.raises(Halted, match="disk full"), session as running:
        running.feed(opened)
        with sqlite3.connect(sessions / "s" / FILE) as raw:
            raw.execute(f"CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.kind = '{kind}' BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        with pytest.raises(Halted, match="disk full"):
            running.feed(closed)
        with sqlite3.connect(sessions / "s" / FILE) as raw:
            raw.execute("DROP TRIGGER full")
        with pytest.raises(Halted, match="earlier error"):
            running.feed(later)
        raise Halted("disk full")
    assert [kind_of(event) for event in read(sessions / "s" / FILE)] == ["Session", "MarketOpen", "Session"]
    assert list(running.summary().positions.values()) == [0.0]


def test_the_card_holds_no_secret_and_stays_json(trained, tape_settings, sessions, monkeypatch):
    monkeypatch.setattr("quantalpha.secrets.environment", lambda: {"API_KEY": 'sesa"me12', "OTHER_TOKEN": "100000"})
    venue = tape_settings.venue.model_copy(update={"rest_url": 'http://joe:hush@host/?key=sesa"me12'})
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:30]
    run_replay(trained, tape_settings.model_copy(update={"venue": venue}), bars, Request(name="s", sessions=sessions))
    text = (sessions / "s" / "session.json").read_text()
    assert "me12" not in text and "hush" not in text
    assert json.loads(text)["params"]["venue"]["rest_url"] == "http://***@host/?key=***"


@pytest.fixture
def moved(trained, tape_settings, sessions, tmp_path, monkeypatch):
    """A session whose workspace was moved after it ran: (its folder, where the workspace keeps bundles now)."""
    bundle = replace(trained, folder=Path(shutil.copytree(trained.folder, tmp_path / "old" / trained.id)))
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:30]
    run_replay(bundle, tape_settings, bars, Request(name="s", sessions=sessions))
    monkeypatch.setattr(config, "path", lambda text: tmp_path / "new" / text)
    (tmp_path / "old").rename(tmp_path / "gone")
    return sessions / "s", tmp_path / "new" / "data" / "bundles"


def test_a_session_finds_its_bundle(trained, tape_settings, sessions, moved):
    folder, bundles = moved
    with pytest.raises(DataError, match="neither in .*old.* nor in .*bundles; put the folder back, or promote"):
        session_bundle(folder)
    shutil.copytree(trained.folder, bundles / trained.id)
    assert session_bundle(folder).folder == bundles / trained.id
    shutil.copytree(trained.folder, folder.parents[1] / "old" / trained.id)
    assert session_bundle(folder).folder == folder.parents[1] / "old" / trained.id


def test_a_session_trusts_no_other_bundle_and_no_torn_card(trained, moved):
    folder, bundles = moved
    forged = shutil.copytree(trained.folder, bundles / trained.id)
    (forged / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="manifest.json was altered"):
        session_bundle(folder)
    (folder / "session.json").write_text('{"session": "s"}')
    with pytest.raises(DataError, match="session.json: 'bundles' is missing"):
        session_bundle(folder)


def test_replaying_twice_gives_the_same_journal(trained, tape_settings, sessions):
    bars = synthetic_bars("BTCUSDT", tape_settings.synthetic).iloc[:300]
    for name in ("a", "b"):
        run_replay(trained, tape_settings, bars, Request(name=name, sessions=sessions))
    first, second = (read(sessions / name / FILE)[1:-1] for name in ("a", "b"))
    assert [repr(event) for event in first] == [repr(event) for event in second] and len(first) > 900


def test_a_halted_session_resumes_after_a_reset_and_is_not_latched_again(exchange, trained, sessions):
    settings = with_runner(exchange.settings, bars=None)
    request = Request(name="s", sessions=sessions)
    seen = []

    def kill(status):
        if not seen:
            AccountFolder("paper-s", sessions.parent / "accounts").latch.set("kill", "a drill")
        seen.append(status)

    with pytest.raises(Halted, match="halted by kill"):
        run_session(trained, settings, replace(request, on_status=kill))
    settings = with_runner(settings, bars=seen[-1].decisions + 4)
    again = replace(request, resume=True)
    with pytest.raises(Halted, match="latched by kill"):
        run_session(trained, settings, again)
    latch = AccountFolder("paper-s", sessions.parent / "accounts").latch
    (latch.folder / "latch.json").unlink()  # as if the session had been killed before it could write it
    with pytest.raises(Halted, match="latched by kill"):
        run_session(trained, settings, again)
    assert latch.standing()["reason"] == "a drill"
    latch.reset("the drill is over")
    assert run_session(trained, settings, again).reason == f"{settings.runner.bars} decisions made"
    assert latch.standing() is None
    phases = [event.phase for event in read(sessions / "s" / FILE) if kind_of(event) == "Switch"]
    assert phases == ["tripped", "flat", "reset"]
