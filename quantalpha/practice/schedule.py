"""When something goes wrong: a seeded chance for everything that is counted, or a plan that names numbers.

    Schedule(("hang", "http_503"), {"hang": 0.01}, plan={3: "http_503"}, seed=7)

What is counted (requests, messages) is numbered from 0 in the order of its arrival; the fault of a number depends on the seed alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from quantalpha.errors import UsageError, did_you_mean


class Schedule:
    """known: names of faults; chance: fault -> probability; plan: number -> fault, looked at before chance is asked; seed: one number, or
    several. chance and plan may be changed at any time. `number` is the next one's, `met` counts the faults played."""

    def __init__(
        self,
        known: Sequence[str],
        chance: Mapping[str, float] | None = None,
        *,
        plan: Mapping[int, str] | None = None,
        seed: int | Sequence[int] = 0,
        where: str = "exchange.faults",
    ):
        self.chance, self.plan = dict(chance or {}), dict(plan or {})
        self._known, self._seed, self._where = known, np.atleast_1d(seed).tolist(), where
        self.number, self.met = 0, Counter()
        self._check()

    def draw(self) -> str | None:
        """The fault of the next number, None where nothing goes wrong."""
        self._check()
        number, self.number = self.number, self.number + 1
        fault = self.plan.get(number)
        if fault is None and self.chance:
            throw = np.random.default_rng([*self._seed, number]).random()
            edges = np.cumsum(list(self.chance.values()))
            fault = [*self.chance, None][int(np.searchsorted(edges, throw, side="right"))]
        if fault is not None:
            self.met[fault] += 1
        return fault

    def soon(self, *faults: str | None) -> None:
        """Plan the next numbers: the first of `faults` for the very next one, and so on; None: as chance has it."""
        self.plan |= {self.number + ahead: fault for ahead, fault in enumerate(faults) if fault is not None}
        self._check()

    def _check(self) -> None:
        for name in {*self.chance, *self.plan.values()} - set(self._known):
            raise UsageError(f"{self._where}: no fault {name!r}; {did_you_mean(name, self._known)}")
        if not sum(self.chance.values()) <= 1:
            raise UsageError(f"{self._where}.chance: expected probabilities that add up to 1 at most, found {self.chance}")
