"""What a session says on standard error: its status, and what must not be overlooked."""

import sys

from quantalpha import config, verdict
from quantalpha.bundle import Bundle
from quantalpha.runner.status import Status

QUIET_EVERY = 24


def print_status(status: Status) -> None:
    """On standard error: rewritten in place on a terminal, elsewhere every QUIET_EVERY-th as a line of its own."""
    if sys.stderr.isatty():
        print(f"\r\033[K{status}", end="", file=sys.stderr, flush=True)
    elif status.decisions % QUIET_EVERY == 0:
        print(status, file=sys.stderr, flush=True)


def warn_overridden(bundle: Bundle) -> None:
    """A line for each line of the gate that this bundle failed and a person overrode."""
    for line in verdict.overridden(bundle.gate):
        told = "warning: bundle {}: gate line {name} failed and was OVERRIDDEN by {who} at {time}: {reason}".format(bundle.id[:12], **line)
        print(config.mask(told), file=sys.stderr, flush=True)
