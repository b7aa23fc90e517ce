"""The corpus of leaks under check_causal and under one truncation: what is caught, by what proof, at what cost, and false alarms.

python benchmarks/causality.py [folder of recorded market data]

Without a folder on bars of the synthetic tape. One truncation is what a check at a single cut does (freqtrade's lookahead-analysis makes
one for each signal of a backtest): all rows before the cut, at three quarters of the bars, are compared with the full result.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from known_bad import corpus
from known_bad.clean import Incremental, look_alikes, registered
from known_bad.leaks import LEAKS

from quantalpha.validation import LeakReport, check_causal

CUTS = 10
SEEDS = (0, 1)


class Counted:
    """A function and how often it ran."""

    def __init__(self, function):
        self.function, self.runs = function, 0

    def __call__(self, bars: pd.DataFrame) -> pd.DataFrame:
        self.runs += 1
        found = self.function(bars)
        return found.to_frame("leaky") if isinstance(found, pd.Series) else found


def truncated_once(compute, bars: pd.DataFrame) -> bool:
    """Whether a row before three quarters of the bars changes when the rest is hidden."""
    cut = 3 * len(bars) // 4
    full, part = compute(bars).iloc[:cut], compute(bars.iloc[:cut])
    return list(full) != list(part) or not np.allclose(full, part, rtol=1e-9, atol=0.0, equal_nan=True)


def row_of(name: str, bars: pd.DataFrame) -> dict:
    compute = Counted(LEAKS[name]())
    report = check_causal(compute, bars, cuts=CUTS, seed=SEEDS[0])
    others = [check_causal(Counted(LEAKS[name]()), bars, cuts=CUTS, seed=seed) for seed in SEEDS[1:]]
    once = truncated_once(Counted(LEAKS[name]()), bars)
    caught = sum(not found.clean for found in (report, *others))
    return {
        "leak": name,
        "caught": f"{caught}/{len(SEEDS)}",
        "first proof": _proof(report),
        "runs": compute.runs,
        "one cut": "yes" if once else "NO",
    }


def _proof(report: LeakReport) -> str:
    guilty = report.columns[report.columns.leaks]
    if guilty.empty:
        return "-"
    first = guilty.iloc[0]
    when = "" if pd.isna(first.first_cut) else f" at {first.first_cut:%Y-%m-%d %H:%M}"
    return f"{first.cause}{when}, by {first.max_diff:.2g}"


def false_alarms(bars: pd.DataFrame) -> list[dict]:
    catalogue = registered()
    sets = {"registered features": catalogue.compute, "look-alikes": look_alikes, "incremental": Incremental()}
    rows = []
    for name, function in sets.items():
        given = corpus.supplied(bars, catalogue.columns)
        compute = Counted(function)
        reports = [check_causal(compute, given, cuts=CUTS, seed=seed).columns for seed in SEEDS]
        once = truncated_once(Counted(function), given)
        accused = sum(report.leaks.sum() for report in reports)
        rows.append(
            {
                "sound code": name,
                "columns": len(reports[0]),
                "accused": f"{accused} of {sum(map(len, reports))}",
                "runs": compute.runs // len(SEEDS),
            }
            | {"accused by one cut": "yes" if once else "no"}
        )
    return rows


def main():
    bars = corpus.recorded(Path(sys.argv[1])) if len(sys.argv) > 1 else corpus.made()
    warnings.simplefilter("ignore")
    table = pd.DataFrame([row_of(name, bars) for name in LEAKS])
    print(table.to_string(index=False))
    recall = table.caught.str.split("/").str[0].astype(int).sum() / (len(table) * len(SEEDS))
    print(
        f"\n{len(table)} leaks, {len(bars)} bars, cuts={CUTS}: recall {recall:.3f}; one truncation {(table['one cut'] == 'yes').mean():.3f}"
    )
    print(f"runs: median {table.runs.median():.0f}, most {table.runs.max()}\n")
    print(pd.DataFrame(false_alarms(bars)).to_string(index=False))


if __name__ == "__main__":
    main()
