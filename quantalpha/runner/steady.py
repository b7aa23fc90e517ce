"""Our own time: the wall's when this process began, and from there on what has passed, whatever anybody sets the machine's clock to.

Durations are differences of it: how long a stop has been missing, how old an order is. By the wall's clock an hour set forward would be an
hour without a stop, and an hour set back one in which nothing is asked for again.
"""

import time

_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps
_BEGAN = time.time_ns() - time.clock_gettime_ns(_PASSING)


def ns() -> int:
    """Nanoseconds since 1970 UTC."""
    return _BEGAN + time.clock_gettime_ns(_PASSING)


def ms() -> int:
    """Milliseconds since 1970 UTC."""
    return ns() // 1_000_000
