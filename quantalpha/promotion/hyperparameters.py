"""The search for hyper-parameters as the sections of params.yaml say: for the training stage, and again, cut down, for the gate."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import pandas as pd

from quantalpha import bundle, config
from quantalpha.backtest.model_search import FINAL, History, Study, Tuning, Work, search_fold, search_folds
from quantalpha.backtest.rows import Fit, Rows
from quantalpha.models import fitter
from quantalpha.perp import bracket_schedule
from quantalpha.promotion.candidate import Candidate, code_version
from quantalpha.validation.trials import Try

JUDGED_BY = ("labels", "models", "policy", "account", "costs", "stops")
STUDIES = "data/cache/studies"  # journals of interrupted and of finished searches; may be deleted
REHEARSED = 2  # sets a search tries where it is only asked whether it sees the test


@dataclass(frozen=True)
class Searched:
    """What a training stage searched. fits: as `walk_forward_forecasts` and `final_model` take them; one for all where nothing was.

    studies: one for each fold and the last for the final model. logarithmic: the hyper-parameters whose logarithm is searched.
    """

    studies: list[Study]
    fits: Fit | list[Fit]
    logarithmic: tuple[str, ...]

    @property
    def chosen(self) -> list[dict]:
        return [study.chosen for study in self.studies]


def search(symbol: str, kind: str, params, tables: tuple[pd.DataFrame, ...], tasks: Callable | None = None) -> Searched:
    """Searches each training window where `search.trials` is above 0. tables: features, labels and the bars both were made from.

    params: config.Params or a stage's sections (venue, data, splits, search, JUDGED_BY). tasks: `pipeline.tasks.task_map`, and
    params.pipeline says where the sets of a batch are scored at the same time; None: one by one, here. Every set is a try of this market in
    the ledger. What was interrupted is resumed from data/cache/studies.
    """
    space = getattr(params.search, kind)
    studies = _studies(symbol, kind, params, tables, tasks) if params.search.trials else []
    logarithmic = tuple(name for name, bounds in space.items() if bounds[2] == "log")
    return Searched(studies, _fits(kind, params.models, [study.chosen for study in studies]), logarithmic)


def fits_of(candidate: Candidate) -> Fit | list[Fit]:
    """What the candidate's folds and final model are fitted with, as its parameters and its recorded choices say."""
    models = config.Models.model_validate(candidate.trained.origin.sections["models"])
    return _fits(candidate.trained.model.kind, models, candidate.trained.walk.chosen)


def rehearsed(candidate: Candidate, history: History) -> list[Fit]:
    """Fits as a search of a few sets in these very training windows chooses them; the final model's is the last fold's."""
    sections = candidate.trained.origin.sections
    few = sections | {"search": sections["search"] | {"trials": REHEARSED, "batch": REHEARSED}}
    tuning = _tuning_of(candidate, few)
    folds = [fold for fold in history.blocks() if fold != FINAL]
    chosen = [search_fold(history, fold, tuning).chosen for fold in folds]
    return _fits(tuning.kind, tuning.models, [*chosen, chosen[-1]])


def searched_again(candidate: Candidate, history: History, fold: int) -> dict:
    """What the search of a fold, in full, chooses from the history the candidate was made from."""
    return search_fold(history, fold, _tuning_of(candidate, candidate.trained.origin.sections)).chosen


def _studies(symbol: str, kind: str, params, tables: tuple[pd.DataFrame, ...], tasks: Callable | None) -> list[Study]:
    features, labels, bars = tables
    sections = {name: getattr(params, name).model_dump(mode="json") for name in (*JUDGED_BY, "search")}
    told, study = {name: sections[name] for name in JUDGED_BY}, f"{params.venue.kept_as}-{symbol}-{params.data.timeframe}"
    named = Try("", f"{symbol}-{kind}", told, code_version(), {}, study=study)
    history = History(Rows(features, labels, params.labels.decay), bars, params.splits)
    with nullcontext(map) if tasks is None else tasks(params.pipeline) as run:
        return search_folds(history, _tuning(symbol, kind, sections), Work(run, named, config.path(STUDIES)))


def _fits(kind: str, models: config.Models, choices: Sequence[dict]) -> Fit | list[Fit]:
    return [fitter(kind, models, one) for one in choices] or fitter(kind, models)


def _tuning_of(candidate: Candidate, sections: dict) -> Tuning:
    return _tuning(candidate.trained.origin.symbol, candidate.trained.model.kind, sections)


def _tuning(symbol: str, kind: str, sections: dict) -> Tuning:
    models, search = config.Models.model_validate(sections["models"]), config.Search.model_validate(sections["search"])
    return Tuning(kind, models, search, **bundle.decision_parts(sections, bracket_schedule(symbol)))
