"""How far two makings of an output lie apart."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from quantalpha.pipeline.compare import gaps, tolerance, within


@pytest.fixture
def pair(tmp_path):
    """Two folders with the same files."""
    table = pd.DataFrame({"edge": [0.5, -2.0, np.nan], "name": ["a", "b", "c"]})
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / "forecasts.parquet")
        (tmp_path / name / "metrics.json").write_text(json.dumps({"sharpe": 2.0, "folds": [{"n": 3}], "none": None}))
        (tmp_path / name / "candidate.json").write_text(json.dumps({"code_version": name, "lock": "a"}))
        (tmp_path / name / "model.bin").write_bytes(b"model")
    return tmp_path / "old", tmp_path / "new"


def test_the_hash_of_the_whole_package_does_not_count_and_anything_else_in_the_card_does(pair):
    assert gaps(*pair) == []
    (pair[1] / "candidate.json").write_text(json.dumps({"code_version": "new", "lock": "b"}))
    (found,) = gaps(*pair)
    assert str(found) == "candidate.json lock: a -> b" and found.size is None and not within([found], 0.0)


def test_a_number_is_measured_by_its_scale_wherever_it_stands(pair):
    (pair[1] / "metrics.json").write_text(json.dumps({"sharpe": 2.0 + 2e-6, "folds": [{"n": 3}], "none": None}))
    pd.DataFrame({"edge": [0.5, -2.0 + 8e-6, np.nan], "name": ["a", "b", "c"]}).to_parquet(pair[1] / "forecasts.parquet")
    wide, narrow = gaps(*pair)
    assert (wide.where, narrow.where) == ("forecasts.parquet edge row 1", "metrics.json sharpe")
    assert wide.size == pytest.approx(4e-6) and narrow.size == pytest.approx(1e-6, rel=1e-3)
    assert within([wide, narrow], tolerance("bilstm_transformer")) and not within([wide, narrow], 3e-6)
    assert not within([narrow], tolerance("lightgbm")) and not within([narrow], tolerance(None))


@pytest.mark.parametrize(
    ("file", "text", "where", "size"),
    [
        ("metrics.json", '{"sharpe": 2.0, "folds": [], "none": null}', "metrics.json folds.0.n", math.inf),
        ("metrics.json", '{"sharpe": 2.0, "folds": [{"n": 3}], "none": 0.0}', "metrics.json none", math.inf),
        ("model.bin", "other", "model.bin", None),
        ("another.txt", "more", "another.txt", math.inf),
    ],
)
def test_what_is_no_number_has_no_measure(pair, file, text, where, size):
    (pair[1] / file).write_text(text)
    found = gaps(*pair)[0]
    assert (found.where, found.size, found.measured) == (where, size, None)
    assert not within([found], 0.0) and within([found], tolerance("bilstm_transformer")) == (size is None)


def test_a_number_that_became_undefined_is_no_small_gap(pair):
    pd.DataFrame({"edge": [0.5, np.nan, np.nan], "name": ["a", "b", "c"]}).to_parquet(pair[1] / "forecasts.parquet")
    (found,) = gaps(*pair)
    assert found.where == "forecasts.parquet edge row 1" and math.isinf(found.size)
    assert not within([found], tolerance("bilstm_transformer"))


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        ('{"sharpe": null}', "{}", math.inf),
        ('{"folds": []}', '{"folds": {}}', math.inf),
        ('{"passed": true}', '{"passed": 1}', math.inf),
        ('{"a.b": 1}', '{"a": {"b": 1}}', math.inf),
        ('{"a": 1}', '{"a":  1}', math.inf),
        ("[1]", "{", math.inf),
        ('{"x": NaN}', '{"x": 1}', math.inf),
        ('{"x": 0.0}', '{"x": -0.0}', 0.0),
        ('{"x": 0}', '{"x": 0.0}', 0.0),
    ],
)
def test_other_bytes_are_never_the_same_bits(pair, old, new, size):
    for folder, text in zip(pair, (old, new)):
        (folder / "metrics.json").write_text(text)
    found = gaps(*pair)
    assert found[0].size == size and not within(found, 0.0) and within(found, 1e-5) == (size == 0.0)


def test_tables_of_equal_values_in_other_bytes_are_not_the_same_bits(pair):
    for folder, zero in zip(pair, (0.0, -0.0)):
        pd.DataFrame({"edge": [zero, 1.0]}).to_parquet(folder / "forecasts.parquet")
    (found,) = gaps(*pair)
    assert found.where == "forecasts.parquet" and not within([found], 1e-5)


def test_the_exemption_is_of_one_key_of_one_file(pair):
    for folder, name in zip(pair, ("old", "new")):
        (folder / "metrics.json").write_text(json.dumps({"code_version": name}))
        (folder / "candidate.json").write_text(json.dumps({"code_version": name, "inner": {"code_version": name}}))
    assert {each.where for each in gaps(*pair)} == {"metrics.json code_version", "candidate.json inner.code_version"}


@pytest.mark.parametrize(("changed", "size"), [([0.5, np.inf, 2.0], 0.25), ([0.0, 1.0, 2.0], np.inf), ([0.0, -np.inf, 2.0], np.inf)])
def test_an_infinite_number_hides_no_gap(pair, changed, size):
    for folder, values in zip(pair, ([0.0, np.inf, 2.0], changed)):
        pd.DataFrame({"edge": values}).to_parquet(folder / "forecasts.parquet")
    (found,) = gaps(*pair)
    assert found.size == size and not within([found], 1e-5)
