"""Proof that nothing looks ahead: the real code is run again with the future hidden or replaced, and the past must not change."""

import time
from collections.abc import Callable
from numbers import Integral

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.causality_cuts import borders, events, moved, odd_rows, replaced
from quantalpha.validation.causality_evidence import Evidence, LeakReport, Table, as_table, check_given, check_values
from quantalpha.validation.causality_fresh import fresh_process

ENOUGH = 12  # proofs of every column: the cause is clear, and nothing is left to find
TOOTH, AHEAD = 4, 24  # bars disturbed together in a comb; rows before them that are searched for suspects
SETTLED = 20  # runs spent on telling causes apart
TRIES = 3  # suspects of a column that are tried before it is believed
PATIENCE = 30.0  # seconds to wait for a fresh process, besides ten times what this one took
FAILS = "compute fails on few bars"
MUTE = "the values of the bars do not matter to {names}: fine for a clock; else it reads what cannot be hidden, such as a global table"

Compute = Callable[[pd.DataFrame], pd.DataFrame]


def check_causal(compute: Compute, bars: pd.DataFrame, *, cuts: int = 20, seed: int = 0, known_at: str | None = None) -> LeakReport:
    """Runs `compute` (bars -> DataFrame of numbers on the bars' index) on many altered futures and compares all rows before each cut.

        from quantalpha.validation import check_causal
        def mine(bars):
            return bars[["close"]].rolling(24, center=True).mean()
        report = check_causal(mine, bars.tail(3000))
        print(report)           # 1 of 1 columns look ahead ... looks up to 11 bars ahead ... how to mend
        assert report.clean

    Row t must follow from the bars up to t. With `known_at`, a column of the result, row t is known when the bar that opens at that time
    closes (`end_time` of `triple_barrier`): it must not change once known, and must be empty before. Rows without such a time are unknown.

    What is tried. The same bars twice, and other bars here and in a fresh process (POSIX only): numbers must repeat. At each cut the bars
    from it on are hidden, then replaced, in turn at the same times and at other times and fewer. Cuts: first and last rows, both sides of
    the ends of days, weeks, months, quarters and years, of gaps, missing values, rare flags and extreme bars, and `cuts` random rows. Then
    combs: a few bars disturbed all along the series at once, `cuts` runs for each class of memory (how long a bar is remembered, measured
    first): a row that changes although only later bars did is a suspect, and is tried alone.

    Power. A leak in all rows is found by the first cut. One in k rows escapes the combs with probability (1 - cuts / spacing)^k, where
    spacing is the power of two at or above 1.25 memory + 28 bars: a memory of 24 bars and cuts=20 lose a leak in fifteen rows (1 % of
    1,500) in 4 of 1,000 cases, and in thirty in 1 of 100,000: more bars help more than more cuts. What remembers more than an eighth of the
    bars is tried at the chosen cuts alone, and where it is hardest to explain by its own last value. Use 3,000 bars or more, and ten times
    the longest window. Costs 140 runs of `compute` for one column to 320 for 150 of them with cuts=20, and 60 to 130 with cuts=4; a column
    that leaks everywhere is done after 20.

    Only `bars` can be hidden: a second table must be joined to it first, or be cut by `compute` at `bars.index[-1]`, and a column already
    in `bars` is taken as known at its row. A note names columns that no value of the bars changes: they may read such a table.

    `report.complete` is False where something could not be tried (no fresh process, code that fails on few bars): that is no proof. Raises
    UsageError for arguments or results of the wrong kind, DataError for bars out of order or too few for the columns.
    """
    if not isinstance(cuts, Integral) or cuts < 1:
        raise UsageError(f"check_causal: cuts must be a whole number of at least 1, found {cuts!r}")
    check_given(compute, bars, "check_causal")
    rng = np.random.default_rng(seed)
    trial = _with_memory(compute, bars, known_at, rng)
    for cut in trial.places(cuts, rng):
        trial.hide(cut)
        trial.replace(cut, rng)
        if trial.evidence.settled(ENOUGH):
            break
    else:
        trial.comb(cuts, rng)
    trial.replace_all(np.random.default_rng(seed))
    return trial.report(rng)


def _with_memory(compute: Compute, bars: pd.DataFrame, known_at: str | None, rng) -> "Trial":
    """The trial, after this process and one that has not seen the true bars have both been given other ones."""
    other = replaced(bars, np.arange(3 * len(bars) // 4, len(bars)), rng)
    begun = time.monotonic()
    with fresh_process(lambda: as_table(compute(other), other.index, known_at).values) as answer:
        trial = Trial(compute, bars, known_at)
        trial.compare(answer(PATIENCE + 10 * (time.monotonic() - begun)), other)
    return trial


class Trial:
    """One function, its untouched result, and what was shown against it."""

    def __init__(self, compute: Compute, bars: pd.DataFrame, known_at: str | None = None, where: str = "check_causal"):
        if len(bars) < 3:
            raise DataError(f"{where}: expected at least 3 bars, found {len(bars)}")
        self.compute, self.bars, self.known_at, self.where = compute, bars, known_at, where
        self.notes: list[str] = []
        self.untried: list[str] = []
        self.full = self.run(bars)
        check_values(self.full, where)
        self.evidence = Evidence(self.full, bars.index)
        self.evidence.note("random", None, self.run(bars))

    def run(self, bars: pd.DataFrame) -> Table:
        """A shallow copy, so that nothing written to the frame lasts."""
        return as_table(self.compute(bars.copy(deep=False)), bars.index, self.known_at, self.where)

    def hide(self, cut: int, kind: str = "hidden") -> None:
        self._judge(kind, cut, self.bars.iloc[:cut])

    def replace(self, cut: int, rng, times: bool | None = None, kind: str | None = None) -> None:
        """times: whether the later bars are moved in time too; None: in turn. kind: what a change proves; None: just that."""
        times = bool(cut % 2) if times is None else times
        other = moved(self.bars, cut, rng) if times else replaced(self.bars, np.arange(cut, len(self.bars)), rng)
        self._judge(kind or ("moved" if times else "values"), cut, other)

    def places(self, cuts: int, rng) -> list[int]:
        """Rows at which to cut, in random order."""
        rows, values = len(self.bars), self.full.values
        warm = np.unique((~np.isnan(values)).argmax(axis=0))
        edges = [1, 2, 3, rows - 1, rows - 2, *(warm[-3:, None] + np.arange(1, 4)).ravel()]
        rare = [row + side for row in events(self.bars, values)[:cuts] for side in (0, 1)]
        chosen = np.array([*edges, *rare, *borders(self.bars.index, rng)[: 2 * cuts], *rng.integers(1, rows, cuts)])
        return rng.permutation(np.unique(chosen[(chosen > 0) & (chosen < rows)])).tolist()

    def comb(self, runs: int, rng) -> None:
        """Search all along the series for rows that change though only later bars did."""
        memory = self._memory(rng)
        tries = np.where(self.evidence.open, TRIES, 0)
        spacing = 2 ** np.ceil(np.log2(np.maximum(memory, 1) + TOOTH + AHEAD))
        short = spacing <= len(self.bars) / 3
        for gap in np.unique(spacing[short & (tries > 0)]).astype(int):
            for offset in rng.permutation(gap)[:runs]:
                self._pull(np.arange(offset, len(self.bars), gap), memory, tries, rng)
        self._odd(np.flatnonzero(~short & self.evidence.open), runs, rng)

    def replace_all(self, rng) -> None:
        """Note columns that vary, but not with the values of any bar."""
        try:
            now = self.run(replaced(self.bars, np.arange(len(self.bars)), rng))
        except Exception as error:
            self.untried.append(f"whether it reads anything beside the bars: compute fails on other ones: {error}")
            return
        values = self.full.values
        varies = np.array([np.unique(column[~np.isnan(column)]).size > 1 for column in values.T])
        mute = varies & self.evidence.open & ~self.evidence.difference(now).any(axis=0)
        if mute.any():
            self.notes.append(MUTE.format(names=", ".join(str(self.full.names[k]) for k in np.flatnonzero(mute))))

    def report(self, rng) -> LeakReport:
        for cut in self.evidence.unclear()[:SETTLED]:  # does the size of what follows matter, or only that it is there?
            self.replace(cut, rng, times=False)
        return self.evidence.report(self.notes, self.untried)

    def _judge(self, kind: str, cut: int, other: pd.DataFrame) -> bool:
        """Rows known by the cut, here or there, may not differ. Code that needs more bars than these shows nothing, but must say so."""
        try:
            now = self.run(other)
        except Exception as error:
            if cut > len(self.bars) // 2:
                raise DataError(
                    f"{self.where}: compute fails on {len(other)} bars, of which the first {cut} are the true ones: {error}"
                ) from error
            self.untried = [note for note in self.untried if not note.startswith(FAILS)] + [f"{FAILS}, here {len(other)}: {error}"]
            return False
        known = (self.full.known[:cut] <= cut) | (now.known[:cut] <= cut)
        if len(other) == cut:
            known |= ~np.isnan(now.values).all(axis=1)  # what a run without later bars gives at all, it holds to be known
        return self.evidence.note(kind, cut, now, known)

    def _memory(self, rng) -> np.ndarray:
        """int[columns]: rows after a disturbed bar that still change, seen at three of them, and a little more; n where there is no end."""
        rows = len(self.bars)
        half = max(rows // 8, 1)
        teeth = np.array([1, 3, 5]) * half
        other = replaced(self.bars, teeth[teeth < rows], rng)
        now = self.run(other)
        self.evidence.note("values", int(teeth[0]), now, self.full.known <= teeth[0])
        changed = self.evidence.difference(now) > 0
        memory = np.zeros(changed.shape[1], dtype=int)
        for tooth in teeth:
            after = changed[tooth : tooth + half]
            last = np.where(after.any(axis=0), len(after) - after[::-1].argmax(axis=0), 0)
            memory = np.maximum(memory, np.where(last >= half - 1, rows, last + last // 4 + 1))
        return memory

    def _pull(self, teeth: np.ndarray, memory: np.ndarray, tries: np.ndarray, rng) -> None:
        """One comb; suspects are tried at once: the same disturbed bars, but only those after the suspect."""
        rows = len(self.bars)
        disturbed = (teeth[:, None] + np.arange(TOOTH)).ravel()
        other = replaced(self.bars, disturbed[disturbed < rows], rng)
        now = self.run(other)
        changed = self.evidence.difference(now) > 0
        row, known = np.arange(rows), self.full.known
        nearest = np.searchsorted(teeth, known)  # the first tooth that opens when the row is known
        ahead = np.append(teeth, rows + AHEAD + 1)[nearest] - known
        before = np.append(-rows, teeth + TOOTH - 1)[nearest]  # the last bar disturbed before that
        quiet = (ahead < AHEAD)[:, None] & (row[:, None] - before[:, None] > memory)
        for column in np.flatnonzero((changed & quiet).any(axis=0) & (tries > 0)):
            found = np.flatnonzero(changed[:, column] & quiet[:, column])
            cut = int(known[found[ahead[found].argmin()]])
            tries[column] = 0 if self._judge("values", cut, _spliced(self.bars, other, cut)) else tries[column] - 1

    def _odd(self, columns: np.ndarray, runs: int, rng) -> None:
        """Long memories cannot be combed: cut after the rows that look least like the others."""
        wanted = [odd_rows(self.bars, self.full.values[:, column], runs) for column in columns]
        chosen = list(dict.fromkeys(row for turn in zip(*map(reversed, wanted)) for row in turn))[: 2 * runs] if wanted else []
        for row in chosen:
            self.replace(min(row + 1, len(self.bars) - 1), rng, times=False)

    def compare(self, values: np.ndarray | None, other: pd.DataFrame) -> None:
        """What a fresh process made of other bars, against this one, which has seen the true ones before."""
        if values is None:
            self.untried.append("whether state is kept between calls: no fresh process, or no answer from it")
            return
        now = self.run(other)
        if now.values.shape == values.shape == self.full.values.shape:
            self.evidence.add("state", None, Evidence(now._replace(values=values), self.bars.index).difference(now))
        else:
            self.untried.append("whether state is kept between calls: the number of columns changes with the bars")


def _spliced(bars: pd.DataFrame, other: pd.DataFrame, cut: int) -> pd.DataFrame:
    """The past of one and the future of the other."""
    return pd.concat([bars.iloc[:cut], other.iloc[cut:]])
