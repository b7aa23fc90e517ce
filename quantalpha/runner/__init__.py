"""The event-driven runner: `run_session`, `run_replay`, and the journal they write."""

from quantalpha import lazy

MODULES = {
    "quantalpha.runner.console": ["print_status"],
    "quantalpha.runner.folders": ["session_bundle", "session_folder", "sessions"],
    "quantalpha.runner.journal": ["recorded"],
    "quantalpha.runner.session": ["MODES", "Request", "Summary", "run_replay", "run_session"],
    "quantalpha.runner.status": ["Status"],
}
__all__, __getattr__, __dir__ = lazy.exports(__name__, MODULES)
