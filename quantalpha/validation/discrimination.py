"""Can the forecasts tell the classes apart? Each class against the other two, at every threshold. The one door of scikit-learn.

labels and probabilities as in `classification.judged`: rows without either are left out. A class that never or always came has no curve.
"""

import numpy as np
import pandas as pd

from quantalpha.validation.classification import NAMES, judged


def roc_curves(labels, probabilities) -> pd.DataFrame:
    """DataFrame[class, false_positive_rate, true_positive_rate], from (0, 0) to (1, 1); the diagonal knows nothing."""
    from sklearn.metrics import roc_curve

    return _curves(labels, probabilities, ("false_positive_rate", "true_positive_rate"), roc_curve)


def precision_recall_curves(labels, probabilities) -> pd.DataFrame:
    """DataFrame[class, recall, precision], by falling recall; a forecast that knows nothing has the class's frequency as its precision."""
    from sklearn.metrics import precision_recall_curve

    return _curves(labels, probabilities, ("recall", "precision"), lambda came, said: precision_recall_curve(came, said)[1::-1])


def areas(labels, probabilities) -> pd.DataFrame:
    """DataFrame[roc_auc, average_precision, frequency] with rows down, flat, up; NaN for a class that never or always came.

    roc_auc: chance that a row of the class has the higher probability of two, one of each kind; 0.5 knows nothing. average_precision: the
    area under the precision-recall curve as a sum of steps; `frequency` knows nothing.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, chance = judged(labels, probabilities)
    table = pd.DataFrame({"roc_auc": np.nan, "average_precision": np.nan, "frequency": truth.mean(axis=0)}, pd.Index(NAMES, name="class"))
    for k, name in _both(truth):
        table.loc[name, "roc_auc"] = roc_auc_score(truth[:, k], chance[:, k])
        table.loc[name, "average_precision"] = average_precision_score(truth[:, k], chance[:, k])
    return table


def _curves(labels, probabilities, columns: tuple[str, str], curve) -> pd.DataFrame:
    truth, chance = judged(labels, probabilities)
    found = {name: pd.DataFrame(dict(zip(columns, curve(truth[:, k], chance[:, k])))) for k, name in _both(truth)}
    if not found:
        return pd.DataFrame(columns=["class", *columns])
    return pd.concat(found, names=["class"]).reset_index("class").reset_index(drop=True)


def _both(truth: np.ndarray) -> list[tuple[int, str]]:
    """Number and name of the classes that came, and did not always come."""
    share = truth.mean(axis=0)
    return [(k, name) for k, name in enumerate(NAMES) if 0 < share[k] < 1]
