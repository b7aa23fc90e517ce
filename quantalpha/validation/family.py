"""The tries that a chosen one was chosen from: what the best of them shows by luck is what the chosen one must exceed."""

import json
from dataclasses import dataclass

import pandas as pd

from quantalpha.validation.trials import Trials

ROLE, TRAIN, FORECAST = "role", "train", "forecast"  # of a try, in its context: scored inside a training window; not traded
SHARED = 0.9  # of the chosen one's days that a try must have been scored on to be compared with it day by day
IDEA = ["strategy", "params", "code"]  # the same idea on newer data is no new one


@dataclass(frozen=True, eq=False)
class Family:
    """Tries of one study, as seen from a chosen one."""

    chosen: str  # key
    returns: pd.DataFrame  # [UTC day, key] of the chosen one and all that share its days, but for a few; on the days of all of them
    unseen: int  # tries scored on some of its days, of whose returns on them too little is known
    trained: int  # tries inside training windows: what was chosen there is judged on other days
    elsewhere: int  # tries on other days only


def family(key: str, trials: Trials, study: str) -> Family:
    """The tries of `study`, and of that under which it was first made, that compete with the one of `key`.

    Of an idea that was scored again on newer data only the data with most of the chosen one's days count. A forecast that was scored but
    never traded counts as unseen. DataError where the chosen one has no returns.
    """
    days, studies = trials.days(key), dict.fromkeys([study, *trials.frame(key=key)["study"]])
    table = pd.concat([trials.frame(study=name) for name in studies]).set_index("key")
    role = table["context"].map(lambda context: context.get(ROLE))
    returns = pd.concat([trials.returns(days, study=name) for name in studies], axis=1)
    shared = returns.notna().mean().reindex(table.index)  # NaN: nothing is known
    shared[key] = 2.0  # its own data come first
    competing = table[(role != TRAIN) & ~_traded_later(table, role)]
    kept = shared[_newest(competing.assign(shared=shared))]
    compared = kept.index[kept >= SHARED]
    elsewhere = int((kept == 0).sum())
    return Family(key, returns[compared].dropna(), len(kept) - len(compared) - elsewhere, int((role == TRAIN).sum()), elsewhere)


def _traded_later(table: pd.DataFrame, role: pd.Series) -> pd.Series:
    """bool[tries]: a forecast that some other try has traded."""
    traded = set(table.loc[role != FORECAST, "terms"])
    return (role == FORECAST) & table["terms"].isin(traded)


def _newest(table: pd.DataFrame) -> pd.Index:
    """The keys of the tries on, for each idea, the data that share most days."""
    ideas = table[IDEA].map(lambda value: json.dumps(value, sort_keys=True)).agg("\0".join, axis=1)
    best = table.sort_values("shared", ascending=False, kind="stable").groupby(ideas)["data"].first()
    return table.index[table["data"] == ideas.map(best)]
