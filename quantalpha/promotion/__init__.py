"""From research to money: candidates, the gate they must pass, and the session that must agree with its backtest.

`holdout` reads the lake, which no candidate depends on, so it is imported by its own name.
"""

from quantalpha.promotion.attribution import Attribution, attribute, order_table
from quantalpha.promotion.candidate import (
    Candidate,
    Trained,
    backtest_candidate,
    load_candidate,
    origin,
    record_forecasts,
    write_candidate,
)
from quantalpha.promotion.case import Case, PaperSession, Rehearsal, Terms
from quantalpha.promotion.evidence import Reviewed
from quantalpha.promotion.gate import evaluate, judge, promote
from quantalpha.promotion.gate_report import GateLine, GateReport
from quantalpha.promotion.reconcile import Recorded, Report, reconcile, research_result
from quantalpha.promotion.tracked import Promotion, candidates, champion, promote_run, registered_name, roll_back

__all__ = [
    "Attribution", "Candidate", "Case", "GateLine", "GateReport", "PaperSession", "Promotion", "Recorded", "Rehearsal", "Report",
    "Reviewed", "Terms", "Trained", "attribute", "backtest_candidate", "candidates", "champion", "evaluate", "judge", "load_candidate",
    "order_table", "origin", "promote", "promote_run", "reconcile", "record_forecasts", "registered_name", "research_result", "roll_back",
    "write_candidate",
]  # fmt: skip
