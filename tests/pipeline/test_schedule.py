"""Cron expressions as cron means them, and a schedule that neither overlaps nor dies of a failure."""

import importlib
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
    """Fires at given offsets, in seconds from START."""

    def __init__(self, *offsets: float):
        self._times = [START + timedelta(seconds=offset) for offset in offsets]

    def get_next_fire_time(self, previous_fire_time, now):
        return next((moment for moment in self._times if previous_fire_time is None or moment > previous_fire_time), None)


@pytest.fixture
def calls(monkeypatch):
    """Serves a job that takes `takes` seconds and ends in each of `outcomes` in turn; returns when it was called, on a clock of its own."""
    module = importlib.import_module("quantalpha.pipeline.schedule")
    clock = [START]

    def pass_time(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    monkeypatch.setattr(module, "_now", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", pass_time)

    def calls(when: At, *outcomes: BaseException | None, takes: float = 0.0, grace: float = 60.0, coalesce: bool = True) -> list[float]:
        called: list[float] = []

        def run_once() -> None:
            called.append((clock[0] - START).total_seconds())
            pass_time(takes)
            outcome = outcomes[len(called) - 1] if len(called) <= len(outcomes) else None
            if outcome is not None:
                raise outcome

        serve(run_once, when, grace=grace, coalesce=coalesce)
        return called

    return calls


def test_a_failure_is_printed_and_the_next_run_comes(calls, capsys):
    assert calls(At(10, 20, 30), StageFailed("stage x: boom"), ValueError("a bug")) == [10, 20, 30]
    captured = capsys.readouterr()
    said = [line.split(" UTC ")[1] for line in captured.out.splitlines()]
    due = [f"next run due at {START:%Y-%m-%d %H:%M}", f"run due at {START:%Y-%m-%d %H:%M} starts"]
    assert said == [
        *due,
        "failed after 0.0 s: stage x: boom",
        *due,
        "failed after 0.0 s: an error in the code, shown above",
        *due,
        "done in 0.0 s",
    ]
    assert "ValueError: a bug" in captured.err


def test_ctrl_c_during_a_run_ends_the_schedule(calls, capsys):
    assert calls(At(10, 20), KeyboardInterrupt()) == [10]
    assert capsys.readouterr().out.endswith("schedule stopped\n")


def test_runs_do_not_overlap_and_what_came_due_meanwhile_follows_policy(calls):
    assert calls(At(10, 20, 30, 100), takes=25.0) == [10, 35, 100]
    assert calls(At(210, 220, 230, 300), takes=25.0, coalesce=False) == [210, 235, 260, 300]


def test_a_run_that_is_too_late_is_left_out(calls, capsys):
    assert calls(At(10, 20, 200), takes=75.0) == [10, 200]
    assert "left out 2024-01-01 00:00: more than 60 s late" in capsys.readouterr().out
    assert calls(At(310, 320, 500), takes=75.0, grace=70.0) == [310, 385, 500]


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
