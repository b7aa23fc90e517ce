"""The event-driven runner: `run_session`, `run_replay`, and the journal they write.

Names are loaded when they are asked for: `quantalpha kill` must not wait for what only a session needs.
"""

from importlib import import_module

PLACES = {
    "MODES": "request", "Request": "request", "Status": "status", "Summary": "summary", "print_status": "console", "recorded": "journal",
    "run_replay": "start", "run_session": "start", "session_bundle": "folders", "session_folder": "folders", "sessions": "folders",
}  # fmt: skip
__all__ = list(PLACES)  # noqa: PLE0604


def __getattr__(name: str):
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
