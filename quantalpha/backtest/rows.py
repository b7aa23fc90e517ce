"""Features, labels and weights of the same bars, cut into folds: what every model is trained on.

Of the last `horizon` rows before a border only labels that have ended are known, and a barrier ends them sooner than time does: the newest
training rows hold fewer of those that ended by time. What was known then is just that; it is no leak.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.errors import DataError
from quantalpha.labels import average_uniqueness, time_decay
from quantalpha.models import Model
from quantalpha.validation import walk_forward

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Model]


class Rows:
    """Features, labels and weights side by side, from the first complete feature row on.

    index, names; x float64[n, names], y float64[n] labels, weight float64[n]; usable bool[n]: to be trained on, judged: to be scored on.
    """

    def __init__(self, features: pd.DataFrame, labels: pd.DataFrame, decay: float = 1.0):
        if not features.index.equals(labels.index):
            raise DataError("walk-forward: features and labels must share one index of bars; make both from the same bars")
        complete = np.isfinite(features.to_numpy(float)).all(axis=1)
        if not complete.any():
            raise DataError("walk-forward: no row has complete features; give more bars than the longest lookback")
        first = int(complete.argmax())
        self.index, self.names = features.index[first:], tuple(features.columns)
        self.labels, self.decay = labels.iloc[first:], decay
        self.x, self.y = features.to_numpy(float)[first:], labels["label"].to_numpy(float)[first:]
        self.uniqueness = average_uniqueness(labels["end_time"]).iloc[first:]
        self.weight = (self.labels["weight"] if "weight" in labels else self.uniqueness).to_numpy(float)
        self.judged = complete[first:] & np.isfinite(self.y)
        self.usable = self.judged & self.labels["end_time"].notna().to_numpy() & (self.weight > 0)

    @property
    def end_time(self) -> pd.Series:
        """Decision time -> label end, for the splits. A row without one spans its decision alone: forecast, but not trained on (`fit`)."""
        end_time = self.labels["end_time"]
        return end_time.where(end_time.notna(), self.index.to_series())

    def folds(self, splits: config.Splits) -> Iterator:
        """Folds of row positions, forward in time."""
        return walk_forward(self.end_time, **splits.model_dump())

    def settled(self) -> np.ndarray:
        """Rows that no later bar gives a label: it is finished, or further back than the longest path, so there was no event."""
        end = self.index.searchsorted(pd.DatetimeIndex(self.labels["end_time"].fillna(self.index[0])))
        rows = np.arange(len(end))
        return rows[(end > rows) | (rows < len(rows) - (end - rows).max())]

    def final(self, splits: config.Splits) -> np.ndarray:
        """Rows of the model to go live with: the last `splits.train` of the settled ones (expanding: all)."""
        settled = self.settled()
        if settled.size < splits.train:
            raise DataError(
                f"final model: splits.train asks for {splits.train} rows with settled labels, found {settled.size}; give more bars"
            )
        return settled if splits.scheme == "expanding" else settled[-splits.train :]

    def between(self, rows: np.ndarray) -> "Rows":
        """The rows from the first of `rows` to where the last of their labels ends; of those that are not among them no label is known."""
        last = self.index.searchsorted(self.end_time.iloc[rows].max())
        block = np.arange(rows[0], max(last, rows[-1]) + 1)
        known = pd.Series(np.isin(block, rows), index=self.index[block])
        features = pd.DataFrame(self.x[block], index=known.index, columns=list(self.names))
        return Rows(features, self.labels.iloc[block].where(known), self.decay)

    def fit(self, rows: np.ndarray, fit: Fit, where: str) -> tuple[Model, np.ndarray]:
        """The model and those of `rows` it learned from. Decay counts the uniqueness of the usable ones; what weighs 0 is left out."""
        rows = rows[self.usable[rows]]
        weight = self.weight[rows] * time_decay(self.uniqueness.iloc[rows], self.decay).to_numpy()
        rows, weight = rows[weight > 0], weight[weight > 0]
        if not rows.size:
            raise DataError(f"{where} has no usable training row; lengthen splits.train, or lower labels.events")
        return fit(self.x[rows], self.y[rows], weight), rows
