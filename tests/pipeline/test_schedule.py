"""Cron expressions as cron means them, and a schedule that neither overlaps nor dies of a failure."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.base import BaseTrigger

from quantalpha.errors import StageFailed, UsageError
from quantalpha.pipeline.schedule import serve, trigger

START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday


def fires(cron: str, count: int) -> list[str]:
    """The first times after START."""
    when, last, now, found = trigger(cron), None, START, []
    for _ in range(count):
        last = when.get_next_fire_time(last, now)
        now = last + timedelta(seconds=1)
        found.append(f"{last:%a %d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("5 * * * *", ["Mon 01 00:05", "Mon 01 01:05", "Mon 01 02:05"]),
        ("*/20 6 * * *", ["Mon 01 06:00", "Mon 01 06:20", "Mon 01 06:40"]),
        ("0 0 * * 0", ["Sun 07 00:00", "Sun 14 00:00"]),
        ("0 0 * * 7", ["Sun 07 00:00", "Sun 14 00:00"]),
        ("0 0 * * 1", ["Mon 01 00:00", "Mon 08 00:00"]),
        ("0 0 * * 1-5", ["Mon 01 00:00", "Tue 02 00:00", "Wed 03 00:00", "Thu 04 00:00", "Fri 05 00:00", "Mon 08 00:00"]),
        ("0 0 * * 5-7", ["Fri 05 00:00", "Sat 06 00:00", "Sun 07 00:00", "Fri 12 00:00"]),
        ("0 0 * * */2", ["Tue 02 00:00", "Thu 04 00:00", "Sat 06 00:00", "Sun 07 00:00"]),
        ("0 0 * * sat,sun", ["Sat 06 00:00", "Sun 07 00:00"]),
        ("0 0 3 * 5", ["Wed 03 00:00", "Fri 05 00:00", "Fri 12 00:00"]),  # both given: either
    ],
)
def test_a_cron_expression_fires_when_cron_would(cron, expected):
    assert fires(cron, len(expected)) == expected


@pytest.mark.parametrize("cron", ["", "5", "* * * *", "* * * * * *", "61 * * * *", "x * * * *", "* * * * 8", "* * * * 5-1", "*/0 * * * *"])
def test_a_wrong_expression_is_refused(cron):
    with pytest.raises(UsageError, match="--cron"):
        trigger(cron)


class At(BaseTrigger):
    """Fires at given offsets, in seconds from now."""

    def __init__(self, *offsets: float):
        now = datetime.now(UTC)
        self._times = [now + timedelta(seconds=offset) for offset in offsets]

    def get_next_fire_time(self, previous_fire_time, now):
        return next((moment for moment in self._times if previous_fire_time is None or moment > previous_fire_time), None)


def serve_until(calls: list[str], outcomes: list, when: At, **policy) -> None:
    """Serves a job that ends in each of `outcomes` in turn, then interrupts the schedule."""

    def run_once():
        calls.append("call")
        if len(calls) > len(outcomes):
            raise KeyboardInterrupt
        if outcomes[len(calls) - 1] is not None:
            raise outcomes[len(calls) - 1]

    serve(run_once, when, **{"grace": 60.0, "coalesce": True} | policy)


def test_a_failure_is_printed_and_the_next_run_comes(capsys):
    calls: list[str] = []
    serve_until(calls, [StageFailed("stage x: boom"), ValueError("a bug"), None], At(0.02, 0.04, 0.06, 0.08))
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split(" UTC ")[1].split(" after")[0].split(" in")[0] for line in lines] == ["failed", "failed", "done", "schedule stopped"]
    assert lines[0].endswith("stage x: boom")
    assert "ValueError: a bug" in captured.err
    assert len(calls) == 4


def test_a_run_that_is_too_late_is_left_out_and_one_within_grace_is_made():
    late: list[str] = []
    serve_until(late, [], At(-3600, 0.1), grace=60)
    assert len(late) == 1
    soon: list[str] = []
    serve_until(soon, [None], At(-30, 0.1), grace=60)
    assert len(soon) == 2


def test_runs_missed_together_are_made_once_or_each():
    once: list[str] = []
    serve_until(once, [None], At(-3, -2, -1, 0.1))
    assert len(once) == 2
    each: list[str] = []
    serve_until(each, [None] * 3, At(-3, -2, -1, 0.1), coalesce=False)
    assert len(each) == 4


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_waiting_schedule_ends_cleanly_on_a_signal(sign):
    code = "from quantalpha import pipeline; print('ready', flush=True); pipeline.schedule(print, '0 0 1 1 *')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # into the wait
    process.send_signal(sign)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("schedule stopped\n")
