"""Gate lines about the way from research to the runner: the same numbers, the same decisions, in time, from the bundle that would trade."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import bundle
from quantalpha.bundle import Bundle, BundleContent
from quantalpha.config import IMPORT
from quantalpha.errors import DataError
from quantalpha.promotion.candidate import Candidate
from quantalpha.promotion.case import Case
from quantalpha.promotion.gate_report import GateLine, GateReport, gap, number
from quantalpha.promotion.reconcile import reconcile
from quantalpha.schema import LIVE
from quantalpha.strategy import edge

PARITY = 1e-12  # relative: batch and trailing window run the same code on the same numbers
ROWS = 50  # trailing windows compared with the batch
DECISIONS = 100  # timed, after as many to warm up
REPLAYED = 1000  # bars after the first decision


def live_equals_batch(case: Case) -> GateLine:
    """The trailing window gives what the whole table gives: each lookback is as long as the feature needs."""
    features, batch = case.candidate.features, case.features.to_numpy(float)
    ends = np.linspace(features.lookback, len(case.bars), ROWS).astype(int)
    live = np.array([features.latest(case.bars.iloc[end - features.lookback : end]) for end in ends])
    gaps = {name: gap(live[:, k], batch[ends - 1, k]) for k, name in enumerate(features.names)}
    wrong = [name for name, size in gaps.items() if not size <= PARITY]
    sound = f"{ROWS} trailing windows give the batch's rows"
    reason = f"differ from the batch: {', '.join(wrong)}; declare a longer lookback" if wrong else sound
    return GateLine("live_equals_batch", not wrong, number(max(gaps.values())), PARITY, reason)


def live_columns(case: Case) -> GateLine:
    """The runner's feed gives every column that the features read."""
    missing = bundle.not_live(case.candidate.features)
    has = f"a live bar has {', '.join(LIVE)}"
    reason = (
        f"the features read {', '.join(missing)}; {has}; train without them"
        if missing
        else f"no other column than a live bar has: {', '.join(LIVE)}"
    )
    return GateLine("live_columns", not missing, float(len(missing)), 0.0, reason)


def bundle_roundtrip(case: Case) -> GateLine:
    """A bundle written, read back and verified forecasts what the candidate's model does."""
    x = case.features.to_numpy(float)
    with rehearsed(case) as again:
        same = again.model.predict(x).tobytes() == case.candidate.trained.model.predict(x).tobytes()
    reason = f"{len(x)} predictions are the same bits after writing and loading" if same else "predictions change by writing and loading"
    return GateLine("bundle_roundtrip", same, float(not same), 0.0, reason)


def decision_time(case: Case) -> GateLine:
    """Features, forecast and policy of one closed bar, as the runner calls them, are done in time. The median: machines are noisy."""
    features, model, most = case.candidate.features, case.candidate.trained.model, case.gate.max_decision_ms
    window, taken = case.bars.iloc[-features.lookback :], []
    for _ in range(2 * DECISIONS):
        begun = time.perf_counter()
        edge(model.predict(features.latest(window)[None]))
        taken.append(1e3 * (time.perf_counter() - begun))
    median = float(np.median(taken[DECISIONS:]))
    if median <= most:  # no number: a report of the same candidate has the same bytes, and its bundle the same name
        return GateLine("decision_time", True, None, most, f"within {most:g} ms from a closed bar to its forecast on this machine")
    reason = f"{median:.2f} ms from a closed bar to its forecast on this machine, at most {most:g} asked for; use fewer or cheaper features"
    return GateLine("decision_time", False, median, most, reason)


def replay_identical(case: Case) -> GateLine:
    """The runner's engine, fed the newest bars one by one, decides, fills and holds what the backtest does."""
    bars = case.bars.iloc[-(case.candidate.features.lookback + REPLAYED) :]
    with rehearsed(case) as sealed:
        found = reconcile(sealed, _rehearsal(case).replay(sealed, bars))
    wrong = [line for line in found.lines if not line.agrees]
    compared = ", ".join(f"{line.compared} {line.name}" for line in found.lines)
    named = "; ".join(
        f"{line.name}: {line.compared - line.matched} of {line.compared} differ, first at {line.first['time']}" for line in wrong
    )
    reason = f"replay and backtest differ: {named}" if wrong else f"replayed through the runner: {compared} agree"
    return GateLine("replay_identical", found.agrees, float(sum(line.compared - line.matched for line in wrong)), 0.0, reason)


def real_data(case: Case) -> GateLine:
    """For live: the bars are those of the venue where the money would trade, or the user's own files; no practice tape."""
    made_at, venue = case.candidate.trained.origin.venue, case.terms.venue
    real = venue is not None and made_at in (venue, IMPORT)
    trades = f"live money trades {venue or 'no practice exchange'}"
    wrong = f"made from data of {made_at}, and {trades}; run the pipeline on the venue's own data, and promote with its profile"
    return GateLine("real_data", real, None, None, f"made from data of {made_at}; {trades}" if real else wrong)


def paper_days(case: Case) -> GateLine:
    """For live: this very model has traded on paper for long enough, by the market's time and by ours: distinct bars, none it may have
    learnt from, in sessions that no kill switch has ended."""
    with rehearsed(case) as sealed:
        sessions = _rehearsal(case).paper(sealed)
    sound = [each for each in sessions if not each.tripped]
    decided = {time for each in sound for time in each.recorded.decisions.index if time > sealed.until}
    bars = len(decided) * (pd.Timedelta(case.candidate.trained.origin.timeframe) / pd.Timedelta("1D"))
    days, least = min(bars, sum(each.days for each in sound)), case.gate.paper_days
    stopped = f", {len(sessions) - len(sound)} ended by a kill switch" if len(sound) < len(sessions) else ""
    told = f"{days:.1f} days on paper at {case.terms.venue or 'no venue'}"
    reason = f"{told}, sessions of this model: {len(sessions)}{stopped}, at least {least:g} asked for"
    return GateLine("paper_days", days >= least, days, least, reason)


def paper_agrees(case: Case) -> GateLine:
    """For live: what it did on paper is what its backtest does on the same bars."""
    with rehearsed(case) as sealed:
        sessions = [each for each in _rehearsal(case).paper(sealed) if len(each.recorded.decisions)]
        reports = [reconcile(each.bundle, each.recorded) for each in sessions]
    wrong = sum(not report.agrees for report in reports)
    reason = (
        f"{wrong} of {len(reports)} paper sessions differ from their backtest" if wrong else f"all paper sessions agree: {len(reports)}"
    )
    return GateLine("paper_agrees", bool(reports) and not wrong, float(wrong), 0.0, reason if reports else "no paper session to compare")


@contextmanager
def rehearsed(case: Case) -> Iterator[Bundle]:
    """The bundle that would be sealed, in a folder that is thrown away; its report says that no gate has passed it."""
    with tempfile.TemporaryDirectory() as scratch:
        yield bundle.rehearse(Path(scratch) / "rehearsal", content(case.candidate, case.bars, GateReport(case.candidate.name, [], {})))


def content(candidate: Candidate, bars: pd.DataFrame, report: GateReport) -> BundleContent:
    """What is sealed of a candidate."""
    return BundleContent(candidate.trained.origin, candidate.trained.model, bars, report.to_dict())


def _rehearsal(case: Case):
    if case.terms.rehearsal is None:
        raise DataError(
            "not tried: no runner was given to rehearse with; promote by `quantalpha promote`, or pass `rehearsal.Runner(params)`"
        )
    return case.terms.rehearsal
