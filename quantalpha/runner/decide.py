"""From the trailing window to a target: the same features, model and policy as in research, called on the last `lookback` bars."""

import numpy as np

from quantalpha.bundle import Bundle, not_live
from quantalpha.errors import DataError
from quantalpha.features import TIME, fingerprint
from quantalpha.runner.events import MarketCloseEvent
from quantalpha.schema import LIVE
from quantalpha.strategy.policy import edge

ROOM = 4  # windows kept, so that the table is shifted once in a while and not at every bar


class Decider:
    """`observe` every closed bar in order, then `decide`. Before `lookback` bars were seen there is no forecast: edge NaN."""

    def __init__(self, bundle: Bundle):
        missing = not_live(bundle.features)
        if missing:
            found = f"a live bar has {', '.join(LIVE)}"
            raise DataError(f"bundle {bundle.id[:12]}: needs column {missing[0]!r}, {found}; train without it to run it")
        self.features, self.model, self.policy = bundle.features, bundle.model, bundle.policy
        self.fingerprint, self.novelty, self._novelty_of = "", float("nan"), bundle.novelty
        rows = ROOM * self.features.lookback
        self._tables = {name: np.empty(rows) for name in LIVE} | {TIME: np.empty(rows, dtype="int64")}
        self._rows, self._room = 0, rows

    def observe(self, bar: MarketCloseEvent) -> None:
        if self._rows == self._room:
            keep = self.features.lookback - 1
            for table in self._tables.values():
                table[:keep] = table[self._rows - keep :]
            self._rows = keep
        for name in LIVE:
            value = getattr(bar, name)
            self._tables[name][self._rows] = np.nan if value is None else value
        self._tables[TIME][self._rows] = bar.bar
        self._rows += 1

    def decide(self, previous: float) -> tuple[float, float]:
        forecast = self._forecast()
        return forecast, self.policy.step(forecast, previous)

    def _forecast(self) -> float:
        self.novelty, self.fingerprint = float("nan"), ""
        if self._rows < self.features.lookback:
            return float("nan")
        rows = slice(self._rows - self.features.lookback, self._rows)
        row = self.features.last({name: self._tables[name][rows] for name in self.features.columns})
        self.novelty, self.fingerprint = self._novelty_of(row), fingerprint(row)
        return float(edge(self.model.predict(row[None]))[0])
