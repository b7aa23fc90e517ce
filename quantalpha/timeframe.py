"""Bar lengths: '1m', '15m', '1h', '4h', '1d' and their arithmetic. Times are integer milliseconds since 1970 UTC."""

import re

from quantalpha.errors import UsageError

PATTERN = r"([1-9]\d*)([mhd])"
UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
PERIODS = ("day", "week", "month", "quarter", "year")  # of the calendar, UTC; a week begins on Monday
YEAR_MS = 365 * UNITS["d"]  # a market that never closes


def milliseconds(timeframe: str) -> int:
    """Length of a bar: '1h' -> 3_600_000."""
    match = re.fullmatch(PATTERN, str(timeframe))
    if match is None:
        raise UsageError(f"timeframe: expected a number and m, h or d such as '15m', found {timeframe!r}")
    return int(match[1]) * UNITS[match[2]]


def is_timeframe(name: str) -> bool:
    return re.fullmatch(PATTERN, str(name)) is not None


def bars_per_year(timeframe: str) -> float:
    """Number of bars in 365 days."""
    return YEAR_MS / milliseconds(timeframe)


def floor(time_ms: int, timeframe: str) -> int:
    """Open time of the bar that contains `time_ms`."""
    step = milliseconds(timeframe)
    return time_ms - time_ms % step
