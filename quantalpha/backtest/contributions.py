"""What the forecasts of each fold were made of: Shapley values of its model on its own test rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quantalpha.backtest.rows import Fit
from quantalpha.backtest.walk_forward import WalkForward
from quantalpha.errors import UsageError
from quantalpha.models import Model

ROWS = 100  # of each fold, evenly spaced: enough for a mean to a tenth of itself, in a tenth of the time that training takes


class Kept:
    """A `Fit` that keeps the models it gave, in order: for `contributions`. fit: one for all, or one for each call."""

    def __init__(self, fit: Fit | Sequence[Fit]):
        self.models: list[Model] = []
        self._fit = fit

    def __call__(self, x, y, weight=None) -> Model:
        fit = self._fit if callable(self._fit) else self._fit[len(self.models)]
        self.models.append(fit(x, y, weight))
        return self.models[-1]


def contributions(models: Sequence[Model], features: pd.DataFrame, walk: WalkForward, rows: int = ROWS) -> pd.DataFrame:
    """Mean |contribution| of each feature (rows, most of all first) to log(P(up) / P(down)), in nats, in the test block of each fold.

        kept = Kept(models.fitter("xgboost", params.models))
        walk = walk_forward_forecasts(features, labels, params.splits, kept)
        contributions(kept.models, features, walk)

    0.1 turns even odds into 52.5 to 47.5. models: one a fold, with `contributions(x)`. At most `rows` rows of a block are asked, evenly
    spaced. What a model rests on, whether or not it is right: for that see `permutation_importance`.
    """
    blocks = [times for _, times in walk.forecasts.groupby("fold").groups.items()]
    if len(models) != len(blocks):
        raise UsageError(f"contributions: expected a model for each of {len(blocks)} folds, found {len(models)}; keep those of one walk")
    found = {fold: _strength(model, features.loc[times], rows) for fold, (model, times) in enumerate(zip(models, blocks))}
    table = pd.DataFrame(found, index=pd.Index(features.columns, name="feature")).rename_axis(columns="fold")
    return table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]


def _strength(model: Model, features: pd.DataFrame, rows: int) -> np.ndarray:
    """float64[features]: mean over some rows; NaN where a class is unknown to the model, or no row is complete."""
    x = features.to_numpy(float)
    x = x[np.isfinite(x).all(axis=1)]
    x = x[np.unique(np.linspace(0, len(x) - 1, min(rows, len(x))).astype(int))]
    parts, bias = model.contributions(x)
    if not len(x) or not np.isfinite(bias[[0, 2]]).all():
        return np.full(features.shape[1], np.nan)
    return np.abs(parts[:, :, 2] - parts[:, :, 0]).mean(axis=0)
