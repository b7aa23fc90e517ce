"""The live status line."""

import sys

from quantalpha.runner.engine import Status


def print_status(status: Status) -> None:
    """On standard error: rewritten in place on a terminal, one line each elsewhere."""
    terminal = sys.stderr.isatty()
    print(f"\r\033[K{status}" if terminal else status, end="" if terminal else "\n", file=sys.stderr, flush=True)
