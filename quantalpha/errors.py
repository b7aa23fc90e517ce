"""Errors a user can act on: each says what was expected, what was found, where, and what to do.

The command line prints the message on one line and exits with `exit_code`; anything else is a bug and shows its traceback.
"""


class QuantalphaError(Exception):
    """Base of every error meant for the user. `details`: what the command line adds to the error's JSON document."""

    exit_code = 1
    details: dict = {}


class UsageError(QuantalphaError):
    """A parameter, option or file named by the user is wrong."""

    exit_code = 2


class GateRefused(QuantalphaError):
    """A candidate did not pass its gate; the message names every failed line."""

    exit_code = 3


class DataError(QuantalphaError):
    """Market data is missing, damaged or impossible."""

    exit_code = 4


class ExchangeError(QuantalphaError):
    """The venue cannot be reached or answers nonsense."""

    exit_code = 5


class ReconcileError(QuantalphaError):
    """Two accounts of the same session do not agree."""

    exit_code = 6


class Halted(QuantalphaError):
    """The runner stopped itself and waits for a reasoned reset."""

    exit_code = 7


class StageFailed(QuantalphaError):
    """A pipeline stage failed; the message names the cell, the error and the kept notebook."""


def did_you_mean(wrong: str, known) -> str:
    """' did you mean 'x'?' for the nearest of `known`, else the list of what is known."""
    import difflib

    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(wrong), names, n=1, cutoff=0.5)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names[:12])}{more}"
