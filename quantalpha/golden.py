"""The window of bars that a model carries with it, with the features and predictions they must give, here and anywhere."""

import numpy as np
import pandas as pd

from quantalpha import models, schema
from quantalpha.errors import DataError
from quantalpha.features import FeatureSet

CHECK_ROWS = 16
TAIL = 0.001  # of the research values of a feature lie below its range, and as many above


def golden(features: FeatureSet, model: models.Model, bars: pd.DataFrame, rows: int = CHECK_ROWS) -> dict:
    """A window of bars with its last `rows` feature rows and their predictions, and the features' range over all `bars`, as JSON."""
    table = features.compute(bars)
    complete = np.flatnonzero(table.notna().all(axis=1).to_numpy())
    end = int(complete[-1]) + 1 if complete.size else 0
    if end < features.lookback + rows - 1:
        raise DataError(f"check rows: expected {features.lookback + rows - 1} bars that end in complete features, found {end}")
    window = bars.iloc[end - features.lookback - rows + 1 : end]
    window = window[[c for c in window if c in schema.REQUIRED or c in features.columns]]
    x = features.compute(window).to_numpy(float)[-rows:]
    values = {name: _listed(window[name].to_numpy(float)) for name in window}
    check = {"timestamp": schema.epoch_ms(window.index).tolist(), "bars": values}
    low, high = np.quantile(table.to_numpy(float)[complete], [TAIL, 1 - TAIL], axis=0)
    return check | {"features": _listed(x), "predictions": _listed(model.predict(x)), "low": _listed(low), "high": _listed(high)}


def reproduce(check: dict, features: FeatureSet, model: models.Model, where: str) -> None:
    """DataError unless this code gives the stored features (1e-9) and the model the stored predictions (every bit)."""
    stored, predictions = (np.array(check[key], dtype=float) for key in ("features", "predictions"))
    index = schema.from_epoch_ms(check["timestamp"])
    window = pd.DataFrame({name: np.array(values, dtype=float) for name, values in check["bars"].items()}, index=index)
    x = features.compute(window).to_numpy(float)[-len(stored) :]
    agree = np.isclose(x, stored, rtol=1e-9, atol=1e-12, equal_nan=True).all(axis=0)
    if not agree.all():
        name = features.names[int(np.argmin(agree))]
        raise DataError(f"{where}: this code computes feature {name} otherwise than in training; train and promote again")
    if not np.array_equal(model.predict(stored), predictions, equal_nan=True):
        raise DataError(f"{where}: the model does not reproduce its stored predictions; the library or the machine differs from training")


def _listed(array: np.ndarray) -> list:
    """Nested lists with None for NaN."""
    return np.where(np.isnan(array), None, array).tolist()
