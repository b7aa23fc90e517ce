"""From the trailing window to a target: the same features, model and policy as in research, called on the last `lookback` bars."""

import numpy as np
import pandas as pd

from quantalpha.bundle import Bundle, not_live
from quantalpha.errors import DataError
from quantalpha.features import fingerprint
from quantalpha.runner.events import MarketCloseEvent
from quantalpha.schema import LIVE, from_epoch_ms
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
        self._values = np.empty((ROOM * self.features.lookback, len(LIVE)))
        self._times = np.empty(len(self._values), dtype="int64")
        self._rows = 0

    def observe(self, bar: MarketCloseEvent) -> None:
        if self._rows == len(self._values):
            keep = self.features.lookback - 1
            for table in (self._values, self._times):
                table[:keep] = table[self._rows - keep :]
            self._rows = keep
        mark = np.nan if bar.mark is None else bar.mark
        self._values[self._rows] = bar.open, bar.high, bar.low, bar.close, bar.volume, mark, bar.funding_rate
        self._times[self._rows] = bar.bar
        self._rows += 1

    def decide(self, previous: float) -> tuple[float, float]:
        forecast = self._forecast()
        return forecast, self.policy.step(forecast, previous)

    def _forecast(self) -> float:
        self.novelty, self.fingerprint = float("nan"), ""
        if self._rows < self.features.lookback:
            return float("nan")
        rows = slice(self._rows - self.features.lookback, self._rows)
        window = pd.DataFrame(self._values[rows], index=from_epoch_ms(self._times[rows]), columns=list(LIVE))
        row = self.features.latest(window)
        self.novelty, self.fingerprint = self._novelty_of(row), fingerprint(row)
        return float(edge(self.model.predict(row[None]))[0])
