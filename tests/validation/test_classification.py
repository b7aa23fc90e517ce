"""Scores of class forecasts, worked by hand."""

import numpy as np
import pytest

from quantalpha.errors import DataError
from quantalpha.validation import class_scores, direction_loss, log_loss

LABEL = [1, 1, -1, 0]
CHANCE = [[0.1, 0.2, 0.7], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1], [0.5, 0.25, 0.25]]  # forecasts up, down, down, down


def test_by_hand():
    table = class_scores(LABEL, CHANCE)
    assert table.loc["up", ["precision", "recall", "f1", "support"]].tolist() == pytest.approx([1, 1 / 2, 2 / 3, 2])
    assert table.loc["down", ["precision", "recall", "f1", "support"]].tolist() == pytest.approx([1 / 3, 1, 1 / 2, 1])
    assert table.loc["flat", ["recall", "f1"]].tolist() == [0, 0]
    assert np.isnan(table.loc["flat", "precision"])
    assert table.loc["up", "brier"] == pytest.approx((0.3**2 + 0.7**2 + 0.1**2 + 0.25**2) / 4)
    assert log_loss(LABEL, CHANCE) == pytest.approx(-np.log([0.7, 0.3, 0.6, 0.25]).mean())


def test_macro_counts_what_is_undefined_as_nothing():
    macro = class_scores(LABEL, CHANCE).loc["macro"]
    assert macro[["precision", "recall", "f1"]].tolist() == pytest.approx([(1 + 1 / 3) / 3, 1 / 2, (2 / 3 + 1 / 2) / 3])
    assert macro["support"] == 4


def test_macro_as_in_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    label, chance = rng.integers(-1, 2, 300), rng.dirichlet([1, 1, 1], 300)
    found = precision_recall_fscore_support(label, chance.argmax(axis=1) - 1, average="macro")
    assert class_scores(label, chance).loc["macro", ["precision", "recall", "f1"]].tolist() == pytest.approx(found[:3])


def test_limits():
    sure = np.eye(3)[[2, 2, 0, 1]]
    assert log_loss(LABEL, sure) == 0
    assert (class_scores(LABEL, sure)[["precision", "recall", "f1"]] == 1).all(axis=None)
    assert (class_scores(LABEL, sure).brier == 0).all()
    assert log_loss(LABEL, np.full((4, 3), 1 / 3)) == pytest.approx(np.log(3))
    assert 30 < log_loss([1], [[1.0, 0.0, 0.0]]) < 40  # wrong and sure: large, but finite


@pytest.mark.parametrize(
    "label, chance",
    [([1, 2], np.full((2, 3), 1 / 3)), ([1], [[0.5, 0.5]]), ([1], [[0.5, 0.5, 0.5]]), ([1], [[np.nan, 0.5, 0.5]]), ([], np.empty((0, 3)))],
)
def test_what_is_no_forecast_is_refused(label, chance):
    with pytest.raises(DataError, match="classification:"):
        log_loss(label, chance)


def test_direction_is_judged_where_the_price_went_somewhere_and_whatever_was_said_of_standing_still():
    chance = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3]])
    assert direction_loss([-1, 0, 1], chance) == pytest.approx(-np.log([0.75, 0.75]).mean())
    assert direction_loss([-1, 1], [[0.0, 1.0, 0.0]] * 2) == pytest.approx(np.log(2))  # it says nothing of direction
    with pytest.raises(DataError, match="found only 0"):
        direction_loss([0, 0], chance[:2])
