"""Proof that every declared lookback is long enough: the last row of short windows against the same row of the whole history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.features import Feature, FeatureSet
from quantalpha.features.derived import DERIVED, derive, sources

SHORT, SOUND, LONG, UNKNOWN = "too short", "exact", "needlessly long", "not tried"


@dataclass(frozen=True)
class WarmUpReport:
    """`features`: DataFrame[lookback, verdict], the verdict "exact", "too short", "needlessly long" or "not tried", one row per column.
    `drift`: for each window, as a share of the lookback, the largest change of the last value against the same row of all bars, in standard
    deviations of the column; 0 is the same bits, inf a value that came or went, NaN not tried (too few bars)."""

    clean: bool
    features: pd.DataFrame
    drift: pd.DataFrame

    def __str__(self) -> str:
        table = self.features.join(self.drift.rename(columns="{:g}x".format).map(_shown)).to_string()
        wrong = self.features.index[self.features.verdict == SHORT]
        unknown = self.features.index[self.features.verdict == UNKNOWN]
        lines = [f"warm-up: {len(self.features) - len(wrong) - len(unknown)} of {len(self.features)} lookbacks are long enough", table]
        lines += (
            [f"too short: {', '.join(wrong)}: declare the window at which the drift ends, or cut the recursion off there"]
            if len(wrong)
            else []
        )
        lines += [f"not tried: {', '.join(unknown)}: give more bars than the lookback"] if len(unknown) else []
        return "\n".join(lines)


def check_warm_up(
    features: FeatureSet,
    bars: pd.DataFrame,
    *,
    windows: Sequence[float] = (0.25, 0.5, 0.75, 1, 2, 4),
    rows: int = 30,
    tolerance: float = 0.0,
) -> WarmUpReport:
    """Computes each feature on its last `windows` x lookback bars alone, at `rows` places, and compares with the same row of all bars.

        from quantalpha.validation import check_warm_up
        mine = Feature("ema_20", 60, ("close",), lambda bars: pd.Series(bars["close"]).ewm(span=20).mean().to_numpy())
        report = check_warm_up(FeatureSet([mine]), bars)
        print(report)           # too short: ema_20 ... drift 0.03 on 60 bars, 7e-05 on 120, 2e-10 on 240
        assert report.clean

    A lookback is too short when the value on exactly that many bars differs by more than `tolerance` standard deviations of the column,
    by default by a single bit, and needlessly long when the longest shorter window agrees as well. Not clean: a lookback too short, or one
    that could not be tried for want of bars. Costs rows x windows calls of each feature on short windows.
    """
    if not isinstance(features, FeatureSet):
        hint = 'FeatureSet([Feature("mine", lookback, ("close",), function)])'
        raise UsageError(f"check_warm_up: expected a FeatureSet, found {type(features).__name__}; wrap it: {hint}")
    if 1 not in windows or min(windows) <= 0 or rows < 1 or not tolerance >= 0:
        raise UsageError(
            f"check_warm_up: expected windows above 0 with 1 among them, rows >= 1 and tolerance >= 0, found {windows}, {rows}, {tolerance}"
        )
    arrays, shares = features.arrays(bars, len(bars)), sorted(windows)
    table, listed = {}, {}
    for feature in features.features:
        whole = _values(feature, arrays, 0, len(bars))  # in one piece: FeatureSet.compute itself relies on the lookback
        sizes = [max(round(share * feature.lookback), 1) for share in shares]
        drift = np.array([_drift(feature, arrays, whole, size, rows) for size in sizes])
        table |= dict(zip(feature.names, drift.T))
        shorter = sum(size < feature.lookback for size in sizes)
        exact, enough = drift[shares.index(1)], shorter > 0 and bool((drift[shorter - 1] <= tolerance).all())
        listed |= {name: (feature.lookback, _verdict(worst, tolerance, enough)) for name, worst in zip(feature.names, exact)}
    verdicts = pd.DataFrame.from_dict(listed, orient="index", columns=["lookback", "verdict"])
    drift = pd.DataFrame.from_dict(table, orient="index", columns=shares)
    return WarmUpReport(not verdicts.verdict.isin([SHORT, UNKNOWN]).any(), verdicts, drift)


def _drift(feature: Feature, arrays: dict[str, np.ndarray], whole: np.ndarray, window: int, rows: int) -> np.ndarray:
    """float64[parts]: the largest change of the last value, in standard deviations of the column; NaN where no window fits."""
    first = max(window, feature.lookback)
    if first >= len(whole):
        return np.full(whole.shape[1], np.nan)
    ends = np.unique(np.linspace(first + 1, len(whole), rows).astype(int))
    found = np.array([_values(feature, arrays, end - window, end)[-1] for end in ends])
    wanted = whole[ends - 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.abs(found - wanted) / np.nanstd(np.where(np.isfinite(whole), whole, np.nan), axis=0)
    change[(found == wanted) | (np.isnan(found) & np.isnan(wanted))] = 0.0
    return np.where(np.isnan(change), np.inf, change).max(axis=0)


def _values(feature: Feature, arrays: dict[str, np.ndarray], first: int, end: int) -> np.ndarray:
    """float64[end - first, parts] of rows first .. end-1 alone."""
    held = {name: arrays[name][first:end] for name in sources(feature.columns)}
    held |= derive([name for name in feature.columns if name in DERIVED], held)
    return np.column_stack(feature.values({name: held[name] for name in feature.columns}))


def _verdict(drift: float, tolerance: float, enough: bool) -> str:
    """Of one column, from its drift on the declared window, and whether a shorter one is enough for all columns of its feature."""
    if np.isnan(drift):
        return UNKNOWN
    return SHORT if drift > tolerance else LONG if enough else SOUND


def _shown(drift: float) -> str:
    return "-" if np.isnan(drift) else "none" if np.isinf(drift) else "0" if drift == 0 else f"{drift:.1g}"
