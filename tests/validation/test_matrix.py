"""The returns of many tries: what is let in and what a failed try becomes."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.validation.matrix import moving, return_matrix


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (20, 20)])
def test_a_failed_try_earned_nothing_and_the_others_are_left_alone(shape):
    rows, tries = max(shape[0], 4), shape[1]
    values = np.random.default_rng(0).normal(size=(rows, tries))
    values[:, 1] = np.nan
    before, table = values.copy(), return_matrix(values)
    assert (table[1] == 0.0).all() and moving(table.to_numpy()).tolist() == [k != 1 for k in range(tries)]
    np.testing.assert_array_equal(table.drop(columns=1), np.delete(before, 1, axis=1))
    np.testing.assert_array_equal(values, before)


def test_names_and_times_stay():
    given = pd.DataFrame({"a": [1, 2, 3, 4], "b": 0.5}, index=pd.date_range("2024", periods=4))
    pd.testing.assert_frame_equal(return_matrix(given), given.astype(float), check_freq=False)


def test_unfit_input_is_refused():
    for wrong in (np.zeros((3, 2)), np.zeros((9, 0)), []):
        with pytest.raises(DataError, match="at least 4 periods"):
            return_matrix(wrong)
