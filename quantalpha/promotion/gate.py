"""The gate between research and money: it believes nothing that is written down, runs it again, and says why it says no."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import bundle, config
from quantalpha.backtest.walk_forward import final_model, walk_forward_forecasts
from quantalpha.bundle import Bundle, BundleContent
from quantalpha.errors import DataError, GateRefused
from quantalpha.labels import label
from quantalpha.models import PROBABILITIES, fitter
from quantalpha.promotion.candidate import Candidate, backtest_candidate, load_candidate
from quantalpha.schema import LIVE, epoch_ms
from quantalpha.validation import check_causal, check_walk_forward, check_warm_up

PARITY = 1e-12  # relative: batch and trailing window run the same code on the same numbers
TOLERANCE = 1e-9  # relative: what another machine's rounding may change in a sum


@dataclass(frozen=True)
class GateLine:
    """One question. value and threshold: None where undefined."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    reason: str


@dataclass(frozen=True)
class GateReport:
    """All answers for one candidate; evidence: the metrics and baselines the gate computed itself, as JSON."""

    candidate: str
    lines: list[GateLine]
    evidence: dict

    @property
    def passed(self) -> bool:
        return bool(self.lines) and all(line.passed for line in self.lines)

    def refuse(self) -> None:
        """Raise GateRefused naming every failed line with its numbers; nothing when all passed."""
        failed = [line for line in self.lines if not line.passed]
        if not self.passed:
            reasons = "; ".join(f"{line.name}: {line.reason}" for line in failed) or "nothing was judged"
            raise GateRefused(f"{self.candidate}: refused by {len(failed)} of {len(self.lines)} gate lines: {reasons}")

    def to_dict(self) -> dict:
        """For gate.json."""
        lines = [asdict(line) for line in self.lines]
        return {"candidate": self.candidate, "passed": self.passed, "lines": lines, "evidence": self.evidence}

    def __str__(self) -> str:
        rows = [("", "line", "value", "threshold", "reason")]
        rows += [("ok" if x.passed else "NO", x.name, _short(x.value), _short(x.threshold), x.reason) for x in self.lines]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]) for row in rows)


def promote(folder: Path, bars: pd.DataFrame, destination: Path, gate: config.Gate) -> tuple[GateReport, Bundle | None]:
    """Judge the candidate in `folder` on the bars it was made from and seal it under `destination`; None if it failed (`report.refuse`)."""
    candidate = load_candidate(folder)
    report = evaluate(candidate, bars, gate)
    if not report.passed:
        return report, None
    return report, bundle.write(destination, _content(candidate, research_bars(candidate, bars), report))


def evaluate(candidate: Candidate, bars: pd.DataFrame, gate: config.Gate) -> GateReport:
    """Every line of the gate, the later ones also after a failure. bars: all bars the candidate was made from, or more."""
    bars = research_bars(candidate, bars)
    result, table = backtest_candidate(candidate.trained, bars, gate.random_seeds)
    metrics, costs = result.metrics(), result.costs
    lines = [
        features_causal(candidate, bars, gate.causality_cuts),
        lookbacks_sufficient(candidate, bars),
        _guarded("labels_known", lambda: labels_known(_labels(candidate), bars, gate.causality_cuts)),
        live_equals_batch(candidate, bars),
        live_columns(candidate),
        _guarded("forecasts_reproduce", lambda: forecasts_reproduce(candidate, bars, metrics)),
        _guarded("model_saw_no_test", lambda: model_saw_no_test(candidate, bars)),
        real_costs(costs.taker + costs.slippage, gate.min_cost),
        net_result(metrics, table["sharpe_ratio"].to_dict()),
        trades(metrics, gate.min_trades),
        _guarded("bundle_roundtrip", lambda: bundle_roundtrip(candidate, bars)),
    ]
    evidence = {"metrics": _json(metrics), "baselines": {name: _json(row) for name, row in table.to_dict("index").items()}}
    return GateReport(candidate.name, lines, evidence)


def research_bars(candidate: Candidate, bars: pd.DataFrame) -> pd.DataFrame:
    """The bars up to the last one the candidate was made from."""
    until = pd.Timestamp(candidate.trained.origin.until)
    if until not in bars.index:
        raise DataError(f"{candidate.name}: its last bar {until} is not among the bars given; give the bars it was made from")
    return bars.loc[:until]


def features_causal(candidate: Candidate, bars: pd.DataFrame, cuts: int) -> GateLine:
    """No feature of the past changes when the future is hidden or replaced."""
    found = check_causal(candidate.features.compute, bars, cuts=cuts)
    leaks = found.columns[found.columns.leaks]
    named = ", ".join(f"{row.name} ({row.cause})" for row in leaks.itertuples())
    sound = f"{len(found.columns)} columns do not change when the future is hidden or replaced"
    reason = f"features look ahead: {named}" if named else sound
    return GateLine("features_causal", found.clean, float(len(leaks)), 0.0, reason)


def lookbacks_sufficient(candidate: Candidate, bars: pd.DataFrame) -> GateLine:
    """The last value of each feature on its declared lookback alone has the bits of the one on all bars."""
    found = check_warm_up(candidate.features, bars, windows=(1,))
    wrong = found.drift.index[~(found.drift[1] <= 0)]
    named = ", ".join(f"{name} ({found.features.verdict[name]})" for name in wrong)
    reason = f"lookbacks do not hold: {named}" if named else f"{len(found.drift)} columns need no bar before their lookback"
    return GateLine("lookbacks_sufficient", found.clean, float(len(wrong)), 0.0, reason)


def labels_known(params: config.Labels, bars: pd.DataFrame, cuts: int) -> GateLine:
    """No label changes after the close of its `end_time`, by which training is purged, and none is there before.

    Its weight is not asked here: it shares bars with labels that end later. `model_saw_no_test` judges what it tells.
    """
    found = check_causal(lambda rows: label(rows, params).drop(columns="weight"), bars, cuts=cuts, known_at="end_time")
    late = found.columns[found.columns.leaks]
    named = ", ".join(f"{row.name} ({row.cause})" for row in late.itertuples())
    sound = f"{len(found.columns)} columns are final at the end of their label, and empty before"
    reason = f"labels use bars after their end_time: {named}; purging by it lets training see the test" if named else sound
    return GateLine("labels_known", found.clean, float(len(late)), 0.0, reason)


def model_saw_no_test(candidate: Candidate, bars: pd.DataFrame) -> GateLine:
    """No forecast changes with the bars after it: split, purge, weights and fit themselves are tried, on the newest bars that make a fold.

    What is trained again by code that lets the test in comes out again as well; `forecasts_reproduce` cannot see that.
    """
    features, training = candidate.features, _training(candidate, bars)
    splits = training["splits"]
    ended = max(
        0 if isinstance(splits.test, str) else splits.test, _labels(candidate).horizon
    )  # a label that the end of the bars cuts off no longer lightens those beside it
    complete = np.flatnonzero(np.isfinite(features.compute(bars).to_numpy(float)).all(axis=1))
    begin = complete[complete <= max(len(bars) - splits.train - splits.embargo - ended, complete[0])][-1]

    def forecast(rows: pd.DataFrame) -> pd.DataFrame:
        again = training | {"labels": label(rows, _labels(candidate)), "splits": splits.model_copy(update={"test": ended})}
        return walk_forward_forecasts(features.compute(rows), **again).forecasts

    found = check_walk_forward(forecast, bars.iloc[max(begin + 1 - features.lookback, 0) :], folds=1)
    named = ", ".join(found.columns.name[found.columns.leaks])
    reason = f"{named} change with bars after the forecast: training saw its test rows" if named else "no later bar changes a forecast"
    return GateLine("model_saw_no_test", found.clean, float(found.columns.leaks.sum()), 0.0, reason)


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


def _guarded(name: str, judge: Callable[[], GateLine]) -> GateLine:
    """A line whose evidence turns out damaged is a failed line."""
    try:
        return judge()
    except DataError as error:
        return GateLine(name, False, None, None, str(error))


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
    again = walk_forward_forecasts(features, **_training(candidate, bars)).forecasts
    columns = [*PROBABILITIES, "fold"]
    return (
        _gap(again[columns].to_numpy(), was[columns].to_numpy()) if np.array_equal(epoch_ms(again.index), epoch_ms(was.index)) else math.inf
    )


def _final_gap(candidate: Candidate, features: pd.DataFrame, bars: pd.DataFrame) -> float:
    """Largest change of a prediction when the model that would trade is trained again."""
    x = features.to_numpy(float)
    return _gap(candidate.trained.model.predict(x), final_model(features, **_training(candidate, bars)).predict(x))


def _training(candidate: Candidate, bars: pd.DataFrame) -> dict:
    """Labels, splits, the fitting of a fresh model and the decay of its rows, as the candidate's parameters say."""
    sections = candidate.trained.origin.sections
    params, trees = _labels(candidate), config.Models.model_validate(sections["models"])
    training = {"splits": config.Splits.model_validate(sections["splits"]), "fit": fitter(candidate.trained.model.kind, trees)}
    return training | {"labels": label(bars, params), "decay": params.decay}


def _labels(candidate: Candidate) -> config.Labels:
    return config.Labels.model_validate(candidate.trained.origin.sections["labels"])


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


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
