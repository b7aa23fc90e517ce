"""Notebooks as stages: run in order, in parallel, and only when something they depend on has changed."""

from quantalpha.pipeline.reproduce import reproduce
from quantalpha.pipeline.run import RunReport, run
from quantalpha.pipeline.schedule import schedule
from quantalpha.pipeline.status import status

__all__ = ["RunReport", "reproduce", "run", "schedule", "status"]
