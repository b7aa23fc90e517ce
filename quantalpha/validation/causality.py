"""Proof that nothing looks ahead: the real code is run again with the future hidden or replaced, and the past must not change."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # tolerated rounding: of the value, and of the column's largest value
REACH = 32  # how many rows before a disturbed bar are searched for suspects
HOW_TO_FIX = (
    "a row may use only itself and earlier rows: look for shift(-n), centred windows, backfill, and means, scalers or quantiles of the "
    "whole series; use trailing windows, or fit on the past only"
)


@dataclass(frozen=True)
class LeakReport:
    """`columns` has one row per column: name, leaks (bool), first_cut (open time of the first hidden bar in the earliest proof, else NaT),
    max_diff (largest change of a row before the cut; inf where a number came or went)."""

    clean: bool
    columns: pd.DataFrame

    def __str__(self) -> str:
        guilty = self.columns[self.columns.leaks]
        if self.clean:
            return f"causal: none of {len(self.columns)} columns changed when later bars were hidden or replaced"
        lines = [f"  {row.name}: rows before {row.first_cut} changed by up to {row.max_diff:.3g}" for row in guilty.itertuples()]
        return "\n".join([f"{len(guilty)} of {len(self.columns)} columns look ahead:", *lines, HOW_TO_FIX])


def check_causal(compute: Callable[[pd.DataFrame], pd.DataFrame], bars: pd.DataFrame, *, cuts: int = 20, seed: int = 0) -> LeakReport:
    """Runs `compute` (bars -> DataFrame of numbers on the bars' index) on many altered pasts and compares all rows before each cut.

    At each cut the bars from it on are hidden, then replaced by a different future of the same length. Cuts: the last rows, the first
    after warm-up, both sides of the most extreme bars, gaps and missing values, `cuts` random ones, and those that `cuts` runs with
    single bars disturbed all along the series make suspect, so that a leak in few rows is found too. Costs some 6 * cuts runs.
    A `compute` that is not deterministic is reported as leaking.
    """
    if cuts < 1:
        raise UsageError(f"check_causal: cuts must be at least 1, found {cuts}")
    rng = np.random.default_rng(seed)
    trial = _Trial(compute, bars)
    for cut in trial.places(cuts, rng):
        trial.cut(cut, rng)
    for cut in trial.suspects(cuts, rng):
        trial.cut(cut, rng)
    return trial.report()


class _Trial:
    """The untouched result and what the cuts so far have shown, per column."""

    def __init__(self, compute, bars: pd.DataFrame):
        self.compute, self.bars = compute, bars
        if len(bars) < 3:
            raise DataError(f"check_causal: expected at least 3 bars, found {len(bars)}")
        self.full = _numbers(compute(bars), bars.index)
        self.values = self.full.to_numpy()
        known = ~np.isnan(self.values)
        if not known.any(axis=0).all():
            empty = self.full.columns[~known.any(axis=0)][0]
            raise DataError(f"check_causal: column {empty!r} has no value in {len(bars)} bars, nothing can be shown; pass a longer history")
        self.warm_up = int(known.argmax(axis=0).max())
        self.slack = ABSOLUTE * np.nanmax(np.where(np.isfinite(self.values), np.abs(self.values), 0.0), axis=0)
        self.first_cut = np.full(self.values.shape[1], len(bars))
        self.max_diff = np.zeros(self.values.shape[1])

    def places(self, cuts: int, rng) -> list[int]:
        """Rows at which to cut, in order."""
        rows = len(self.bars)
        edges = [rows - 1, rows - 2, self.warm_up + 1, self.warm_up + 2, self.warm_up + 3]
        events = [row + side for row in _events(self.bars, self.values)[: max(cuts // 2, 1)] for side in (0, 1)]
        chosen = np.array([*edges, *events, *rng.integers(1, rows, cuts)])
        return sorted(set(chosen[(chosen > 0) & (chosen < rows)].tolist()))

    def cut(self, cut: int, rng) -> None:
        """Hide, then replace the bars from row `cut` on, and note every column whose earlier rows change."""
        other = _disturbed(self.bars, np.arange(cut, len(self.bars)), rng)
        for past in (self.bars.iloc[:cut], other):
            diff = self._difference(past, cut)
            worst = diff.max(axis=0)
            self.first_cut[worst > 0] = np.minimum(self.first_cut[worst > 0], cut)
            self.max_diff = np.maximum(self.max_diff, worst)

    def suspects(self, runs: int, rng) -> list[int]:
        """Cuts right after rows that changed while the nearest disturbed bar lay ahead of them: leaks or long memories, to be tried."""
        spacing = self.warm_up + REACH + 1  # a bar's own influence has ended before the rows searched ahead of the next one
        found = {}
        for offset in rng.permutation(spacing)[:runs]:
            teeth = np.arange(offset, len(self.bars), spacing)
            changed = self._difference(_disturbed(self.bars, teeth, rng), len(self.bars)) > 0
            for ahead in range(1, REACH + 1):
                rows = teeth[teeth >= ahead + 1] - ahead
                fresh = changed[rows] & ~changed[rows - 1]
                for column in np.flatnonzero(fresh.any(axis=0) & (self.max_diff == 0)):
                    nearest = (ahead, int(rows[fresh[:, column]][0]) + 1)
                    found[column] = min(found.get(column, nearest), nearest)
        return sorted({cut for _, cut in found.values()})

    def report(self) -> LeakReport:
        leaks = self.max_diff > 0
        times = self.bars.index[np.minimum(self.first_cut, len(self.bars) - 1)].to_series(index=range(len(leaks))).where(leaks)
        table = {"name": list(self.full.columns), "leaks": leaks, "first_cut": times, "max_diff": self.max_diff}
        return LeakReport(not leaks.any(), pd.DataFrame(table))

    def _difference(self, past: pd.DataFrame, rows: int) -> np.ndarray:
        """float64[rows, columns]: by how much the first rows differ from the untouched result; 0 within rounding."""
        was = self.values[:rows]
        now = _numbers(self.compute(past), past.index).reindex(columns=self.full.columns).to_numpy()[:rows]
        with np.errstate(invalid="ignore"):
            diff = np.abs(now - was)
            near = np.isfinite(diff) & (diff <= RELATIVE * np.maximum(np.abs(now), np.abs(was)) + self.slack)
        same = near | (now == was) | (np.isnan(now) & np.isnan(was))
        return np.where(same, 0.0, np.where(np.isnan(diff), np.inf, diff))


def _numbers(result: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """The result on the bars' index as float64; rows it left out are NaN, times become milliseconds."""
    if not isinstance(result, pd.DataFrame):
        raise UsageError(f"check_causal: compute must return a DataFrame, found {type(result).__name__}")
    columns = {}
    for name, column in result.items():
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = (column - pd.Timestamp(0, tz=column.dt.tz)) / pd.Timedelta(milliseconds=1)
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise UsageError(f"check_causal: column {name!r} must hold numbers, found {column.dtype}; turn categories into codes")
        columns[name] = column.astype(float)
    return pd.DataFrame(columns, index=result.index).reindex(index)


def _disturbed(bars: pd.DataFrame, rows: np.ndarray, rng) -> pd.DataFrame:
    """`bars` with `rows` replaced by bars of other times, each scaled by one random factor (so high stays above low)."""
    other = bars.copy()
    drawn = bars.iloc[rng.integers(0, len(bars), len(rows))]
    factor = np.exp(rng.normal(0, 0.1, len(rows)))
    for position, name in enumerate(bars.columns):
        values = drawn[name].to_numpy()
        if pd.api.types.is_numeric_dtype(bars[name].dtype) and not pd.api.types.is_bool_dtype(bars[name].dtype):
            values = values.astype(float) * factor
            other[name] = other[name].astype(float)
        other.iloc[rows, position] = values
    return other


def _events(bars: pd.DataFrame, values: np.ndarray) -> list[int]:
    """Rows where something rare happens: the widest gap in time, missing values, the largest move of each input and of each result."""
    rows = [int(np.diff(bars.index.asi8).argmax()) + 1] if isinstance(bars.index, pd.DatetimeIndex) else []
    inputs = bars.select_dtypes("number").to_numpy(float)
    rows += np.flatnonzero(np.isnan(inputs).any(axis=1))[:2].tolist()
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.hstack([np.abs(np.diff(inputs, axis=0) / inputs[:-1]), np.abs(np.diff(values, axis=0))])
    moves[~np.isfinite(moves)] = 0.0
    return list(dict.fromkeys(rows + (moves.argmax(axis=0) + 1).tolist()))
