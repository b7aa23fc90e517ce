"""The gate between research and money: it believes nothing that is written down, runs it again, and says why it says no."""

import math
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import bundle, config
from quantalpha.backtest.walk_forward import final_model, walk_forward_forecasts
from quantalpha.bundle import Bundle, BundleContent
from quantalpha.errors import DataError
from quantalpha.models import PROBABILITIES
from quantalpha.promotion import gate_proofs as proofs
from quantalpha.promotion.candidate import Candidate, backtest_candidate, load_candidate
from quantalpha.promotion.gate_report import GateLine, GateReport, guarded
from quantalpha.promotion.hyperparameters import choices_searched
from quantalpha.schema import LIVE, epoch_ms

PARITY = 1e-12  # relative: batch and trailing window run the same code on the same numbers
TOLERANCE = 1e-9  # relative: what another machine's rounding may change in a sum


def promote(
    folder: Path, bars: pd.DataFrame, destination: Path, gate: config.Gate, sealed_from: datetime | None = None
) -> tuple[GateReport, Bundle | None]:
    """Judge the candidate in `folder` on the bars it was made from and seal it under `destination`; None if it failed (`report.refuse`).

    sealed_from: holdout.start, from which on it may have seen no bar; None: nothing is sealed.
    """
    candidate = load_candidate(folder)
    report = evaluate(candidate, bars, gate, sealed_from)
    if not report.passed:
        return report, None
    return report, bundle.write(destination, _content(candidate, research_bars(candidate, bars), report))


def evaluate(candidate: Candidate, bars: pd.DataFrame, gate: config.Gate, sealed_from: datetime | None = None) -> GateReport:
    """Every line of the gate, the later ones also after a failure. bars: all bars the candidate was made from, or more."""
    bars = research_bars(candidate, bars)
    result, table = backtest_candidate(candidate.trained, bars, gate.random_seeds)
    metrics, costs = result.metrics(), result.costs
    judges = {
        "market_named": lambda: proofs.market_named(candidate, bars),
        "holdout_sealed": lambda: proofs.holdout_sealed(bars, sealed_from),
        "auto_from_training": lambda: proofs.auto_from_training(candidate, bars),
        "features_causal": lambda: proofs.features_causal(candidate, bars, gate.causality_cuts),
        "lookbacks_sufficient": lambda: proofs.lookbacks_sufficient(candidate, bars),
        "labels_known": lambda: proofs.labels_known(proofs.labels_of(candidate), bars, gate.causality_cuts),
        "live_equals_batch": lambda: live_equals_batch(candidate, bars),
        "live_columns": lambda: live_columns(candidate),
        "forecasts_reproduce": lambda: forecasts_reproduce(candidate, bars, metrics),
        "choices_searched": lambda: choices_searched(candidate, bars),
        "model_saw_no_test": lambda: proofs.model_saw_no_test(candidate, bars),
        "real_costs": lambda: real_costs(costs.taker + costs.slippage, gate.min_cost),
        "net_result": lambda: net_result(metrics, table["sharpe_ratio"].to_dict()),
        "trades": lambda: trades(metrics, gate.min_trades),
        "bundle_roundtrip": lambda: bundle_roundtrip(candidate, bars),
    }
    lines = [guarded(name, judge) for name, judge in judges.items()]
    evidence = {"metrics": _json(metrics), "baselines": {name: _json(row) for name, row in table.to_dict("index").items()}}
    return GateReport(candidate.name, lines, evidence)


def research_bars(candidate: Candidate, bars: pd.DataFrame) -> pd.DataFrame:
    """The bars up to the last one the candidate was made from."""
    until = pd.Timestamp(candidate.trained.origin.until)
    if until not in bars.index:
        raise DataError(f"{candidate.name}: its last bar {until} is not among the bars given; give the bars it was made from")
    return bars.loc[:until]


def live_equals_batch(candidate: Candidate, bars: pd.DataFrame, rows: int = 50) -> GateLine:
    """The trailing window gives what the whole table gives: each lookback is as long as the feature needs."""
    features = candidate.features
    batch = features.compute(bars).to_numpy(float)
    ends = np.linspace(features.lookback, len(bars), rows).astype(int)
    live = np.array([features.latest(bars.iloc[end - features.lookback : end]) for end in ends])
    gaps = {name: _gap(live[:, k], batch[ends - 1, k]) for k, name in enumerate(features.names)}
    wrong = [name for name, gap in gaps.items() if not gap <= PARITY]
    sound = f"{rows} trailing windows give the batch's rows"
    reason = f"differ from the batch: {', '.join(wrong)}; declare a longer lookback" if wrong else sound
    return GateLine("live_equals_batch", not wrong, _number(max(gaps.values())), PARITY, reason)


def live_columns(candidate: Candidate) -> GateLine:
    """The runner's feed gives every column that the features read."""
    missing = bundle.not_live(candidate.features)
    has = f"a live bar has {', '.join(LIVE)}"
    reason = f"the features read {', '.join(missing)}; {has}; train without them" if missing else f"nothing but what {has}"
    return GateLine("live_columns", not missing, float(len(missing)), 0.0, reason)


def forecasts_reproduce(candidate: Candidate, bars: pd.DataFrame, metrics: dict[str, float]) -> GateLine:
    """Every fold and the final model are trained again from the bars: forecasts, stored predictions and metrics all come out again."""
    features = candidate.features.compute(bars)
    bundle.reproduce(candidate.check, candidate.features, candidate.trained.model, "check.json")
    gaps = {
        "stored predictions": _golden_gap(candidate, features),
        "walk-forward forecasts": _forecast_gap(candidate, features, bars),
        "the final model": _final_gap(candidate, features, bars),
        "recorded metrics": _metrics_gap(candidate.metrics, metrics),
    }
    wrong = [f"{name} differ by {gap:.3g}" for name, gap in gaps.items() if not gap <= TOLERANCE]
    reason = "; ".join(wrong) or f"{', '.join(gaps)} come out again"
    return GateLine("forecasts_reproduce", not wrong, _number(max(gaps.values())), TOLERANCE, reason)


def net_result(metrics: dict[str, float], rivals: dict[str, float]) -> GateLine:
    """Money made after all costs, at a better Sharpe ratio than every baseline."""
    sharpe, total = metrics["sharpe_ratio"], metrics["total_return"]
    better = [f"{name} {value:.2f}" for name, value in rivals.items() if not sharpe > value]
    reasons = [] if total > 0 else [f"net return {total:+.2%} is not above 0"]
    reasons += [f"Sharpe {sharpe:.2f} does not beat {', '.join(better)}"] if better else []
    threshold = max(rivals.values()) if all(math.isfinite(value) for value in rivals.values()) else math.nan
    reason = "; ".join(reasons) or f"net return {total:+.2%}, Sharpe {sharpe:.2f} beats {', '.join(rivals)}"
    return GateLine("net_result", not reasons, _number(sharpe), _number(threshold), reason)


def real_costs(cost: float, least: float) -> GateLine:
    """The candidate was judged, and will trade, at costs that exist."""
    reason = f"taker fee and slippage {cost * 1e4:.1f} bp a side, at least {least * 1e4:.1f} bp are asked for"
    return GateLine("real_costs", cost >= least, cost, least, reason)


def trades(metrics: dict[str, float], least: int) -> GateLine:
    """Enough trades to say anything."""
    count = metrics["n_trades"]
    return GateLine("trades", count >= least, _number(count), float(least), f"{count:.0f} round trips, at least {least} needed")


def bundle_roundtrip(candidate: Candidate, bars: pd.DataFrame) -> GateLine:
    """A bundle written, read back and verified forecasts what the candidate's model does."""
    rehearsal = GateReport(candidate.name, [GateLine("rehearsal", True, None, None, "written to be read back and thrown away")], {})
    x = candidate.features.compute(bars).to_numpy(float)
    with tempfile.TemporaryDirectory() as scratch:
        again = bundle.write(Path(scratch), _content(candidate, bars, rehearsal))
        same = again.model.predict(x).tobytes() == candidate.trained.model.predict(x).tobytes()
    reason = f"{len(x)} predictions are the same bits after writing and loading" if same else "predictions change by writing and loading"
    return GateLine("bundle_roundtrip", same, float(not same), 0.0, reason)


def _content(candidate: Candidate, bars: pd.DataFrame, report: GateReport) -> BundleContent:
    return BundleContent(candidate.trained.origin, candidate.trained.model, bars, report.to_dict())


def _golden_gap(candidate: Candidate, features: pd.DataFrame) -> float:
    """Largest change of a stored prediction when its features are computed over all bars."""
    stored = np.array(candidate.check["predictions"], dtype=float)
    times = pd.to_datetime(candidate.check["timestamp"][-len(stored) :], unit="ms", utc=True)
    return _gap(candidate.trained.model.predict(features.reindex(times).to_numpy(float)), stored)


def _forecast_gap(candidate: Candidate, features: pd.DataFrame, bars: pd.DataFrame) -> float:
    """Largest change of a stored forecast when every fold is trained again."""
    was = candidate.trained.walk.forecasts
    again = walk_forward_forecasts(features, **proofs.training_of(candidate, bars)).forecasts
    columns = [*PROBABILITIES, "fold"]
    return (
        _gap(again[columns].to_numpy(), was[columns].to_numpy()) if np.array_equal(epoch_ms(again.index), epoch_ms(was.index)) else math.inf
    )


def _final_gap(candidate: Candidate, features: pd.DataFrame, bars: pd.DataFrame) -> float:
    """Largest change of a prediction when the model that would trade is trained again."""
    x = features.to_numpy(float)
    return _gap(candidate.trained.model.predict(x), final_model(features, **proofs.training_of(candidate, bars)).predict(x))


def _metrics_gap(recorded: dict[str, float], found: dict[str, float]) -> float:
    return max(_gap(recorded[name], found[name]) for name in found) if set(recorded) == set(found) else math.inf


def _gap(found, expected) -> float:
    """Largest relative difference (absolute below 1); infinite where a number came or went."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return math.inf
    both = ~np.isnan(found)
    difference = np.abs(found - expected)[both] / np.maximum(np.abs(expected[both]), 1.0)
    return float(difference.max()) if difference.size else 0.0


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _json(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in metrics.items()}
