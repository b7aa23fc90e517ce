"""The gate: a planted edge passes, and noise, leaks, edited numbers and damaged files are refused by name."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantalpha import bundle, config, rehearsal, runner
from quantalpha.backtest.walk_forward import WalkForward, final_model, walk_forward_forecasts
from quantalpha.bundle import Origin
from quantalpha.errors import DataError, GateRefused
from quantalpha.features import FAMILIES, Feature, build, resolve
from quantalpha.files import sha256
from quantalpha.labels import label, triple_barrier
from quantalpha.models import create, fitter
from quantalpha.promotion import (
    Case,
    Terms,
    Trained,
    backtest_candidate,
    case,
    evaluate,
    gate_live,
    gate_money,
    gate_proofs,
    gate_tries,
    load_candidate,
    promote,
    write_candidate,
)
from quantalpha.promotion.candidate import try_of
from quantalpha.promotion.gate import LINES as JUDGES
from quantalpha.promotion.gate_report import GateLine, guarded
from quantalpha.validation import evidence, splits
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
    "search": config.load("default").search.model_dump(mode="json"),
}
LONG = SECTIONS["splits"] | {"train": 1800, "test": 1800}
DATA = {"bars": {"path": "data/clean/BTCUSDT.parquet", "sha256": "ab" * 32}}
PARAMS = config.load("default", [
    "gate.random_seeds=20", "gate.causality_cuts=4", "gate.groups=4", "gate.stress=1.2",
    "gate.min_sharpe=0.5", "gate.max_drawdown=0.5", "gate.min_profit_factor=1.0",
])  # fmt: skip
GATE, TERMS = PARAMS.gate, rehearsal.terms(PARAMS)  # an edge in each hour trades so often that the defaults would refuse it
LINES = [
    "market_named", "holdout_sealed", "auto_from_training", "features_causal", "lookbacks_sufficient", "labels_known",
    "live_equals_batch", "live_columns", "forecasts_reproduce", "choices_searched", "model_saw_no_test", "real_costs", "trades",
    "net_result", "walk_forward_net", "walk_forward_stressed", "combinatorial_net", "combinatorial_stressed", "stable_over_folds",
    "stable_over_parameters", "calibrated", "critic", "deflated_sharpe", "overfitting", "decision_time", "replay_identical",
    "bundle_roundtrip",
]  # fmt: skip


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
    named = Origin("BTCUSDT", "1h", "binanceusdm", sections, DATA, bars.index[-1].isoformat(), config.lock_sha256(), "0.1.0+test")
    features, labels = build(sections["features"]).compute(bars), make(bars, config.Labels(**sections["labels"]))
    fit = fitter(kind, config.Models(**sections["models"]))
    given, decay = (features, labels, config.Splits(**sections["splits"]), fit), sections["labels"]["decay"]
    trained = Trained(named, final_model(*given, decay=decay), walk_forward_forecasts(*given, decay=decay))
    return write_candidate(folder, trained, bars, *backtest_candidate(trained, bars, GATE.random_seeds))


def line(report, name):
    return next(x for x in report.lines if x.name == name)


def judged(found, bars, *names, terms=TERMS):
    """These lines of the gate alone, by name."""
    before = Case.of(found, bars, terms)
    return {each.__name__: guarded(each.__name__, lambda each=each: each(before)) for each in JUDGES if each.__name__ in names}


def terms(sealed_from=None, **changed):
    return replace(TERMS, gate=GATE.model_copy(update=changed), sealed_from=sealed_from)


@pytest.fixture(autouse=True)
def ledger(tmp_path_factory, monkeypatch):
    """Each test has tries of its own."""
    monkeypatch.setattr("quantalpha.validation.trials.FILE", str(tmp_path_factory.mktemp("ledger") / "trials.db"))


@pytest.fixture(scope="module")
def edge_bars():
    return tape(0.105, 9000)


@pytest.fixture(scope="module", params=["lightgbm", "xgboost"])
def good(request, tmp_path_factory, edge_bars):
    return candidate(tmp_path_factory.mktemp("good"), edge_bars, request.param, splits=LONG)


@pytest.fixture
def copy(good, tmp_path):
    """A candidate of one's own to damage."""
    return shutil.copytree(good.folder, tmp_path / "candidate")


def test_a_planted_edge_passes_every_line_and_becomes_a_bundle(good, edge_bars, tmp_path):
    report, sealed = promote(good.folder, edge_bars, tmp_path, TERMS)
    assert report.passed, str(report)
    assert [x.name for x in report.lines] == LINES
    report.refuse()  # says nothing
    assert json.loads((sealed.folder / "gate.json").read_text()) == report.to_dict()
    again = bundle.load(tmp_path / sealed.id)
    x = good.features.compute(edge_bars).to_numpy()
    assert np.array_equal(again.model.predict(x), good.trained.model.predict(x), equal_nan=True)
    assert again.manifest["data"] == DATA and again.manifest["code_version"] == "0.1.0+test"


def test_the_same_candidate_gives_the_same_bundle(good, edge_bars, tmp_path):
    ids = {promote(good.folder, edge_bars, tmp_path, TERMS)[1].id for _ in range(2)}
    assert len(ids) == 1 and [p.name for p in tmp_path.iterdir()] == list(ids)


def test_a_candidate_made_twice_has_the_same_bytes(good, edge_bars, tmp_path):
    again = candidate(tmp_path / "again", edge_bars, good.trained.model.kind, splits=LONG)
    for path in good.folder.iterdir():
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def test_noise_is_refused_for_its_result_and_leaves_no_bundle(tmp_path):
    bars = tape(0.0)
    folder = candidate(tmp_path / "noise", bars).folder
    report, sealed = promote(folder, bars, tmp_path / "bundles", TERMS)
    assert sealed is None and not (tmp_path / "bundles").exists()
    assert {x.name for x in report.lines if not x.passed} >= {"net_result", "walk_forward_net", "combinatorial_net", "deflated_sharpe"}
    assert {"features_causal", "forecasts_reproduce", "model_saw_no_test", "replay_identical"} <= {x.name for x in report.lines if x.passed}
    with pytest.raises(GateRefused, match=r"net_result: .*Sharpe -?\d+\.\d\d does not beat .*random_p95 -?\d+\.\d\d") as refused:
        report.refuse()
    assert str(refused.value).startswith("BTCUSDT-lightgbm: refused by ")


def peek(window):
    """The return of the next bar: what nobody can know."""
    return Feature(f"peek_{window}", 2, ("close",), lambda a: np.append(np.log(a["close"][1:] / a["close"][:-1]), np.nan))


def test_a_leaky_feature_is_refused_by_name_however_well_it_trades(tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "peek", peek)
    bars = tape(0.0)
    found = candidate(tmp_path / "leak", bars, features={"returns": [1], "peek": [1]})
    assert found.metrics["sharpe_ratio"] > 10
    report, sealed = promote(found.folder, bars, tmp_path / "bundles", TERMS)
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
    assert judged(found, bars, "labels_known")["labels_known"].passed  # the package's own labels
    for module in (gate_proofs, case):
        monkeypatch.setattr(module, "label", wrong)
    lines = judged(found, bars, "labels_known", "forecasts_reproduce")
    one = lines["labels_known"]
    assert not one.passed and one.value >= 1 and one.threshold == 0
    assert "labels use bars after their end_time: label (" in one.reason
    assert lines["forecasts_reproduce"].passed, "trained again from the same wrong labels, all comes out again"


def test_a_label_without_any_event_cannot_be_judged(good, edge_bars):
    expected = GateLine("labels_known", False, None, None, "check_causal: column 'label' has no value in 9000 bars")
    sections = good.trained.origin.sections | {"labels": SECTIONS["labels"] | {"events": 1e6}}
    mute = replace(good, trained=replace(good.trained, origin=replace(good.trained.origin, sections=sections)))
    found = judged(mute, edge_bars, "labels_known")["labels_known"]
    assert found.reason.startswith(expected.reason) and replace(found, reason=expected.reason) == expected


@pytest.mark.parametrize("kind", ["fixed_horizon", "trend_scanning"])
def test_every_kind_event_weight_and_decay_is_trained_again_alike(tmp_path, kind):
    bars = tape(0.6)
    labels = SECTIONS["labels"] | {"kind": kind, "events": 0.5, "weights": "attribution", "decay": 0.5}
    found = candidate(tmp_path / "made", bars, labels=labels)
    lines = judged(found, bars, "labels_known", "forecasts_reproduce", "model_saw_no_test", "bundle_roundtrip", "replay_identical")
    assert len(lines) == 5 and all(one.passed for one in lines.values()), lines
    for changed in ({"decay": 1.0}, {"weights": "equal"}, {"events": None}):
        sections = found.trained.origin.sections | {"labels": labels | changed}
        other = replace(found, trained=replace(found.trained, origin=replace(found.trained.origin, sections=sections)))
        assert not judged(other, bars, "forecasts_reproduce")["forecasts_reproduce"].passed, changed


def test_a_model_trained_on_its_test_rows_is_refused(tmp_path):
    """Labels that claim to be known at once are not purged: each fold learns what its first test bars bring."""
    bars = tape(0.0)
    at_once = lambda b, params: label(b, params).assign(end_time=lambda t: (t.index + pd.Timedelta("1h")).where(t["label"].notna()))  # noqa: E731
    found = candidate(tmp_path / "unpurged", bars, splits=SECTIONS["splits"] | {"embargo": 0}, make=at_once)
    assert "walk-forward forecasts differ" in judged(found, bars, "forecasts_reproduce")["forecasts_reproduce"].reason


def test_training_that_lets_the_test_in_is_refused_though_all_of_it_comes_out_again(tmp_path, monkeypatch):
    """Noise, and a split of one's own that trains on its test rows: a fine result, and the same each time."""
    honest = splits._walk

    def inside(*given):
        for fold in honest(*given):
            yield splits.Fold(np.concatenate([fold.train, fold.test]), fold.test)

    monkeypatch.setattr(splits, "_walk", inside)
    bars = tape(0.0)
    found = candidate(tmp_path / "inside", bars, splits=SECTIONS["splits"] | {"embargo": 0})
    lines = judged(found, bars, "features_causal", "labels_known", "forecasts_reproduce", "net_result", "model_saw_no_test")
    assert [name for name, one in lines.items() if not one.passed] == ["model_saw_no_test"]
    one = lines["model_saw_no_test"]
    assert one.value >= 1 and "p_up (model)" in one.reason and "training saw its test rows" in one.reason


def test_training_without_a_purge_is_refused(tmp_path, monkeypatch):
    honest = splits._walk
    monkeypatch.setattr(splits, "_walk", lambda start, end, *rest: honest(start, start, *rest))
    bars = tape(0.6)
    found = candidate(tmp_path / "unpurged", bars, splits=SECTIONS["splits"] | {"embargo": 0})
    assert not judged(found, bars, "model_saw_no_test")["model_saw_no_test"].passed


def test_labels_longer_than_the_test_are_no_leak(tmp_path):
    bars = tape(0.6)
    long = {"labels": SECTIONS["labels"] | {"horizon": 150}, "splits": SECTIONS["splits"] | {"test": 100, "embargo": 0}}
    one = judged(candidate(tmp_path / "long", bars, **long), bars, "model_saw_no_test")["model_saw_no_test"]
    assert one.passed, one.reason


def test_a_lookback_too_short_is_refused_by_name(tmp_path, monkeypatch):
    def short(window):
        """Says two bars, uses twenty."""
        mean = lambda a: np.convolve(a["close"], np.full(20, 0.05))[: len(a["close"])] / a["close"]  # noqa: E731
        return Feature(f"short_{window}", 2, ("close",), mean)

    monkeypatch.setitem(FAMILIES, "short", short)
    bars = tape(0.6)
    found = candidate(tmp_path / "short", bars, features={"returns": [1], "short": [1]})
    lines = judged(found, bars, "lookbacks_sufficient", "live_equals_batch")
    for one in lines.values():
        assert not one.passed and "short_1" in one.reason and "returns_1" not in one.reason
    one = lines["lookbacks_sufficient"]
    assert (one.value, one.threshold) == (1.0, 0.0) and "short_1 (too short)" in one.reason


def test_columns_that_no_live_bar_has_are_refused_by_name(tmp_path):
    """A leader's close stands in the research bars and, by its dotted name, in the check rows; the runner has none."""
    bars = tape(0.6)
    led = bars.assign(**{"BTCUSDT.close": 500 * bars["close"] ** 0.9})
    found = candidate(tmp_path / "led", led, features={"returns": [1], "leader_return": [["BTCUSDT", 4]]})
    lines = judged(found, led, "live_columns", "forecasts_reproduce", "bundle_roundtrip", "replay_identical")
    one = lines["live_columns"]
    assert not one.passed and one.value == 1 and "read BTCUSDT.close; a live bar has open, high" in one.reason
    assert "BTCUSDT.close" in found.check["bars"]
    assert lines["forecasts_reproduce"].passed and lines["bundle_roundtrip"].passed
    assert not lines["replay_identical"].passed and "needs column 'BTCUSDT.close'" in lines["replay_identical"].reason


def test_costs_that_do_not_exist_are_refused(tmp_path):
    bars = tape(0.6)
    free = {"maker": 0.0, "taker": 0.0, "slippage": 0.0, "liquidation": 0.0, "delay": 0}
    one = judged(candidate(tmp_path / "free", bars, costs=free), bars, "real_costs")["real_costs"]
    assert not one.passed and one.value == 0.0 and "0.0 bp a side" in one.reason


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
    lines = judged(load_candidate(tmp_path / "forged"), bars, "net_result", "model_saw_no_test", "bundle_roundtrip", "forecasts_reproduce")
    assert [name for name, one in lines.items() if not one.passed] == ["forecasts_reproduce"]
    assert "the final model differ" in lines["forecasts_reproduce"].reason


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
    lines = judged(load_candidate(tmp_path / "forged"), bars, "net_result", "forecasts_reproduce")
    assert lines["net_result"].passed, "hindsight pays"
    assert "walk-forward forecasts differ" in lines["forecasts_reproduce"].reason


def test_bars_beyond_those_it_was_made_from_change_nothing(good, edge_bars):
    later = edge_bars.iloc[-50:].set_axis(edge_bars.index[-50:] + pd.Timedelta("50h"))
    assert evaluate(good, pd.concat([edge_bars, later]), TERMS).to_dict() == evaluate(good, edge_bars, TERMS).to_dict()


def test_too_few_trades_are_refused_with_their_number(good, edge_bars):
    report = evaluate(good, edge_bars, terms(min_trades=10_000))
    assert [x.name for x in report.lines if not x.passed] == ["trades"]
    assert line(report, "trades").value == good.metrics["n_trades"] and line(report, "trades").threshold == 10_000


def test_all_failed_lines_are_named_at_once(tmp_path):
    bars = tape(0.0)
    found = candidate(tmp_path, bars)
    with pytest.raises(GateRefused, match="trades: .* at least 10000 needed; net_result: .*; walk_forward_net: .*"):
        evaluate(found, bars, terms(min_trades=10_000)).refuse()


@pytest.mark.parametrize("name", ["candidate.json", "model.json", "trees.*", "forecasts.parquet", "folds.json", "check.json",
                                  "performance_metrics.json", "baselines.json"])  # fmt: skip
def test_missing_and_altered_files_are_named(copy, edge_bars, tmp_path, name):
    path = next(copy.glob(name))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=f"{path.name}.*(altered|cannot be read)"):
        promote(copy, edge_bars, tmp_path / "bundles", TERMS)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        promote(copy, edge_bars, tmp_path / "bundles", TERMS)
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
    report, sealed = promote(copy, edge_bars, tmp_path / "bundles", TERMS)
    assert sealed is None
    one = line(report, "forecasts_reproduce")
    assert not one.passed and reason in one.reason


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
    report, sealed = promote(copy, edge_bars, tmp_path / "bundles", TERMS)
    assert sealed is None
    one = line(report, "market_named")
    assert not one.passed and reason in one.reason


def test_bars_that_open_between_the_steps_are_not_of_the_timeframe(good, edge_bars):
    until = (edge_bars.index[-1] + pd.Timedelta("7min")).isoformat()
    moved = replace(good, trained=replace(good.trained, origin=replace(good.trained.origin, until=until)))
    late = edge_bars.set_axis(edge_bars.index + pd.Timedelta("7min"))
    assert "a bar opens at 2024-01-01 00:07" in judged(moved, late, "market_named")["market_named"].reason


def test_what_has_seen_the_holdout_is_refused(good, edge_bars, tmp_path):
    last = edge_bars.index[-1]
    report, sealed = promote(good.folder, edge_bars, tmp_path / "bundles", terms(last - pd.Timedelta("2h")))
    assert sealed is None and [x.name for x in report.lines if not x.passed] == ["holdout_sealed"]
    one = line(report, "holdout_sealed")
    assert one.value == 3 and f"made from bars up to {last}, 3 of them from holdout.start" in one.reason
    assert judged(good, edge_bars, "holdout_sealed", terms=terms(last + pd.Timedelta("1h")))["holdout_sealed"].passed
    assert "no hold-out is set" in judged(good, edge_bars, "holdout_sealed")["holdout_sealed"].reason


def test_auto_fitted_on_more_than_the_training_bars_is_refused(tmp_path):
    """The memory of the first training window is not that of all bars: who fitted on these has seen the test."""
    bars, asked = tape(0.6), {"returns": [1, 4], "fractional_difference": [["auto", 1e-2]]}
    bars.loc[bars.index[900:], ["open", "high", "low", "close"]] = bars.iloc[900:, :4] ** 2 / 100
    honest, hindsight = resolve(asked, bars.iloc[:900]), resolve(asked, bars)
    assert honest != hindsight
    sound = candidate(tmp_path / "sound", bars, features=honest, features_asked=asked)
    one = judged(sound, bars, "auto_from_training")["auto_from_training"]
    assert one.passed, one.reason
    peeked = candidate(tmp_path / "peeked", bars, features=hindsight, features_asked=asked)
    one = judged(peeked, bars, "auto_from_training")["auto_from_training"]
    assert not one.passed and one.value == 1 and "fractional_difference: [[" in one.reason
    sections = {key: value for key, value in sound.trained.origin.sections.items() if key != "features_asked"}
    silent = replace(sound, trained=replace(sound.trained, origin=replace(sound.trained.origin, sections=sections)))
    assert not judged(silent, bars, "auto_from_training")["auto_from_training"].passed


def test_what_could_not_be_tried_is_not_called_proved(good, edge_bars, monkeypatch):
    monkeypatch.delattr("os.fork")
    for one in judged(good, edge_bars, "features_causal", "labels_known").values():
        assert not one.passed and "not proved, could not be tried: whether state is kept between calls" in one.reason


def test_features_that_need_more_bars_than_there_are_fail_their_lines(good, edge_bars):
    few = replace(good, features=build({"returns": [50_000]}))
    lines = judged(few, edge_bars, "features_causal", "lookbacks_sufficient", "live_equals_batch", "model_saw_no_test")
    assert len(lines) == 4 and not any(one.passed for one in lines.values()), lines


def test_plots_may_lie_beside_a_candidate(copy):
    (copy / "equity_curve.png").write_bytes(b"\x89PNG")
    assert load_candidate(copy).name.startswith("BTCUSDT-")


def test_the_wrong_bars_are_refused(good, edge_bars, tmp_path):
    with pytest.raises(DataError, match="give the bars it was made from"):
        promote(good.folder, edge_bars.iloc[:1500], tmp_path, TERMS)
    other = edge_bars.copy()
    other.loc[other.index[800:], ["open", "high", "low", "close"]] *= 1.01
    report, sealed = promote(good.folder, other, tmp_path, TERMS)
    assert sealed is None and not line(report, "forecasts_reproduce").passed


@pytest.mark.real
def test_on_recorded_bars_the_evidence_reproduces_and_the_result_is_judged(shared_data, tmp_path):
    bars = pd.read_parquet(shared_data / "binance_spot_BTCUSDT_1h.parquet").set_index("timestamp")
    bars = bars.loc["2021-03-01":"2021-08-31", ["open", "high", "low", "close", "volume"]]
    found = candidate(tmp_path, bars, features={"returns": [1, 24], "volatility": [24], "rsi": [14], "calendar": [24]})
    report = evaluate(found, bars, TERMS)
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
    table = pd.DataFrame({"sharpe_ratio": rivals})
    one = gate_money.net_result(SimpleNamespace(metrics={"sharpe_ratio": sharpe, "total_return": total}, scored=(None, table)))
    assert one.passed is passes
    assert one.reason and json.dumps(one.value, allow_nan=False) and json.dumps(one.threshold, allow_nan=False)


def test_an_undefined_number_of_trades_fails():
    for count, passes in ((math.nan, False), (30.0, True), (29.0, False)):
        assert gate_money.trades(SimpleNamespace(metrics={"n_trades": count}, gate=GATE)).passed is passes


HELD = {"sharpe_ratio": 1.1, "max_drawdown": 0.19, "profit_factor": 1.6}


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, None),
        ({"sharpe_ratio": 1.0}, "Sharpe above 1"),
        ({"max_drawdown": 0.2}, "drawdown below 20%"),
        ({"profit_factor": 1.5}, "profit factor above 1.5"),
        ({"sharpe_ratio": math.nan}, "Sharpe above 1"),
        ({"max_drawdown": math.nan}, "drawdown below 20%"),
        ({"profit_factor": math.nan}, "profit factor above 1.5"),
        ({"sharpe_ratio": -1.0, "max_drawdown": 0.9, "profit_factor": 0.1}, "Sharpe above 1, drawdown below 20%, profit factor above 1.5"),
    ],
)
def test_the_limits_are_what_params_say_and_nothing_undefined_passes(changed, missed):
    one = gate_money.walk_forward_net(SimpleNamespace(metrics=HELD | changed, gate=config.load("default").gate))
    assert one.passed is (missed is None) and (missed is None or one.reason.endswith(f"; asked for: {missed}"))


def test_costs_and_histories_are_worse_than_the_walk_forward_at_its_costs(good, edge_bars):
    before = Case.of(good, edge_bars, TERMS)
    plain, dear = gate_money.walk_forward_net(before), gate_money.walk_forward_stressed(before)
    assert dear.value < plain.value == good.metrics["sharpe_ratio"]
    again = before.backtest(good.trained.walk, 1.0)
    assert again.metrics() == before.metrics and before.backtest(good.trained.walk, 2.0).costs == before.result.costs.stressed(2.0)
    paths = [before.backtest(path).metrics()["sharpe_ratio"] for path in before.paths]
    assert len(paths) == 3 and gate_money.combinatorial_net(before).value == pytest.approx(np.median(paths))


def test_a_result_of_one_window_or_one_setting_is_refused(good, edge_bars, monkeypatch):
    before = Case.of(good, edge_bars, terms(min_winning_folds=0.99))
    losing = before.result.returns.where(good.trained.walk.forecasts["fold"] > 0, -0.001)
    monkeypatch.setitem(vars(before), "scored", (SimpleNamespace(returns=losing, metrics=before.result.metrics), before.scored[1]))
    one = gate_money.stable_over_folds(before)
    assert not one.passed and one.value == pytest.approx(2 / 3) and "2 of 3 test windows earned" in one.reason and "fold 0" in one.reason
    policy, walk = good.trained.origin.sections["policy"], good.trained.walk
    nearest = min(before.backtest(walk, enter=policy["enter"] * nudge).metrics()["sharpe_ratio"] for nudge in (0.8, 1.25))
    assert gate_money.stable_over_parameters(before).value == pytest.approx(nearest)
    monkeypatch.setitem(vars(before), "metrics", before.metrics | {"sharpe_ratio": 2.1 * nearest})
    assert not gate_money.stable_over_parameters(before).passed


def test_overconfident_forecasts_are_refused(good, edge_bars):
    sure = good.trained.walk.forecasts.copy()
    sure[["p_down", "p_flat", "p_up"]] = np.eye(3)[sure[["p_down", "p_flat", "p_up"]].to_numpy().argmax(axis=1)]
    loud = replace(good, trained=replace(good.trained, walk=WalkForward(sure, good.trained.walk.folds)))
    lines = judged(loud, edge_bars, "calibrated"), judged(good, edge_bars, "calibrated")
    assert [one["calibrated"].passed for one in lines] == [False, True]


def test_what_the_critic_finds_severe_is_refused(tmp_path):
    bars = tape(0.6)
    one = judged(candidate(tmp_path / "wonder", bars), bars, "critic")["critic"]
    assert not one.passed and one.value == 1 and "look for a leak of the future" in one.reason and "short_sample" in one.reason


def test_what_a_runner_does_not_do_alike_is_refused(good, edge_bars):
    class Late(rehearsal.Runner):
        def replay(self, sealed, bars):
            found = super().replay(sealed, bars)
            found.decisions["target"] = found.decisions["target"].shift(fill_value=0.0)
            return found

    late = replace(TERMS, rehearsal=Late(PARAMS))
    one = judged(good, edge_bars, "replay_identical", terms=late)["replay_identical"]
    assert not one.passed and one.value >= 1 and "replay and backtest differ: decisions: " in one.reason
    none = judged(good, edge_bars, "replay_identical", terms=Terms(GATE))["replay_identical"]
    assert not none.passed and "no runner was given to rehearse with" in none.reason


def test_a_decision_that_takes_too_long_is_refused(good, edge_bars):
    one = judged(good, edge_bars, "decision_time", terms=terms(max_decision_ms=1e-6))["decision_time"]
    assert not one.passed and one.value > 1e-6


def test_live_asks_for_days_on_paper_that_agree(good, edge_bars, tmp_path, monkeypatch):
    shutil.copy(config.root() / "requirements.lock", tmp_path)
    monkeypatch.setattr("quantalpha.workspace.root", lambda: tmp_path)
    live = replace(terms(paper_days=30.0), alias="live")
    monkeypatch.setattr("quantalpha.runner.clearance.traded", lambda events: 17.0)  # days; this tape is played in no time
    before = Case.of(good, edge_bars, live)
    days, agrees = gate_live.paper_days(before), gate_live.paper_agrees(before)
    assert not days.passed and days.value == 0 and not agrees.passed and agrees.reason == "no paper session to compare"
    _, sealed = promote(good.folder, edge_bars, tmp_path / "data/bundles", TERMS)
    later = edge_bars.iloc[:800].set_axis(edge_bars.index[:800] + pd.Timedelta("9000h"))
    runner.run_replay(sealed, PARAMS, pd.concat([edge_bars.iloc[-100:], later]), runner.Request(name="a-paper"))
    card = tmp_path / "data/sessions/a-paper/session.json"
    assert gate_live.paper_days(before).value == 0, "a replay is no paper session"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"mode": "paper"}))
    shutil.copytree(card.parent, card.parent.with_name("b-paper"))
    days = gate_live.paper_days(before)
    assert days.passed and days.value == pytest.approx(800 / 24), "what it may have learnt from does not count, nor a bar twice"
    monkeypatch.setattr("quantalpha.runner.clearance.traded", lambda events: 7.0)
    assert gate_live.paper_days(before).value == 14.0, "a tape that runs ahead of the clock"
    monkeypatch.setattr("quantalpha.runner.clearance.traded", lambda events: 17.0)
    agrees = gate_live.paper_agrees(before)
    assert agrees.passed and agrees.reason == "all paper sessions agree: 2"
    other = Case.of(replace(good, trained=replace(good.trained, origin=replace(good.trained.origin, symbol="ETHUSDT"))), edge_bars, live)
    assert gate_live.paper_days(other).value == 0, "another model's days do not count"
    monkeypatch.setattr("quantalpha.runner.clearance.tripped", lambda events: True)
    halted = gate_live.paper_days(before)
    assert halted.value == 0 and "2 ended by a kill switch" in halted.reason
    monkeypatch.undo()
    monkeypatch.setattr("quantalpha.workspace.root", lambda: tmp_path)
    told = json.loads(card.read_text())
    for away in (
        {"source": "practice-1"},
        {"name": "bybit"},
        {"source": "x", "rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"},
    ):
        told["params"]["venue"] |= away
        card.write_text(json.dumps(told))
        found = live.rehearsal.paper(case.bundle.load(sealed.folder))
        assert len(found) == 1, "a session anywhere but at the venue itself counts for nothing"


def test_live_money_follows_no_practice_tape(good, edge_bars):
    def judged_live(made_at, venue):
        origin = replace(good.trained.origin, venue=made_at)
        made = replace(good, trained=replace(good.trained, origin=origin))
        return gate_live.real_data(Case.of(made, edge_bars, replace(TERMS, alias="live", venue=venue)))

    assert judged_live("binanceusdm", "binanceusdm").passed and judged_live("import", "binanceusdm").passed
    for made_at, venue in (("practice-1", "binanceusdm"), ("practice-1", None), ("bybit", "binanceusdm"), ("binanceusdm", None)):
        assert not judged_live(made_at, venue).passed
    assert rehearsal.terms(PARAMS, "live").venue == "binanceusdm" and rehearsal.terms(config.load("demo"), "live").venue is None


def test_the_many_that_were_tried_deflate_the_one_that_was_chosen(good, edge_bars, tmp_path, monkeypatch):
    monkeypatch.setattr("quantalpha.validation.trials.FILE", str(tmp_path / "trials.db"))
    before = Case.of(good, edge_bars, TERMS)
    alone, own = gate_tries.deflated_sharpe(before), try_of(good.trained, edge_bars, before.result)
    assert alone.passed and "the best of 1 tries shows 0.00 by luck" in alone.reason
    rng, days = np.random.default_rng(0), own.returns
    tries = [replace(own, params={"n": k}, returns=days * 0 + rng.normal(0, days.std(), len(days))) for k in range(200)]
    Trials().record(tries)
    many = gate_tries.deflated_sharpe(Case.of(good, edge_bars, TERMS))
    assert not many.passed and many.value < alone.value and "the best of 201 tries shows" in many.reason
    assert "more days" in many.reason or "needs a better Sharpe ratio" in many.reason
    lost = gate_tries.overfitting(Case.of(good, edge_bars, terms(max_overfitting=1e-9)))
    assert lost.threshold == 1e-9 and "the best of " in lost.reason and not lost.passed


def test_two_good_ideas_are_no_overfitting_and_bad_ones_are(good):
    """PBO says about a half of them alike: the toss of a coin between equals."""
    rng, market = np.random.default_rng(3), np.random.default_rng(4).normal(0.0, 0.01, (600, 1))
    for drift, shared, tries, passes in ((0.004, 0.0, 2, True), (0.0, 0.0, 2, False), (0.0, 1.0, 40, False)):
        returns = rng.normal(0.0, 0.01, (600, tries)) + shared * market
        returns += drift - returns.mean(axis=0)
        found = evidence(returns, int((returns.mean(axis=0) / returns.std(axis=0)).argmax()))
        one = gate_tries.overfitted(found, 0.2)
        assert found.pbo > 0.2 and one.passed is passes, one.reason


def test_a_rehearsal_is_no_bundle_that_anyone_would_load(good, edge_bars, monkeypatch):
    monkeypatch.setenv("QUANTALPHA_SIGNING_KEY", "A" * 43 + "=")
    with gate_live.rehearsed(Case.of(good, edge_bars, TERMS)) as sealed:
        assert not (sealed.folder / "signature.json").exists()
        moved = sealed.folder.rename(sealed.folder.with_name(sealed.id))
        with pytest.raises(GateRefused, match="a bundle needs a gate that passed"):
            bundle.load(moved)


def test_a_line_that_cannot_cope_is_a_failed_line():
    def judge():
        return {}["metrics"]

    one = guarded("odd", judge)
    assert not one.passed and one.reason == "could not be judged: KeyError: 'metrics'"
