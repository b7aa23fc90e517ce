"""The gate between research and money: it believes nothing that is written down, runs it again, and says why it says no."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import bundle
from quantalpha.backtest.walk_forward import final_model, walk_forward_forecasts
from quantalpha.bundle import Bundle
from quantalpha.models import PROBABILITIES
from quantalpha.promotion import gate_live, gate_money, gate_proofs, gate_tries
from quantalpha.promotion.candidate import Candidate, load_candidate
from quantalpha.promotion.case import Case, Terms
from quantalpha.promotion.gate_report import GateLine, GateReport, gap, guarded, number
from quantalpha.schema import epoch_ms

TOLERANCE = 1e-9  # relative: what another machine's rounding may change in a sum


def promote(folder: Path, bars: pd.DataFrame, destination: Path, terms: Terms) -> tuple[GateReport, Bundle | None]:
    """Judge the candidate in `folder` on the bars it was made from and seal it under `destination`; None if it failed (`report.refuse`)."""
    candidate = load_candidate(folder)
    case = Case.of(candidate, bars, terms)
    report = judge(case)
    return report, seal(candidate, case.bars, report, destination)


def seal(candidate: Candidate, bars: pd.DataFrame, report: GateReport, destination: Path) -> Bundle | None:
    """The candidate as a bundle under `destination`; None if the gate refused it and nobody overrode that. bars: those it was made from."""
    return bundle.write(destination, gate_live.content(candidate, bars, report)) if report.passed else None


def evaluate(candidate: Candidate, bars: pd.DataFrame, terms: Terms) -> GateReport:
    """Every line of the gate. bars: all bars the candidate was made from, or more."""
    return judge(Case.of(candidate, bars, terms))


def judge(case: Case) -> GateReport:
    """Every line, the later ones also after a failure."""
    lines = LINES + (LIVE_LINES if case.terms.alias == "live" else ())
    table = case.scored[1].to_dict("index")
    evidence = {"metrics": _json(case.metrics), "baselines": {name: _json(row) for name, row in table.items()}}
    evidence |= {"asked": case.gate.model_dump(mode="json"), "holdout_start": case.terms.sealed_from and case.terms.sealed_from.isoformat()}
    return GateReport(case.candidate.name, [guarded(line.__name__, lambda line=line: line(case)) for line in lines], evidence)


def forecasts_reproduce(case: Case) -> GateLine:
    """Every fold and the final model are trained again from the bars: forecasts, stored predictions and metrics all come out again."""
    candidate = case.candidate
    bundle.reproduce(candidate.check, candidate.features, candidate.trained.model, "check.json")
    gaps = {
        "stored predictions": _golden_gap(candidate, case.features),
        "walk-forward forecasts": _forecast_gap(case),
        "the final model": _final_gap(case),
        "recorded metrics": _metrics_gap(candidate.metrics, case.metrics),
    }
    wrong = [f"{name} differ by {size:.3g}" for name, size in gaps.items() if not size <= TOLERANCE]
    reason = "; ".join(wrong) or f"{', '.join(gaps)} come out again"
    return GateLine("forecasts_reproduce", not wrong, number(max(gaps.values())), TOLERANCE, reason)


LINES = (
    gate_proofs.market_named, gate_proofs.holdout_sealed, gate_proofs.auto_from_training, gate_proofs.features_causal,
    gate_proofs.lookbacks_sufficient, gate_proofs.labels_known, gate_live.live_equals_batch, gate_live.live_columns, forecasts_reproduce,
    gate_proofs.choices_searched, gate_proofs.model_saw_no_test, gate_money.real_costs, gate_money.trades, gate_money.net_result,
    gate_money.walk_forward_net, gate_money.walk_forward_stressed, gate_money.combinatorial_net, gate_money.combinatorial_stressed,
    gate_money.stable_over_folds, gate_money.stable_over_parameters, gate_money.calibrated, gate_money.critic, gate_tries.deflated_sharpe,
    gate_tries.overfitting, gate_live.decision_time, gate_live.replay_identical, gate_live.bundle_roundtrip,
)  # fmt: skip
LIVE_LINES = (gate_live.real_data, gate_live.paper_days, gate_live.paper_agrees)


def _golden_gap(candidate: Candidate, features: pd.DataFrame) -> float:
    """Largest change of a stored prediction when its features are computed over all bars."""
    stored = np.array(candidate.check["predictions"], dtype=float)
    times = pd.to_datetime(candidate.check["timestamp"][-len(stored) :], unit="ms", utc=True)
    return gap(candidate.trained.model.predict(features.reindex(times).to_numpy(float)), stored)


def _forecast_gap(case: Case) -> float:
    """Largest change of a stored forecast when every fold is trained again."""
    was, again = case.candidate.trained.walk.forecasts, walk_forward_forecasts(case.features, **case.training).forecasts
    columns = [*PROBABILITIES, "fold"]
    same = np.array_equal(epoch_ms(again.index), epoch_ms(was.index))
    return gap(again[columns].to_numpy(), was[columns].to_numpy()) if same else math.inf


def _final_gap(case: Case) -> float:
    """Largest change of a prediction when the model that would trade is trained again."""
    x = case.features.to_numpy(float)
    return gap(case.candidate.trained.model.predict(x), final_model(case.features, **case.training).predict(x))


def _metrics_gap(recorded: dict[str, float], found: dict[str, float]) -> float:
    return max(gap(recorded[name], found[name]) for name in found) if set(recorded) == set(found) else math.inf


def _json(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: number(value) for name, value in metrics.items()}
