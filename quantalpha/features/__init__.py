"""Causal, scale-free features: one function each, the same in research and live."""

from quantalpha.features.base import Feature, FeatureSet, fingerprint
from quantalpha.features.derived import TIME
from quantalpha.features.fracdiff import find_minimum_d, fractional_difference
from quantalpha.features.registry import FAMILIES, build, by_family, resolve
from quantalpha.features.volume_profile import volume_profile
from quantalpha.features.wavelet import choose_wavelet, denoise

__all__ = [
    "FAMILIES",
    "Feature",
    "FeatureSet",
    "TIME",
    "build",
    "by_family",
    "choose_wavelet",
    "denoise",
    "find_minimum_d",
    "fingerprint",
    "fractional_difference",
    "resolve",
    "volume_profile",
]
