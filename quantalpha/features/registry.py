"""The only list of features: family name -> factory of one feature from its parameters."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from quantalpha import timeframe as clock
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.features.adx import adx
from quantalpha.features.bands import bollinger, bollinger_width, keltner
from quantalpha.features.base import Feature, FeatureSet
from quantalpha.features.calendar import calendar, funding_clock
from quantalpha.features.cci import cci
from quantalpha.features.cross import leader_beta, leader_return, relative_strength
from quantalpha.features.fracdiff import fit_order, fractional_difference_feature
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
from quantalpha.features.wavelet import fit_wavelet, wavelet_denoise

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

AUTO = "auto"  # in place of a feature's first parameter: fit it
FITS = {"fractional_difference": fit_order, "wavelet_denoise": fit_wavelet}  # (training bars, other parameters) -> all parameters
STAND_INS = {"fractional_difference": 1.0, "wavelet_denoise": "haar"}  # first parameters that go with whatever others are right

Spec = Mapping[str, Iterable[Any] | Mapping]


def build(spec: Spec, timeframe: str | None = None) -> FeatureSet:
    """The features of `params.features`, in the order given.

    {"rsi": [14], "macd": [[12, 26, 9]], "4h": {"rsi": [14]}} -> rsi_14, macd_12_26_9, 4h_rsi_14. timeframe: of the bars; needed for the
    higher ones. An "auto" must have been replaced by `resolve`.
    """
    return FeatureSet(_features(spec, timeframe))


def resolve(spec: Spec, bars: pd.DataFrame) -> dict:
    """`spec` with what suits `bars` in place of every "auto": {"fractional_difference": [["auto", 1e-4]]} -> [[0.19, 1e-4]].

    `bars` must be the TRAINING bars alone: what is chosen on all of them has seen the test. DataError: too few of them.
    """
    return _without_auto(spec, partial(_fitted, bars))


def check(spec: Spec, timeframe: str) -> None:
    """UsageError where `spec` cannot be built, whatever the bars; "auto" may stand in it."""
    build(_without_auto(spec, lambda family, others: (STAND_INS[family], *others)), timeframe)


def by_family(spec: Spec, timeframe: str) -> dict[str, list[str]]:
    """Column names of each family, in order: {"rsi": ["rsi_14", "rsi_24"], "4h rsi": ["4h_rsi_14"]}."""
    parts = {}
    for family, listed in spec.items():
        inner = listed if isinstance(listed, Mapping) else {}
        parts |= {f"{family} {name}": {family: {name: given}} for name, given in inner.items()} or {family: {family: listed}}
    return {name: list(build(part, timeframe).names) for name, part in parts.items()}


def _features(spec: Spec, timeframe: str | None) -> Iterator[Feature]:
    for family, listed in spec.items():
        if isinstance(listed, Mapping):
            yield higher(family, _inner(family, listed), _base(family, timeframe))
        else:
            yield from (make(family, *_arguments(given)) for given in listed)


def _inner(timeframe: str, spec: Spec) -> FeatureSet:
    """The features of a higher timeframe."""
    if timeframe in FAMILIES or not clock.is_timeframe(timeframe):
        raise UsageError(
            f"features.{timeframe}: only a timeframe holds families, as in 4h: {{rsi: [14]}}; a family is a list, as in rsi: [14]"
        )
    try:
        return FeatureSet(_features(spec, timeframe))
    except UsageError as error:
        raise UsageError(str(error).replace("features", f"features.{timeframe}", 1)) from None


def _base(timeframe: str, base: str | None) -> str:
    if base is None:
        raise UsageError(f"features.{timeframe}: the timeframe of the bars themselves is needed; pass it to build")
    return base


def _without_auto(spec: Spec, fit: Callable[[str, tuple], Iterable]) -> dict:
    """`spec` with `fit(family, other parameters)` for the parameters of every feature that holds an "auto"."""
    return {
        family: _without_auto(listed, partial(_not_fitted, family))
        if isinstance(listed, Mapping)
        else [_filled(family, _arguments(given), fit) if AUTO in _arguments(given) else given for given in listed]
        for family, listed in spec.items()
    }


def _filled(family: str, arguments: tuple, fit: Callable[[str, tuple], Iterable]) -> list:
    first, *others = arguments
    if family not in FITS or first != AUTO or AUTO in others:
        raise UsageError(f"features.{family}: auto is for the first parameter of {' or '.join(FITS)}, found {list(arguments)}")
    _check_number(family, arguments)
    make(family, STAND_INS[family], *others)
    return list(fit(family, others))


def _fitted(bars: pd.DataFrame, family: str, others: tuple) -> Iterable:
    try:
        return FITS[family](bars, *others)
    except DataError as error:
        raise DataError(
            f"features.{family}: auto cannot be fitted: {error} (splits.train), or write what you choose instead of auto"
        ) from None


def _not_fitted(timeframe: str, family: str, others: tuple):
    raise UsageError(f"features.{timeframe}.{family}: auto is fitted on the bars' own timeframe alone; write what you choose instead of it")


def _arguments(given) -> tuple:
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def make(family: str, *arguments) -> Feature:
    """One feature; UsageError naming what is unknown or wrong."""
    if family not in FAMILIES and clock.is_timeframe(family):
        raise UsageError(f"features.{family}: a timeframe holds families; write {family}: {{rsi: [14]}}")
    if family not in FAMILIES:
        raise UsageError(f"features: unknown family {family!r}; {did_you_mean(family, FAMILIES)}")
    if AUTO in arguments:
        raise UsageError(f"features.{family}: {list(arguments)} is not fitted yet; build resolve(spec, training_bars) instead")
    _check_number(family, arguments)
    return FAMILIES[family](*arguments)


def _check_number(family: str, arguments: tuple) -> None:
    wanted = inspect.signature(FAMILIES[family])
    try:
        wanted.bind(*arguments)
    except TypeError:
        named = ", ".join(wanted.parameters)
        raise UsageError(f"features.{family}: expected [{named}] for each feature, found {list(arguments)}") from None
