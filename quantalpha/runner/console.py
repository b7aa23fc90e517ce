"""The live status line."""

import sys

from quantalpha.runner.engine import Status

QUIET_EVERY = 24


def print_status(status: Status) -> None:
    """On standard error: rewritten in place on a terminal, elsewhere every QUIET_EVERY-th as a line of its own."""
    if sys.stderr.isatty():
        print(f"\r\033[K{status}", end="", file=sys.stderr, flush=True)
    elif status.decisions % QUIET_EVERY == 0:
        print(status, file=sys.stderr, flush=True)
