"""Curves of one class against the others, worked by hand."""

import numpy as np
import pytest

from quantalpha.validation import areas, confusion, precision_recall_curves, roc_curves

# up came in rows 0 and 2, which have the highest and the third P(up) of four
LABELS = [1, -1, 1, -1]
CHANCE = [[0.1, 0.0, 0.9], [0.3, 0.0, 0.7], [0.5, 0.0, 0.5], [0.8, 0.0, 0.2]]


def test_curves_and_areas_by_hand():
    up = roc_curves(LABELS, CHANCE).set_index("class").loc["up"]
    assert up.to_numpy().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    table = areas(LABELS, CHANCE)
    assert table.loc["up"].tolist() == pytest.approx([3 / 4, (1 + 2 / 3) / 2, 1 / 2])  # 3 of 4 pairs are in order
    assert table.loc["down", "roc_auc"] == pytest.approx(3 / 4)
    curve = precision_recall_curves(LABELS, CHANCE).set_index("class").loc["up"]
    assert curve.to_numpy() == pytest.approx(np.array([[1, 1 / 2], [1, 2 / 3], [0.5, 1 / 2], [0.5, 1], [0, 1]]))


def test_a_class_that_never_came_has_no_curve():
    assert set(roc_curves(LABELS, CHANCE)["class"]) == {"down", "up"}
    assert np.isnan(areas(LABELS, CHANCE).loc["flat", "roc_auc"]) and areas(LABELS, CHANCE).loc["flat", "frequency"] == 0
    assert roc_curves([1], [[0, 0, 1]]).columns.tolist() == ["class", "false_positive_rate", "true_positive_rate"]


def test_unfinished_rows_are_left_out():
    labels, chance = [np.nan, *LABELS, 1], [[0, 0, 1], *CHANCE, [np.nan] * 3]
    assert roc_curves(labels, chance).equals(roc_curves(LABELS, CHANCE)) and areas(labels, chance).equals(areas(LABELS, CHANCE))
    assert confusion(labels, chance).to_numpy().tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]  # equally likely: the first is forecast


def test_confusion_by_hand():
    table = confusion([1, 1, -1, 0], [[0.1, 0.2, 0.7], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1], [0.5, 0.25, 0.25]])
    assert table.loc["up"].tolist() == [1, 0, 1] and table.loc["down"].tolist() == [1, 0, 0] and table.loc["flat"].tolist() == [1, 0, 0]
    assert (table.index.name, table.columns.name) == ("came", "forecast")
