"""Whether probabilities mean what they say: worked by hand, and against scikit-learn."""

import numpy as np
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import brier_score, brier_skill, calibration_error, reliability

NAN = np.nan
LABELS = [1, -1, 0, 1]
CHANCE = [[0.1, 0.2, 0.7], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1], [0.5, 0.25, 0.25]]
# Sums of squares, row by row: .01+.04+.09 = .14, .25+.04+.09 = .38, .36+.49+.01 = .86, .25+.0625+.5625 = .875
BRIER = (0.14 + 0.38 + 0.86 + 0.875) / 4


def drawn(n: int = 4_000, seed: int = 0):
    """Probabilities, and labels that come as often as these say."""
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet([3, 1, 3], size=n)
    return (rng.random(n)[:, None] > chance.cumsum(axis=1)[:, :2]).sum(axis=1) - 1.0, chance


def test_brier_score_by_hand_and_at_its_ends():
    assert brier_score(LABELS, CHANCE) == pytest.approx(BRIER)
    assert brier_score(LABELS, np.eye(3)[[2, 0, 1, 2]]) == 0
    assert brier_score(LABELS, np.eye(3)[[0, 2, 2, 0]]) == 2
    assert brier_score(LABELS, np.full((4, 3), 1 / 3)) == pytest.approx(2 / 3)


def test_unfinished_labels_and_missing_forecasts_are_left_out():
    labels, chance = [NAN, *LABELS, 1], [[1, 0, 0], *CHANCE, [NAN, NAN, NAN]]
    assert brier_score(labels, chance) == pytest.approx(BRIER)
    assert brier_skill(labels, chance, [0.25, 0.25, 0.5]) == brier_skill(LABELS, CHANCE, [0.25, 0.25, 0.5])
    assert reliability(labels, chance, 2).equals(reliability(LABELS, CHANCE, 2))


def test_skill_is_measured_from_what_was_known_before():
    # The reference's sums of squares: up (1/16 + 1/16 + 1/4) twice, down and flat (9/16 + 1/16 + 1/4) once each.
    assert brier_skill(LABELS, CHANCE, [0.25, 0.25, 0.5]) == pytest.approx(1 - BRIER / ((2 * 0.375 + 2 * 0.875) / 4))
    assert brier_skill(LABELS, CHANCE, CHANCE) == 0
    assert np.isnan(brier_skill([1], [[0.0, 0.0, 1.0]], [0, 0, 1]))
    with pytest.raises(DataError, match="expected a reference of 3 frequencies"):
        brier_skill(LABELS, CHANCE, [0.5, 0.5])


def test_reliability_by_hand():
    table = reliability(LABELS, CHANCE, 2).set_index("class")
    # P(up) 0.1 and 0.25 in the lower bin, where one of two was up; 0.3 and 0.7 in the upper, one of two.
    assert table.loc["up"].to_numpy() == pytest.approx(np.array([[2, 0.175, 0.5], [2, 0.5, 0.5]]))
    # P(down) 0.1, 0.5, 0.5 up to the median and 0.6 above: one of three was down, and none.
    assert table.loc["down"].to_numpy() == pytest.approx(np.array([[3, 1.1 / 3, 1 / 3], [1, 0.6, 0]]))
    assert table.loc["flat"].to_numpy() == pytest.approx(np.array([[2, 0.2, 0], [2, 0.275, 0.5]]))
    # down (0.1 / 3 * 3 + 0.6) / 4 = 0.175, flat (0.2 + 0.225) / 2 = 0.2125, up 0.325 / 2 = 0.1625
    assert calibration_error(LABELS, CHANCE, 2) == pytest.approx(0.2125)


def test_a_forecast_that_never_changes_has_one_bin():
    table = reliability([1, 1, -1, 1], np.tile([0.25, 0.25, 0.5], (4, 1)))
    assert table["count"].tolist() == [4, 4, 4] and table["observed"].tolist() == [0.25, 0, 0.75]
    assert calibration_error([1, 1, -1, 1], np.tile([0.25, 0.25, 0.5], (4, 1))) == 0.25


def test_an_honest_forecast_errs_by_chance_alone_and_a_boaster_more():
    labels, chance = drawn()
    sharper = chance**3 / (chance**3).sum(axis=1, keepdims=True)
    assert calibration_error(labels, chance) < 2 * np.sqrt(0.25 * 10 / len(labels)) < calibration_error(labels, sharper)
    assert brier_score(labels, chance) < brier_score(labels, sharper)


def test_as_in_scikit_learn():
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    labels, chance = drawn()
    assert brier_score(labels, chance) == pytest.approx(brier_score_loss(labels, chance, labels=[-1, 0, 1], scale_by_half=False), rel=1e-12)
    for k, (name, table) in enumerate(reliability(labels, chance, 7).groupby("class", sort=False)):
        observed, forecast = calibration_curve(labels == k - 1, chance[:, k], n_bins=7, strategy="quantile")
        assert name == ("down", "flat", "up")[k] and len(table) == 7
        assert table["forecast"].to_numpy() == pytest.approx(forecast) and table["observed"].to_numpy() == pytest.approx(observed)


@pytest.mark.parametrize(
    "labels, chance, message",
    [
        ([1, 2], np.full((2, 3), 1 / 3), "classification:"),
        ([1], [[0.5, 0.5, 0.5]], "sum to 1"),
        ([1], [[np.inf, 0, 0]], "must be finite"),
        ([1], [[0.5, 0.5]], "expected labels"),
        ([NAN, 1], [[1, 0, 0], [NAN] * 3], "none of 2 rows has a finished label and a forecast"),
        ([], np.empty((0, 3)), "none of 0 rows"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, chance, message):
    for score in (brier_score, reliability, calibration_error):
        with pytest.raises(DataError, match=message):
            score(labels, chance)


def test_no_bins_are_refused():
    with pytest.raises(UsageError, match="at least one bin, found 0"):
        reliability(LABELS, CHANCE, 0)
