"""What is seen of a run: on a terminal of 80 columns, and as plain lines."""

import io

import pytest
from rich.console import Console

from quantalpha.errors import StageFailed
from quantalpha.pipeline import progress, run


def drawn(shown: progress.Bar, width: int) -> str:
    """The line of the bar as a terminal so wide shows it."""
    console = Console(width=width, force_terminal=True, record=True, file=io.StringIO())
    console.print(shown._bar.get_renderable())
    return console.export_text().removesuffix("\n")


@pytest.fixture
def bar():
    shown = progress.Bar(16, Console(width=80, force_terminal=True, file=io.StringIO()))
    yield shown
    shown.close()


@pytest.mark.parametrize("width", [80, 120])
def test_bar_count_and_time_stay_visible_however_many_stages_run(bar, width):
    for number in range(12):
        bar.started(f"walk_forward-SYMBOL{number}USDT-lightgbm")
    bar.settled("walk_forward-SYMBOL0USDT-lightgbm", "done", 2.0, 0)
    line = drawn(bar, width)
    assert "\n" not in line and len(line) <= width
    assert line.count("━") + line.count("╸") + line.count("╺") == 20
    assert "1/16" in line and "0:00:00" in line
    assert "11 running: walk_forward-SYMBOL1USDT" in line and line.rstrip().endswith("…")


def test_the_bar_names_nothing_when_nothing_runs(bar):
    bar.started("clean")
    bar.settled("clean", "failed", 1.0, 3)
    assert "running" not in drawn(bar, 80)
    assert "clean failed 1.0 s; 3 stages wait for it" in bar._bar.console.file.getvalue()


def test_a_failure_is_one_line_that_counts_what_waits_for_it(chain, no_kernel, no_tracking, capsys):
    chain.notebook("prepare", "symbol: str = ''\nraw: str = ''\nclean: str = ''\nparams: dict = {}", "1 / 0")
    with pytest.raises(StageFailed):
        run("chain")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("failed" in line and line.endswith("; 1 stage waits for it") for line in lines)


class Recorder(progress.Silent):
    def __init__(self):
        self.started_now: set[str] = set()
        self.seen: set[str] = set()
        self.most = 0

    def started(self, stage: str) -> None:
        self.seen.add(stage)
        self.started_now.add(stage)
        self.most = max(self.most, len(self.started_now))

    def settled(self, stage: str, status: str, seconds: float, blocked: int) -> None:
        self.started_now.discard(stage)


def test_a_stage_counts_as_running_when_a_worker_takes_it_up(chain, no_kernel, no_tracking, monkeypatch):
    monkeypatch.setattr("quantalpha.pipeline.driver.LOOK_SECONDS", 0.02)
    chain.notebook(
        "prepare",
        "symbol: str = ''\nraw: str = ''\nclean: str = ''\nparams: dict = {}",
        "import time; time.sleep(0.3)",
        "Path = __import__('pathlib').Path\nPath(clean).write_text('x')",
    )
    shown = Recorder()
    monkeypatch.setattr(progress, "create", lambda total, wanted: shown)
    run("chain", overrides=["pipeline.workers=1"])
    assert shown.most == 1
    assert {"prepare-BTCUSDT", "prepare-ETHUSDT"} <= shown.seen
