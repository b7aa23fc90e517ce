"""The sealed hold-out: scored by what has not seen it, as a backtest would, and written down every time."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import small_bundle
from workspace import Workspace

from quantalpha import tracking
from quantalpha.backtest import simulate
from quantalpha.errors import DataError, GateRefused, UsageError
from quantalpha.labels import label
from quantalpha.market import Lake
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import bracket_schedule
from quantalpha.promotion import holdout
from quantalpha.strategy import edge

START = pd.Timestamp("2021-03-01", tz="UTC")
SETTINGS = ["data.start=2021-01-01", f"holdout.start={START:%Y-%m-%d}", "gate.random_seeds=20", "synthetic.bars=2000", "venue.name=import"]
KEY = ("import", "BTCUSDT", "1h")


@pytest.fixture(scope="module")
def params():
    return small_bundle.params(*SETTINGS)


@pytest.fixture(scope="module")
def bars(params):
    return synthetic_bars("BTCUSDT", params.synthetic)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, bars, params):
    """All bars in the lake, a champion made from those before the hold-out, registered."""
    made = Workspace(tmp_path_factory.mktemp("holdout"))
    Lake(made.root / "data/raw").write(*KEY, bars.drop(columns=["mark"], errors="ignore"), source="test", complete_before=0)
    return made


@pytest.fixture(scope="module")
def champion(workspace, bars, params):
    return small_bundle.build(workspace.root / "data/bundles", bars.loc[: START - pd.Timedelta("1h")], params)


@pytest.fixture
def entered(workspace):
    with workspace.entered():
        (workspace.root / holdout.FILE).unlink(missing_ok=True)
        yield workspace


def test_the_sealed_bars_are_traded_by_the_sealed_model(entered, champion, params, bars):
    opened = holdout.open_holdout(champion, params, " first look ")
    assert opened["first"] == START.isoformat() and opened["last"] == bars.index[-1].isoformat()
    assert opened["bars"] == (bars.index >= START).sum() and opened["opened"] == 1 and opened["reason"] == "first look"
    assert opened["bundle"] == champion.id and re.fullmatch(r"\S+@\S*", opened["who"])

    known = bars.drop(columns=["mark"], errors="ignore")
    forecast = champion.model.predict(champion.features.compute(known).to_numpy())
    target = champion.policy.targets(pd.Series(edge(forecast), known.index).loc[START:])
    account = replace(champion.account, brackets=bracket_schedule("BTCUSDT"))
    result = simulate(known.loc[START:], target, account=account, costs=champion.costs, stops=champion.stops)
    assert opened["metrics"]["total_return"] == pytest.approx(result.metrics()["total_return"], abs=1e-12)
    assert opened["metrics"]["n_trades"] >= 2 and set(opened["baselines"]) >= {"buy_and_hold", "ma_cross", "random_p95"}
    truth = label(known, params.labels)["label"].loc[START:]
    likeliest = np.array([-1, 0, 1])[forecast.argmax(axis=1)][-len(truth) :]
    assert opened["scores"]["accuracy"] == pytest.approx((likeliest == truth)[truth.notna()].mean())


def test_every_opening_is_kept_and_counted(entered, champion, params):
    first, second = (holdout.open_holdout(champion, params, reason) for reason in ("one", "two"))
    assert (first["opened"], second["opened"]) == (1, 2) and first["metrics"] == second["metrics"]
    elsewhere = json.loads(json.dumps(second)) | {"symbol": "ETHUSDT"}
    assert holdout._write_down({key: elsewhere[key] for key in elsewhere if key not in ("opened", "previous")})["opened"] == 1
    assert holdout.openings()[:2] == [first, second] and len(holdout.openings()) == 3


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: [lines[0].replace("one", "own"), *lines[1:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], lines[2][:40]], "line 3 is cut off"),
    ],
)
def test_an_altered_record_is_refused(entered, spoil, says):
    for reason in ("one", "two", "three"):
        holdout._write_down({"symbol": "BTCUSDT", "first": "2021-03-01", "last": "2021-03-02", "reason": reason})
    path = entered.root / holdout.FILE
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=says):
        holdout.openings()
    with pytest.raises(DataError, match=says):
        holdout._write_down({"symbol": "BTCUSDT", "first": "2021-03-01", "last": "2021-03-02"})


def test_what_has_seen_the_holdout_is_not_judged_by_it(entered, params, bars, tmp_path):
    seen = small_bundle.build(tmp_path, bars.loc[:START], params)
    with pytest.raises(GateRefused, match=r"made from bars up to 2021-03-01.*promote again"):
        holdout.open_holdout(seen, params, "a look")
    assert holdout.openings() == []


def test_nothing_to_open_is_told(entered, champion, params):
    with pytest.raises(UsageError, match="holdout.start is null"):
        holdout.open_holdout(champion, small_bundle.params(), "a look")
    with pytest.raises(UsageError, match="--reason: expected why"):
        holdout.open_holdout(champion, params, " ")
    with pytest.raises(DataError, match="no bar of import/BTCUSDT/1h from 2021-06-01"):
        holdout.open_holdout(champion, small_bundle.params(*SETTINGS, "holdout.start=2021-06-01"), "a look")
    with pytest.raises(DataError, match="the last is 2021-02-09 23:00"):
        holdout.open_holdout(champion, small_bundle.params(*SETTINGS, "data.end=2021-02-10"), "a look")
    assert holdout.openings() == []


def test_from_the_command_line(entered, champion):
    words = [word for text in SETTINGS for word in ("--set", text)]
    tracking.register("import-BTCUSDT-1h", champion.folder, "0" * 32, "paper")
    assert "never" in entered.call("holdout", "status").out
    opened = entered.call("holdout", "open", "--reason", "go live?", *words)
    assert opened.code == 0, opened.err
    assert "opened once" in opened.out and all(name in opened.out for name in ("champion", "buy_and_hold", "random_p95", "sharpe_ratio"))
    again = entered.call("holdout", "open", "--reason", "and again", *words, "--json")
    assert again.json["opened"] == 2
    shown = entered.call("holdout", "status", *words)
    assert "opened 2 times" in shown.out and "sealed from 2021-03-01" in shown.out
    assert re.search(r", BTCUSDT 2021-03-01T00:00 to 2021-03-25T07:00, time 2, Sharpe -?\d+\.\d\d: and again\n", shown.out)
    assert [one["reason"] for one in entered.call("holdout", "status", "--json").json["openings"]] == ["go live?", "and again"]
    entered.call("holdout", "open", "--reason", "x").complains(2, "holdout.start is null")
    entered.call("holdout", "open", "--reason", "x", *words, "--set", "holdout.start=2021-02-01").complains(3, "cannot judge it")
    entered.call("holdout", "open", "--reason", "x", *words, "--set", "policy.enter=0.3").complains(2, "sealed with the model")
