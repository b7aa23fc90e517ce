"""Gradient-boosted trees behind one face: LightGBM and XGBoost, one thread, the same bytes for the same seed.

The only file that imports lightgbm or xgboost, and only when a model is used.
"""

import ctypes
import hashlib
import json
import threading
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from quantalpha.config import Boosting
from quantalpha.errors import DataError
from quantalpha.models.base import CARD, CLASSES, check_training


class BoostedTrees:
    """What both libraries share: classes, NaN rows, files. `text` is the library's own format; the booster is always read back from it."""

    kind: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, params: Boosting | None = None, seed: int = 0):
        self.params, self.seed = params, seed
        self.classes: list[int] = []
        self.features = 0
        self.text: bytes | None = None  # None: one class only, nothing to learn
        self._booster: Any = None

    def fit(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> "BoostedTrees":
        x, y, weight = check_training(x, y, weight)
        present, codes = np.unique(y, return_inverse=True)
        self.classes, self.features = present.tolist(), x.shape[1]
        self.text = self._train(x, codes, weight) if len(present) > 1 else None
        self._booster = self._parse(self.text) if self.text is not None else None
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.features or not self.classes:
            raise DataError(f"{self.kind}: expected x[n, {self.features}] as in training, found {x.shape}")
        usable = np.isfinite(x).all(axis=1)
        if usable.all():
            return self._forecasts(x)
        out = np.full((len(x), len(CLASSES)), np.nan)
        out[usable] = self._forecasts(x[usable])
        return out

    def _forecasts(self, x: np.ndarray) -> np.ndarray:
        """float64[n, 3] of rows that are all finite."""
        out = np.zeros((len(x), len(CLASSES)))
        if len(x):
            out[:, [CLASSES.index(c) for c in self.classes]] = self._score(x) if self._booster is not None else 1.0
        return out

    def contributions(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each feature adds to the raw score of each class, and the score without any: float64[n, k, 3] and float64[3].

        Exact Shapley values of the trees (Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
        2020). Along k they sum to the raw score less the bias, and a softmax of raw scores is the forecast. 0, and a bias of -inf, for a
        class absent from training. x: finite. Thirty to a hundred times as slow as `predict`.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.features or not self.classes or not np.isfinite(x).all():
            raise DataError(f"{self.kind}: expected finite x[n, {self.features}] as in training, found {x.shape}")
        columns = [CLASSES.index(c) for c in self.classes]
        parts, bias = np.zeros((len(x), self.features, len(CLASSES))), np.full(len(CLASSES), -np.inf)
        bias[columns] = 0.0
        if self._booster is not None and len(x):
            found = self._explain(x)
            parts[:, :, columns], bias[columns] = found[:, :-1], found[0, -1]
        return parts, bias

    def save(self, folder: Path) -> list[str]:
        if not self.classes:
            raise DataError(f"{self.kind}: nothing to save before fit")
        card = {"kind": self.kind, "classes": self.classes, "features": self.features, "file": None, "sha256": None}
        if self.text is not None:
            (Path(folder) / self.file).write_bytes(self.text)
            card |= {"file": self.file, "sha256": hashlib.sha256(self.text).hexdigest()}
        (Path(folder) / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
        return [CARD] if self.text is None else [CARD, self.file]

    @classmethod
    def restore(cls, folder: Path, card: dict) -> "BoostedTrees":
        """The model a card describes. The hash is checked before the library's parser sees a byte."""
        model = cls()
        model.classes, model.features = card["classes"], card["features"]
        if (card["file"] is None) != (len(card["classes"]) == 1) or card["file"] not in (None, cls.file):
            raise DataError(f"{folder.name}/{CARD}: file: expected {cls.file!r}, found {card['file']!r}")
        if card["file"] is not None:
            model.text = _read(folder / cls.file, card["sha256"])
            model._booster = model._parse(model.text)
            model._check_shape(folder)
        return model

    def _check_shape(self, folder: Path):
        found = self._shape()
        if found != (self.features, len(self.classes)):
            expected = f"expected {self.features} features and {len(self.classes)} classes"
            raise DataError(f"{folder.name}/{self.file}: {expected}, found {found[0]} and {found[1]}")

    def _train(self, x: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> bytes:
        """The library's model text; codes count the present classes from 0."""
        raise NotImplementedError

    def _parse(self, text: bytes):
        raise NotImplementedError

    def _score(self, x: np.ndarray) -> np.ndarray:
        """float64[n, present classes]"""
        raise NotImplementedError

    def _explain(self, x: np.ndarray) -> np.ndarray:
        """float64[n, features + 1, present classes]: contributions, and last the bias, the same for all rows."""
        raise NotImplementedError

    def _shape(self) -> tuple[int, int]:
        """Features and classes the booster was trained on."""
        raise NotImplementedError


class LightGBM(BoostedTrees):
    kind = "lightgbm"
    file = "trees.txt"
    _one_row: "_OneRow | None" = None

    def __getstate__(self) -> dict:
        """Without what belongs to this process."""
        return self.__dict__ | {"_one_row": None}

    def _train(self, x, codes, weight):
        import lightgbm

        p = self.params
        settings = {
            "objective": "multiclass", "num_class": int(codes.max()) + 1, "learning_rate": p.learning_rate, "num_leaves": p.leaves,
            "min_data_in_leaf": p.min_rows_per_leaf, "bagging_fraction": p.row_fraction, "bagging_freq": 1,
            "feature_fraction": p.column_fraction, "lambda_l2": p.l2, "seed": self.seed, "deterministic": True,
            "force_row_wise": True, "num_threads": 1, "verbosity": -1,
        }  # fmt: skip
        data = lightgbm.Dataset(x, codes, weight=weight, params={"verbosity": -1})
        return lightgbm.train(settings, data, num_boost_round=p.trees).model_to_string().encode()

    def _parse(self, text):
        import lightgbm

        try:
            return lightgbm.Booster(model_str=text.decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise DataError(f"{self.file}: not a LightGBM model: {error}") from None

    def _score(self, x):
        if len(x) > 1:
            return self._booster.predict(x, num_threads=1)
        if self._one_row is None or self._one_row.booster is not self._booster:
            self._one_row = _OneRow(self._booster, len(self.classes))
        return self._one_row(x)

    def _explain(self, x):
        found = self._booster.predict(x, pred_contrib=True, num_threads=1)
        return found.reshape(len(x), len(self.classes), self.features + 1).transpose(0, 2, 1)

    def _shape(self):
        return self._booster.num_feature(), self._booster.num_model_per_iteration()


class _OneRow:
    """LightGBM's own way for one row (its C API, LGBM_BoosterPredictForMatSingleRowFast): what `predict` looks up at every call is looked
    up once, and the trees are all that is left. The same bits in a third of the time."""

    def __init__(self, booster, classes: int):
        from lightgbm.basic import _C_API_DTYPE_FLOAT64, _C_API_PREDICT_NORMAL, _LIB, _safe_call

        self._alone = threading.Lock()  # one row at a time has room, and the library lets other threads run
        self.booster, self._check, self._call = booster, _safe_call, _LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._row, self._out, self._settings = np.empty(booster.num_feature()), np.empty(classes), ctypes.c_void_p()
        trees = ctypes.c_int(0), ctypes.c_int(-1)  # all of them
        form = ctypes.c_int(_C_API_DTYPE_FLOAT64), ctypes.c_int32(len(self._row)), b"num_threads=1"
        kind, found = ctypes.c_int(_C_API_PREDICT_NORMAL), ctypes.byref(self._settings)
        _safe_call(_LIB.LGBM_BoosterPredictForMatSingleRowFastInit(booster._handle, kind, *trees, *form, found))
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, self._settings)
        where = ctypes.c_void_p(self._row.ctypes.data), ctypes.byref(ctypes.c_int64())
        self._where = (self._settings, *where, self._out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: float64[1, features]; float64[1, classes]."""
        with self._alone:
            self._row[:] = x[0]
            self._check(self._call(*self._where))
            return self._out[None].copy()


class XGBoost(BoostedTrees):
    kind = "xgboost"
    file = "trees.json"

    def _train(self, x, codes, weight):
        import xgboost

        p, n = self.params, int(codes.max()) + 1
        hessian = 2 * (n - 1) / n**2  # of one row of the softmax before the first tree: turns rows per leaf into min_child_weight
        settings = {
            "objective": "multi:softprob", "num_class": n, "learning_rate": p.learning_rate, "tree_method": "hist",
            "grow_policy": "lossguide", "max_leaves": p.leaves, "max_depth": 0, "min_child_weight": p.min_rows_per_leaf * hessian,
            "subsample": p.row_fraction, "colsample_bytree": p.column_fraction, "reg_lambda": p.l2, "seed": self.seed,
            "nthread": 1, "verbosity": 0,
        }  # fmt: skip
        data = xgboost.DMatrix(x, codes, weight=weight, nthread=1)
        return bytes(xgboost.train(settings, data, num_boost_round=p.trees).save_raw("json"))

    def _parse(self, text):
        import xgboost

        try:
            booster = xgboost.Booster(model_file=bytearray(text))
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise DataError(f"{self.file}: not an XGBoost model: {str(error).splitlines()[0]}") from None
        booster.set_param({"nthread": 1, "verbosity": 0})
        return booster

    def _score(self, x):
        return self._booster.inplace_predict(x, validate_features=False).astype(np.float64)

    def _explain(self, x):
        import xgboost

        found = self._booster.predict(xgboost.DMatrix(x, nthread=1), pred_contribs=True, strict_shape=True)
        return found.astype(np.float64).transpose(0, 2, 1)

    def _shape(self):
        return self._booster.num_features(), int(json.loads(self._booster.save_config())["learner"]["learner_model_param"]["num_class"])


def _read(path: Path, sha256: str) -> bytes:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path.parent.name}: {path.name} is missing; save the model again") from None
    if hashlib.sha256(text).hexdigest() != sha256:
        raise DataError(f"{path.parent.name}/{path.name}: altered or cut short since it was saved (sha256 differs)")
    return text
