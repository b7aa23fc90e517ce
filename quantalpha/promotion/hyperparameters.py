"""The search for hyper-parameters as the sections of params.yaml say: for the training stage, and again, cut down, for the gate."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from quantalpha import bundle, config
from quantalpha.backtest.model_search import FINAL, History, Study, Tuning, Work, search_fold, search_folds
from quantalpha.backtest.rows import Fit
from quantalpha.models import fitter
from quantalpha.perp import bracket_schedule
from quantalpha.promotion.candidate import Candidate, code_version
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


def searched_again(candidate: Candidate, history: History, fold: int) -> dict:
    """What the search of a fold, in full, chooses from the history the candidate was made from."""
    return search_fold(history, fold, _tuning_of(candidate, candidate.trained.origin.sections)).chosen


def _tuning_of(candidate: Candidate, sections: dict) -> Tuning:
    return _tuning(candidate.trained.origin.symbol, candidate.trained.model.kind, sections)


def _tuning(symbol: str, kind: str, sections: dict) -> Tuning:
    models, search = config.Models.model_validate(sections["models"]), config.Search.model_validate(sections["search"])
    return Tuning(kind, models, search, **bundle.decision_parts(sections, bracket_schedule(symbol)))
