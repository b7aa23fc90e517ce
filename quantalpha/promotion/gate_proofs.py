"""Gate lines about what a candidate was made from and could have seen: features, labels and training are run again on altered bars."""

import json
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from quantalpha import config, timeframe
from quantalpha.backtest.model_search import FINAL, History
from quantalpha.backtest.rows import Rows
from quantalpha.backtest.walk_forward import walk_forward_forecasts
from quantalpha.errors import DataError
from quantalpha.features import resolve
from quantalpha.labels import label
from quantalpha.promotion.candidate import ASKED
from quantalpha.promotion.case import Case
from quantalpha.promotion.gate_report import GateLine
from quantalpha.promotion.hyperparameters import rehearsed, searched_again
from quantalpha.schema import epoch_ms
from quantalpha.validation import LeakReport, check_causal, check_walk_forward, check_warm_up
from quantalpha.validation.trials import data_hash


def market_named(case: Case) -> GateLine:
    """The bars are of the timeframe the candidate names, and their file is that of its symbol."""
    origin, bars = case.candidate.trained.origin, case.bars
    opens, length = epoch_ms(bars.index), timeframe.milliseconds(origin.timeframe)
    step, passport = int(np.diff(opens).min()), origin.data.get("bars")
    path = passport.get("path") if isinstance(passport, dict) else None
    faults = [] if step == length else [f"its bars are {step / 60_000:g} minutes apart"]
    faults += [f"a bar opens at {bars.index[(opens % length > 0).argmax()]}"] if (opens % length).any() else []
    faults += [f"its bars are those of {path or 'no file it names'}"] if PurePosixPath(path or "").stem != origin.symbol else []
    named = f"{origin.symbol} {origin.timeframe} on {origin.venue}"
    reason = f"named as {named}, but {'; '.join(faults)}; run the pipeline again" if faults else f"{named}: so are its bars"
    return GateLine("market_named", not faults, None, None, reason)


def holdout_sealed(case: Case) -> GateLine:
    """No bar of the hold-out was among those the candidate was made from."""
    bars, start = case.bars, case.terms.sealed_from
    if start is None:
        return GateLine("holdout_sealed", True, None, None, "no hold-out is set (holdout.start is null)")
    seen = int((bars.index >= start).sum())
    wrong = f"made from bars up to {bars.index[-1]}, {seen} of them from holdout.start {start} on; run the pipeline with this holdout.start"
    return GateLine("holdout_sealed", not seen, float(seen), 0.0, wrong if seen else f"its last bar {bars.index[-1]} is before {start}")


def auto_from_training(case: Case) -> GateLine:
    """What was asked for as "auto" comes out again from the first training window alone."""
    sections = case.sections
    if ASKED not in sections:
        raise DataError(f"the candidate does not tell which features were asked for ({ASKED}); run the pipeline again")
    asked, used = sections[ASKED], sections["features"]
    train = config.Splits.model_validate(sections["splits"]).train
    fitted = resolve(asked, case.bars.iloc[:train])
    wrong = [name for name in fitted | used if json.dumps(fitted.get(name)) != json.dumps(used.get(name))]  # as it was stored
    told = ", ".join(f"{name}: {used.get(name)}, the first {train} bars give {fitted.get(name)}" for name in wrong)
    sound = f"the first {train} bars give what is used" if json.dumps(asked) != json.dumps(used) else "nothing is fitted"
    reason = f"not fitted on the training bars alone: {told}; run the pipeline again" if wrong else sound
    return GateLine("auto_from_training", not wrong, float(len(wrong)), 0.0, reason)


def features_causal(case: Case) -> GateLine:
    """No feature of the past changes when the future is hidden or replaced."""
    found = check_causal(case.candidate.features.compute, case.bars, cuts=case.gate.causality_cuts)
    sound = f"{len(found.columns)} columns do not change when the future is hidden or replaced"
    return _judged("features_causal", found, "features look ahead: {}", sound)


def lookbacks_sufficient(case: Case) -> GateLine:
    """The last value of each feature on its declared lookback alone has the bits of the one on all bars."""
    found = check_warm_up(case.candidate.features, case.bars, windows=(1,))
    wrong = found.drift.index[~(found.drift[1] <= 0)]
    named = ", ".join(f"{name} ({found.features.verdict[name]})" for name in wrong)
    reason = f"lookbacks do not hold: {named}" if named else f"{len(found.drift)} columns need no bar before their lookback"
    return GateLine("lookbacks_sufficient", found.clean, float(len(wrong)), 0.0, reason)


def labels_known(case: Case) -> GateLine:
    """No label changes after the close of its `end_time`, by which training is purged, and none is there before.

    Its weight is not asked here: it shares bars with labels that end later. `model_saw_no_test` judges what it tells.
    """
    params, cuts = case.label_params, case.gate.causality_cuts
    found = check_causal(lambda rows: label(rows, params).drop(columns="weight"), case.bars, cuts=cuts, known_at="end_time")
    sound = f"{len(found.columns)} columns are final at the end of their label, and empty before"
    wrong = "labels use bars after their end_time: {}; purging by it lets training see the test"
    return _judged("labels_known", found, wrong, sound)


def choices_searched(case: Case) -> GateLine:
    """The hyper-parameters of the model that would trade, and of one fold that its forecasts draw, are chosen again when their searches are
    run again in full, on their training windows alone.

    To search every fold again would take as long as the search did. `forecasts_reproduce` fits all again with what is recorded, and
    `model_saw_no_test` tries the search itself on altered bars.
    """
    choices, trials = case.candidate.trained.walk.chosen, case.sections["search"]["trials"] if "search" in case.sections else 0
    if not trials or not choices:
        sound = not trials and not choices
        wrong = f"search.trials is {trials}, but {len(choices)} choices are recorded; run the pipeline again"
        return GateLine("choices_searched", sound, float(len(choices)), None, "nothing was searched" if sound else wrong)
    training, drawn = case.training, int(data_hash(case.candidate.trained.walk.forecasts), 16) % (len(choices) - 1)
    history = History(Rows(case.features, training["labels"], training["decay"]), case.bars, training["splits"])
    again = {fold: searched_again(case.candidate, history, fold) for fold in (drawn, FINAL)}
    wrong = [
        f"fold {fold}: {choices[k]} is recorded, {again[fold]} is chosen"
        for fold, k in ((drawn, drawn), (FINAL, -1))
        if again[fold] != choices[k]
    ]
    told = (
        f"{'; '.join(wrong)}; run the pipeline again"
        if wrong
        else f"the searches of fold {drawn} and of the final model, {trials} sets, choose the same again"
    )
    return GateLine("choices_searched", not wrong, float(len(wrong)), 0.0, told)


def model_saw_no_test(case: Case) -> GateLine:
    """No forecast changes with the bars after it: split, purge, weights, search and fit are tried, on the newest bars that make a fold.

    What is trained again by code that lets the test in comes out again as well; `forecasts_reproduce` cannot see that.
    """
    features, training, bars = case.candidate.features, case.training, case.bars
    splits = training["splits"]
    # A test of at least the horizon: a label that the end of the bars cuts off no longer lightens those beside it.
    ended = max(case.label_params.horizon, 0 if isinstance(splits.test, str) else splits.test)
    complete = np.flatnonzero(np.isfinite(case.features.to_numpy(float)).all(axis=1))
    if not complete.size:
        raise DataError(f"no bar of {len(bars)} has all features; the longest needs {features.lookback}: pass a longer history")
    begin = complete[complete <= max(len(bars) - splits.train - splits.embargo - ended, complete[0])][-1]

    def forecast(rows: pd.DataFrame) -> pd.DataFrame:
        again = training | {"labels": label(rows, case.label_params), "splits": splits.model_copy(update={"test": ended})}
        made = features.compute(rows)
        if case.candidate.trained.walk.chosen:
            again["fit"] = rehearsed(case.candidate, History(Rows(made, again["labels"], again["decay"]), rows, again["splits"]))
        return walk_forward_forecasts(made, **again).forecasts

    found = check_walk_forward(forecast, bars.iloc[max(begin + 1 - features.lookback, 0) :], folds=1)
    wrong = "{} change with bars after the forecast: training saw its test rows"
    return _judged("model_saw_no_test", found, wrong, "no later bar changes a forecast")


def _judged(name: str, found: LeakReport, wrong: str, sound: str) -> GateLine:
    """Failed by a leak, or by what could not be tried: that is no proof. wrong: with {} for the columns."""
    leaks = found.columns[found.columns.leaks]
    named = ", ".join(f"{row.name} ({row.cause})" for row in leaks.itertuples())
    untried = [] if found.complete else [f"not proved, could not be tried: {'; '.join(found.untried)}"]
    reasons = [*([wrong.format(named)] if named else []), *untried]
    return GateLine(name, found.clean and found.complete, float(len(leaks)), 0.0, "; ".join(reasons) or sound)
