"""The record of every run, in MLflow, and its page."""

from quantalpha.tracking.log import log_run
from quantalpha.tracking.record import GATE_FILE, PipelineRun, RunInfo, StageRun
from quantalpha.tracking.registry import earlier, find_alias, moves, register, require_model, roll_back
from quantalpha.tracking.server import as_interrupt, serve
from quantalpha.tracking.store import (
    artifact_folder,
    experiment_id,
    find_run,
    holds,
    log_report,
    runs,
    store_name,
)

__all__ = [
    "GATE_FILE", "PipelineRun", "RunInfo", "StageRun", "artifact_folder", "as_interrupt", "earlier", "experiment_id", "find_alias",
    "find_run", "holds", "log_report", "log_run", "moves", "register", "require_model", "roll_back", "runs", "serve", "store_name",
]  # fmt: skip
