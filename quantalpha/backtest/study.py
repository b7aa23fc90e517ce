"""The one door of Optuna: sets of parameters are asked for and scores told, in an order that no number of workers changes.

The sets of a batch are asked for before any of them is scored, and their scores are told in the order of the asking. So what is asked next
depends on seed, batch size and scores alone: not on who was ready first, nor on how many were at work. A study that was interrupted is
resumed by asking again for what is already scored.
"""

import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha.backtest.space import Space
from quantalpha.errors import DataError

TREES = 32  # of the forest by which importance is reckoned


@dataclass(frozen=True)
class Told:
    """What became of one set. values: one an objective; None: given up early (pruned), or there is no score (fail)."""

    values: tuple[float, ...] | None
    pruned: bool = False
    notes: dict = field(default_factory=dict)  # JSON, kept beside the values

    @property
    def state(self) -> str:
        defined = self.values is not None and np.isfinite(self.values).all()
        return "pruned" if self.pruned else "complete" if defined else "fail"


@dataclass(frozen=True)
class Task:
    """What is searched: `directions` maximize or minimize, one an objective; `first` is tried before all, if it lies in the space."""

    space: Space
    directions: tuple[str, ...]
    budget: int
    seed: int
    batch: int = 1
    first: dict = field(default_factory=dict)


def ask_and_tell(task: Task, score: Callable[[list[dict]], Iterable[Told]]):
    """The finished Optuna study (in memory) of `task`. score: called with the sets of a batch, gives what became of each, in their order.

    Sampler: TPE (Bergstra, Bardenet, Bengio & Kegl 2011), of several objectives Ozaki, Tanigaki, Watanabe & Onishi (2020); the first ten
    sets are drawn at random. A larger budget begins with the smaller one's sets.
    """
    import optuna

    with _quiet(optuna):
        study = optuna.create_study(directions=task.directions, sampler=optuna.samplers.TPESampler(seed=task.seed))
        if task.first and all(low <= task.first.get(name, np.nan) <= high for name, (low, high, _) in task.space.items()):
            study.enqueue_trial({name: task.first[name] for name in task.space})
        for begun in range(0, task.budget, task.batch):
            asked = [study.ask(distributions(task.space)) for _ in range(min(task.batch, task.budget - begun))]
            sets = [{name: trial.params[name] for name in task.space} for trial in asked]
            for trial, told in zip(asked, score(sets), strict=True):
                _tell(optuna, study, trial, told)
    return study


def distributions(space: Space) -> dict:
    """A space as Optuna has it."""
    import optuna

    whole, real = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
    return {
        name: whole(int(low), int(high)) if kind == "int" else real(low, high, log=kind == "log")
        for name, (low, high, kind) in space.items()
    }


class Journal:
    """What became of the sets of one study, in a file of Optuna's journal storage: one line a set, appended when it is scored.

    A set is written whole or not at all, whatever is killed; there is no database to lock, and other tools of Optuna can read the file.
    """

    def __init__(self, path: Path, task: Task):
        import optuna
        from optuna.storages.journal import JournalFileBackend

        self.path, self.task = path, task
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path)
        with _quiet(optuna), _readable(path):
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
            self._study = optuna.create_study(storage=storage, study_name=path.stem, directions=task.directions, load_if_exists=True)
            self.known = [_remembered(trial) for trial in self._study.get_trials(deepcopy=False)]

    def __len__(self) -> int:
        return len(self.known)

    def told(self, number: int, params: dict) -> Told | None:
        """What became of the set of this number; None: it is not known. DataError where another set was asked for at that place."""
        if number >= len(self.known):
            return None
        kept, told = self.known[number]
        if kept != params:
            raise DataError(
                f"{self.path.name}: set {number} of this study is {kept}, asked for was {params}; delete the file and search again"
            )
        return told

    def add(self, params: dict, told: Told) -> None:
        """Appends one set, the next one."""
        import optuna

        state, values = getattr(optuna.trial.TrialState, told.state.upper()), None if told.state != "complete" else list(told.values)
        notes = {"notes": told.notes | {"values": told.values}}
        with _quiet(optuna):
            trial = optuna.trial.create_trial(
                state=state, values=values, params=params, distributions=distributions(self.task.space), user_attrs=notes
            )
            self._study.add_trial(trial)
        self.known.append((params, told))


def table(study) -> pd.DataFrame:
    """DataFrame[number, state, parameters, notes]: one row a set, in the order of the asking."""
    rows = [
        {"number": trial.number, "state": trial.state.name.lower()} | trial.params | trial.user_attrs["notes"]
        for trial in study.get_trials(deepcopy=False)
    ]
    return pd.DataFrame(rows)


def importance(study, objective: int = 0) -> pd.Series:
    """Share of the variance of one objective that each parameter explains, highest first; they add up to 1. NaN: too few sets to say.

    Functional ANOVA over a random forest (Hutter, Hoos & Leyton-Brown 2014), of the sets that were scored to the end.
    """
    import optuna

    names = [*study.get_trials(deepcopy=False)[0].params]
    scored = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(scored) < 2 or np.ptp([trial.values[objective] for trial in scored]) == 0.0:
        return pd.Series(np.nan, index=names, name="importance")
    with _quiet(optuna):
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=lambda trial: trial.values[objective])
    return pd.Series({name: float(found.get(name, 0.0)) for name in names}, name="importance").sort_values(ascending=False)


def pareto_front(study) -> list[int]:
    """Numbers of the sets than which none is better in one objective and as good in all others."""
    return [trial.number for trial in study.best_trials]


def _tell(optuna, study, trial, told: Told) -> None:
    trial.set_user_attr("notes", told.notes)
    if told.state == "complete":
        study.tell(trial, list(told.values))
    else:
        study.tell(trial, state=getattr(optuna.trial.TrialState, told.state.upper()))


def _remembered(trial) -> tuple[dict, Told]:
    notes = dict(trial.user_attrs["notes"])
    values = notes.pop("values")
    return trial.params, Told(None if values is None else tuple(values), trial.state.name == "PRUNED", notes)


def _cut_torn_line(path: Path) -> None:
    """A line that a power cut tore would spoil the one appended after it."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


@contextmanager
def _readable(path: Path):
    try:
        yield
    except (ValueError, KeyError) as error:
        raise DataError(f"{path.parent.name}/{path.name}: no journal of a study: {error}; delete the file and search again") from None


@contextmanager
def _quiet(optuna):
    """Optuna's own log is shut up while it works for us; the level is the user's again afterwards."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
