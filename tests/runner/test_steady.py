"""Durations go on whatever the machine's clock is set to."""

import time

import pytest

from quantalpha.runner import steady
from quantalpha.runner.latency import Stopwatch
from quantalpha.runner.session import Session

HOUR = 3_600_000_000_000  # ns


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_is_set_is_no_time_that_has_passed(monkeypatch, step):
    assert abs(steady.ns() - time.time_ns()) < 24 * HOUR
    before, wall = steady.ms(), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() + step)
    monkeypatch.setattr(time, "time", lambda: (wall() + step) / 1e9)
    assert 0 <= steady.ms() - before < 60_000
    live = Session.__new__(Session)
    live.mode = "live"
    assert 0 <= live.clock() - before < 60_000
    assert 0 <= Stopwatch().clock() // 1_000_000 - before < 60_000
