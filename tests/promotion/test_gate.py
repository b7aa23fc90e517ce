"""The gate: a planted edge passes, and noise, leaks, edited numbers and damaged files are refused by name."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantalpha import bundle, config
from quantalpha.backtest.walk_forward import WalkForward, final_model, walk_forward_forecasts
from quantalpha.bundle import Origin
from quantalpha.errors import DataError, GateRefused
from quantalpha.features import FAMILIES, Feature, build, resolve
from quantalpha.files import sha256
from quantalpha.labels import label, triple_barrier
from quantalpha.models import create, fitter
from quantalpha.promotion import (
    GateReport,
    Trained,
    backtest_candidate,
    evaluate,
    gate_proofs,
    load_candidate,
    origin,
    promote,
    write_candidate,
)
from quantalpha.promotion.gate import net_result, trades
from quantalpha.promotion.gate_report import GateLine
from quantalpha.validation import splits
from quantalpha.validation.trials import Trials

TREES = {"trees": 20, "learning_rate": 0.1, "leaves": 7, "min_rows_per_leaf": 20, "row_fraction": 0.7, "column_fraction": 1.0, "l2": 1.0}
SECTIONS = {
    "features": {"returns": [1, 4]},
    "labels": {
        "kind": "triple_barrier",
        "take_profit": 1.0,
        "stop_loss": 1.0,
        "horizon": 4,
        "volatility_window": 48,
        "threshold": 0.5,
        "shortest": 2,
        "events": None,
        "weights": "uniqueness",
        "decay": 1.0,
    },
    "policy": {"enter": 0.15, "exit": 0.0, "leverage": 1.0},
    "account": {
        "initial_cash": 10000.0,
        "leverage": 5.0,
        "margin_mode": "cross",
        "lot": 0.0,
        "min_notional": 0.0,
        "rebalance_band": None,
    },  # fmt: skip
    "costs": {"maker": 0.0002, "taker": 0.0005, "slippage": 0.0001, "liquidation": 0.0125, "delay": 0},
    "stops": {"stop_loss": None, "take_profit": None, "trailing_stop": None, "max_bars": None},
    "splits": {"scheme": "sliding", "train": 900, "test": 300, "embargo": 4},
    "models": {"names": ["lightgbm", "xgboost"], "seed": 7, "lightgbm": TREES, "xgboost": TREES},
}
DATA = {"bars": {"path": "data/clean/BTCUSDT.parquet", "sha256": "ab" * 32}}
GATE = config.Gate(min_trades=30, min_cost=0.0004, random_seeds=20, causality_cuts=4)
LINES = [
    "market_named",
    "holdout_sealed",
    "auto_from_training",
    "features_causal",
    "lookbacks_sufficient",
    "labels_known",
    "live_equals_batch",
    "live_columns",
    "forecasts_reproduce",
    "model_saw_no_test",
    "real_costs",
    "net_result",
    "trades",
    "bundle_roundtrip",
]


def tape(momentum, n=1900, seed=4):
    """Hourly bars, 1 % a bar; `momentum` carries that share of the last return into the next."""
    rng = np.random.default_rng(seed)
    change = 0.01 * rng.normal(size=n)
    for i in range(1, n):
        change[i] += momentum * change[i - 1]
    close = 100 * np.exp(np.cumsum(change - change.mean()))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


def candidate(folder, bars, kind="lightgbm", make=label, **changed):
    """What the pipeline does from features to candidate; `make` makes its labels."""
    sections = SECTIONS | changed
    sections = {"features_asked": sections["features"]} | sections
    named = Origin("BTCUSDT", "1h", "binanceusdm", sections, DATA, bars.index[-1].isoformat(), "cd" * 32, "0.1.0+test")
    features, labels = build(sections["features"]).compute(bars), make(bars, config.Labels(**sections["labels"]))
    fit = fitter(kind, config.Models(**sections["models"]))
    given, decay = (features, labels, config.Splits(**sections["splits"]), fit), sections["labels"]["decay"]
    trained = Trained(named, final_model(*given, decay=decay), walk_forward_forecasts(*given, decay=decay))
    return write_candidate(folder, trained, bars, *backtest_candidate(trained, bars, GATE.random_seeds))


def line(report, name):
    return next(x for x in report.lines if x.name == name)


@pytest.fixture(scope="module")
def edge_bars():
    return tape(0.6)


@pytest.fixture(scope="module", params=["lightgbm", "xgboost"])
def good(request, tmp_path_factory, edge_bars):
    return candidate(tmp_path_factory.mktemp("good"), edge_bars, request.param)


@pytest.fixture
def copy(good, tmp_path):
    """A candidate of one's own to damage."""
    return shutil.copytree(good.folder, tmp_path / "candidate")


def test_a_planted_edge_passes_every_line_and_becomes_a_bundle(good, edge_bars, tmp_path):
    report, sealed = promote(good.folder, edge_bars, tmp_path, GATE)
    assert report.passed, str(report)
    assert [x.name for x in report.lines] == LINES
    report.refuse()  # says nothing
    assert json.loads((sealed.folder / "gate.json").read_text()) == report.to_dict()
    again = bundle.load(tmp_path / sealed.id)
    x = good.features.compute(edge_bars).to_numpy()
    assert np.array_equal(again.model.predict(x), good.trained.model.predict(x), equal_nan=True)
    assert again.manifest["data"] == DATA and again.manifest["code_version"] == "0.1.0+test"


def test_the_same_candidate_gives_the_same_bundle(good, edge_bars, tmp_path):
    ids = {promote(good.folder, edge_bars, tmp_path, GATE)[1].id for _ in range(2)}
    assert len(ids) == 1 and [p.name for p in tmp_path.iterdir()] == list(ids)


def test_a_candidate_made_twice_has_the_same_bytes(good, edge_bars, tmp_path):
    again = candidate(tmp_path / "again", edge_bars, good.trained.model.kind)
    for path in good.folder.iterdir():
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def test_noise_is_refused_for_its_result_and_leaves_no_bundle(tmp_path):
    bars = tape(0.0)
    folder = candidate(tmp_path / "noise", bars).folder
    report, sealed = promote(folder, bars, tmp_path / "bundles", GATE)
    assert sealed is None and not (tmp_path / "bundles").exists()
    assert [x.name for x in report.lines if not x.passed] == ["net_result"]
    with pytest.raises(GateRefused, match=r"net_result: .*Sharpe -?\d+\.\d\d does not beat .*random_p95 -?\d+\.\d\d") as refused:
        report.refuse()
    assert str(refused.value).startswith("BTCUSDT-lightgbm: refused by 1 of 14 gate lines: ")


def peek(window):
    """The return of the next bar: what nobody can know."""
    return Feature(f"peek_{window}", 2, ("close",), lambda a: np.append(np.log(a["close"][1:] / a["close"][:-1]), np.nan))


def test_a_leaky_feature_is_refused_by_name_however_well_it_trades(tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "peek", peek)
    bars = tape(0.0)
    found = candidate(tmp_path / "leak", bars, features={"returns": [1], "peek": [1]})
    assert found.metrics["sharpe_ratio"] > 10
    report, sealed = promote(found.folder, bars, tmp_path / "bundles", GATE)
    assert sealed is None and line(report, "net_result").passed
    causal = line(report, "features_causal")
    assert not causal.passed and causal.value == 1 and "peek_1" in causal.reason and "returns_1" not in causal.reason
    with pytest.raises(GateRefused, match="features_causal: features look ahead: peek_1"):
        report.refuse()


def ends_with_its_trend(bars, params):
    """Trend scanning purged by the trend's own end: that no longer one is clearer is not known then."""
    table = label(bars, params)
    return table.assign(end_time=table["trend_end"])


def scaled_by_the_whole_series(bars, params):
    """Barriers in units of a volatility that later bars share in."""
    levels = {"take_profit": 1.0, "stop_loss": 1.0, "horizon": params.horizon}
    table = triple_barrier(bars, **levels, volatility=pd.Series(bars["close"].pct_change().std(), bars.index))
    return table.assign(weight=1.0)


@pytest.mark.parametrize(("wrong", "kind"), [(ends_with_its_trend, "trend_scanning"), (scaled_by_the_whole_series, "triple_barrier")])
def test_labels_that_use_bars_after_their_end_are_refused_by_name(tmp_path, monkeypatch, wrong, kind):
    bars, labels = tape(0.6), SECTIONS["labels"] | {"kind": kind}
    found = candidate(tmp_path / "late", bars, labels=labels, make=wrong)
    assert line(evaluate(found, bars, GATE), "labels_known").passed  # the package's own labels
    monkeypatch.setattr(gate_proofs, "label", wrong)
    report = evaluate(found, bars, GATE)
    judged = line(report, "labels_known")
    assert not judged.passed and judged.value >= 1 and judged.threshold == 0
    assert "labels use bars after their end_time: label (" in judged.reason
    assert line(report, "forecasts_reproduce").passed, "trained again from the same wrong labels, all comes out again"


def test_a_label_without_any_event_cannot_be_judged(good, edge_bars):
    judged = GateLine("labels_known", False, None, None, "check_causal: column 'label' has no value in 1900 bars")
    sections = good.trained.origin.sections | {"labels": SECTIONS["labels"] | {"events": 1e6}}
    mute = replace(good, trained=replace(good.trained, origin=replace(good.trained.origin, sections=sections)))
    found = line(evaluate(mute, edge_bars, GATE), "labels_known")
    assert found.reason.startswith(judged.reason) and replace(found, reason=judged.reason) == judged


@pytest.mark.parametrize("kind", ["fixed_horizon", "trend_scanning"])
def test_every_kind_event_weight_and_decay_is_trained_again_alike(tmp_path, kind):
    bars = tape(0.6)
    labels = SECTIONS["labels"] | {"kind": kind, "events": 0.5, "weights": "attribution", "decay": 0.5}
    found = candidate(tmp_path / "made", bars, labels=labels)
    passed = {x.name for x in evaluate(found, bars, GATE).lines if x.passed}
    assert passed >= {"labels_known", "forecasts_reproduce", "model_saw_no_test", "bundle_roundtrip"}
    for changed in ({"decay": 1.0}, {"weights": "equal"}, {"events": None}):
        sections = found.trained.origin.sections | {"labels": labels | changed}
        other = replace(found, trained=replace(found.trained, origin=replace(found.trained.origin, sections=sections)))
        assert not line(evaluate(other, bars, GATE), "forecasts_reproduce").passed, changed


def test_a_model_trained_on_its_test_rows_is_refused(tmp_path):
    """Labels that claim to be known at once are not purged: each fold learns what its first test bars bring."""
    bars = tape(0.0)
    at_once = lambda b, params: label(b, params).assign(end_time=lambda t: (t.index + pd.Timedelta("1h")).where(t["label"].notna()))  # noqa: E731
    found = candidate(tmp_path / "unpurged", bars, splits=SECTIONS["splits"] | {"embargo": 0}, make=at_once)
    assert "walk-forward forecasts differ" in line(evaluate(found, bars, GATE), "forecasts_reproduce").reason


def test_training_that_lets_the_test_in_is_refused_though_all_of_it_comes_out_again(tmp_path, monkeypatch):
    """Noise, and a split of one's own that trains on its test rows: a fine result, and the same each time."""
    honest = splits._walk

    def inside(*given):
        for fold in honest(*given):
            yield splits.Fold(np.concatenate([fold.train, fold.test]), fold.test)

    monkeypatch.setattr(splits, "_walk", inside)
    bars = tape(0.0)
    report = evaluate(candidate(tmp_path / "inside", bars, splits=SECTIONS["splits"] | {"embargo": 0}), bars, GATE)
    assert [x.name for x in report.lines if not x.passed] == ["model_saw_no_test"]
    judged = line(report, "model_saw_no_test")
    assert judged.value >= 1 and "p_up (model)" in judged.reason and "training saw its test rows" in judged.reason


def test_training_without_a_purge_is_refused(tmp_path, monkeypatch):
    honest = splits._walk
    monkeypatch.setattr(splits, "_walk", lambda start, end, *rest: honest(start, start, *rest))
    bars = tape(0.6)
    found = candidate(tmp_path / "unpurged", bars, splits=SECTIONS["splits"] | {"embargo": 0})
    assert not line(evaluate(found, bars, GATE), "model_saw_no_test").passed


def test_labels_longer_than_the_test_are_no_leak(tmp_path):
    bars = tape(0.6)
    long = {"labels": SECTIONS["labels"] | {"horizon": 150}, "splits": SECTIONS["splits"] | {"test": 100, "embargo": 0}}
    judged = line(evaluate(candidate(tmp_path / "long", bars, **long), bars, GATE), "model_saw_no_test")
    assert judged.passed, judged.reason


def test_a_lookback_too_short_is_refused_by_name(tmp_path, monkeypatch):
    def short(window):
        """Says two bars, uses twenty."""
        mean = lambda a: np.convolve(a["close"], np.full(20, 0.05))[: len(a["close"])] / a["close"]  # noqa: E731
        return Feature(f"short_{window}", 2, ("close",), mean)

    monkeypatch.setitem(FAMILIES, "short", short)
    bars = tape(0.6)
    found = candidate(tmp_path / "short", bars, features={"returns": [1], "short": [1]})
    report = evaluate(found, bars, GATE)
    for name in ("lookbacks_sufficient", "live_equals_batch"):
        judged = line(report, name)
        assert not judged.passed and "short_1" in judged.reason and "returns_1" not in judged.reason
    judged = line(report, "lookbacks_sufficient")
    assert (judged.value, judged.threshold) == (1.0, 0.0) and "short_1 (too short)" in judged.reason


def test_columns_that_no_live_bar_has_are_refused_by_name(tmp_path):
    """A leader's close stands in the research bars and, by its dotted name, in the check rows; the runner has none."""
    bars = tape(0.6)
    led = bars.assign(**{"BTCUSDT.close": 500 * bars["close"] ** 0.9})
    found = candidate(tmp_path / "led", led, features={"returns": [1], "leader_return": [["BTCUSDT", 4]]})
    report = evaluate(found, led, GATE)
    judged = line(report, "live_columns")
    assert not judged.passed and judged.value == 1 and "read BTCUSDT.close; a live bar has open, high" in judged.reason
    assert "BTCUSDT.close" in found.check["bars"]
    assert line(report, "forecasts_reproduce").passed and line(report, "bundle_roundtrip").passed


def test_costs_that_do_not_exist_are_refused(tmp_path):
    bars = tape(0.6)
    free = {"maker": 0.0, "taker": 0.0, "slippage": 0.0, "liquidation": 0.0, "delay": 0}
    judged = line(evaluate(candidate(tmp_path / "free", bars, costs=free), bars, GATE), "real_costs")
    assert not judged.passed and judged.value == 0.0 and "0.0 bp a side" in judged.reason


def test_the_model_that_would_trade_is_trained_again(tmp_path):
    """An honest walk-forward, but a final model taught the opposite, written with all its papers in order."""
    bars = tape(0.6)
    honest = candidate(tmp_path / "honest", bars)
    features, labels = build(SECTIONS["features"]).compute(bars), label(bars, config.Labels(**SECTIONS["labels"]))
    labels["label"] = -labels["label"]
    fit = fitter("lightgbm", config.Models(**SECTIONS["models"]))
    inverted = final_model(features, labels, config.Splits(**SECTIONS["splits"]), fit)
    forged = Trained(honest.trained.origin, inverted, honest.trained.walk)
    write_candidate(tmp_path / "forged", forged, bars, *backtest_candidate(forged, bars, GATE.random_seeds))
    report = evaluate(load_candidate(tmp_path / "forged"), bars, GATE)
    assert [x.name for x in report.lines if not x.passed] == ["forecasts_reproduce"]
    assert "the final model differ" in line(report, "forecasts_reproduce").reason


def test_hindsight_in_any_fold_is_found(tmp_path):
    """Noise, every fold but the last replaced by what came true."""
    bars = tape(0.0)
    noise = candidate(tmp_path / "noise", bars)
    forecasts = noise.trained.walk.forecasts.copy()
    early = forecasts["fold"] < forecasts["fold"].max()
    rises = (bars["open"].shift(-2) > bars["open"].shift(-1)).reindex(forecasts.index[early]).to_numpy()
    forecasts.loc[early, ["p_down", "p_flat", "p_up"]] = np.c_[~rises, np.zeros(len(rises)), rises].astype(float)
    forged = Trained(noise.trained.origin, noise.trained.model, WalkForward(forecasts, noise.trained.walk.folds))
    write_candidate(tmp_path / "forged", forged, bars, *backtest_candidate(forged, bars, GATE.random_seeds))
    report = evaluate(load_candidate(tmp_path / "forged"), bars, GATE)
    assert line(report, "net_result").passed, "hindsight pays"
    assert "walk-forward forecasts differ" in line(report, "forecasts_reproduce").reason


def test_bars_beyond_those_it_was_made_from_change_nothing(good, edge_bars):
    later = edge_bars.iloc[-50:].set_axis(edge_bars.index[-50:] + pd.Timedelta("50h"))
    assert evaluate(good, pd.concat([edge_bars, later]), GATE).to_dict() == evaluate(good, edge_bars, GATE).to_dict()


def test_too_few_trades_are_refused_with_their_number(good, edge_bars):
    report = evaluate(good, edge_bars, GATE.model_copy(update={"min_trades": 10_000}))
    assert [x.name for x in report.lines if not x.passed] == ["trades"]
    assert line(report, "trades").value == good.metrics["n_trades"] and line(report, "trades").threshold == 10_000


def test_all_failed_lines_are_named_at_once(tmp_path):
    bars = tape(0.0)
    found = candidate(tmp_path, bars)
    with pytest.raises(GateRefused, match="net_result: .*; trades: .* at least 10000 needed"):
        evaluate(found, bars, GATE.model_copy(update={"min_trades": 10_000})).refuse()


@pytest.mark.parametrize("name", ["candidate.json", "model.json", "trees.*", "forecasts.parquet", "folds.json", "check.json",
                                  "performance_metrics.json", "baselines.json"])  # fmt: skip
def test_missing_and_altered_files_are_named(copy, edge_bars, tmp_path, name):
    path = next(copy.glob(name))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=f"{path.name}.*(altered|cannot be read)"):
        promote(copy, edge_bars, tmp_path / "bundles", GATE)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        promote(copy, edge_bars, tmp_path / "bundles", GATE)
    assert not (tmp_path / "bundles").exists()


def relist(folder, name):
    """What a forger does: put the new hash into candidate.json."""
    card = json.loads((folder / "candidate.json").read_text())
    card["files"][name] = sha256(folder / name)
    (folder / "candidate.json").write_text(json.dumps(card))


def better_metrics(folder):
    path = folder / "performance_metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sharpe_ratio": 9.9}))
    relist(folder, path.name)


def fewer_metrics(folder):
    (folder / "performance_metrics.json").write_text("{}")
    relist(folder, "performance_metrics.json")


def better_forecasts(folder):
    path = folder / "forecasts.parquet"
    table = pd.read_parquet(path)
    table.iloc[-40:, [0, 2]] = [0.0, 0.9]
    table.to_parquet(path)
    relist(folder, path.name)


def another_model(folder):
    x = np.random.default_rng(0).normal(size=(300, 2))
    kind = json.loads((folder / "model.json").read_text())["kind"]
    for name in create(kind, config.Models(**SECTIONS["models"])).fit(x, np.sign(x[:, 0])).save(folder):
        relist(folder, name)


def other_costs(folder):
    card = json.loads((folder / "candidate.json").read_text())
    card["sections"]["costs"]["taker"] = 0.0
    (folder / "candidate.json").write_text(json.dumps(card))


def other_labels(folder):
    card = json.loads((folder / "candidate.json").read_text())
    card["sections"]["labels"]["horizon"] = 9
    (folder / "candidate.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (better_metrics, "recorded metrics differ"),
        (fewer_metrics, "recorded metrics differ"),
        (better_forecasts, "walk-forward forecasts differ"),
        (another_model, "does not reproduce its stored predictions"),
        (other_costs, "recorded metrics differ"),
        (other_labels, "walk-forward forecasts differ"),
    ],
)
def test_edited_numbers_do_not_come_out_again(copy, edge_bars, tmp_path, forge, reason):
    forge(copy)
    report, sealed = promote(copy, edge_bars, tmp_path / "bundles", GATE)
    assert sealed is None
    judged = line(report, "forecasts_reproduce")
    assert not judged.passed and reason in judged.reason


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["files"].update({"../outside": "0" * 64}), "'../outside' is not a plain file"),
        (lambda c: c["files"].pop("baselines.json"), "baselines.json is not listed"),
        (lambda c: c.update(format=2), "expected format 1"),
        (lambda c: c.pop("sections"), "'sections' is missing"),
        (lambda c: c["sections"]["features"].update(magic=[1]), "unknown family 'magic'"),
        (lambda c: c["sections"]["features"].update(returns=[1, 5]), "returns_4.*returns_5"),
        (lambda c: c["sections"]["features"].update(fractional_difference=[["auto", 1e-3]]), "is not fitted yet"),
    ],
)
def test_an_impossible_card_is_refused(copy, edit, message):
    card = json.loads((copy / "candidate.json").read_text())
    edit(card)
    (copy / "candidate.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=message):
        load_candidate(copy)


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"symbol": "DOGEUSDT"}, "named as DOGEUSDT 1h on binanceusdm, but its bars are those of data/clean/BTCUSDT.parquet; run"),
        ({"timeframe": "1m"}, "named as BTCUSDT 1m on binanceusdm, but its bars are 60 minutes apart; run"),
        ({"timeframe": "4h"}, "but its bars are 60 minutes apart; a bar opens at 2024-01-01 01:00:00+00:00; run"),
        ({"data": {}}, "its bars are those of no file it names"),
        ({"data": {"bars": {"sha256": "ab" * 32}}}, "its bars are those of no file it names"),
    ],
    ids=str,
)
def test_a_candidate_of_another_market_is_refused(copy, edge_bars, tmp_path, claim, reason):
    card = json.loads((copy / "candidate.json").read_text())
    (copy / "candidate.json").write_text(json.dumps(card | claim))
    report, sealed = promote(copy, edge_bars, tmp_path / "bundles", GATE)
    assert sealed is None
    judged = line(report, "market_named")
    assert not judged.passed and reason in judged.reason


def test_bars_that_open_between_the_steps_are_not_of_the_timeframe(good, edge_bars):
    until = (edge_bars.index[-1] + pd.Timedelta("7min")).isoformat()
    moved = replace(good, trained=replace(good.trained, origin=replace(good.trained.origin, until=until)))
    late = edge_bars.set_axis(edge_bars.index + pd.Timedelta("7min"))
    assert "a bar opens at 2024-01-01 00:07" in gate_proofs.market_named(moved, late).reason


def test_what_has_seen_the_holdout_is_refused(good, edge_bars, tmp_path):
    last = edge_bars.index[-1]
    report, sealed = promote(good.folder, edge_bars, tmp_path / "bundles", GATE, last - pd.Timedelta("2h"))
    assert sealed is None and [x.name for x in report.lines if not x.passed] == ["holdout_sealed"]
    judged = line(report, "holdout_sealed")
    assert judged.value == 3 and f"made from bars up to {last}, 3 of them from holdout.start" in judged.reason
    assert line(evaluate(good, edge_bars, GATE, last + pd.Timedelta("1h")), "holdout_sealed").passed
    assert "no hold-out is set" in line(evaluate(good, edge_bars, GATE), "holdout_sealed").reason


def test_auto_fitted_on_more_than_the_training_bars_is_refused(tmp_path):
    """The memory of the first training window is not that of all bars: who fitted on these has seen the test."""
    bars, asked = tape(0.6), {"returns": [1, 4], "fractional_difference": [["auto", 1e-2]]}
    bars.loc[bars.index[900:], ["open", "high", "low", "close"]] = bars.iloc[900:, :4] ** 2 / 100
    honest, hindsight = resolve(asked, bars.iloc[:900]), resolve(asked, bars)
    assert honest != hindsight
    sound = candidate(tmp_path / "sound", bars, features=honest, features_asked=asked)
    judged = line(evaluate(sound, bars, GATE), "auto_from_training")
    assert judged.passed, judged.reason
    peeked = candidate(tmp_path / "peeked", bars, features=hindsight, features_asked=asked)
    judged = line(evaluate(peeked, bars, GATE), "auto_from_training")
    assert not judged.passed and judged.value == 1 and "fractional_difference: [[" in judged.reason
    sections = {key: value for key, value in sound.trained.origin.sections.items() if key != "features_asked"}
    silent = replace(sound, trained=replace(sound.trained, origin=replace(sound.trained.origin, sections=sections)))
    assert not line(evaluate(silent, bars, GATE), "auto_from_training").passed


def test_what_could_not_be_tried_is_not_called_proved(good, edge_bars, monkeypatch):
    monkeypatch.delattr("os.fork")
    report = evaluate(good, edge_bars, GATE)
    for name in ("features_causal", "labels_known"):
        judged = line(report, name)
        assert not judged.passed and "not proved, could not be tried: whether state is kept between calls" in judged.reason


def test_features_that_need_more_bars_than_there_are_fail_their_lines(good, edge_bars):
    few = replace(good, features=build({"returns": [5000]}))
    failed = {x.name for x in evaluate(few, edge_bars, GATE).lines if not x.passed}
    assert failed >= {"features_causal", "lookbacks_sufficient", "live_equals_batch", "model_saw_no_test"}


def test_plots_may_lie_beside_a_candidate(copy):
    (copy / "equity_curve.png").write_bytes(b"\x89PNG")
    assert load_candidate(copy).name.startswith("BTCUSDT-")


def test_the_wrong_bars_are_refused(good, edge_bars, tmp_path):
    with pytest.raises(DataError, match="give the bars it was made from"):
        promote(good.folder, edge_bars.iloc[:1500], tmp_path, GATE)
    other = edge_bars.copy()
    other.loc[other.index[800:], ["open", "high", "low", "close"]] *= 1.01
    report, sealed = promote(good.folder, other, tmp_path, GATE)
    assert sealed is None and not line(report, "forecasts_reproduce").passed


@pytest.mark.real
def test_on_recorded_bars_the_evidence_reproduces_and_the_result_is_judged(shared_data, tmp_path):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp")
    bars = bars.loc["2021-03-01":"2021-08-31", ["open", "high", "low", "close", "volume"]]
    found = candidate(tmp_path, bars, features={"returns": [1, 24], "volatility": [24], "rsi": [14], "calendar": [24]})
    report = evaluate(found, bars, GATE)
    assert {x.name for x in report.lines if x.passed} >= {"features_causal", "forecasts_reproduce", "bundle_roundtrip"}, str(report)
    traded = bars.loc[found.trained.walk.forecasts.index[0] : found.trained.walk.forecasts.index[-1]]
    quantity, price = 10_000 / traded["close"].iloc[0], traded["open"].iloc[1] * 1.0001  # decided at a close, filled at the next open
    money = quantity * (traded["close"].iloc[-1] - price) - 0.0005 * quantity * price
    assert found.baselines.loc["buy_and_hold", "total_return"] == pytest.approx(money / 10_000, rel=1e-9)
    better = found.metrics["total_return"] > 0 and found.metrics["sharpe_ratio"] > found.baselines["sharpe_ratio"].max()
    assert line(report, "net_result").passed == better


RIVALS = {"buy_and_hold": 0.5, "ma_cross": -0.2, "random_median": 0.0, "random_p95": 1.0}


@pytest.mark.parametrize(
    ("sharpe", "total", "rivals", "passes"),
    [
        (1.5, 0.2, RIVALS, True),
        (1.0, 0.2, RIVALS, False),  # equal is not better
        (1.5, 0.0, RIVALS, False),
        (1.5, -0.1, RIVALS, False),
        (0.9, 0.2, RIVALS, False),
        (math.nan, 0.2, RIVALS, False),
        (1.5, math.nan, RIVALS, False),
        (1.5, 0.2, RIVALS | {"random_p95": math.nan}, False),
        (1.5, 0.2, RIVALS | {"ma_cross": math.nan}, False),
    ],
)
def test_net_result_asks_for_profit_and_for_more_than_every_baseline(sharpe, total, rivals, passes):
    judged = net_result({"sharpe_ratio": sharpe, "total_return": total}, rivals)
    assert judged.passed is passes
    assert judged.reason and json.dumps(judged.value, allow_nan=False)


def test_an_undefined_number_of_trades_fails():
    assert not trades({"n_trades": math.nan}, 1).passed
    assert trades({"n_trades": 30.0}, 30).passed and not trades({"n_trades": 29.0}, 30).passed


def test_a_report_without_lines_has_not_passed():
    empty = GateReport("x", [], {})
    assert not empty.passed
    with pytest.raises(GateRefused, match="nothing was judged"):
        empty.refuse()


def test_the_table_names_every_line_with_its_numbers(good, edge_bars):
    report = evaluate(good, edge_bars, GATE)
    text = str(report)
    assert all(x.name in text and x.reason in text for x in report.lines)
    assert text.count("\n") == len(LINES) and json.dumps(report.to_dict(), allow_nan=False)


def test_the_origin_records_what_a_run_was_made_of(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "root", lambda: tmp_path)
    params = {name: value for name, value in SECTIONS.items() if name != "features"}
    kinds = {"account": config.AccountParams, "costs": config.CostParams, "stops": config.StopParams}
    checked = {name: kinds.get(name, getattr(config, name.capitalize(), None))(**value) for name, value in params.items()}
    place = {"data": SimpleNamespace(timeframe="1h"), "venue": SimpleNamespace(kept_as="bybit")}
    stage, fitted = SimpleNamespace(features={"returns": ["auto"]}, **place, **checked), SECTIONS["features"]
    with pytest.raises(DataError, match="requirements.lock is missing"):
        origin("ETHUSDT", stage, fitted, {}, pd.Timestamp("2024-01-31", tz="UTC"))
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\n")
    named = origin("ETHUSDT", stage, fitted, {"bars": "1f"}, pd.Timestamp("2024-01-31", tz="UTC"))
    assert (named.symbol, named.timeframe, named.venue) == ("ETHUSDT", "1h", "bybit")
    assert named.sections == SECTIONS | {"features_asked": {"returns": ["auto"]}} and json.dumps(named.sections)
    assert named.code_version.startswith("0.1.0+") and len(named.lock_sha256) == 64


def test_every_candidate_that_was_scored_is_one_try_however_often_it_is_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("quantalpha.validation.trials.FILE", str(tmp_path / "trials.db"))
    bars, trials = tape(0.6), Trials(tmp_path / "trials.db")
    made = candidate(tmp_path / "one", bars)
    evaluate(made, bars, GATE)
    candidate(tmp_path / "again", bars)
    assert trials.count() == trials.count(study="binanceusdm-BTCUSDT-1h", strategy="BTCUSDT-lightgbm") == 1
    candidate(tmp_path / "other", bars, policy=SECTIONS["policy"] | {"leverage": 0.5})
    candidate(tmp_path / "later", bars.iloc[:-1])
    candidate(tmp_path / "trees", bars, "xgboost")
    assert trials.count() == 4
    days = made.trained.walk.forecasts.index.floor("D").unique()
    returns = trials.returns(pd.date_range(days[0], days[-2]))
    assert returns.shape == (len(days) - 1, 4) and (returns.std() > 0).all()
    scored = trials.frame(strategy="BTCUSDT-lightgbm")["sharpe_ratio"]
    assert scored.iloc[0] == pytest.approx(made.metrics["sharpe_ratio"])
