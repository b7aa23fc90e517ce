"""The tries that a chosen one was chosen from: what the best of them shows by luck is what the chosen one must exceed."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.errors import DataError
from quantalpha.validation.trials import Trials, Try

ROLE, TRAIN, FORECAST = "role", "train", "forecast"  # of a try, in its context: scored inside a training window; not traded
COMMON = 0.5  # of the chosen one's days that all tries which are compared day by day must share
IDEA = ["strategy", "params", "code"]


@dataclass(frozen=True, eq=False)
class Family:
    """returns: DataFrame[UTC day, key] of the chosen one and of all that are compared with it, on the days of all of them. unseen: tries
    scored on some of its days, of whose returns on them too little is known."""

    chosen: str
    returns: pd.DataFrame
    unseen: int


def family(own: Try, trials: Trials) -> Family:
    """The tries that compete with `own`: those of its study, and of the one under which it was first made.

    A try inside a training window does not: what was chosen there is judged on other days, by the try that the walk-forward itself is.
    Nor does one that was later made again on the same bars and more after them, nor a forecast that some try has traded; one that none has
    is known by number only. DataError where the ledger lacks `own`, or has other returns for it.
    """
    days = _days(own, trials)
    studies = dict.fromkeys([own.study, *trials.frame(key=own.key)["study"]])
    table = pd.concat([trials.frame(study=name) for name in studies]).set_index("key")
    spans = pd.concat([trials.spans(study=name) for name in studies])
    role = table["context"].map(lambda context: context.get(ROLE))
    gone = _continued(table, spans) | (role == TRAIN) | _traded(table, role)
    gone[own.key] = False
    returns = pd.concat([trials.returns(days, study=name) for name in studies], axis=1).reindex(columns=table.index[~gone])
    shared = returns.notna().sum()
    known = shared.index.isin(spans.index)
    compared, common = [own.key], np.ones(len(days), dtype=bool)
    for name in shared.drop(own.key).sort_values(ascending=False, kind="stable").index:
        both = common & returns[name].notna().to_numpy()
        if both.sum() >= COMMON * len(days):
            compared, common = [*compared, name], both
    unseen = int((~known | (shared > 0)).sum()) - len(compared)
    return Family(own.key, returns.loc[common, compared], unseen)


def _days(own: Try, trials: Trials) -> pd.DatetimeIndex:
    """The chosen one's days, its stored returns being those that were just found."""
    days = trials.days(own.key)
    stored = trials.returns(days, key=own.key)[own.key]
    found = own.returns.set_axis(own.returns.index.as_unit("ms")).reindex(days, fill_value=0.0)
    if len(own.returns.index.difference(days)) or not np.allclose(stored, found, rtol=1e-9, atol=1e-12):
        raise DataError(f"ledger of tries: try {own.key[:12]} has other returns there than come out now; the ledger was altered")
    return days


def _continued(table: pd.DataFrame, spans: pd.DataFrame) -> pd.Series:
    """bool[tries]: made again, the same idea from the same first day on, to a later last day."""
    ideas = table[IDEA].map(lambda value: json.dumps(value, sort_keys=True)).agg("\0".join, axis=1)
    begun = spans.reindex(table.index).assign(idea=ideas)
    return begun["last"] < begun.groupby(["idea", "first"])["last"].transform("max")


def _traded(table: pd.DataFrame, role: pd.Series) -> pd.Series:
    """bool[tries]: a forecast that a try has traded, or that was scored more than once."""
    forecast, terms = role == FORECAST, table["terms"]
    return forecast & (terms.isin(set(terms[~forecast])) | terms.where(forecast).duplicated())
