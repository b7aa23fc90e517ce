"""Permutation importance: what is shuffled, what it costs, and what counts as surviving."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest.importance import _table, permutation_importance
from quantalpha.backtest.rows import Rows
from quantalpha.config import Boosting, Models, Splits
from quantalpha.errors import UsageError
from quantalpha.models import fitter

TREES = Boosting(trees=40, learning_rate=0.1, leaves=7, min_rows_per_leaf=20, row_fraction=0.7, column_fraction=1.0, l2=1.0)
FIT = fitter("lightgbm", Models(names=["lightgbm"], seed=7, lightgbm=TREES, xgboost=TREES))
SPLITS = Splits(scheme="sliding", train=800, test=200, embargo=5)


def rows(n=3000, seed=3, columns=None):
    """Two columns that tell the label, each with a little noise of its own; one that tells half of it, and two of noise."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp")
    sign, weak, noise = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(4, n))
    told = {"strong": sign + 0.2 * noise[2], "twin": sign + 0.2 * noise[3], "weak": weak, "noise": noise[0], "dust": noise[1]}
    features = pd.DataFrame(told, index=index)
    label = np.sign(sign + 0.5 * weak + 0.3 * rng.normal(size=n))
    labels = pd.DataFrame({"label": label, "end_time": index + pd.Timedelta("1h"), "ret": 0.01 * label}, index=index)
    labels.loc[index[-1], ["label", "ret"]] = np.nan
    labels.loc[index[-1], "end_time"] = pd.NaT
    return Rows(features if columns is None else features.assign(**columns), labels)


def test_what_tells_the_label_survives_and_noise_does_not():
    table = permutation_importance(
        rows(), SPLITS, FIT, groups={"both": ["strong", "twin"], "weak": ["weak"], "noise": ["noise"], "dust": ["dust"]}
    )
    assert list(table.index[:2]) == ["both", "weak"]
    assert table.survives[["both", "weak"]].all() and not table.survives[["noise", "dust"]].any()
    assert table.rise["both"] > 2 * table.rise["weak"] > 20 * abs(table.rise["noise"])


def test_a_twin_hides_a_feature_that_a_group_shows():
    alone = permutation_importance(rows(), SPLITS, FIT)
    together = permutation_importance(rows(), SPLITS, FIT, groups={"both": ["strong", "twin"]})
    assert together.rise["both"] > 1.2 * alone.rise[["strong", "twin"]].sum() > 0


def test_a_column_that_the_model_never_uses_costs_nothing():
    class First:
        def fit(self, x, y, weight=None):
            return self

        def predict(self, x):
            up = 1 / (1 + np.exp(-x[:, 0]))
            return np.column_stack([1 - up, np.zeros(len(x)), up])

    table = permutation_importance(rows(), SPLITS, lambda x, y, weight: First())
    assert table.index[0] == "strong"
    rest = table.drop(index="strong")
    assert (rest.rise == 0).all() and (rest.p_value == 1).all() and not rest.survives.any()


def test_no_training_label_ends_within_the_test_it_is_judged_on():
    seen = []

    class Model:
        def predict(self, x):
            seen.append(x)
            return np.full((len(x), 3), 1 / 3)

    def fit(x, y, weight):
        seen.append(x)
        return Model()

    table = rows(columns={"strong": np.arange(3000.0)})
    permutation_importance(table, SPLITS, fit, groups={"row": ["strong"]})
    trained = [x[:, 0] for x in seen if len(x) > 300]
    tested = [x[:, 0] for x in seen if len(x) < 300][:: 1 + 5]
    assert len(trained) == len(tested) == 10  # the last block is not whole
    assert all(was.max() < test.min() - SPLITS.embargo for was, test in zip(trained, tested))


def test_holm_step_by_step():
    rng = np.random.default_rng(0)
    rises = pd.DataFrame(rng.normal(np.linspace(0, 0.6, 12), 1.0, size=(40, 12)), columns=[f"f{k}" for k in range(12)])
    table, kept = _table(rises), []
    for tried, (name, p_value) in enumerate(table.p_value.sort_values().items()):
        if p_value > 0.05 / (12 - tried):
            break
        kept.append(name)
    assert 1 < len(kept) < 12 and (table.p_value[~table.survives] < 0.05).any()
    assert set(table.index[table.survives]) == set(kept)


def test_the_same_seed_gives_the_same_and_wrong_use_is_refused():
    groups = {"weak": ["weak"]}
    one, two = (permutation_importance(rows(), SPLITS, FIT, groups=groups) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    with pytest.raises(UsageError, match="no column 'typo'; found strong, twin"):
        permutation_importance(rows(), SPLITS, FIT, groups={"a": ["typo"]})
    for wrong in ({}, {"a": []}, {"a": "weak"}, ["weak"]):
        with pytest.raises(UsageError, match="expected groups such as {'rsi': .'rsi_14'.}, each of some columns, found"):
            permutation_importance(rows(), SPLITS, FIT, groups=wrong)
    with pytest.raises(UsageError, match="expected Rows.features, labels., found DataFrame"):
        permutation_importance(pd.DataFrame(rows().x), SPLITS, FIT)
    with pytest.raises(UsageError, match="at least three folds"):
        permutation_importance(rows(1300), SPLITS, FIT)
