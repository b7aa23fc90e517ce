"""Candidates side by side: their numbers, their accounts, and whether the best is better than the next by more than luck."""

from collections.abc import Sequence

import pandas as pd

from quantalpha import config, tracking
from quantalpha.backtest.comparison import compare_forecasts, compare_returns
from quantalpha.backtest.periods import daily_returns
from quantalpha.backtest.result import Result
from quantalpha.errors import QuantalphaError
from quantalpha.files import read_json, tree_sha256
from quantalpha.labels import label
from quantalpha.promotion.candidate import Candidate, candidate_result, study
from quantalpha.promotion.tracked import STAGE, candidate_bars
from quantalpha.validation import Trials

MONEY = ("sharpe_ratio", "max_drawdown", "profit_factor", "n_trades", "turnover")
FORECASTS = ("brier", "log_loss", "information_coefficient")


def leaderboard(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """MONEY after costs and FORECASTS as means over the folds, a row a candidate, best Sharpe ratio first; undefined ones last, NaN."""
    rows = {}
    for candidate in candidates:
        folds = pd.DataFrame(candidate.trained.walk.folds).reindex(columns=list(FORECASTS)).astype(float)
        rows[candidate.name] = {name: candidate.metrics[name] for name in MONEY} | folds.mean().to_dict()
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("sharpe_ratio", ascending=False, kind="stable")


def accounts(candidates: Sequence[Candidate]) -> dict[str, Result]:
    """The walk-forward backtest of each, by name, in their order; DataError where the bars one was made from are gone or have changed."""
    return {each.name: candidate_result(each.trained, candidate_bars(each.folder)) for each in candidates}


def duel(candidates: Sequence[Candidate], results: dict[str, Result]) -> pd.DataFrame:
    """Paired tests of the first candidate against the next one of its market: rows log_loss and sharpe_ratio, whose name says which two.

    candidates: best first; results: their `accounts`. Labels are those of the first. Empty where no other is of its market.
    """
    first, *others = candidates
    rival = next((each for each in others if study(each.trained.origin) == study(first.trained.origin)), None)
    if rival is None:
        return pd.DataFrame(columns=["no other candidate of this market"])
    params = config.Labels.model_validate(first.trained.origin.sections["labels"])
    labels = label(candidate_bars(first.folder), params)
    forecasts = compare_forecasts(first.trained.walk, rival.trained.walk, labels)
    returns = compare_returns(*(daily_returns(results[each.name].returns) for each in (first, rival)))
    return pd.concat([forecasts, returns]).rename(columns={"first": first.name, "second": rival.name})


def tries(candidates: Sequence[Candidate]) -> pd.Series:
    """How many tries the ledger holds for the market of each, by name."""
    return pd.Series({each.name: Trials().count(study=study(each.trained.origin)) for each in candidates}, name="tries")


def gate_lines(candidates: Sequence[Candidate]) -> pd.Series:
    """What the gate last said of each, by name: '13 of 14' lines passed, or 'not judged'; 'unknown' where the record cannot be asked."""
    try:
        judged = [run for run in tracking.runs(kind="stage", stage=STAGE) if "gate" in run.tags] if candidates else []
        said = {each.name: _passed(judged, f"{STAGE}-{each.name}", tree_sha256(each.folder)) for each in candidates}
    except QuantalphaError:
        said = dict.fromkeys((each.name for each in candidates), "unknown")
    return pd.Series(said, name="gate", dtype=object)


def _passed(judged: list[tracking.RunInfo], name: str, digest: str) -> str:
    """Of the newest run of that name and candidate."""
    own = (run for run in judged if run.name == name and digest in run.tags.values())
    run = next(own, None)
    if run is None:
        return "not judged"
    lines = read_json(tracking.artifact_folder(run.run_id) / tracking.GATE_FILE, "lines")["lines"]
    return f"{sum(line['passed'] for line in lines)} of {len(lines)}"
