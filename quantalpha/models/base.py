"""What every model is: three-way forecasts from a feature matrix, saved in formats that cannot run code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from quantalpha.config import Models
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import read_json

CLASSES = (-1, 0, 1)  # labels: down, flat, up
PROBABILITIES = ("p_down", "p_flat", "p_up")
CARD = "model.json"  # says what the other file of a saved model is


class Model(Protocol):
    """P(down), P(flat), P(up) of each row. Rows do not see each other: a batch and its rows one by one agree bit for bit."""

    kind: str

    def fit(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> "Model":
        """x float64[n, k], all finite; y[n] in {-1, 0, 1}; weight[n] positive, of which only ratios count. A class absent from y gets 0."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64[n, 3] in the order of CLASSES; a row with a NaN or infinite feature is a row of NaN."""

    def save(self, folder: Path) -> list[str]:
        """Write into `folder` and name the files; the same fit gives the same bytes."""


def create(name: str, params: Models, seed: int | None = None) -> Model:
    """An unfitted model by name; `seed` replaces `params.seed`."""
    kind = _kind(name, UsageError, "models.names")
    return kind(getattr(params, name), params.seed if seed is None else seed)


def fitter(name: str, params: Models, chosen: Mapping | None = None) -> Callable[..., Model]:
    """A function (x, y, weight=None) -> fitted model, a fresh one at each call: what a walk-forward asks for.

    chosen: hyper-parameters in place of those that `params` has for this model; DataError where there is no such one, or no such value.
    """
    if chosen is not None:
        section = getattr(params, name)
        try:
            params = params.model_copy(update={name: type(section).model_validate(section.model_dump() | dict(chosen))})
        except ValueError as error:
            raise DataError(f"{name}: chosen hyper-parameters {dict(chosen)}: {error.errors()[0]['msg']}; search again") from None
    return lambda x, y, weight=None: create(name, params).fit(x, y, weight)


def load(folder: Path) -> Model:
    """The model saved in `folder`; DataError where a file is missing, altered or not ours. Nothing stored is ever executed."""
    card = read_card(Path(folder))
    return _kind(card["kind"], DataError, f"{Path(folder).name}/{CARD}: kind").restore(Path(folder), card)


def _kind(name, error: type[Exception], where: str):
    from quantalpha.models.boosting import LightGBM, XGBoost

    kinds = {kind.kind: kind for kind in (LightGBM, XGBoost)}
    if name not in kinds:
        raise error(f"{where}: no model {name!r}; {did_you_mean(name, kinds)}")
    return kinds[name]


CARD_TYPES = {"kind": str, "classes": list, "features": int, "file": str | None, "sha256": str | None}


def read_card(folder: Path) -> dict:
    """`model.json`, its keys and types checked."""
    card = read_json(folder / CARD)
    if not isinstance(card, dict) or set(card) != set(CARD_TYPES):
        raise DataError(f"{folder.name}/{CARD}: expected the keys {', '.join(CARD_TYPES)}")
    wrong = [key for key, expected in CARD_TYPES.items() if not isinstance(card[key], expected)]
    if wrong:
        raise DataError(f"{folder.name}/{CARD}: {wrong[0]} has the wrong type, found {card[wrong[0]]!r}")
    if not card["classes"] or [c for c in CLASSES if c in card["classes"]] != card["classes"]:
        raise DataError(f"{folder.name}/{CARD}: classes: expected some of {list(CLASSES)} in order, found {card['classes']}")
    return card


def check_training(x, y, weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The training set as contiguous float64[n, k], int64[n] and float64[n] of mean 1; DataError naming the first bad row."""
    x, y = np.ascontiguousarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    if x.ndim != 2 or not len(x) or not x.shape[1] or y.shape != (len(x),) or weight.shape != (len(x),):
        raise DataError(f"training: expected x[n, k], y[n], weight[n] with n and k above 0, found {x.shape}, {y.shape}, {weight.shape}")
    sound = {"features": np.isfinite(x).all(axis=1), "label": np.isin(y, CLASSES), "weight": np.isfinite(weight) & (weight > 0)}
    for name, good in sound.items():
        if not good.all():
            raise DataError(f"training: {name} of row {int(np.argmin(good))} is not usable; leave such rows out")
    return x, y.astype(np.int64), weight / weight.mean()
