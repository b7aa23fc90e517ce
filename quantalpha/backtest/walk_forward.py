"""Out-of-sample forecasts: train on the past, forecast what follows, move on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest.result import Result
from quantalpha.backtest.rows import Fit, Rows
from quantalpha.backtest.simulate import simulate
from quantalpha.errors import DataError
from quantalpha.files import read_parquet
from quantalpha.models import CLASSES, PROBABILITIES, Model
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy import HysteresisPolicy, edge
from quantalpha.validation import brier_score, class_scores, information_coefficient, log_loss

FORECASTS, FOLDS, CHOSEN = "forecasts.parquet", "folds.json", "chosen.json"
SCORES = ("accuracy", "f1", "log_loss", "brier", "information_coefficient")


@dataclass(frozen=True)
class WalkForward:
    """forecasts: p_down p_flat p_up fold on the decision times of all test blocks; NaN where features are missing: no position.
    folds: one dict each of times (ISO), sizes and out-of-sample scores on the finished labels.
    chosen: hyper-parameters searched for each fold and, last, for the final model; empty: nothing was searched."""

    forecasts: pd.DataFrame
    folds: list[dict]
    chosen: Sequence[dict] = ()

    @property
    def edge(self) -> pd.Series:
        """P(up) - P(down) per decision time."""
        return pd.Series(edge(self.forecasts[list(PROBABILITIES)].to_numpy()), index=self.forecasts.index, name="edge")

    def save(self, folder: Path) -> list[str]:
        """Write into `folder` and name the files."""
        self.forecasts.to_parquet(Path(folder) / FORECASTS)
        lists = {FOLDS: self.folds} | ({CHOSEN: list(self.chosen)} if self.chosen else {})
        for name, rows in lists.items():
            (Path(folder) / name).write_text(json.dumps(rows, indent=1) + "\n")
        return [FORECASTS, *lists]

    @classmethod
    def load(cls, folder: Path) -> "WalkForward":
        """What `save` wrote; DataError naming a missing or unreadable file."""
        try:
            folds, path = json.loads((Path(folder) / FOLDS).read_bytes()), Path(folder) / CHOSEN
            chosen = json.loads(path.read_bytes()) if path.exists() else ()
            return cls(read_parquet(Path(folder) / FORECASTS), folds, chosen)
        except FileNotFoundError as error:
            raise DataError(f"{Path(folder).name}: {Path(error.filename).name} is missing; run the training stage") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{Path(folder).name}: forecasts cannot be read: {error}") from None


def walk_forward_forecasts(
    features: pd.DataFrame, labels: pd.DataFrame, splits: config.Splits, fit: Fit | Sequence[Fit], *, decay: float = 1.0
) -> WalkForward:
    """Forecast every test block with a model fitted on the rows before it.

    fit: one for all, or one for each fold and the last for the final model, where each has hyper-parameters of its own (`model_search`).

    features, labels: as FeatureSet.compute and `labels.label` give them, on the same index. Training takes rows with complete features and
    a label that ended before the test begins; a test row needs neither (live, no label is finished). They weigh their `weight` (uniqueness
    in a table without that column) times `time_decay` to `decay` over the training rows of the fold.
    """
    rows = Rows(features, labels, decay)
    found = list(rows.folds(splits))
    fits = [fit] * (len(found) + 1) if callable(fit) else fit
    if len(fits) != len(found) + 1:
        raise DataError(f"walk-forward: expected a fit for each of {len(found)} folds and the final model, found {len(fits)}; search again")
    blocks, folds = [], []
    for number, fold in enumerate(found):
        model, train = rows.fit(fold.train, fits[number], f"walk-forward: fold {number}")
        block, scores = forecast_block(rows, model, train, fold.test, number)
        blocks.append(block)
        folds.append(scores)
    return WalkForward(pd.concat(blocks), folds)


def final_model(
    features: pd.DataFrame, labels: pd.DataFrame, splits: config.Splits, fit: Fit | Sequence[Fit], *, decay: float = 1.0
) -> Model:
    """The model to go live with: fitted as in a fold, on the last `splits.train` rows (expanding: all) that no later bar gives a label.

    fit: as for `walk_forward_forecasts`; of several the last.
    """
    rows = Rows(features, labels, decay)
    return rows.fit(rows.final(splits), fit if callable(fit) else fit[-1], "final model")[0]


def backtest_forecasts(
    bars: pd.DataFrame, forecasts: WalkForward, policy: HysteresisPolicy, *, account: Account, costs: Costs, stops: Stops | None = None
) -> Result:
    """The account that follows the policy through the test blocks, and only through them."""
    return simulate(span(bars, forecasts.forecasts.index), policy.targets(forecasts.edge), account=account, costs=costs, stops=stops)


def span(bars: pd.DataFrame, index: pd.DatetimeIndex) -> pd.DataFrame:
    """The bars from the first to the last of `index`."""
    missing = index.difference(bars.index)
    if len(missing) or not len(index):
        found = missing[0] if len(missing) else "no time at all"
        raise DataError(f"forecasts: expected times of bars, found {found}; give the bars they were made from")
    return bars.loc[index[0] : index[-1]]


def forecast_block(rows: Rows, model: Model, train: np.ndarray, test: np.ndarray, fold: int) -> tuple[pd.DataFrame, dict]:
    """Forecasts of the rows `test` by a model fitted on the rows `train`, and one of the dicts of `WalkForward.folds`."""
    probabilities = model.predict(rows.x[test])
    block = pd.DataFrame(probabilities, index=rows.index[test], columns=list(PROBABILITIES)).assign(fold=fold)
    times = {"train_start": train[0], "train_end": train[-1], "test_start": test[0], "test_end": test[-1]}
    scores = {"fold": fold} | {name: rows.index[row].isoformat() for name, row in times.items()}
    scores |= {"n_train": len(train), "n_test": len(test)}
    return block, scores | forecast_scores(rows.labels.iloc[test], probabilities)


def forecast_scores(labels: pd.DataFrame, probabilities: np.ndarray) -> dict[str, float | None]:
    """Of finished labels: accuracy of the likeliest class, its macro F1, log loss, Brier score, rank correlation of edge and return; None
    if undefined.

    labels: columns label and ret, n rows; probabilities: float64[n, 3] of CLASSES.
    """
    label, ret = labels["label"].to_numpy(float), labels["ret"].to_numpy(float)
    judged = np.isfinite(label) & np.isfinite(probabilities).all(axis=1)
    if not judged.any():
        return dict.fromkeys(SCORES)
    chance, label = probabilities[judged], label[judged]
    correlation = information_coefficient(edge(chance), ret[judged])
    found = (
        float((np.array(CLASSES)[chance.argmax(axis=1)] == label).mean()),
        float(class_scores(label, chance).loc["macro", "f1"]),
        log_loss(label, chance),
        brier_score(label, chance),
        correlation if np.isfinite(correlation) else None,
    )
    return dict(zip(SCORES, found))
