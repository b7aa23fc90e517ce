"""A session against its backtest: its recorded bars go through the research code; what it decided, filled and held must come out again."""

from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from quantalpha.backtest import Result, simulate
from quantalpha.bundle import Bundle
from quantalpha.errors import DataError
from quantalpha.schema import REQUIRED
from quantalpha.strategy.policy import edge

TOLERANCE = 1e-9  # absolute, in quote currency, base units or probability
FILL = ["quantity", "price", "fee", "realised", "reason"]
FUNDING = ["amount", "rate", "mark", "quantity"]


@dataclass(frozen=True)
class Recorded:
    """What a session's journal holds, by bar open time: as index, in `fills` and `funding` as column `time`."""

    bars: pd.DataFrame  # closed bars as schema, the warm-up window first
    decisions: pd.DataFrame  # edge, previous, target
    refusals: pd.DataFrame  # orders that risk refused; reason
    fills: pd.DataFrame  # quantity, price, fee, realised, reason
    funding: pd.DataFrame  # amount, rate, mark, quantity
    equity: pd.DataFrame  # equity, cash


@dataclass(frozen=True)
class Line:
    """One thing compared row by row. `difference`: the largest absolute one where both sides have a number."""

    name: str
    compared: int
    matched: int
    difference: float
    first: dict | None  # the first row that does not match: time (ISO), recorded, research; None for what is missing

    @property
    def agrees(self) -> bool:
        return self.matched == self.compared


@dataclass(frozen=True)
class Report:
    """`lines`: decisions, fills, funding, equity, cash. `correlation`: of the two equity curves, None where one of them is constant."""

    lines: list[Line]
    correlation: float | None
    refusals: int
    unfinished: int  # records of the bar that was open or undecided when the session ended; not compared
    features: dict[str, float] = field(default_factory=dict)  # of the first decision that does not match
    revised: list[dict] | None = None  # recorded candles that the venue now tells otherwise; None: not asked

    @property
    def agrees(self) -> bool:
        """Every line, to 1e-9."""
        return all(line.agrees for line in self.lines)

    def to_dict(self) -> dict:
        return {"agrees": self.agrees, **asdict(self)}

    def rows(self) -> list[dict]:
        """The table a person reads: one row a line."""
        return [
            {"what": line.name, "compared": line.compared, "matched": line.matched, "largest difference": line.difference}
            | {"agrees": "yes" if line.agrees else "NO", "first mismatch": _tell(line.first)}
            for line in self.lines
        ]


def reconcile(bundle: Bundle, recorded: Recorded, bars_now: pd.DataFrame | None = None) -> Report:
    """Replays the recorded window through the batch features, model, policy and simulation. bars_now: the same bars downloaded again.

    Raises DataError where there is nothing to compare or the recorded bars are unsound; a disagreement is in the report.
    """
    if recorded.decisions.empty or not recorded.decisions.index.isin(recorded.bars.index).all():
        raise DataError("reconcile: expected decisions, each at a recorded bar; found none or one at another time; run the session longer")
    start, end = recorded.decisions.index[[0, -1]]
    bars, held = recorded.bars.loc[:end], recorded.equity.loc[:end]
    fills, funding = (frame[frame["time"] <= end] for frame in (recorded.fills, recorded.funding))
    features = bundle.features.compute(bars)
    decisions = research_decisions(bundle, features.loc[start:])
    result = _simulated(bundle, bars, decisions)
    equity = result.equity.loc[start:]
    lines = [
        compare("decisions", recorded.decisions, decisions),
        compare("fills", _by_bar(fills, FILL), _by_bar(result.fills, FILL)),
        compare("funding", _by_bar(funding, FUNDING), _by_bar(result.funding, FUNDING)),
        compare("equity", held[["equity"]], equity.to_frame("equity")),
        compare("cash", held[["cash"]].tail(1), _final_cash(result)),
    ]
    first = lines[0].first
    return Report(
        lines=lines,
        correlation=correlation(held["equity"], equity),
        refusals=len(recorded.refusals),
        unfinished=sum(map(len, (recorded.fills, recorded.funding, recorded.equity))) - sum(map(len, (fills, funding, held))),
        features={} if first is None else _plain(features.loc[pd.Timestamp(first["time"])]),
        revised=None if bars_now is None else revised_candles(recorded.bars, bars_now),
    )


def research_result(bundle: Bundle, recorded: Recorded) -> Result:
    """The backtest of a session's bars, from its first decision on."""
    decisions = research_decisions(bundle, bundle.features.compute(recorded.bars).loc[recorded.decisions.index])
    return _simulated(bundle, recorded.bars, decisions)


def _simulated(bundle: Bundle, bars: pd.DataFrame, decisions: pd.DataFrame) -> Result:
    return simulate(bars, decisions["target"], account=bundle.account, costs=bundle.costs, stops=bundle.stops)


def research_decisions(bundle: Bundle, features: pd.DataFrame) -> pd.DataFrame:
    """What research decides on these rows, from a flat start: edge, previous, target."""
    edges = research_edges(bundle, features)
    target = bundle.policy.targets(edges)
    return pd.DataFrame({"edge": edges, "previous": target.shift(fill_value=0.0), "target": target})


def research_edges(bundle: Bundle, features: pd.DataFrame) -> pd.Series:
    """P(up) - P(down) on these rows."""
    return pd.Series(edge(bundle.model.predict(features.to_numpy())), index=features.index)


def compare(name: str, recorded: pd.DataFrame, research: pd.DataFrame) -> Line:
    """Rows by index: each must be on both sides and agree in every column, numbers to TOLERANCE; two NaN agree."""
    left, right = recorded.align(research, join="outer", axis=0)
    numbers = left.select_dtypes("number").columns
    gap = (left[numbers].astype(float) - right[numbers].astype(float)).abs()
    same = (gap <= TOLERANCE) | (left[numbers].isna() & right[numbers].isna())
    texts = left.columns.difference(numbers)
    both = left.index.isin(recorded.index) & left.index.isin(research.index)
    matched = both & (same.all(axis=1) & (left[texts] == right[texts]).all(axis=1)).to_numpy()
    first = None if matched.all() else _first(left, right, int(np.argmin(matched)))
    return Line(name, len(left), int(matched.sum()), float(np.nanmax(gap.to_numpy(), initial=0.0)), first)


def revised_candles(recorded: pd.DataFrame, now: pd.DataFrame) -> list[dict]:
    """{time, column, recorded, now} of every price or volume the venue tells otherwise today; now None where it no longer has the bar."""
    columns = [*REQUIRED, *(name for name in ("mark", "funding_rate") if name in recorded and name in now)]
    today = now.reindex(recorded.index)
    changed = ~((recorded[columns] == today[columns]) | (recorded[columns].isna() & today[columns].isna()))
    return [
        {"time": time.isoformat(), "column": name, "recorded": _number(recorded.at[time, name]), "now": _number(today.at[time, name])}
        for time, name in changed.stack()[lambda flag: flag].index
    ]


def _by_bar(happened: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Indexed by bar and by the order within it."""
    nth = happened.groupby("time").cumcount()
    return happened[columns].set_axis(pd.MultiIndex.from_arrays([happened["time"], nth], names=["time", "nth"]))


def _final_cash(result: Result) -> pd.DataFrame:
    return pd.DataFrame({"cash": [result.final.cash]}, index=result.equity.index[-1:])


def correlation(recorded: pd.Series, research: pd.Series) -> float | None:
    """Of two equity curves where both have a bar; None where one of them is constant."""
    if recorded.nunique() < 2 or research.nunique() < 2:
        return None
    return float(recorded.corr(research))


def _first(recorded: pd.DataFrame, research: pd.DataFrame, row: int) -> dict:
    label = recorded.index[row]
    time = label[0] if isinstance(label, tuple) else label
    return {"time": time.isoformat(), "recorded": _plain(recorded.iloc[row]), "research": _plain(research.iloc[row])}


def _plain(row: pd.Series) -> dict:
    return {name: value if isinstance(value, str) else _number(value) for name, value in row.items()}


def _number(value) -> float | None:
    return None if pd.isna(value) else float(value)


def _tell(first: dict | None) -> str:
    if first is None:
        return ""
    research = first["research"]
    wrong = (f"{name} {found} instead of {research[name]}" for name, found in first["recorded"].items() if found != research[name])
    return f"{first['time']}: {', '.join(wrong)}"
