"""New rows meet the stored ones: what is added, what its own source gives otherwise by now, what another source disputes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.market.passport import COMPARED, REPAIRED, REVISED

SHOWN = 5  # examples a revision names
SAME = 1e-9  # relative difference up to which two sources agree: sums of decimals differ in their last bits


@dataclass(frozen=True)
class Merged:
    """What came of a merge: the months written, and rows added, revised (same source) and disputed (another source)."""

    months: tuple[str, ...]
    added: int
    revised: int
    disputed: int


def revise(old: pd.DataFrame, new: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[dict]]:
    """(rows, events): at every time that `new` has, its rows stand, for they come from the same source as `old`."""
    changed = _differing(old, new, 0.0)
    late = new.index[~new.index.isin(old.index) & (new.index < old.index[-1])]
    rows = _filled(_joined(old[~old.index.isin(new.index)], new), old)
    return rows, _revised(old, new, changed, source) + _repaired(late, source)


def compare(old: pd.DataFrame, new: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[dict]]:
    """(rows, events): what `old` holds stands, `new`, from another source, adds what was absent, rows or single numbers; where both speak
    they are compared."""
    absent = ~new.index.isin(old.index)
    rows = _filled(_joined(old, new[absent]), new)
    return rows, _repaired(new.index[absent], source) + _completed(old, rows, source) + _compared(old, new[~absent], source)


def is_told(event: dict, history: list[dict]) -> bool:
    """Whether the same comparison, of the same span with the same source, is the last that was made of it."""
    same = ("act", "source", "first", "last")
    before = [told for told in history if event["act"] == COMPARED and all(told[name] == event[name] for name in same)]
    return bool(before) and event.items() <= before[-1].items()


def replace(old: pd.DataFrame, new: pd.DataFrame, source: str) -> list[dict]:
    """The event of a month that its owner puts in the place of another; none where they are the same."""
    same = list(old.columns) == list(new.columns) and old.equals(new)
    return [] if same else [_event(REVISED, source, new.index) | {"examples": []}]


def _joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    parts = [part for part in (first, second) if len(part)]
    return pd.concat(parts).sort_index(kind="stable")


def _filled(rows: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the columns that only `other` has: its values at the same times, NaN elsewhere. No number is made up."""
    known = other[~other.index.duplicated(keep="last")]
    for name in other.columns:
        if name not in rows or rows[name].isna().any():
            there = known[name].reindex(rows.index)
            rows[name] = there if name not in rows else rows[name].where(rows[name].notna(), there)
    return rows


def _differing(old: pd.DataFrame, new: pd.DataFrame, tolerance: float) -> pd.DatetimeIndex:
    """Times both have, whose last rows differ in a column both have, or which one of them has more often."""
    shared = [name for name in old.columns if name in new]
    ours, theirs = (_last(table[shared]) for table in (old, new))
    times = ours.index.intersection(theirs.index)
    a, b = ours.loc[times].to_numpy(float), theirs.loc[times].to_numpy(float)
    unknown = np.isnan(a) & np.isnan(b) if tolerance == 0 else np.isnan(a) | np.isnan(b)
    with np.errstate(invalid="ignore"):
        differs = ~((np.abs(a - b) <= tolerance * np.abs(a)) | unknown).all(axis=1)
    counts = [table.index.value_counts().reindex(times).to_numpy() for table in (old, new)]
    return times[differs | ((counts[0] != counts[1]) & (tolerance == 0))]


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table.index.duplicated(keep="last")]


def _event(act: str, source: str, times: pd.DatetimeIndex) -> dict:
    first, last = schema.epoch_ms(times[[0, -1]])
    return {"act": act, "source": source, "rows": len(times), "first": schema.iso(first), "last": schema.iso(last)}


def _repaired(times: pd.DatetimeIndex, source: str) -> list[dict]:
    return [_event(REPAIRED, source, times)] if len(times) else []


def _completed(old: pd.DataFrame, rows: pd.DataFrame, source: str) -> list[dict]:
    """Numbers that stored rows lacked and have now."""
    before, now = old.reindex(columns=rows.columns), rows[rows.index.isin(old.index)]
    came = before.isna().to_numpy() & now.notna().to_numpy()
    columns = [name for name, any_ in zip(rows.columns, came.any(axis=0)) if any_]
    return [_event(REPAIRED, source, now.index[came.any(axis=1)]) | {"columns": columns}] if columns else []


def _revised(old: pd.DataFrame, new: pd.DataFrame, times: pd.DatetimeIndex, source: str) -> list[dict]:
    if not len(times):
        return []
    ours, theirs = _last(old), _last(new)
    examples = [
        {"time": schema.iso(time), "column": name, "was": _number(ours[name][at]), "now": _number(theirs[name][at])}
        for at, time in zip(times[:SHOWN], schema.epoch_ms(times[:SHOWN]))
        for name in ours.columns
        if name in theirs and ours[name][at] != theirs[name][at]
    ]
    return [_event(REVISED, source, times) | {"examples": examples[:SHOWN]}]


def _compared(old: pd.DataFrame, new: pd.DataFrame, source: str) -> list[dict]:
    if new.empty:
        return []
    times = _differing(old, new, SAME)
    ours, theirs = _last(old).loc[times], _last(new).loc[times]
    prices = [name for name in ours.columns if name in theirs and name in schema.REQUIRED[:4]]
    apart = (theirs[prices] / ours[prices] - 1).abs().to_numpy()
    largest = _number(np.nanmax(apart)) if apart.size and not np.isnan(apart).all() else 0.0
    told = {"differ": len(times), "largest": largest, "times": [schema.iso(ms) for ms in schema.epoch_ms(times)]}
    return [_event(COMPARED, source, new.index) | told]


def _number(value: float) -> float | None:
    """As JSON writes it: None for what is not a number."""
    return float(value) if np.isfinite(value) else None
