"""Forecasting models: `create` one by name, `load` a saved one."""

from quantalpha.models.base import CLASSES, PROBABILITIES, Model, create, fitter, load

__all__ = ["CLASSES", "PROBABILITIES", "Model", "create", "fitter", "load"]
