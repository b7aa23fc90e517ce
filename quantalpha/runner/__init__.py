"""The event-driven runner: `run_session`, `run_replay`, and the journal they write."""

from quantalpha import lazy

MODULES = {
    "quantalpha.runner.console": ["print_status"],
    "quantalpha.runner.folders": ["session_bundle", "session_folder", "sessions"],
    "quantalpha.runner.journal": ["recorded"],
    "quantalpha.runner.request": ["MODES", "Request"],
    "quantalpha.runner.start": ["run_replay", "run_session"],
    "quantalpha.runner.startable": ["require_startable"],
    "quantalpha.runner.status": ["Status"],
    "quantalpha.runner.summary": ["Summary"],
}
__all__, __getattr__, __dir__ = lazy.exports(__name__, MODULES)
