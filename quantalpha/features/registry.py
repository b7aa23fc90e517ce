"""The only list of features: family name -> factory(window)."""

from collections.abc import Iterable, Mapping

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.features.base import FeatureSet
from quantalpha.features.calendar import calendar
from quantalpha.features.funding import funding
from quantalpha.features.momentum import range_position, returns, rsi
from quantalpha.features.trend import bollinger, moving_average_distance
from quantalpha.features.volatility import atr, volatility
from quantalpha.features.volume import relative_volume

FAMILIES = {
    factory.__name__: factory
    for factory in (
        returns,
        volatility,
        atr,
        moving_average_distance,
        rsi,
        bollinger,
        relative_volume,
        range_position,
        funding,
        calendar,
    )
}


def build(spec: Mapping[str, Iterable[int]]) -> FeatureSet:
    """The features of `params.features`: {"rsi": [14], ...} -> rsi_14, ..., in the order given."""
    for family in spec:
        if family not in FAMILIES:
            raise UsageError(f"features: unknown family {family!r}; {did_you_mean(family, FAMILIES)}")
    return FeatureSet(FAMILIES[family](window) for family, windows in spec.items() for window in windows)
