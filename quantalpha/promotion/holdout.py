"""The sealed hold-out: bars that no stage of research has read, on which the champion is scored, and a record of every time it was.

A score that is looked at and acted upon is research from then on, so each opening is written to `mlruns/holdout.jsonl` before its result is
shown (`audit`).
"""

import pandas as pd

from quantalpha import audit, config, files
from quantalpha.backtest.result import Result
from quantalpha.backtest.walk_forward import WalkForward, forecast_scores
from quantalpha.bundle import Bundle, Origin
from quantalpha.errors import DataError, GateRefused, UsageError
from quantalpha.labels import label
from quantalpha.market import Lake, clean_bars
from quantalpha.models import PROBABILITIES
from quantalpha.promotion.candidate import Trained, backtest_candidate, plain

FILE = "mlruns/holdout.jsonl"


def open_holdout(champion: Bundle, params: config.Params, reason: str) -> dict:
    """Score `champion` on the sealed bars, write the opening down and return it.

    The final model forecasts every sealed bar, never refitted; a flat account trades from the first of them on. Keys: time, who, reason,
    bundle, symbol, first and last bar, bars, opened (how often bars of that span were, this time included), scores of the forecasts,
    metrics after costs, baselines. UsageError without a hold-out or a reason, GateRefused for a champion that has seen some of it,
    DataError where the lake holds no sealed bar.
    """
    start = params.holdout.start
    if start is None:
        raise UsageError("hold-out: holdout.start is null, so nothing is sealed; set it in params.yaml before the research it is to judge")
    told = audit.stamp(reason, "the hold-out is opened")
    if champion.until >= start:
        seen = f"{champion.symbol}'s champion was made from bars up to {champion.until}, sealed are those from {start} on"
        raise GateRefused(f"hold-out: {seen}: what it has seen cannot judge it; run the pipeline with this holdout.start and promote again")
    bars = _cleaned(champion, params)
    result, baselines, scores = score(champion, bars, pd.Timestamp(start), params.gate.random_seeds)
    span = {"first": result.equity.index[0].isoformat(), "last": result.equity.index[-1].isoformat(), "bars": len(result.equity)}
    named = told | {"bundle": champion.id, "symbol": champion.symbol, "timeframe": champion.timeframe}
    rivals = {name: plain(row) for name, row in baselines.to_dict("index").items()}
    return _write_down(named | span | {"scores": scores, "metrics": plain(result.metrics()), "baselines": rivals})


def score(champion: Bundle, bars: pd.DataFrame, start: pd.Timestamp, random_seeds: int) -> tuple[Result, pd.DataFrame, dict]:
    """(backtest, baselines, scores of the forecasts) of the bundle's own model from the bar at `start` on; `bars` begin before."""
    sections = files.read_json(champion.folder / "params.json", "sections")["sections"]
    told = {name: champion.manifest[name] for name in ("data", "until", "lock_sha256", "code_version")}
    origin = Origin(champion.symbol, champion.timeframe, champion.venue, sections, **told)
    features = champion.features.compute(bars).loc[start:]
    probabilities = champion.model.predict(features.to_numpy(float))
    outcome = label(bars, config.Labels.model_validate(sections["labels"])).loc[start:]
    forecasts = pd.DataFrame(probabilities, index=features.index, columns=list(PROBABILITIES)).assign(fold=0)
    scores = forecast_scores(outcome, probabilities)
    result, baselines = backtest_candidate(Trained(origin, champion.model, WalkForward(forecasts, [scores])), bars, random_seeds)
    return result, baselines, scores


def openings() -> list[dict]:
    """Every opening in order of time. DataError where the record was altered."""
    return audit.read(config.path(FILE))


def _cleaned(champion: Bundle, params: config.Params) -> pd.DataFrame:
    """All bars of the champion's market up to data.end, sealed ones included: the one read of the lake that passes the hold-out."""
    lake, market = Lake(config.path("data/raw")), (champion.venue, champion.symbol, champion.timeframe)
    raw, funding, mark = lake.read_all(*market, params.data.start, params.data.end)
    bars, _ = clean_bars(raw, funding, mark, params.clean, champion.timeframe)
    if bars.index[-1] < params.holdout.start:
        remedy = "let data.end lie after it and run `quantalpha pipeline run --only download`, or import them"
        raise DataError(f"hold-out: no bar of {'/'.join(market)} from {params.holdout.start} on, the last is {bars.index[-1]}; {remedy}")
    return bars


def _write_down(opening: dict) -> dict:
    """Adds an opening, counted."""
    return audit.append(config.path(FILE), lambda earlier: opening | {"opened": 1 + sum(_overlap(opening, other) for other in earlier)})


def _overlap(one: dict, other: dict) -> bool:
    """Both showed some of the same bars; another venue or timeframe of the symbol moves with them."""
    return one["symbol"] == other["symbol"] and one["first"] <= other["last"] and other["first"] <= one["last"]
