"""A candidate before the gate: what several of its lines look at, worked out once."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Protocol

import pandas as pd

from quantalpha import bundle, config
from quantalpha.backtest.combinatorial import combinatorial_forecasts
from quantalpha.backtest.result import Result
from quantalpha.backtest.rows import Rows
from quantalpha.backtest.walk_forward import WalkForward, backtest_forecasts
from quantalpha.bundle import Bundle
from quantalpha.errors import DataError
from quantalpha.labels import label
from quantalpha.perp import bracket_schedule
from quantalpha.promotion.candidate import Candidate, backtest_candidate, try_of
from quantalpha.promotion.hyperparameters import fits_of
from quantalpha.promotion.reconcile import Recorded
from quantalpha.validation import Evidence, Family, Trials, Try, evidence, family


@dataclass(frozen=True)
class PaperSession:
    """What ran on paper, and what it journalled. days: for which it ran by the machine's clock; tripped: a kill switch has ended it."""

    bundle: Bundle
    recorded: Recorded
    days: float
    tripped: bool


class Rehearsal(Protocol):
    """The runner, as the gate sees it; it lives above promotion and is handed down."""

    def replay(self, sealed: Bundle, bars: pd.DataFrame) -> Recorded:
        """What a session of `sealed` over `bars` journals."""

    def paper(self, sealed: Bundle) -> list[PaperSession]:
        """The sessions on paper, at the venue itself, of bundles that hold the same model, parameters and check as `sealed`."""


@dataclass(frozen=True)
class Terms:
    """By what a candidate is judged. sealed_from: holdout.start, None where nothing is sealed; alias: what it is to become;
    markets: of how many markets its pipeline run made candidates, of which the best is looked at; venue: where live money would trade,
    None where something stands in for it."""

    gate: config.Gate
    sealed_from: datetime | None = None
    rehearsal: Rehearsal | None = None
    alias: str = "paper"
    markets: int = 1
    venue: str | None = None


@dataclass(frozen=True)
class Case:
    """`bars`: up to the last one the candidate was made from."""

    candidate: Candidate
    bars: pd.DataFrame
    terms: Terms

    @classmethod
    def of(cls, candidate: Candidate, bars: pd.DataFrame, terms: Terms) -> "Case":
        """bars: all the candidate was made from, or more; DataError where its last one is not among them."""
        until = pd.Timestamp(candidate.trained.origin.until)
        if until not in bars.index:
            raise DataError(f"{candidate.name}: its last bar {until} is not among the bars given; give the bars it was made from")
        return cls(candidate, bars.loc[:until], terms)

    @property
    def gate(self) -> config.Gate:
        return self.terms.gate

    @property
    def sections(self) -> dict:
        return self.candidate.trained.origin.sections

    @cached_property
    def features(self) -> pd.DataFrame:
        return self.candidate.features.compute(self.bars)

    @property
    def label_params(self) -> config.Labels:
        return config.Labels.model_validate(self.sections["labels"])

    @cached_property
    def training(self) -> dict:
        """Labels, splits, the fitting of a fresh model and the decay of its rows, as the candidate's parameters say."""
        training = {"splits": config.Splits.model_validate(self.sections["splits"])}
        training |= {"fit": fits_of(self.candidate), "decay": self.label_params.decay}
        return training | {"labels": label(self.bars, self.label_params)}

    @cached_property
    def scored(self) -> tuple[Result, pd.DataFrame]:
        """The walk-forward backtest and its baselines, run again."""
        return backtest_candidate(self.candidate.trained, self.bars, self.gate.random_seeds)

    @property
    def result(self) -> Result:
        return self.scored[0]

    @cached_property
    def metrics(self) -> dict[str, float]:
        return self.result.metrics()

    def backtest(self, walk: WalkForward, stress: float = 1.0, **policy: float) -> Result:
        """The account on other forecasts, at costs `stress` times as high, with other parameters of the policy."""
        parts = bundle.decision_parts(self.sections, bracket_schedule(self.candidate.trained.origin.symbol))
        rule = replace(parts.pop("policy"), **policy)
        return backtest_forecasts(self.bars, walk, rule, **parts | {"costs": parts["costs"].stressed(stress)})

    @cached_property
    def paths(self) -> list[WalkForward]:
        """Complete histories of out-of-sample forecasts from combinatorial purged folds, with the final model's hyper-parameters."""
        rows = Rows(self.features, self.training["labels"], self.training["decay"])
        cut = {"groups": self.gate.groups, "test_groups": self.gate.test_groups, "embargo": self.training["splits"].embargo}
        fit = self.training["fit"]
        return combinatorial_forecasts(rows, fit if callable(fit) else fit[-1], **cut)

    @cached_property
    def own(self) -> Try:
        """What the ledger of tries must hold of it: its daily returns as they come out now."""
        return try_of(self.candidate.trained, self.bars, self.result)

    @cached_property
    def family(self) -> Family:
        """The tries it was chosen from; the candidate itself is in the ledger since it was scored."""
        return family(self.own, Trials())

    @cached_property
    def evidence(self) -> Evidence:
        """By UTC day."""
        found, confidence = self.family, self.gate.min_deflated_sharpe
        unseen = found.unseen + self.terms.markets - 1
        return evidence(found.returns, found.chosen, own=self.own.returns, unseen=unseen, confidence=confidence)
