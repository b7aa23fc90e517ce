"""The event-driven runner: `run_session`, `run_replay`, and the journal they write."""

from quantalpha.runner.console import print_status
from quantalpha.runner.folders import session_bundle, session_folder, sessions
from quantalpha.runner.journal import recorded
from quantalpha.runner.session import Request, Summary, run_replay, run_session
from quantalpha.runner.status import Status

__all__ = [
    "Request", "Status", "Summary", "print_status", "recorded", "run_replay", "run_session", "session_bundle", "session_folder", "sessions",
]  # fmt: skip
