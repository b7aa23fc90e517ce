"""The bundle: what goes in comes out to the bit, and whatever was touched on the way is refused by name."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from forger import reseal, rewrite

from quantalpha import bundle
from quantalpha.bundle import BundleContent, Origin
from quantalpha.config import Boosting, Models
from quantalpha.errors import DataError, GateRefused, UsageError
from quantalpha.features import build
from quantalpha.files import sha256
from quantalpha.models import create
from quantalpha.perp import brackets_for
from quantalpha.strategy import edge

TREES = Boosting(trees=8, learning_rate=0.1, leaves=7, min_rows_per_leaf=10, row_fraction=0.7, column_fraction=0.7, l2=1.0)
MODELS = Models(names=["lightgbm", "xgboost"], seed=7, lightgbm=TREES, xgboost=TREES)
SECTIONS = {
    "features": {"volatility": [24], "returns": [4, 1], "rsi": [14]},  # not in alphabetical order: the order is part of the model
    "labels": {
        "kind": "triple_barrier",
        "take_profit": 1.5,
        "stop_loss": 1.5,
        "horizon": 8,
        "volatility_window": 24,
        "threshold": 0.5,
        "shortest": 2,
        "events": None,
        "weights": "uniqueness",
        "decay": 1.0,
    },
    "policy": {"enter": 0.15, "exit": 0.05, "leverage": 1.5},
    "account": {
        "initial_cash": 10000.0,
        "leverage": 5.0,
        "margin_mode": "cross",
        "lot": 0.001,
        "min_notional": 0.0,
        "rebalance_band": None,
    },  # fmt: skip
    "costs": {"maker": 0.0002, "taker": 0.0005, "slippage": 0.0001, "liquidation": 0.0125, "delay": 0},
    "stops": {"stop_loss": 0.05, "take_profit": None, "trailing_stop": None, "max_bars": None},
}
GATE = {"passed": True, "lines": [{"name": "trades", "passed": True, "value": 40, "threshold": 30, "reason": "enough"}]}


def tape(n=900, seed=5):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=n)))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": rng.uniform(1, 9, n)}, index=index)


def content(kind="lightgbm", **changes):
    bars = tape()
    features = build(SECTIONS["features"])
    x = features.compute(bars).iloc[features.lookback :].to_numpy()
    y = np.sign(bars["close"].shift(-1) - bars["close"]).fillna(0).iloc[features.lookback :].to_numpy()
    origin = Origin(
        "BTCUSDT", "1h", "binanceusdm", SECTIONS, {"clean": {"sha256": "ab" * 32}}, "2024-01-01T00:00:00+00:00", "cd" * 32, "0.1.0"
    )
    return BundleContent(**({"origin": origin, "model": create(kind, MODELS).fit(x, y), "bars": bars, "gate": GATE} | changes))


@pytest.fixture(scope="module", params=["lightgbm", "xgboost"])
def sealed(request, tmp_path_factory):
    return bundle.write(tmp_path_factory.mktemp("bundles"), content(request.param))


@pytest.fixture
def copy(sealed, tmp_path):
    """A bundle of one's own to damage."""
    return shutil.copytree(sealed.folder, tmp_path / sealed.id)


def test_what_goes_in_comes_out(sealed):
    again = bundle.load(sealed.folder, sealed.id)
    assert (again.symbol, again.timeframe, again.venue) == ("BTCUSDT", "1h", "binanceusdm")
    assert again.features.names == build(SECTIONS["features"]).names
    assert (again.policy.enter, again.policy.exit, again.policy.leverage) == (0.15, 0.05, 1.5)
    assert again.account.lot == 0.001 and again.account.brackets == brackets_for("BTCUSDT")
    assert (again.costs.taker, again.stops.stop_loss, again.stops.take_profit) == (0.0005, 0.05, None)
    assert again.gate == GATE and again.manifest["data"] == {"clean": {"sha256": "ab" * 32}} and again.manifest["lock_sha256"] == "cd" * 32


def test_a_loaded_bundle_forecasts_as_the_fitted_model_did(sealed):
    fitted = content(sealed.model.kind).model
    x = sealed.features.compute(tape(seed=9)).to_numpy()
    assert np.array_equal(sealed.model.predict(x), fitted.predict(x), equal_nan=True)


def test_it_decides_from_a_window(sealed):
    window = tape(seed=9).iloc[-sealed.features.lookback :]
    forecast = sealed.model.predict(sealed.features.latest(window)[None])
    assert abs(sealed.policy.step(float(edge(forecast)[0]), 0.0)) in (0.0, 1.5)


def test_same_content_same_id_and_one_folder(sealed, tmp_path):
    kind = sealed.model.kind
    first, second = (bundle.write(tmp_path, content(kind)) for _ in range(2))
    assert first.id == second.id == sealed.id == first.folder.name
    assert [p.name for p in tmp_path.iterdir()] == [first.id]


def test_any_other_content_has_another_id(sealed, tmp_path):
    origin = content().origin
    other = Origin(**{**vars(origin), "sections": SECTIONS | {"policy": {"enter": 0.16, "exit": 0.05, "leverage": 1.5}}})
    assert bundle.write(tmp_path, content(sealed.model.kind, origin=other)).id != sealed.id


def test_only_known_files_and_no_absolute_path(sealed):
    names = {p.name for p in sealed.folder.iterdir()}
    trees = {"lightgbm": "trees.txt", "xgboost": "trees.json"}[sealed.model.kind]
    assert names == {"manifest.json", "params.json", "gate.json", "check.json", "model.json", trees}
    assert not any(str(sealed.folder.parent).encode() in p.read_bytes() for p in sealed.folder.iterdir())


FILES = ["manifest.json", "params.json", "gate.json", "check.json", "model.json", "trees.*"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1])), "was altered"),
        (lambda p: p.write_bytes(bytes([p.read_bytes()[0] ^ 1]) + p.read_bytes()[1:]), "was altered"),
        (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "was altered"),
        (lambda p: p.write_bytes(b""), "was altered"),
        (lambda p: p.unlink(), "is missing"),
    ],
    ids=["last byte", "first byte", "truncated", "emptied", "deleted"],
)
def test_a_touched_file_is_refused_by_name(copy, name, change, message):
    path = next(copy.glob(name))
    change(path)
    with pytest.raises(DataError, match=f"{path.name}.*{message}"):
        bundle.load(copy)


@pytest.mark.parametrize("name", ["params.json", "gate.json"])
def test_a_consistent_forgery_is_refused_by_the_registry_id(copy, sealed, name):
    forged = reseal(copy, rewrite(name, lambda value: value.update(note="better")))
    bundle.load(forged)  # consistent in itself ...
    with pytest.raises(DataError, match="manifest.json was altered, or is another bundle's"):
        bundle.load(forged, sealed.id)  # ... but not what was promoted


def test_another_models_trees_are_refused_by_the_stored_predictions(copy, sealed, tmp_path):
    x = sealed.features.compute(tape(seed=77)).iloc[sealed.features.lookback :].to_numpy()
    other = create(sealed.model.kind, MODELS, seed=3).fit(x, np.sign(x[:, 1]))

    def swap(folder, manifest):
        for name in other.save(folder):
            manifest["files"][name] = sha256(folder / name)

    with pytest.raises(DataError, match="does not reproduce its stored predictions"):
        bundle.load(reseal(copy, swap))


@pytest.mark.parametrize("gate", [{"passed": False, "lines": GATE["lines"]}, {"passed": True, "lines": []}])
def test_no_bundle_without_a_passed_gate(tmp_path, gate):
    with pytest.raises(GateRefused):
        bundle.write(tmp_path, content(gate=gate))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="check rows: expected"):
        bundle.write(tmp_path, content(bars=tape().iloc[:20]))
    assert list(tmp_path.iterdir()) == []


def test_a_write_killed_before_the_manifest_is_no_bundle(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(DataError, match="half-written"):
        bundle.load(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "gate.json").write_text("{}"),
        lambda f: [shutil.rmtree(f), f.mkdir()],
        lambda f: [shutil.rmtree(f), f.write_text("a file")],
        lambda f: [shutil.rmtree(f), f.symlink_to("nowhere")],
    ],
    ids=["altered", "emptied", "a file", "a dangling link"],
)
def test_a_damaged_bundle_moves_aside_for_the_same_content(sealed, copy, damage):
    for n in (1, 2):
        damage(copy)
        assert bundle.write(copy.parent, content(sealed.model.kind)).id == sealed.id
        assert {p.name for p in copy.parent.iterdir()} == {sealed.id, *(f".damaged-{sealed.id}-{k + 1}" for k in range(n))}


def test_a_sound_bundle_stays_where_it_is(sealed, copy):
    before = copy.stat().st_ino
    bundle.write(copy.parent, content(sealed.model.kind))
    assert copy.stat().st_ino == before and [p.name for p in copy.parent.iterdir()] == [sealed.id]


def test_writers_of_the_same_bundle_take_turns(tmp_path, monkeypatch):
    inside, most, fill = [], [], bundle._fill

    def slowly(folder, what):
        inside.append(folder)
        time.sleep(0.05)
        most.append(len(inside))
        id = fill(folder, what)
        inside.remove(folder)
        return id

    monkeypatch.setattr(bundle, "_fill", slowly)
    same = content()
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda _: bundle.write(tmp_path, same), range(4)))
    assert len({sealed.id for sealed in written}) == 1 and most == [1] * 4
    assert [p.name for p in tmp_path.iterdir()] == [written[0].id]


def test_what_a_killed_writer_left_is_swept_after_an_hour(tmp_path):
    for name, age in ((".bundle-old", 3700), (".bundle-new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.json").write_text("{}")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    sealed = bundle.write(tmp_path, content())
    assert {p.name for p in tmp_path.iterdir()} == {".bundle-new", sealed.id}


def test_a_renamed_folder_and_a_missing_one_are_refused(copy):
    moved = copy.rename(copy.parent / "favourite")
    with pytest.raises(DataError, match="altered, or is another bundle's"):
        bundle.load(moved)
    with pytest.raises(DataError, match="expected a folder, found none"):
        bundle.load(copy.parent / "nothing")


@pytest.mark.parametrize(
    ("spec", "fault"), [({"magic": [3]}, "magic"), ({"fractional_difference": [["auto", 1e-3]]}, "'auto', 0.001. is not fitted yet")]
)
def test_a_spec_that_cannot_be_built_is_refused_before_writing(tmp_path, spec, fault):
    origin = Origin(**{**vars(content().origin), "sections": SECTIONS | {"features": spec}})
    with pytest.raises(UsageError, match=fault):
        bundle.write(tmp_path, content(origin=origin))
    assert list(tmp_path.iterdir()) == []
