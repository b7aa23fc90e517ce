"""Causal, scale-free features: one function each, the same in research and live."""

from quantalpha.features.base import Feature, FeatureSet
from quantalpha.features.registry import FAMILIES, build

__all__ = ["FAMILIES", "Feature", "FeatureSet", "build"]
