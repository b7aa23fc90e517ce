"""A session agrees with its backtest, and every kind of tampering shows."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import small_bundle

from quantalpha.errors import DataError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.promotion.reconcile import Recorded, compare, reconcile, revised_candles
from quantalpha.runner import Request, recorded, run_replay
from quantalpha.runner.journal import FILE


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """(bundle, folder of a replayed session with some fills and funding)."""
    folder = tmp_path_factory.mktemp("session")
    params = small_bundle.params("synthetic.bars=1500", "synthetic.edge={BTCUSDT: 0.05}", "policy.enter=0.04")
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    bundle = small_bundle.build(folder / "bundles", bars, params)
    run_replay(bundle, params, bars.iloc[:600], Request(name="s", sessions=folder))
    return bundle, folder / "s"


@pytest.fixture
def whole(session):
    return Recorded(**recorded(session[1]))


def line(report, name):
    return next(line for line in report.lines if line.name == name)


def test_an_honest_session_agrees(session, whole):
    report = reconcile(session[0], whole)
    assert report.agrees and report.features == {} and report.revised is None
    assert [entry.name for entry in report.lines] == ["decisions", "fills", "funding", "equity", "cash"]
    assert [entry.difference for entry in report.lines] == [0.0] * 5
    assert line(report, "decisions").compared == 600 and line(report, "fills").compared > 10 and line(report, "funding").compared > 5
    assert report.correlation == pytest.approx(1.0)
    assert [row["agrees"] for row in report.rows()] == ["yes"] * 5
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["agrees"] is True


def shifted(frame, column, row, by):
    frame = frame.copy()
    frame.iloc[row, frame.columns.get_loc(column)] += by
    return frame


@pytest.mark.parametrize(
    ("frame", "column", "broken"),
    [
        ("decisions", "target", {"decisions"}),
        ("decisions", "edge", {"decisions"}),
        ("fills", "price", {"fills"}),
        ("fills", "fee", {"fills"}),
        ("funding", "amount", {"funding"}),
        ("equity", "equity", {"equity"}),
        ("equity", "cash", {"cash"}),
    ],
)
def test_a_number_changed_by_little_shows(session, whole, frame, column, broken):
    report = reconcile(session[0], replace(whole, **{frame: shifted(getattr(whole, frame), column, -1, 1e-6)}))
    assert not report.agrees and {entry.name for entry in report.lines if not entry.agrees} == broken
    wrong = line(report, broken.pop())
    assert wrong.compared - wrong.matched == 1 and wrong.difference == pytest.approx(1e-6, rel=1e-2)
    rows = getattr(whole, frame)
    assert wrong.first["time"] == (rows["time"].iloc[-1] if "time" in rows else rows.index[-1]).isoformat()
    assert "instead of" in next(row for row in report.rows() if row["agrees"] == "NO")["first mismatch"]


@pytest.mark.parametrize("frame", ["decisions", "fills", "funding", "equity"])
def test_a_record_lost_shows(session, whole, frame):
    rows = getattr(whole, frame)
    lost = line(reconcile(session[0], replace(whole, **{frame: rows.drop(rows.index[3])})), frame)
    assert not lost.agrees and lost.first["recorded"] != lost.first["research"]


def test_a_mismatch_shows_the_features_it_was_decided_on(session, whole):
    tampered = replace(whole, decisions=shifted(whole.decisions, "edge", 300, 0.1))
    report = reconcile(session[0], tampered)
    expected = session[0].features.compute(whole.bars).iloc[300]
    assert report.features == expected.to_dict()


def test_a_bar_changed_after_the_fact_shows_in_decisions_and_money(session, whole):
    bars = whole.bars.copy()
    bars.loc[bars.index[300], ["close", "high"]] *= 1.05
    report = reconcile(session[0], replace(whole, bars=bars))
    assert {"decisions"} <= {entry.name for entry in report.lines if not entry.agrees}


def test_a_journal_changed_on_disk_does_not_agree(session, tmp_path):
    bundle, folder = session
    copy = tmp_path / FILE
    with sqlite3.connect(folder / FILE) as source, sqlite3.connect(copy) as raw:
        source.backup(raw)
        raw.execute("DROP TRIGGER no_update")
        seq, payload = raw.execute("SELECT seq, payload FROM events WHERE kind = 'Fill' ORDER BY seq LIMIT 1").fetchone()
        changed = json.loads(payload)
        changed["price"] *= 1.0001
        raw.execute("UPDATE events SET payload = ? WHERE seq = ?", (json.dumps(changed), seq))
    assert not reconcile(bundle, Recorded(**recorded(tmp_path))).agrees


def test_what_happened_in_the_last_unfinished_bar_is_set_aside(session, whole):
    later = whole.bars.index[-1] + pd.Timedelta("1h")
    extra = pd.concat([whole.fills, whole.fills.tail(1).assign(time=later)], ignore_index=True)
    report = reconcile(session[0], replace(whole, fills=extra))
    assert report.agrees and report.unfinished == 1


def test_a_bar_that_a_kill_left_undecided_is_set_aside(session, whole):
    report = reconcile(session[0], replace(whole, decisions=whole.decisions.iloc[:-1]))
    assert report.agrees and report.unfinished >= 1


def test_candles_the_venue_has_revised_are_named(session, whole):
    now = whole.bars.drop(whole.bars.index[5]).copy()
    now.loc[whole.bars.index[7], "volume"] += 1.0
    report = reconcile(session[0], whole, bars_now=now)
    gone, revised = [r for r in report.revised if r["now"] is None], [r for r in report.revised if r["now"] is not None]
    assert {r["time"] for r in gone} == {whole.bars.index[5].isoformat()}
    assert [(r["time"], r["column"], r["now"] - r["recorded"]) for r in revised] == [(whole.bars.index[7].isoformat(), "volume", 1.0)]
    assert report.agrees
    assert revised_candles(whole.bars, whole.bars) == []


def test_nothing_to_compare_is_no_agreement(session, whole):
    with pytest.raises(DataError, match="expected decisions"):
        reconcile(session[0], replace(whole, decisions=whole.decisions.iloc[:0]))
    with pytest.raises(DataError, match="expected decisions"):
        reconcile(session[0], replace(whole, bars=whole.bars.drop(whole.bars.index[50])))


def test_compare_needs_the_same_rows():
    left = pd.DataFrame({"x": [1.0, np.nan]}, index=pd.date_range("2024", periods=2, tz="UTC"))
    assert compare("x", left, left).agrees
    assert compare("x", left, left.iloc[:1]).matched == 1
    assert not compare("x", left, left.fillna(0.0)).agrees
    assert compare("x", left, left + 1e-10).agrees and not compare("x", left, left + 1e-8).agrees
