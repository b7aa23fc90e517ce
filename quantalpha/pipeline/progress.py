"""What a run shows while it goes: a bar on a terminal, plain lines elsewhere, always on stderr; nothing when it is not wanted."""

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """`started` when a worker begins a stage, `settled` when its fate is known.

    blocked: how many others a failed stage keeps from running.
    """

    def started(self, stage: str) -> None: ...

    def settled(self, stage: str, status: str, seconds: float, blocked: int) -> None: ...

    def close(self) -> None: ...


def create(total: int, shown: bool) -> Progress:
    """The display for `total` stages."""
    if not shown:
        return Silent()
    if not sys.stderr.isatty():
        return Lines(total)
    from rich.console import Console

    return Bar(total, Console(stderr=True))


class Silent:
    def started(self, stage: str) -> None:
        pass

    def settled(self, stage: str, status: str, seconds: float, blocked: int) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """One line for each stage that ran."""

    def __init__(self, total: int):
        self._total = total
        self._count = 0

    def settled(self, stage: str, status: str, seconds: float, blocked: int) -> None:
        self._count += 1
        if status in ("done", "failed"):
            print(f"[{self._count}/{self._total}] {_line(stage, status, seconds, blocked)}", file=sys.stderr, flush=True)


class Bar(Silent):
    """A rich bar: count and time keep their place, the names of the stages under way take what is left of the line."""

    def __init__(self, total: int, console: "Console"):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        fixed, rest = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
        columns = (BarColumn(20, table_column=fixed), MofNCompleteColumn(table_column=fixed.copy()), TimeElapsedColumn(fixed.copy()))
        names = TextColumn("{task.description}", markup=False, table_column=rest)
        self._active: list[str] = []
        self._bar = Progress(*columns, names, console=console, expand=True)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def started(self, stage: str) -> None:
        self._active.append(stage)
        self._bar.update(self._task, description=self._names())

    def settled(self, stage: str, status: str, seconds: float, blocked: int) -> None:
        self._active = [name for name in self._active if name != stage]
        if status in ("done", "failed"):
            self._bar.console.print(_line(stage, status, seconds, blocked), markup=False, highlight=False)
        self._bar.update(self._task, advance=1, description=self._names())

    def close(self) -> None:
        self._bar.stop()

    def _names(self) -> str:
        return f"{len(self._active)} running: {', '.join(self._active)}" if self._active else ""


def _line(stage: str, status: str, seconds: float, blocked: int) -> str:
    waiting = {0: "", 1: "; 1 stage waits for it"}.get(blocked, f"; {blocked} stages wait for it")
    return f"{stage} {status} {seconds:.1f} s{waiting}"
