"""The event-driven runner: `run_session` (paper), `run_replay`, and the journal they write."""

from quantalpha.runner.console import print_status
from quantalpha.runner.engine import Status
from quantalpha.runner.journal import recorded
from quantalpha.runner.session import Summary, run_replay, run_session, session_bundle, session_folder, sessions

__all__ = ["Status", "Summary", "print_status", "recorded", "run_replay", "run_session", "session_bundle", "session_folder", "sessions"]
