"""Fixed-horizon labels by hand, and as the triple barrier without its levels."""

import numpy as np
import pandas as pd
import pytest

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels import fixed_horizon, triple_barrier


def make(*rows):
    frame = pd.DataFrame(rows, columns=["open", "close"], dtype=float)
    frame = frame.assign(high=frame.max(axis=1), low=frame.min(axis=1), volume=1.0)
    return frame.set_index(schema.from_epoch_ms(np.arange(len(rows)) * 3_600_000))


BARS = make((100, 100), (80, 90), (90, 100), (100, 60), (60, 75), (75, 75))


def test_by_hand():
    table = fixed_horizon(BARS, horizon=2, threshold=0.25)
    np.testing.assert_array_equal(table["ret"], [100 / 80 - 1, (60 - 90) / 90, -0.25, (75 - 60) / 60, np.nan, np.nan])
    np.testing.assert_array_equal(table["label"], [0, -1, 0, 0, np.nan, np.nan])  # at the threshold is not beyond it
    assert table["end_time"].tolist()[:4] == BARS.index[2:].tolist() and table["end_time"].isna().tolist()[4:] == [True, True]
    assert fixed_horizon(BARS, horizon=1, threshold=0.0, entry="close")["label"].tolist()[:5] == [-1, 1, -1, 1, 0]


def test_volatility_is_the_unit_of_the_threshold():
    scale = pd.Series([0.2, 0.5, np.nan, 0.0, 1.0, 1.0], BARS.index)
    np.testing.assert_array_equal(fixed_horizon(BARS, horizon=2, threshold=1.0, volatility=scale)["label"], [1, 0, *[np.nan] * 4])


@pytest.mark.parametrize("entry", ["next_open", "close"])
@pytest.mark.parametrize("horizon", [1, 2, 5, 9])
def test_returns_are_those_of_a_triple_barrier_without_levels(horizon, entry):
    fixed = fixed_horizon(BARS, horizon=horizon, threshold=0.1, entry=entry)
    timed = triple_barrier(BARS, take_profit=np.inf, stop_loss=np.inf, horizon=horizon, entry=entry)
    pd.testing.assert_frame_equal(fixed[["end_time", "ret"]], timed[["end_time", "ret"]], check_exact=True)


def test_wrong_settings_are_refused():
    for settings, message in (
        ({"horizon": 0, "threshold": 1.0}, "horizon must be a whole number"),
        ({"horizon": 1, "threshold": -1.0}, "threshold must be a number"),
        ({"horizon": 1, "threshold": 0.0, "entry": "open"}, "'next_open' or 'close'"),
    ):
        with pytest.raises(UsageError, match=message):
            fixed_horizon(BARS, **settings)
    with pytest.raises(DataError, match="volatility must not be negative"):
        fixed_horizon(BARS, horizon=1, threshold=1.0, volatility=pd.Series(-1.0, BARS.index))
