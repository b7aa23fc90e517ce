"""The search for hyper-parameters as the sections of params.yaml say: for the training stage, and again, cut down, for the gate."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import pandas as pd

from quantalpha import bundle, config
from quantalpha.backtest.model_search import FINAL, History, Study, Tuning, Work, search_fold, search_folds
from quantalpha.backtest.rows import Fit, Rows
from quantalpha.labels import label
from quantalpha.models import fitter
from quantalpha.perp import bracket_schedule
from quantalpha.promotion.candidate import Candidate, code_version
from quantalpha.promotion.gate_report import GateLine
from quantalpha.validation.trials import Try

JUDGED_BY = ("labels", "models", "policy", "account", "costs", "stops")
STUDIES = "data/cache/studies"  # journals of interrupted and of finished searches; may be deleted
REHEARSED = 2  # sets a search tries where it is only asked whether it sees the test


def search(symbol: str, kind: str, params, history: History, tasks: Callable | None = None) -> list[Study]:
    """The studies of a training stage, one for each fold and the last for the final model; none where `search.trials` is 0.

    params: config.Params or a stage's sections (venue, data, search, JUDGED_BY). tasks: `pipeline.tasks.task_map`, and params.pipeline says
    where the sets of a batch are scored at the same time; None: one by one, here. Every set is a try of this market in the ledger. What
    was interrupted is resumed from data/cache/studies.
    """
    if not params.search.trials:
        return []
    sections = {name: getattr(params, name).model_dump(mode="json") for name in (*JUDGED_BY, "search")}
    told = {name: sections[name] for name in JUDGED_BY}
    study = f"{params.venue.kept_as}-{symbol}-{params.data.timeframe}"
    named = Try("", f"{symbol}-{kind}", told, code_version(), {}, study=study)
    with nullcontext(map) if tasks is None else tasks(params.pipeline) as run:
        return search_folds(history, _tuning(symbol, kind, sections), Work(run, named, config.path(STUDIES)))


def chosen(studies: Sequence[Study]) -> list[dict]:
    """What each study chose: of every fold and, last, of the final model."""
    return [study.chosen for study in studies]


def logarithmic(kind: str, search: config.Search) -> tuple[str, ...]:
    """The hyper-parameters whose logarithm is searched."""
    return tuple(name for name, bounds in getattr(search, kind).items() if bounds[2] == "log")


def fits(kind: str, models: config.Models, choices: Sequence[dict]) -> Fit | list[Fit]:
    """A fit for each choice, as `walk_forward_forecasts` and `final_model` take them; where there is none, one for all."""
    return [fitter(kind, models, one) for one in choices] or fitter(kind, models)


def fits_of(candidate: Candidate) -> Fit | list[Fit]:
    """What the candidate's folds and final model are fitted with, as its parameters and its recorded choices say."""
    models = config.Models.model_validate(candidate.trained.origin.sections["models"])
    return fits(candidate.trained.model.kind, models, candidate.trained.walk.chosen)


def rehearsed(candidate: Candidate, history: History) -> list[Fit]:
    """Fits as a search of a few sets in these very training windows chooses them; the final model's is the last fold's."""
    sections = candidate.trained.origin.sections
    few = sections | {"search": sections["search"] | {"trials": REHEARSED, "batch": REHEARSED}}
    tuning = _tuning_of(candidate, few)
    folds = [fold for fold in history.blocks() if fold != FINAL]
    few = chosen([search_fold(history, fold, tuning) for fold in folds])
    return fits(tuning.kind, tuning.models, [*few, few[-1]])


def choices_searched(candidate: Candidate, bars: pd.DataFrame) -> GateLine:
    """What was chosen for one fold is chosen again when its search is run again in full, from that fold's training window alone.

    Every choice in this way would take as long as the search did; the last fold's stands for them. All are refitted by
    `forecasts_reproduce`, and `model_saw_no_test` tries the search itself on altered bars.
    """
    sections, choices = candidate.trained.origin.sections, candidate.trained.walk.chosen
    trials = sections["search"]["trials"] if "search" in sections else 0
    if not trials or not choices:
        sound = not trials and not choices
        wrong = f"search.trials is {trials}, but {len(choices)} choices are recorded; run the pipeline again"
        return GateLine("choices_searched", sound, float(len(choices)), None, "nothing was searched" if sound else wrong)
    last = len(choices) - 2
    again = search_fold(_history(candidate, bars), last, _tuning_of(candidate, sections)).chosen
    wrong = f"fold {last} has {choices[last]}, its search of {trials} sets chooses {again}; run the pipeline again"
    reason = f"the search of fold {last}, {trials} sets, chooses the same again" if again == choices[last] else wrong
    return GateLine("choices_searched", again == choices[last], float(again != choices[last]), 0.0, reason)


def _history(candidate: Candidate, bars: pd.DataFrame) -> History:
    sections = candidate.trained.origin.sections
    params = config.Labels.model_validate(sections["labels"])
    rows = Rows(candidate.features.compute(bars), label(bars, params), params.decay)
    return History(rows, bars, config.Splits.model_validate(sections["splits"]))


def _tuning_of(candidate: Candidate, sections: dict) -> Tuning:
    return _tuning(candidate.trained.origin.symbol, candidate.trained.model.kind, sections)


def _tuning(symbol: str, kind: str, sections: dict) -> Tuning:
    models, search = config.Models.model_validate(sections["models"]), config.Search.model_validate(sections["search"])
    return Tuning(kind, models, search, **bundle.decision_parts(sections, bracket_schedule(symbol)))
