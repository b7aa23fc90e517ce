"""The only list of features: family name -> factory of one feature from its parameters."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.features.adx import adx
from quantalpha.features.bands import bollinger, bollinger_width, keltner
from quantalpha.features.base import Feature, FeatureSet
from quantalpha.features.calendar import calendar, funding_clock
from quantalpha.features.cci import cci
from quantalpha.features.cross import leader_beta, leader_return, relative_strength
from quantalpha.features.fracdiff import fractional_difference_feature
from quantalpha.features.funding import basis, funding, funding_carry, funding_change
from quantalpha.features.higher import higher
from quantalpha.features.ichimoku import ichimoku
from quantalpha.features.momentum import range_position, returns, rsi, scaled_return, stochastic
from quantalpha.features.onchain import onchain_change, onchain_score
from quantalpha.features.orderflow import book_imbalance, microprice, order_flow_imbalance, relative_spread, taker_imbalance
from quantalpha.features.slope import slope
from quantalpha.features.trend import aroon, ema_distance, ma_cross, macd, moving_average_distance
from quantalpha.features.volatility import atr, downside, garman_klass, parkinson, volatility, volatility_ratio, yang_zhang
from quantalpha.features.volume import amihud, money_flow, on_balance_volume, relative_volume, vwap_distance
from quantalpha.features.volume_profile import volume_profile_feature
from quantalpha.features.wavelet import wavelet_denoise

FAMILIES = {
    factory.__name__: factory
    for factory in (
        returns,
        scaled_return,
        rsi,
        range_position,
        stochastic,
        cci,
        moving_average_distance,
        ema_distance,
        ma_cross,
        macd,
        adx,
        aroon,
        ichimoku,
        slope,
        volatility,
        volatility_ratio,
        downside,
        atr,
        parkinson,
        garman_klass,
        yang_zhang,
        bollinger,
        bollinger_width,
        keltner,
        relative_volume,
        on_balance_volume,
        money_flow,
        vwap_distance,
        amihud,
        funding,
        funding_carry,
        funding_change,
        basis,
        calendar,
        funding_clock,
        taker_imbalance,
        order_flow_imbalance,
        book_imbalance,
        microprice,
        relative_spread,
        leader_return,
        relative_strength,
        leader_beta,
        onchain_change,
        onchain_score,
        wavelet_denoise,
    )
} | {  # named like the public function of the same formula
    "fractional_difference": fractional_difference_feature,
    "volume_profile": volume_profile_feature,
}

Spec = Mapping[str, Iterable[Any] | Mapping]


def build(spec: Spec, timeframe: str | None = None) -> FeatureSet:
    """The features of `params.features`, in the order given.

    {"rsi": [14], "macd": [[12, 26, 9]], "4h": {"rsi": [14]}} -> rsi_14, macd_12_26_9, 4h_rsi_14. timeframe: of the bars; needed for the
    higher ones.
    """
    return FeatureSet(_features(spec, timeframe))


def _features(spec: Spec, timeframe: str | None) -> Iterator[Feature]:
    for family, listed in spec.items():
        if isinstance(listed, Mapping):
            if timeframe is None:
                raise UsageError(f"features.{family}: the timeframe of the bars themselves is needed; pass it to build")
            yield higher(family, FeatureSet(_features(listed, family)), timeframe)
        else:
            yield from (make(family, *(given if isinstance(given, list | tuple) else [given])) for given in listed)


def make(family: str, *arguments) -> Feature:
    """One feature; UsageError naming what is unknown or wrong."""
    if family not in FAMILIES:
        raise UsageError(f"features: unknown family {family!r}; {did_you_mean(family, FAMILIES)}")
    wanted = inspect.signature(FAMILIES[family])
    try:
        wanted.bind(*arguments)
    except TypeError:
        named = ", ".join(wanted.parameters)
        raise UsageError(f"features.{family}: expected [{named}] for each feature, found {list(arguments)}") from None
    return FAMILIES[family](*arguments)
