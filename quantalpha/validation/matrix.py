"""The returns of many tries side by side, checked once for all that judges them together."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError


def return_matrix(returns) -> pd.DataFrame:
    """float64 DataFrame[rows, tries] of simple per-period returns, the same periods for every try.

    A try that is NaN all through failed and earned nothing: it becomes 0. DataError for fewer than four rows, for no try, for names that
    are not unique, and for a value that is no number within a try that has others.
    """
    table = pd.DataFrame(returns).astype(float)
    if len(table) < 4 or table.shape[1] < 1:
        raise DataError(f"tries: expected returns of at least 4 periods and 1 try as [rows, tries], found {table.shape}")
    if not table.columns.is_unique:
        raise DataError(f"tries: {table.columns[table.columns.duplicated()][0]!r} names more than one column; rename one")
    table.loc[:, table.isna().all().to_numpy()] = 0.0
    holes = ~np.isfinite(table.to_numpy())
    if holes.any():
        row, column = np.argwhere(holes)[0]
        raise DataError(
            f"tries: expected a return for every period, found {table.iat[row, column]} in row {row} ({table.index[row]}) of try "
            f"{table.columns[column]!r}; write 0 where it held nothing and judge together only tries of the same periods"
        )
    return table


def moving(values: np.ndarray) -> np.ndarray:
    """bool[tries]: whose returns vary at all; the Sharpe ratio of the others is undefined."""
    return np.ptp(values, axis=0) > 0.0
