"""Runs a pipeline on a cron expression, in the foreground."""

import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from quantalpha.config import mask
from quantalpha.errors import QuantalphaError, UsageError
from quantalpha.tracking import as_interrupt

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")  # cron's numbers 0 to 7


def schedule(run_once: Callable[[], object], cron: str, *, grace: float = 300.0, coalesce: bool = True) -> None:
    """Calls `run_once` at each time of the cron expression (five fields, UTC) until interrupted; returns on SIGINT or SIGTERM.

    One call at a time: a call that comes due during another waits for it. One that is more than `grace` seconds late is left out;
    of several that are due by then only the last is made (`coalesce`). The next due time, each start and each outcome are printed;
    a failure does not end the schedule.
    """
    serve(run_once, trigger(cron), grace=grace, coalesce=coalesce)


def trigger(cron: str):
    """An APScheduler trigger. Weekdays count as in cron (0 and 7 are Sunday), and day of month and weekday, if both given, mean either."""
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    fields = cron.split()
    if len(fields) != 5:
        raise UsageError(f"--cron: expected five fields such as '5 * * * *' (minute hour day month weekday), found {cron!r}")
    minute, hour, day, month, weekday = fields
    try:
        fixed = {"minute": minute, "hour": hour, "month": month, "timezone": "UTC"}
        if day.startswith("*") or weekday.startswith("*"):
            return CronTrigger(day=day, day_of_week=_weekdays(weekday), **fixed)
        return OrTrigger([CronTrigger(day=day, **fixed), CronTrigger(day_of_week=_weekdays(weekday), **fixed)])
    except ValueError as error:
        raise UsageError(f"--cron: {cron!r}: {error}") from None


def serve(run_once: Callable[[], object], when, *, grace: float, coalesce: bool) -> None:
    """The loop behind `schedule`; `when` is any APScheduler trigger. One thread: runs cannot overlap, and Ctrl-C reaches them."""
    with as_interrupt(signal.SIGTERM):
        try:
            due = when.get_next_fire_time(None, _now())
            while due is not None:
                if due > _now():
                    _say(f"next run due at {due:%Y-%m-%d %H:%M}")
                _wait_until(due)
                following = when.get_next_fire_time(due, _now())
                if coalesce and following is not None and following <= _now():
                    _say(f"left out {due:%Y-%m-%d %H:%M}: a later run is due as well")
                elif (_now() - due).total_seconds() > grace:
                    _say(f"left out {due:%Y-%m-%d %H:%M}: more than {grace:g} s late")
                else:
                    _say(f"run due at {due:%Y-%m-%d %H:%M} starts")
                    _call(run_once)
                due = following
        except KeyboardInterrupt:
            _say("schedule stopped")


def _call(run_once: Callable[[], object]) -> None:
    """One run and its outcome, printed; an error of the code itself with its traceback."""
    started = time.monotonic()
    try:
        run_once()
    except QuantalphaError as error:
        _say(f"failed after {time.monotonic() - started:.1f} s: {error}")
    except Exception:
        print(mask(traceback.format_exc()), end="", file=sys.stderr)
        _say(f"failed after {time.monotonic() - started:.1f} s: an error in the code, shown above")
    else:
        _say(f"done in {time.monotonic() - started:.1f} s")


def _wait_until(due: datetime) -> None:
    """In short steps, so that a clock set meanwhile, or a machine asleep, is noticed."""
    while (left := (due - _now()).total_seconds()) > 0:
        time.sleep(min(left, 30.0))


def _now() -> datetime:
    return datetime.now(UTC)


def _weekdays(field: str) -> str:
    """Cron's weekday numbers as names: '1-5' -> 'mon,tue,wed,thu,fri'; names and '*' stay."""
    return ",".join(_days(token) for token in field.split(","))


def _days(token: str) -> str:
    match = re.fullmatch(r"([0-7])(?:-([0-7]))?(?:/(\d+))?", re.sub(r"^\*/", "0-6/", token))
    if match is None:
        return token
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if first > last:
        raise ValueError(f"weekdays {token!r} run backwards")
    return ",".join(WEEKDAYS[first : last + 1 : int(match[3] or 1)])


def _say(text: str) -> None:
    print(f"{_now():%Y-%m-%d %H:%M:%S} UTC {mask(text)}", flush=True)
