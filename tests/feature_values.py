"""How the tests of single features get a column and compare it with an oracle."""

import numpy as np
import pandas as pd

from quantalpha.features import build


def columns(bars: pd.DataFrame, family: str, *arguments) -> np.ndarray:
    """float64[parts, rows]."""
    return build({family: [arguments]}).compute(bars).to_numpy().T


def column(bars: pd.DataFrame, family: str, *arguments) -> np.ndarray:
    """float64[rows] of a feature without parts."""
    (found,) = columns(bars, family, *arguments)
    return found


def agree(found, expected, skip: int = 0, **tolerance) -> None:
    """Equal within the tolerance wherever both are known, at least 1,000 rows; `skip`: rows until the oracle forgot its start."""
    found, expected = np.asarray(found)[skip:], np.asarray(expected)[skip:]
    both = ~np.isnan(expected) & ~np.isnan(found)
    assert both.sum() > 1_000
    np.testing.assert_allclose(found[both], expected[both], **tolerance)


def prices(bars: pd.DataFrame, *names: str) -> list[np.ndarray]:
    """The columns as TA-Lib wants them."""
    return [bars[name].to_numpy().copy() for name in names]
