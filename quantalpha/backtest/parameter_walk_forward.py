"""Parameters chosen on the past, judged on what follows, move on: what a strategy earns whose parameters nobody knew beforehand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce

import pandas as pd

from quantalpha import config
from quantalpha.backtest.plateau import REACH, choose, neighbourhood
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.backtest.search import SCORE, Search, evaluate
from quantalpha.backtest.simulate import simulate
from quantalpha.backtest.space import Space
from quantalpha.errors import DataError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.validation import walk_forward
from quantalpha.validation.trials import Trials, Try, code_hash, data_hash, name_of

ROLES = "train", "test"  # in the ledger of tries
Bars = pd.DataFrame | Mapping[str, pd.DataFrame]
Target = pd.Series | pd.DataFrame | Mapping[str, pd.Series | pd.DataFrame]
Strategy = Callable[..., Target]  # strategy(bars, **params): decided at each bar's close from bars up to it


@dataclass(frozen=True)
class ParameterWalkForward:
    """folds: one row each: fold train_start train_end test_start test_end (first and last bar), the chosen parameters, evaluated (sets),
    train_score, plateau, stability, test_score, efficiency (test over train score; NaN where the latter is not above 0).
    evaluated: every set of every fold: fold, the parameters, score and what `plateau.neighbourhood` adds."""

    result: Result  # one account that follows `target` through all test windows and pays for every change of parameters
    target: Target  # of each test window the path of its parameters
    folds: pd.DataFrame
    evaluated: pd.DataFrame

    @property
    def efficiency(self) -> float:
        """Mean test score over mean train score, of the folds with both: what is left out of sample; NaN if training earned nothing."""
        train, test = self.folds[["train_score", "test_score"]].dropna().mean()
        return _ratio(test, train)


def walk_forward_parameters(
    bars: Bars,
    strategy: Strategy,
    space: Space,
    *,
    splits: config.Splits,
    search: Search,
    account: Account,
    costs: Costs,
    stops: Stops | None = None,
    trials: Trials,
    study: str = "walk-forward",
    on_fold: Callable[[dict], None] | None = None,
) -> ParameterWalkForward:
    """Choose parameters of `space` on every training window and follow them through the test window after it.

    The strategy is given all bars up to a window's end, so that its averages are warm when the window begins; the account of a window
    starts flat and sees no bar after it, so its last decision never fills. The scores of a choice, train and test, are of such accounts;
    `result` is one account for all test windows, which carries its position over from one to the next.

    splits: sizes in bars (several symbols: in times at which any of them has one). Every set scored, in training or in test, is recorded in
    `trials` when it is scored, as made for `study`. on_fold: sees each row of `folds` as a dict. The same `search.seed` gives the same.
    """
    desk = _Desk(strategy, partial(simulate, account=account, costs=costs, stops=stops), search.objective, trials, study)
    index, rows, tables, pieces = _index(bars), [], [], []
    for fold, blocks in enumerate(walk_forward(index.to_series(), **splits.model_dump())):
        past, future = (_Window(bars, index[block[[0, -1]]], {"fold": fold, "role": role}) for block, role in zip(blocks, ROLES))
        table = neighbourhood(evaluate(partial(desk.score, past), space, search), space, reach=None if search.method == "grid" else REACH)
        chosen = table.iloc[choose(table, search.rule)]
        params = {name: table.at[chosen.name, name].item() for name in space}
        times = {"train_start": past.first, "train_end": past.last, "test_start": future.first, "test_end": future.last}
        rows.append({"fold": fold} | times | params | _judged(table, chosen, desk.score(future, params)))
        tables.append(table.assign(fold=fold))
        pieces.append(desk.target(future, params))
        if on_fold is not None:
            on_fold(rows[-1])
    folds, target = pd.DataFrame(rows), _joined(pieces)
    traded = _between(bars, folds["test_start"].iloc[0], folds["test_end"].iloc[-1])
    return ParameterWalkForward(desk.run(traded, target), target, folds, pd.concat(tables, ignore_index=True))


def _judged(table: pd.DataFrame, chosen: pd.Series, test_score: float) -> dict[str, float]:
    train_score = chosen[SCORE]
    scores = {"train_score": train_score, "plateau": chosen["plateau"], "stability": chosen["stability"], "test_score": test_score}
    return {"evaluated": len(table), **scores, "efficiency": _ratio(test_score, train_score)}


class _Window:
    """A stretch of time: its own bars, and all bars up to its end."""

    def __init__(self, bars: Bars, span: pd.DatetimeIndex, context: dict):
        (self.first, self.last), self.context = span, context
        self.known, self.traded = _between(bars, None, self.last), _between(bars, self.first, self.last)
        self.data = data_hash(self.traded)


class _Desk:
    """Trades a strategy, and writes down every score it has seen."""

    def __init__(self, strategy: Strategy, run: Callable[..., Result], objective: str, trials: Trials, study: str):
        self.strategy, self.run, self.objective, self.trials = strategy, run, objective, trials
        terms = hashlib.sha256(repr(run.keywords).encode()).hexdigest()
        self.named = {"strategy": name_of(strategy), "code": code_hash(strategy), "terms": terms, "study": study}

    def target(self, window: _Window, params: dict) -> Target:
        """Of several symbols those that trade in the window, each by itself."""
        target = self.strategy(window.known, **params)
        if not isinstance(window.traded, Mapping):
            return target.loc[window.first : window.last]
        return {symbol: target[symbol].loc[window.first : window.last] for symbol in window.traded}

    def score(self, window: _Window, params: dict) -> float:
        result = self.run(window.traded, self.target(window, params))
        scores = _scores(result)
        self.trials.record(Try(window.data, params=params, scores=scores, context=window.context, **self.named))
        return scores[self.objective]


def _scores(result: Result) -> dict[str, float]:
    """What later judgements need to know of a try: its path's figures, and what the significance of a Sharpe ratio is reckoned from."""
    from quantalpha.backtest.performance import path_performance
    from quantalpha.validation.distribution import shape

    scores = path_performance(result)
    per_bar = {"bars": float(len(result.equity)), "sharpe_per_bar": scores["sharpe_ratio"] / bars_per_year(result.equity.index) ** 0.5}
    return scores | per_bar | shape(result.returns)._asdict()


def _index(bars: Bars) -> pd.DatetimeIndex:
    """All times at which there is a bar."""
    if not isinstance(bars, Mapping):
        return bars.index
    if not bars:
        raise DataError("parameter walk-forward: no symbol in `bars`")
    return reduce(pd.DatetimeIndex.union, (table.index for table in bars.values()))


def _between(bars: Bars, first: pd.Timestamp | None, last: pd.Timestamp) -> Bars:
    """Rows from first to last, both included; of several symbols those that have any."""
    if not isinstance(bars, Mapping):
        return bars.loc[first:last]
    cut = {symbol: table.loc[first:last] for symbol, table in bars.items()}
    return {symbol: table for symbol, table in cut.items() if len(table)}


def _joined(pieces: list[Target]) -> Target:
    """One path after another."""
    if not isinstance(pieces[0], Mapping):
        return pd.concat(pieces)
    symbols = dict.fromkeys(symbol for piece in pieces for symbol in piece)
    return {symbol: pd.concat([piece[symbol] for piece in pieces if symbol in piece]) for symbol in symbols}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else float("nan")
