"""Two results of the same code laid side by side: what differs, how far back, and what that tells about the cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.schema import epoch_ms
from quantalpha.timeframe import UNITS

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # tolerated rounding: of the value, and of the column's largest value
WHOLE, FAR = 0.9, 0.25  # shares of the rows before the cut, and of all rows: what reaches back further is a statistic of the whole series
CAUSES = {  # what was seen -> (in words, how to mend it)
    "random": (
        "gives other numbers when run twice on the same bars",
        "fix the seed of every random generator and keep no state between calls",
    ),
    "state": (
        "gives other numbers than in a fresh process",
        "it remembers earlier calls (a fitted scaler, a cache, a global): keep nothing outside the call, or key caches by content",
    ),
    "columns": ("its place or presence depends on later bars", "list the columns and categories beforehand"),
    "length": (
        "changes when later bars are hidden or moved in time, not when they are replaced",
        "it reads the number of rows, the last time or the time of a later row: len(bars), index[-1], shift(-n) of the index",
    ),
    "series": (
        "nearly all rows before it change",
        "a mean, scaler, quantile, rank, regression, cluster or filter of the whole series: "
        "use rolling or expanding ones, or fit on the past only",
    ),
    "period": (
        "rows change back to the start of their calendar period",
        "a higher bar before it closed (groupby(day).transform, resample): use the last closed period, shifted by one",
    ),
    "ahead": (
        "looks up to {reach} bars ahead",
        "shift(-n), a centred window (2n + 1), a filter or smoother run backwards: use trailing windows",
    ),
    "varying": (
        "looks ahead by a varying number of rows, up to {reach}",
        "backfill, interpolation, merge_asof forward or nearest, peaks confirmed later, a flag set by what follows: "
        "use forward fill and backward joins, and tell a peak when it is confirmed",
    ),
    "fit": (
        "forecasts of training rows change with rows that are not among them",
        "fit scalers, encoders, selection and early stopping on the training rows only",
    ),
    "later": (
        "forecasts change with later test rows",
        "the fit, or a statistic of the batch forecast together, saw them: fit on the training rows only and forecast row by row",
    ),
    "answers": (
        "forecasts change with the answers of rows that are not trained on",
        "take the answer and all made from it out of the inputs",
    ),
    "model": (
        "forecasts change with bars that come after them",
        "training saw its test rows: purge labels that end in the test, fit scaler, selection and model on the training rows of each fold",
    ),
}
TOLD = ("random", "state", "columns", "fit", "later", "answers", "model")  # these say it all; the others follow from the rows that changed


@dataclass(frozen=True)
class LeakReport:
    """`columns` has one row per column: name, leaks (bool), first_cut (open time of the first altered bar in the earliest proof, else NaT),
    max_diff (largest change of a row that may not change; inf where a number came or went), reach (rows before the cut up to the first that
    changed, in the widest proof), cause (a key of CAUSES, or ""). `untried`: what could not be tried; if anything, the report is not
    `complete` and clean is no proof. `notes`: what to look at."""

    clean: bool
    columns: pd.DataFrame
    notes: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.untried

    def __str__(self) -> str:
        guilty = self.columns[self.columns.leaks]
        if self.clean:
            proved = "causal" if self.complete else "not proved, some of it could not be tried"
            lines = [f"{proved}: none of {len(self.columns)} columns changed when later bars were hidden or replaced"]
        else:
            lines = [f"{len(guilty)} of {len(self.columns)} columns look ahead or do not repeat:", *map(_told, guilty.itertuples())]
            lines += [f"how to mend: {cause}: {CAUSES[cause][1]}" for cause in dict.fromkeys(guilty.cause)]
        return "\n".join([*lines, *(f"not tried: {fault}" for fault in self.untried), *(f"note: {note}" for note in self.notes)])


def _told(row) -> str:
    where = "" if pd.isna(row.first_cut) else f"rows before {row.first_cut} "
    change = f"changed by up to {row.max_diff:.3g}" if np.isfinite(row.max_diff) else "changed from a number to none (NaN, inf) or back"
    return f"  {row.name}: {where}{change}; {row.cause}: {CAUSES[row.cause][0].format(reach=row.reach)}"


class Table(NamedTuple):
    """A result as numbers: names[k], values float64[n, k] on the rows of the bars, known int64[n]: with how many bars each row is known."""

    names: list
    values: np.ndarray
    known: np.ndarray


def as_table(result: pd.DataFrame, index: pd.Index, known_at: str | None = None, where: str = "check_causal") -> Table:
    """Rows left out are NaN, times milliseconds, categories their codes. known_at: the column with the open time of the last bar used."""
    if not isinstance(result, pd.DataFrame):
        raise UsageError(f"{where}: compute must return a DataFrame, found {type(result).__name__}")
    if not len(result.columns):
        raise UsageError(f"{where}: compute must return at least one column, found none")
    if not result.index.equals(index):
        _check_rows(result.index, index, where)
        result = result.reindex(index)
    values = np.empty(result.shape)
    for position, name in enumerate(result.columns):
        values[:, position] = _number(result.iloc[:, position], name, where)
    known = np.arange(1, len(index) + 1)
    if known_at is not None:
        if known_at not in result.columns:
            raise UsageError(f"{where}: known_at names no column of the result: {known_at!r}; found {', '.join(map(str, result.columns))}")
        last = pd.DatetimeIndex(result[known_at])
        known = np.where(last.isna(), len(index) + 1, index.searchsorted(last, side="right"))
    return Table(list(result.columns), values, known)


def _check_rows(found: pd.Index, index: pd.Index, where: str) -> None:
    if not found.is_unique:
        raise UsageError(f"{where}: compute must return each row once, found {found[found.duplicated()][0]} twice")
    if len(found) and not found.isin(index).any():
        told = f"found a {type(found).__name__} of {found.dtype} from {found[0]} to {found[-1]}, none of it among the bars"
        raise UsageError(f"{where}: compute must return rows on the index of the bars; {told}; keep the index, or set it: index=bars.index")


def _number(column: pd.Series, name, where: str) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return np.where(column.cat.codes < 0, np.nan, column.cat.codes)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.where(column.isna(), np.nan, epoch_ms(pd.DatetimeIndex(column)))
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise UsageError(f"{where}: column {name!r} must hold numbers, found {column.dtype}; turn text into categories or codes")
    return column.to_numpy(float, na_value=np.nan)


class _Proof(NamedTuple):
    kind: str  # "hidden", "moved", "values", or a key of CAUSES
    cut: int | None  # first altered row
    first: int  # first changed row
    size: float


class Evidence:
    """The untouched result, and every change of a row that may not change."""

    def __init__(self, full: Table, index: pd.Index):
        self.full, self.index = full, index
        self.proofs: list[list[_Proof]] = [[] for _ in full.names]
        largest = np.where(np.isfinite(full.values), np.abs(full.values), 0.0).max(axis=0)
        self.slack = ABSOLUTE * largest

    def difference(self, now: Table, rows: int | None = None) -> np.ndarray:
        """float64[rows, columns], by default for all rows: by how much they differ; 0 within rounding, inf where a number came or went."""
        rows = len(self.full.values) if rows is None else rows
        was, found = self.full.values[:rows], self._in_order(now)[:rows]
        with np.errstate(invalid="ignore"):
            diff = np.abs(found - was)
            wrong = ~np.isfinite(diff) | ~(diff <= RELATIVE * np.maximum(np.abs(found), np.abs(was)) + self.slack)
        diff[~wrong] = 0.0
        at = np.flatnonzero(wrong.any(axis=1))  # few rows: tell NaN and infinity from a change
        if at.size:
            one, other, part = was[at], found[at], diff[at]
            part[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
            part[np.isnan(part)] = np.inf
            diff[at] = part
        return diff

    def note(self, kind: str, cut: int | None, now: Table, judged: np.ndarray | None = None) -> bool:
        """Keep every change as a proof, in all rows or where `judged` (bool, of the first rows) says; True if there was any."""
        shown = self.difference(now, None if judged is None else len(judged))
        if judged is not None:
            shown[~judged] = 0.0
        self.add(kind, cut, shown)
        if now.names != self.full.names:
            for column in (k for k, name in enumerate(self.full.names) if now.names[k : k + 1] != [name]):
                self.proofs[column].append(_Proof("columns", cut, cut or 0, np.inf))
        return bool(shown.any())

    def add(self, kind: str, cut: int | None, shown: np.ndarray) -> None:
        """A proof for each column with a change in float64[rows, columns]."""
        for column in np.flatnonzero(shown.any(axis=0)):
            rows = np.flatnonzero(shown[:, column])
            self.proofs[column].append(_Proof(kind, cut, int(rows[0]), float(shown[:, column].max())))

    @property
    def open(self) -> np.ndarray:
        """bool[columns]: nothing shown yet."""
        return np.array([not proofs for proofs in self.proofs], dtype=bool)

    def settled(self, proofs: int) -> bool:
        """Every column has been shown so often that its cause is clear."""
        return all(len(found) >= proofs for found in self.proofs)

    def join(self, other: "Evidence") -> None:
        """Take over what was shown against the same columns elsewhere."""
        for proofs, more in zip(self.proofs, other.proofs):
            proofs += more

    def unclear(self) -> list[int]:
        """Cuts at which only hiding or moving the later bars has been seen to matter, a few of each column."""
        cuts = [
            [proof.cut for proof in proofs if proof.cut is not None]
            for proofs in self.proofs
            if {p.kind for p in proofs} <= {"hidden", "moved"}
        ]
        return sorted({cut for found in cuts for cut in found[:3]})

    def report(self, notes: Sequence[str] = (), untried: Sequence[str] = ()) -> LeakReport:
        rows = [self._row(name, proofs, self.full.values[:, k]) for k, (name, proofs) in enumerate(zip(self.full.names, self.proofs))]
        table = pd.DataFrame(rows, columns=["name", "leaks", "first_cut", "max_diff", "reach", "cause"])
        table["first_cut"] = pd.Series(table["first_cut"].tolist(), dtype=self.index.dtype if len(table.first_cut.dropna()) else None)
        return LeakReport(not table.leaks.any(), table, tuple(notes), tuple(untried))

    def _row(self, name, proofs: list[_Proof], values: np.ndarray) -> tuple:
        if not proofs:
            return name, False, pd.NaT, 0.0, 0, ""
        cuts = [proof.cut for proof in proofs if proof.cut is not None]
        first_cut = self.index[min(min(cuts), len(self.index) - 1)] if cuts else pd.NaT
        reach = max((proof.cut - proof.first for proof in proofs if proof.cut is not None), default=0)
        return name, True, first_cut, max(proof.size for proof in proofs), reach, self._cause(proofs, values)

    def _cause(self, proofs: list[_Proof], values: np.ndarray) -> str:
        kinds = {proof.kind for proof in proofs}
        told = [cause for cause in TOLD if cause in kinds]
        if told:
            return told[0]
        if "values" not in kinds:
            return "length"
        begin = int((~np.isnan(values)).argmax())
        shown = [proof for proof in proofs if proof.cut > begin + 2] or proofs
        reach, room = np.array([(proof.cut - proof.first, proof.cut - begin) for proof in shown]).T
        if reach.max() > 2 and np.median(reach / room) > WHOLE or reach.max() > FAR * len(values):
            return "series"
        if len(shown) > 1 and len(set(reach)) > 1 and self._begin_periods([proof.first for proof in shown]):
            return "period"
        return "ahead" if (reach[room > reach.max()] > 0.8 * reach.max()).mean() >= 0.5 else "varying"

    def _begin_periods(self, rows: list[int]) -> bool:
        """Whether all these rows open a four-hour bar or a longer one."""
        if not isinstance(self.index, pd.DatetimeIndex) or len(self.index) < 2:
            return False
        length = 4 * UNITS["h"]
        return bool(np.diff(epoch_ms(self.index)).min() < length and (epoch_ms(self.index[rows]) % length == 0).all())

    def _in_order(self, now: Table) -> np.ndarray:
        if now.names == self.full.names:
            return now.values
        place = {name: k for k, name in enumerate(now.names)}
        missing = np.full(len(now.values), np.nan)
        return np.column_stack([now.values[:, place[name]] if name in place else missing for name in self.full.names])


def check_given(compute, bars, where: str) -> None:
    """UsageError unless these are a function and a table; DataError unless the rows of the table are in strictly increasing order."""
    if not callable(compute) or not isinstance(bars, pd.DataFrame):
        found = f"{type(compute).__name__} and {type(bars).__name__}"
        raise UsageError(f"{where}: expected a function of the bars, then a DataFrame of bars, found {found}")
    index = bars.index
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        wrong = index.isna() | np.r_[False, ~(index[1:] > index[:-1])]
        row = int(wrong.argmax())
        raise DataError(
            f"{where}: bars must be in strictly increasing time order; row {row} at {index[row]} is not; sort them, each time once"
        )


def check_values(table: Table, where: str = "check_causal") -> None:
    """DataError where a column holds nothing that could change."""
    empty = np.isnan(table.values).all(axis=0)
    if empty.any():
        name = table.names[int(empty.argmax())]
        raise DataError(f"{where}: column {name!r} has no value in {len(table.values)} bars, nothing can be shown; pass a longer history")
