"""The server as a process: its clock, its greeting, its signals, and ports that are taken."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from quantalpha.errors import UsageError
from quantalpha.practice.clock import Clock

from .support import HOUR, Wall, play


def test_clock_runs_at_its_speed_stands_and_stops_at_the_end():
    wall = Wall()
    clock = Clock(1_000, 10_000, 2.0, wall)
    wall.seconds += 1.5
    assert clock.now() == 4_000
    clock.change_speed(0.0)
    wall.seconds += 50
    assert clock.now() == 4_000
    clock.change_speed(1.0)
    wall.seconds += 2
    assert clock.now() == 6_000
    wall.seconds += 1_000
    assert clock.now() == 10_000


def test_a_taken_port_is_one_clear_line(tape):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"exchange.port: 127.0.0.1:{port} is already in use; stop"):
            play(tape, None, port=port)


def test_a_start_off_the_tape_is_refused(tape):
    with pytest.raises(UsageError, match="exchange.now: expected a time on the tape, 2024-01-01"):
        play(tape, None, now=tape.start - HOUR)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_greets_answers_and_ends_on_a_signal(tmp_path, frames, number):
    frames["BTCUSDT"].to_parquet(tmp_path / "BTCUSDT.parquet")
    changes = [f"exchange.tape={tmp_path / 'BTCUSDT.parquet'}", "exchange.port=0", "exchange.speed=0", "exchange.now=2024-02-01"]
    code = f"from quantalpha import config, practice\npractice.run(config.load(overrides={changes!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            url = lines[2].split()[1]
            with urllib.request.urlopen(url + "/fapi/v1/time", timeout=10) as response:
                answer = json.load(response)
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
    assert answer == {"serverTime": 1706745600000}
    assert lines[0].startswith("practice exchange: BTCUSDT; tape ")
    assert lines[3].split()[1] == url.replace("http", "ws")
