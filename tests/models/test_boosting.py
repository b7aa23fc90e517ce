"""Boosted trees: what is learnt, what rows may not see of each other, what is written and what is refused."""

import copy
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from quantalpha.config import Boosting, Models
from quantalpha.errors import DataError, UsageError
from quantalpha.models import CLASSES, create, load

SMALL = Boosting(trees=20, learning_rate=0.1, leaves=7, min_rows_per_leaf=10, row_fraction=0.7, column_fraction=0.7, l2=1.0)
PARAMS = Models(names=["lightgbm", "xgboost"], seed=7, lightgbm=SMALL, xgboost=SMALL)
KINDS = ["lightgbm", "xgboost"]


def rows(n=900, k=6, seed=0):
    """The sign of the first feature is the label, with noise; |x0| small is flat."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, k))
    signal = x[:, 0] + 0.3 * rng.normal(size=n)
    return x, np.where(np.abs(signal) < 0.4, 0, np.sign(signal)).astype(int)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    x, y = rows()
    return create(request.param, PARAMS).fit(x, y)


def test_learns_what_is_there(fitted):
    x, y = rows(seed=1)
    p = fitted.predict(x)
    assert p.shape == (900, 3) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert (np.array(CLASSES)[p.argmax(axis=1)] == y).mean() > 0.7
    assert p[x[:, 0] > 1, 2].mean() > 0.7 and p[x[:, 0] < -1, 0].mean() > 0.7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [(-1, 0, 1), (-1, 1), (0,)])
def test_contributions_and_bias_are_the_raw_score(kind, known):
    x, y = rows()
    model = create(kind, PARAMS).fit(x[np.isin(y, known)], y[np.isin(y, known)])
    parts, bias = model.contributions(x)
    raw = np.exp(parts.sum(axis=1) + bias)
    assert parts.shape == (900, 6, 3) and np.isfinite(parts).all() and np.isfinite(bias).tolist() == [c in known for c in CLASSES]
    np.testing.assert_allclose(raw / raw.sum(axis=1, keepdims=True), model.predict(x), atol=2e-6)
    if len(known) > 1:
        assert np.abs(parts).mean(axis=(0, 2)).argmax() == 0  # the label is the sign of the first feature
    with pytest.raises(DataError, match=r"expected finite x\[n, 6\]"):
        model.contributions(np.where(x == x[3, 2], np.nan, x))


def test_a_row_alone_equals_the_row_in_a_batch(fitted):
    x, _ = rows(seed=2)
    batch = fitted.predict(x)
    alone = np.vstack([fitted.predict(x[i : i + 1]) for i in range(200)])
    assert np.array_equal(alone, batch[:200])
    assert np.array_equal(fitted.predict(x[::-1]), batch[::-1])
    assert np.array_equal(fitted.predict(np.asfortranarray(x)), batch)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_finite_feature_has_no_forecast(fitted, bad):
    x, _ = rows(50, seed=3)
    whole = fitted.predict(x)
    x[7, 2] = bad
    p = fitted.predict(x)
    assert np.isnan(p[7]).all()
    assert np.array_equal(np.delete(p, 7, axis=0), np.delete(whole, 7, axis=0))


def test_no_rows_no_forecasts(fitted):
    assert fitted.predict(np.empty((0, 6))).shape == (0, 3)


def test_wrong_width_is_refused(fitted):
    with pytest.raises(DataError, match=r"expected x\[n, 6\].*found \(4, 5\)"):
        fitted.predict(np.zeros((4, 5)))


def test_saved_and_loaded_forecasts_are_the_same_bits(fitted, tmp_path):
    x, _ = rows(seed=4)
    names = fitted.save(tmp_path)
    assert sorted(names) == sorted(p.name for p in tmp_path.iterdir())
    again = load(tmp_path)
    assert again.kind == fitted.kind
    assert np.array_equal(again.predict(x), fitted.predict(x))


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes_and_another_seed_others(kind, tmp_path):
    x, y = rows()
    saved = []
    for number, seed in enumerate([7, 7, 8]):
        folder = tmp_path / str(number)
        folder.mkdir()
        create(kind, PARAMS, seed=seed).fit(x, y).save(folder)
        saved.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert saved[0] == saved[1]
    assert saved[0] != saved[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("present", [(-1, 0), (-1, 1), (0, 1)])
def test_a_class_never_seen_gets_probability_zero(kind, present, tmp_path):
    x, y = rows()
    keep = np.isin(y, present)
    model = create(kind, PARAMS).fit(x[keep], y[keep])
    model.save(tmp_path)
    p = load(tmp_path).predict(x)
    absent = next(i for i, c in enumerate(CLASSES) if c not in present)
    assert (p[:, absent] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert np.ptp(np.delete(p, absent, axis=1)[:, 0]) > 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("only", CLASSES)
def test_one_class_is_a_constant(kind, only, tmp_path):
    x, _ = rows(60)
    model = create(kind, PARAMS).fit(x, np.full(60, only))
    assert model.save(tmp_path) == ["model.json"]
    x[3, 0] = np.nan
    expected = np.tile(np.eye(3)[CLASSES.index(only)], (60, 1))
    expected[3] = np.nan
    np.testing.assert_array_equal(load(tmp_path).predict(x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count_relative_to_each_other(kind):
    x, y = rows()
    plain = create(kind, PARAMS).fit(x, y).predict(x)
    assert np.array_equal(create(kind, PARAMS).fit(x, y, np.full(len(y), 4.0)).predict(x), plain)
    up = create(kind, PARAMS).fit(x, y, np.where(y == 1, 10.0, 1.0)).predict(x)
    assert up[:, 2].mean() > plain[:, 2].mean() + 0.1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y, w: (np.where(np.arange(len(x))[:, None] == 5, np.nan, x), y, w), "features of row 5"),
        (lambda x, y, w: (x, np.where(np.arange(len(y)) == 3, np.nan, y), w), "label of row 3"),
        (lambda x, y, w: (x, np.where(np.arange(len(y)) == 2, 2, y), w), "label of row 2"),
        (lambda x, y, w: (x, y, np.where(np.arange(len(y)) == 1, 0.0, w)), "weight of row 1"),
        (lambda x, y, w: (x[:0], y[:0], w[:0]), "n and k above 0"),
        (lambda x, y, w: (x, y[:-1], w), "expected x"),
    ],
)
def test_unusable_training_rows_are_named(spoil, message):
    x, y = rows(50)
    with pytest.raises(DataError, match=message):
        create("lightgbm", PARAMS).fit(*spoil(x, y.astype(float), np.ones(50)))


def test_unknown_name_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'lightgbm'"):
        create("lightgmb", PARAMS)


def test_saving_before_fitting_is_refused(tmp_path):
    with pytest.raises(DataError, match="before fit"):
        create("xgboost", PARAMS).save(tmp_path)


def edit_card(folder, **changes):
    card = json.loads((folder / "model.json").read_text()) | changes
    (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "model.json is missing"),
        (lambda f: (f / "model.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.json").write_text("[]"), "expected the keys"),
        (lambda f: edit_card(f, kind="pickle"), "no model 'pickle'"),
        (lambda f: edit_card(f, classes=[1, 0, -1]), "classes"),
        (lambda f: edit_card(f, classes=[5]), "classes"),
        (lambda f: edit_card(f, classes=[[1]]), "classes"),
        (lambda f: edit_card(f, features=7), "expected 7 features and 3 classes, found 6 and 3"),
        (lambda f: edit_card(f, features="6"), "wrong type"),
        (lambda f: edit_card(f, classes=[-1, 1]), "2 classes"),
        (lambda f: edit_card(f, file="../../etc/passwd"), "file: expected"),
        (lambda f: edit_card(f, file=None), "file: expected"),
        (lambda f: edit_card(f, sha256=None), "sha256 differs"),
        (lambda f: next(f.glob("trees.*")).unlink(), "trees.* is missing"),
        (lambda f: next(f.glob("trees.*")).write_bytes(next(f.glob("trees.*")).read_bytes()[:-40]), "altered or cut short"),
        (lambda f: next(f.glob("trees.*")).write_bytes(b""), "altered or cut short"),
    ],
)
def test_damaged_files_are_refused_by_name(fitted, tmp_path, damage, message):
    fitted.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_importing_the_room_loads_no_library():
    code = "import sys, quantalpha.models; print([m for m in ('lightgbm', 'xgboost') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_one_row_is_scored_as_the_library_scores_it():
    x, y = rows()
    model = create("lightgbm", PARAMS).fit(x, y)
    extreme = np.vstack([x[:300], 1e300 * x[:50], np.zeros((1, 6)), np.nextafter(x[:50], np.inf)])
    expected = model._booster.predict(extreme, num_threads=1)
    assert np.array_equal(np.vstack([model.predict(row[None]) for row in extreme]), expected)
    kept = model.predict(x[:1])
    model.predict(x[1:2])
    assert np.array_equal(kept[0], expected[0])  # nobody writes over what was given out


def test_a_model_that_learns_anew_forecasts_anew():
    x, y = rows()
    model = create("lightgbm", PARAMS).fit(x, y)
    before = model.predict(x[:1])
    model.fit(x, -y)
    assert np.array_equal(model.predict(x[:1]), model.predict(x[:2])[:1]) and not np.array_equal(model.predict(x[:1]), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_has_scored_one_row_may_be_copied_and_asked_by_several_threads(kind):
    x, y = rows()
    model = create(kind, PARAMS).fit(x, y)
    expected = model.predict(x)
    model.predict(x[:1])
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(copied.predict(x[:1]), expected[:1])
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda row: model.predict(x[row : row + 1])[0], [*range(len(x))] * 3))
    assert np.array_equal(told, np.vstack([expected] * 3))
