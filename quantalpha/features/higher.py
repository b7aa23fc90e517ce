"""Any feature on a higher timeframe, as far as it is known: the last CLOSED higher bar, never the one still growing."""

import numpy as np

from quantalpha import schema
from quantalpha import timeframe as clock
from quantalpha.errors import DataError, UsageError
from quantalpha.features.base import Feature, FeatureSet
from quantalpha.features.derived import TIME

FLOWS = ("volume", "quote_volume", "trades", "taker_buy_volume", "funding_rate", "order_flow_imbalance")
MERGES = {"high": np.maximum, "low": np.minimum} | dict.fromkeys(FLOWS, np.add)


def higher(timeframe: str, inner: FeatureSet, base: str) -> Feature:
    """The features of `inner` computed on bars of `timeframe` made of bars of `base`; columns `4h_rsi_14`.

    A higher bar is closed at the base bar whose close is its end, or at the first later one where that is missing. Bars begin at multiples
    of their length since 1970-01-01 00:00 UTC. Opens are the first, highs the largest, lows the smallest, flows (volume, funding) the sum,
    everything else the last of its base bars.
    """
    length, step = clock.milliseconds(timeframe), clock.milliseconds(base)
    if length <= step or length % step:
        raise UsageError(f"features.{timeframe}: expected a multiple of the bars' own timeframe {base}")

    def compute(bars):
        if (strange := bars[TIME] // step * step != bars[TIME]).any():  # of shorter bars the last would be taken for one that has closed
            found = schema.from_epoch_ms(bars[TIME][strange][:1])[0]
            raise DataError(f"features.{timeframe}: expected bars of {base}, found one at {found}; build with the bars' own timeframe")
        number = bars[TIME] // length  # of the higher bar
        starts = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        merged = {name: _merged(name, bars[name], starts) for name in inner.columns} | {TIME: number[starts] * length}
        table = inner.matrix(merged, len(starts))
        closed = np.searchsorted(starts, np.arange(len(number)), side="right") - 1
        closed -= bars[TIME] + step < (number + 1) * length  # its end is still ahead: the one before
        known = np.maximum(closed, 0)
        return tuple(np.where(closed >= 0, column[known], np.nan) for column in table.T)

    columns = tuple(dict.fromkeys((*inner.columns, TIME)))
    return Feature(timeframe, (inner.lookback + 1) * (length // step) - 1, columns, compute, parts=inner.names)


def _merged(name: str, values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """One value for each stretch of rows that begins at `starts`."""
    if name in MERGES:
        return MERGES[name].reduceat(values, starts) if len(starts) else values
    return values[starts if name == "open" else np.append(starts[1:], len(values))[: len(starts)] - 1]
