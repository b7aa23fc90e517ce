"""Hyper-parameters of a model, chosen inside each training window of a walk-forward: what follows the window is never seen.

The second half of a window is cut into inner test blocks, each forecast by a model fitted on all rows of the window before it (purged). An
account follows the forecasts through those blocks, after all costs: its net Sharpe ratio is to be high, its drawdown and turnover low. Of
the sets within `search.max_drawdown` and `search.max_turnover` the one with the highest Sharpe ratio is chosen, which lies on the Pareto
front; where no set is within, the highest Sharpe ratio of all, and `within` says so.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import config
from quantalpha.backtest.periods import daily_returns
from quantalpha.backtest.rows import Rows
from quantalpha.backtest.study import Journal, Task, Told, ask_and_tell, table
from quantalpha.backtest.walk_forward import WalkForward, backtest_forecasts, forecast_block
from quantalpha.errors import DataError
from quantalpha.files import digest_of
from quantalpha.models import fitter
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy import HysteresisPolicy
from quantalpha.validation.trials import Trials, Try, data_hash

OBJECTIVES = {"sharpe_ratio": "maximize", "max_drawdown": "minimize", "turnover": "minimize"}  # of `performance`
ENOUGH = 5  # sets scored to the end before one may be given up
FINAL = "final"  # the window of the model to go live with
HYPERPARAMETERS = "hyper_parameters"  # in the params of a try


@dataclass(frozen=True)
class Tuning:
    """Which model is searched for, and what its forecasts are judged by."""

    kind: str
    models: config.Models  # what is not searched stays as it stands here
    search: config.Search
    policy: HysteresisPolicy
    account: Account
    costs: Costs
    stops: Stops | None = None


@dataclass(frozen=True)
class History:
    """What a walk-forward learns from. bars: those that features and labels were made from."""

    rows: Rows
    bars: pd.DataFrame
    splits: config.Splits

    def blocks(self) -> dict[int | str, np.ndarray]:
        """The training rows of each fold by its number, and, last, those of the "final" model."""
        return {number: fold.train for number, fold in enumerate(self.rows.folds(self.splits))} | {FINAL: self.rows.final(self.splits)}


@dataclass(frozen=True)
class Work:
    """How sets are scored, and where that is written down. None of it changes what is found.

    run: like `map`; an executor's scores a batch in parallel. named: what tries are called in the ledger (study, strategy, params, code);
    None: they are not recorded. folder: of the journals by which an interrupted search is resumed (needs `named`); None: none is kept.
    """

    run: Callable = map
    named: Try | None = None
    folder: Path | None = None
    ledger: Trials = field(default_factory=Trials)


@dataclass(frozen=True)
class Study:
    """What one window's search came to. trials: one row a set: number, state (complete, pruned, fail), hyper-parameters, OBJECTIVES and
    sharpe_ratio_1, ... after each inner block; NaN where it was given up. within: the chosen set is within the limits of `search`."""

    fold: int | str
    chosen: dict
    within: bool
    trials: pd.DataFrame
    optuna: object  # the optuna.Study, for `study.importance` and others


@dataclass(frozen=True)
class _Window:
    rows: Rows
    bars: pd.DataFrame
    splits: config.Splits

    def digest(self) -> str:
        rows = hashlib.sha256()
        for values in (self.rows.x, self.rows.y, self.rows.weight, self.rows.usable):
            rows.update(np.ascontiguousarray(values).tobytes())
        ends = digest_of([str(end) for end in self.rows.labels["end_time"]])
        return digest_of([rows.hexdigest(), ends, data_hash(self.bars), self.rows.decay, self.splits.model_dump()])


def search_folds(history: History, tuning: Tuning, work: Work | None = None) -> list[Study]:
    """A study for each fold of the walk-forward and, last, for the final model: `[study.chosen for study in ...]` is what to fit them with.

        history = History(Rows(features, labels, params.labels.decay), bars, params.splits)
        studies = search_folds(history, tuning)
        fits = [fitter(tuning.kind, params.models, study.chosen) for study in studies]
        walk_forward_forecasts(features, labels, params.splits, fits)

    The same seed, batch and data give the same, whatever `work` is.
    """
    return [search_fold(history, fold, tuning, work) for fold in history.blocks()]


def search_fold(history: History, fold: int | str, tuning: Tuning, work: Work | None = None) -> Study:
    """The study of one of `history.blocks()`. It is given the rows and bars of that training window and nothing else."""
    window, search, space = _window(history, fold, tuning.search), tuning.search, getattr(tuning.search, tuning.kind)
    standing = getattr(tuning.models, tuning.kind).model_dump()
    first = {name: standing[name] for name in space}
    task = Task(space, tuple(OBJECTIVES.values()), search.trials, search.seed, search.batch, first)
    study = ask_and_tell(task, _Desk(fold, window, tuning, work or Work(), task).batch)
    trials = _columns(table(study), search.folds)
    row, within = choose(trials, search)
    chosen = first if row is None else {name: trials.at[row, name].item() for name in space}
    return Study(fold, chosen, within, trials, study)


def choose(trials: pd.DataFrame, search: config.Search) -> tuple[int | None, bool]:
    """(row of the chosen set, whether it is within the limits) of `Study.trials`; None where no set has a score."""
    scored = trials[trials["state"] == "complete"]
    within = scored[(scored["max_drawdown"] <= search.max_drawdown) & (scored["turnover"] <= search.max_turnover)]
    best = within if len(within) else scored
    return (int(best["sharpe_ratio"].idxmax()) if len(best) else None), bool(len(within))


def _window(history: History, fold: int | str, search: config.Search) -> _Window:
    """The training rows with the bars under them, and their inner folds."""
    inside, folds, embargo = history.rows.between(history.blocks()[fold]), search.folds, history.splits.embargo
    n = len(inside.index)
    test = n // (2 * folds)
    first = n - folds * test - embargo
    if test < 1 or first < 1:
        raise DataError(f"search: {n} rows are too few for {folds} inner folds and an embargo of {embargo}; lengthen splits.train")
    inner = config.Splits(scheme="expanding", train=first, test=test, embargo=embargo)
    return _Window(inside, history.bars.loc[inside.index[0] : inside.index[-1]], inner)


class _Desk:
    """Scores the sets of one study batch by batch, what is known from an earlier run excepted, and writes them down."""

    def __init__(self, fold: int | str, window: _Window, tuning: Tuning, work: Work, task: Task):
        self.fold, self.window, self.tuning, self.work = fold, window, tuning, work
        self.told: list[Told] = []
        self.named, self.journal = None, None
        if work.named is not None:
            terms = [window.digest(), tuning.models.seed, getattr(tuning.models, tuning.kind).model_dump()]
            terms += [repr(part) for part in (tuning.policy, tuning.account, tuning.costs, tuning.stops)]
            self.named = replace(work.named, data=data_hash(window.bars), terms=digest_of(terms))
        if work.folder is not None:
            search = tuning.search.model_dump(mode="json", exclude={"trials", "max_drawdown", "max_turnover"})
            key = digest_of([self.named.key, search])[:16]
            self.journal = Journal(work.folder / f"{self.named.strategy}-{fold}-{key}.log", task)

    def batch(self, sets: list[dict]):
        """What became of each set, as soon as it and those before it are known. Sets are given up by what was known before the batch."""
        known = [self._known(len(self.told) + place, params) for place, params in enumerate(sets)]
        floors = _floors(self.told, self.tuning.search)
        fresh = iter(self.work.run(partial(_score, self.window, self.tuning, floors), sets[sum(told is not None for told in known) :]))
        for params, told in zip(sets, known):
            yield self._settle(params, next(fresh) if told is None else told, told is None)

    def _known(self, number: int, params: dict) -> Told | None:
        return None if self.journal is None else self.journal.told(number, params)

    def _settle(self, params: dict, told: Told, fresh: bool) -> Told:
        """In the ledger before it is in the journal: killed between the two, it is scored and entered again, as the same try."""
        if self.named is not None:
            self.work.ledger.record(self._try(params, told))
        if self.journal is not None and fresh:
            self.journal.add(params, told)
        self.told.append(told)
        return told

    def _try(self, params: dict, told: Told) -> Try:
        notes = told.notes
        days = pd.date_range(notes["first"], periods=len(notes["returns"]), freq="D", tz="UTC")
        where = {"fold": self.fold, "role": "train", "state": told.state, "inner_folds": len(notes["steps"])}
        return replace(
            self.named,
            params={**self.named.params, HYPERPARAMETERS: params},
            scores=notes["scores"],
            context=where,
            returns=pd.Series(notes["returns"], index=days),
        )


def _floors(told: list[Told], search: config.Search) -> list[float]:
    """The net Sharpe ratio below which a set is given up after each inner block but the last: the median of the finished sets there."""
    steps = [one.notes["steps"] for one in told if one.state == "complete"]
    if not search.prune or len(steps) < ENOUGH:
        return [-np.inf] * search.folds
    return [*np.median(np.array(steps)[:, :-1], axis=0).tolist(), -np.inf]


def _score(window: _Window, tuning: Tuning, floors: list[float], params: dict) -> Told:
    """Scores one set: in whatever process, the same."""
    fit, blocks, steps = fitter(tuning.kind, tuning.models, params), [], []
    for fold, floor in zip(window.rows.folds(window.splits), floors, strict=True):
        model, train = window.rows.fit(fold.train, fit, f"search: inner fold {len(steps)}")
        blocks.append(forecast_block(window.rows, model, train, fold.test, len(steps))[0])
        walk = WalkForward(pd.concat(blocks), [])
        result = backtest_forecasts(window.bars, walk, tuning.policy, account=tuning.account, costs=tuning.costs, stops=tuning.stops)
        scores = result.metrics()
        steps.append(scores["sharpe_ratio"])
        if steps[-1] < floor:
            break
    days = daily_returns(result.returns).asfreq("D", fill_value=0.0)
    notes = {"steps": steps, "scores": scores, "first": days.index[0].date().isoformat(), "returns": days.tolist()}
    return Told(tuple(scores[name] for name in OBJECTIVES), pruned=len(steps) < len(floors), notes=notes)


def _columns(told: pd.DataFrame, folds: int) -> pd.DataFrame:
    """`Study.trials` of the table of a study."""
    scores, steps = told.pop("scores"), told.pop("steps")
    for name in OBJECTIVES:
        told[name] = [one[name] for one in scores]
    for fold in range(folds):
        told[f"sharpe_ratio_{fold + 1}"] = [one[fold] if fold < len(one) else np.nan for one in steps]
    return told.drop(columns=["first", "returns"])
