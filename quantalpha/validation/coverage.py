"""That every feature says something where it is needed."""

import pandas as pd

from quantalpha.errors import DataError

LEAST = 30  # rows without which a distribution says nothing


def check_coverage(features: pd.DataFrame, train: int, recent: int) -> None:
    """DataError naming a column with fewer than LEAST values in the first `train` rows, where models begin to learn, or none in the last
    `recent` rows, where they are about to trade."""
    learnt = features.iloc[:train].notna().sum()
    if (learnt < LEAST).any():
        name = learnt.index[learnt < LEAST][0]
        raise DataError(
            f"feature {name!r}: expected at least {LEAST} values in the first {train:,} bars (splits.train), found {learnt[name]}; "
            f"shorten its window, begin the data earlier, or leave it out"
        )
    silent = features.columns[features.iloc[-recent:].isna().all()]
    if len(silent):
        raise DataError(
            f"feature {silent[0]!r}: expected a value in the last {recent:,} bars, found none: what it reads ended before; "
            f"bring that up to date, or leave the feature out"
        )
