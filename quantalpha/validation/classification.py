"""How good class forecasts are: P(down), P(flat), P(up) against what came."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError

CLASSES = (-1, 0, 1)
NAMES = ("down", "flat", "up")


def class_scores(label, probability) -> pd.DataFrame:
    """DataFrame[precision, recall, f1, brier, support] with rows down, flat, up and macro.

    `label` is [n] of -1, 0, 1; `probability` [n, 3] in that order. The forecast class is the most probable one. `brier` is the mean
    squared error of the class's probability (0 is perfect); scores without a forecast or without a case are NaN. `macro` is the plain mean
    of the three, in which what is undefined counts 0: a class that is never forecast does not raise it. Its support is that of all.
    """
    truth, chance = one_hot(label, probability)
    hit, said = truth == 1, np.eye(3)[chance.argmax(axis=1)] == 1
    right, forecasts, cases = (hit & said).sum(axis=0), said.sum(axis=0), hit.sum(axis=0)
    table = {
        "precision": _share(right, forecasts),
        "recall": _share(right, cases),
        "f1": _share(2 * right, forecasts + cases),
        "brier": ((chance - truth) ** 2).mean(axis=0),
        "support": cases,
    }
    classes = pd.DataFrame(table, index=pd.Index(NAMES, name="class"))
    macro = classes.fillna(0.0).mean().rename("macro").to_frame().T
    return pd.concat([classes, macro.assign(support=cases.sum())]).rename_axis("class")


def confusion(label, probability) -> pd.DataFrame:
    """Counts: rows the class that came, columns the most probable one. Of rows with a finished label and a forecast, as in `judged`."""
    truth, chance = judged(label, probability)
    said = np.eye(3)[chance.argmax(axis=1)]
    return pd.DataFrame((truth.T @ said).astype(int), pd.Index(NAMES, name="came"), pd.Index(NAMES, name="forecast"))


def log_loss(label, probability) -> float:
    """Mean of -log(probability given to the class that came), in nats: log 3 = 1.0986 for a forecast that knows nothing."""
    return float(log_losses(label, probability).mean())


def log_losses(label, probability) -> np.ndarray:
    """float64[n]: -log(probability given to the class that came) of each row, in nats."""
    truth, chance = one_hot(label, probability)
    return -np.log(np.clip((truth * chance).sum(axis=1), np.finfo(float).eps, 1.0))


def direction_loss(label, probability) -> float:
    """`log_loss` of up against down where one of them came: log 2 = 0.6931 for a forecast that knows no direction. DataError where none."""
    truth, chance = one_hot(label, probability)
    came = truth[:, 1] == 0
    if not came.any():
        raise DataError("direction_loss: expected labels of -1 or 1 among them, found only 0; score more rows")
    down, up = np.clip(chance[came][:, [0, 2]].T, np.finfo(float).eps, 1.0)
    return float(-np.log(np.where(truth[came, 2] == 1, up, down) / (up + down)).mean())


def judged(label, probability) -> tuple[np.ndarray, np.ndarray]:
    """`one_hot` of the rows whose label is finished and which have a forecast: neither is NaN. DataError where there is none."""
    label, chance = np.asarray(label, dtype=float), np.asarray(probability, dtype=float)
    if label.ndim != 1 or chance.shape != (label.size, 3):
        raise DataError(f"classification: expected labels [n] and probabilities [n, 3], found {label.shape} and {chance.shape}")
    rows = ~np.isnan(label) & ~np.isnan(chance).any(axis=1)
    if not rows.any():
        raise DataError(f"classification: none of {label.size} rows has a finished label and a forecast; score more bars")
    return one_hot(label[rows], chance[rows])


def _share(part, whole):
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def one_hot(label, probability) -> tuple[np.ndarray, np.ndarray]:
    """(truth as 0 or 1 by class, probabilities), both float64[n, 3]; DataError where labels or probabilities are none."""
    label, chance = np.asarray(label, dtype=float), np.asarray(probability, dtype=float)
    if not label.size or chance.shape != (label.size, 3) or not np.isin(label, CLASSES).all():
        raise DataError(f"classification: expected labels -1, 0, 1 and probabilities [n, 3], found {label.shape} and {chance.shape}")
    if not (np.isfinite(chance).all() and (chance >= 0).all() and np.allclose(chance.sum(axis=1), 1, atol=1e-6)):
        raise DataError("classification: each row of probabilities must be finite, not negative and sum to 1")
    return (label[:, None] == np.array(CLASSES)).astype(float), chance
