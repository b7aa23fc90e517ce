"""The drill: it knows every switch there is, what it says of one is true, and its record counts only as it was written."""

import json
from dataclasses import replace

import pytest
import small_bundle
from workspace import Workspace

from quantalpha import config, drill
from quantalpha.drill import performance
from quantalpha.drill.exercises import exercises
from quantalpha.errors import GateRefused
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.runner import switches
from quantalpha.runner.accounts import AccountFolder, name_of
from quantalpha.runner.drills import FILE, Line, Report, days_since


@pytest.fixture(scope="module")
def settings() -> config.Params:
    return small_bundle.params("venue.source=practice", "synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}")


@pytest.fixture(scope="module")
def bundle(settings, tmp_path_factory):
    return small_bundle.build(tmp_path_factory.mktemp("bundles"), synthetic_bars("BTCUSDT", settings.synthetic), settings)


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "workspace")
    with made.entered():
        yield made


def test_every_switch_has_its_exercise(settings):
    known = switches.of(settings.switches, "live", "30d", {})._make()
    assert {each.name for each in exercises(settings)} == {*known, "kill", "watchdog:heartbeat"}


def test_switches_hold_on_the_practice_exchange(workspace, settings, bundle):
    """One of the money, one of the account's state, one of another process: the whole drill is `quantalpha run --drill`."""
    asked, said = ("daily_loss", "unprotected", "watchdog:heartbeat"), []
    report = drill.run(bundle, settings, only=asked, say=said.append)
    assert report.passed, report
    assert [line.switch for line in report.lines] == list(asked) and len(said) == 3
    assert days_since(AccountFolder(name_of("rehearse", settings.venue))) is None, "a part of a drill is no drill"


def test_a_switch_that_does_nothing_is_found_out(workspace, settings, bundle, monkeypatch):
    whole = switches._everywhere
    monkeypatch.setattr(switches, "_everywhere", lambda *args: whole(*args) | {"drawdown": switches.Drawdown(9.0)})
    monkeypatch.setattr(performance, "PATIENCE", 4.0)
    report = drill.run(bundle, settings, only=("drawdown",))
    assert not report.passed and "nothing came of it" in report.lines[0].trouble
    with pytest.raises(GateRefused, match="drawdown"):
        report.require()


GOOD = Line("kill", "by hand", 0.5, 0.1, "kill", True, True)


@pytest.mark.parametrize(
    "bad",
    [{"trip": None}, {"flat": None}, {"latched": "drawdown"}, {"refused": False}, {"again": False}, {"trouble": "the venue stayed away"}],
)
def test_a_line_passes_only_as_a_whole(bad):
    assert GOOD.passed and not replace(GOOD, **bad).passed


def altered(text: str) -> str:
    return text.replace('"trip": 0.5', '"trip": 0.4')


def renewed(text: str) -> str:
    return json.dumps(json.loads(text) | {"time": "2999-01-01T00:00:00+00:00"})


@pytest.mark.parametrize("change", [altered, renewed, lambda text: text[:40], lambda text: "[]", lambda text: "{}"])
def test_a_record_counts_only_as_it_was_written(tmp_path, change):
    account = AccountFolder("rehearse-practice", tmp_path)
    assert days_since(account) is None
    Report.of("b" * 64, [GOOD], "here").write(account)
    assert 0.0 <= days_since(account) < 0.01
    path = account.path / FILE
    path.write_text(change(path.read_text()))
    assert days_since(account) is None


@pytest.mark.parametrize("lines", [[], [GOOD, replace(GOOD, again=False)]])
def test_a_drill_that_failed_is_written_down_and_counts_for_nothing(tmp_path, lines):
    account = AccountFolder("rehearse-practice", tmp_path)
    Report.of("b" * 64, [GOOD], "here").write(account)
    Report.of("b" * 64, lines, "here").write(account)
    assert json.loads((account.path / FILE).read_text())["passed"] is False and days_since(account) is None
