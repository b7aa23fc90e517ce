"""What a venue's answers say about its limits: how much was used, how much there is, for how long nobody may ask."""

import json
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from quantalpha.market.budget import LARGEST, LONGEST_STOP, Limit

WEIGHT = "weight"
PERIODS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
USED_WEIGHT = re.compile(r"X-MBX-USED-WEIGHT-(\d+)([SMHD])", re.IGNORECASE)
BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")  # Binance's words, milliseconds since 1970
FIRST_BAN, SHORTEST_STOP = 120.0, 10.0  # seconds of a ban (418) and of a refusal (429) that say nothing of their length
BYBIT_BAN = 600.0  # seconds for which an address is shut out, told by a 403
PARSING = (TypeError, KeyError, IndexError, ValueError, AttributeError, RecursionError)  # what reading a nonsensical answer raises


def limits_told(text: str) -> dict[str, Limit]:
    """The request weight limit among Binance's `rateLimits`; empty where there is none."""
    try:
        rule = next(rule for rule in json.loads(text)["rateLimits"] if rule["rateLimitType"] == "REQUEST_WEIGHT")
        limit = Limit(float(rule["limit"]), float(rule["intervalNum"]) * PERIODS[rule["interval"]])
        return {WEIGHT: limit} if all(0 < number < LARGEST for number in limit) else {}
    except (StopIteration, *PARSING):
        return {}


def seconds(count: str, unit: str) -> int:
    return int(count) * {"S": 1, "M": 60, "H": 3600, "D": 86_400}[unit.upper()]


def shut_out(venue: str, status: int, headers, text: str) -> float | None:
    """Seconds for which nobody at this address may ask; None where the answer does not say, or says no such thing."""
    if status == 403 and venue == "bybit":
        return BYBIT_BAN
    if status not in (418, 429):
        return None
    return retry_after(headers) or _banned(text) or (FIRST_BAN if status == 418 else None)


def retry_after(headers) -> float | None:
    """Seconds of a Retry-After, which is a number of them or an HTTP date; None where there is none, or it makes no sense."""
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    try:
        return _bounded(float(told))
    except ValueError:
        return _until(told)


def _until(date: str) -> float | None:
    try:
        return _bounded(parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _banned(text: str) -> float | None:
    told = BANNED_UNTIL.search(text)
    return told and _bounded(int(told[1]) / 1000 - time.time())


def _bounded(seconds: float) -> float | None:
    """At most the longest ban there is; None for what has passed or is no number."""
    return min(seconds, LONGEST_STOP) if seconds >= 0 else None
