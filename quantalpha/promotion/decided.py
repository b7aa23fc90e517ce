"""What is decided at each bar: by the bundle that should have run, by the one that did, or as recorded."""

from collections.abc import Sequence, Set

import numpy as np
import pandas as pd

from quantalpha.bundle import Bundle
from quantalpha.features import fingerprint
from quantalpha.promotion.counterfactual import DATA, FEATURES, MISSED, MODEL, Decision
from quantalpha.promotion.evidence import Market, Touched, near, tell
from quantalpha.promotion.reconcile import research_edges
from quantalpha.schema import epoch_ms


class Decided:
    """A session's decisions. A bar whose recorded decision its bundle does not make again on the recorded bars has drifted: the model has,
    if the journal says that it was shown the very same numbers or if its bundle is not at hand; else its features have."""

    def __init__(self, bundle: Bundle, recorded: pd.DataFrame, signals: pd.DataFrame, bars: Market, ran: Sequence[Bundle]):
        self.bundle, self.recorded, self.bars = bundle, recorded, bars
        self._bundles = {other.id: other for other in (bundle, *ran)}
        unnamed = ran[0].id if ran else bundle.id
        signals = signals.reindex(recorded.index)
        self.by = signals["bundle"].fillna("").replace("", unnamed)
        self._tables: dict[tuple, tuple[pd.Series, pd.Series]] = {}
        self.drifted = self._drifted(signals["features"].fillna(""))

    @property
    def rules(self) -> Bundle:
        """The bundle whose account, costs and stops were in force at the start."""
        return self._bundles.get(self.by.iloc[0], self.bundle)

    def under(self, causes: Set[str]) -> dict[int, Decision]:
        """By bar open time in ms, under these causes."""
        where = DATA in causes, MISSED in causes
        edges, policies = self._edges(self.bundle, where), {}
        for other in self._others() if MODEL in causes else ():
            times = self.by.index[self.by == other.id].intersection(edges.index)
            edges.loc[times] = self._edges(other, where).loc[times]
            policies |= dict.fromkeys(epoch_ms(times).tolist(), other.policy)
        decisions = {
            time: Decision(edge, policies.get(time, self.bundle.policy))
            for time, edge in zip(epoch_ms(edges.index).tolist(), edges.tolist())
        }
        return decisions | self._recorded(self.drifted[self.drifted.isin(list(causes))].index.intersection(edges.index))

    def touched(self) -> dict[str, Touched]:
        swapped = self.by[self.by != self.bundle.id].str[:12]
        other = self.drifted[(self.drifted == MODEL) & ~self.drifted.index.isin(swapped.index)]
        drifted = self.recorded["edge"][self.drifted.index[self.drifted == FEATURES]]
        told = pd.concat([swapped.map("decided by bundle {}".format), other.map(lambda _: "the same features, another forecast")])
        return {MODEL: tell(told, "{}"), FEATURES: tell(drifted, "edge {:+.6f} recorded, another computed")}

    def _others(self) -> list[Bundle]:
        return [other for name, other in self._bundles.items() if name != self.bundle.id and (self.by == name).any()]

    def _recorded(self, times: pd.DatetimeIndex) -> dict[int, Decision]:
        rows = self.recorded.loc[times]
        policies = [self._bundles.get(name, self.bundle).policy for name in self.by.loc[times]]
        return {
            int(time): Decision(row.edge, policy, (row.previous, row.target))
            for time, policy, row in zip(epoch_ms(times), policies, rows.itertuples())
        }

    def _edges(self, bundle: Bundle, where: tuple[bool, bool]) -> pd.Series:
        """From the first decision on; a copy. where: recorded values, without the missed bars."""
        return self._computed(bundle, where)[0].copy()

    def _computed(self, bundle: Bundle, where: tuple[bool, bool]) -> tuple[pd.Series, pd.DataFrame]:
        key = bundle.id, *where
        if key not in self._tables:
            features = bundle.features.compute(self.bars.table(revised=where[0], missed=where[1])).loc[self.recorded.index[0] :]
            self._tables[key] = research_edges(bundle, features), features
        return self._tables[key]

    def _drifted(self, shown: pd.Series) -> pd.Series:
        """MODEL or FEATURES by time, of the bars that have drifted."""
        found = pd.Series(np.nan, index=self.recorded.index, dtype=object)
        found[~self.by.isin(self._bundles)] = MODEL
        for bundle in self._bundles.values():
            rows = self.recorded[(self.by == bundle.id).to_numpy()]
            edges, features = (table.loc[rows.index] for table in self._computed(bundle, (True, True)))
            step = [bundle.policy.step(edge, previous) for edge, previous in zip(rows["edge"], rows["previous"])]
            same = (near(rows["edge"], edges) | (rows["edge"].isna() & edges.isna())) & (rows["target"] == step)
            for time in rows.index[~same]:
                found[time] = MODEL if shown[time] == fingerprint(features.loc[time].to_numpy()) else FEATURES
        return found.dropna()
