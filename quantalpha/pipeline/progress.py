"""What a run shows while it goes: a bar on a terminal, plain lines elsewhere, always on stderr; nothing when it is not wanted."""

import sys
from typing import Protocol


class Progress(Protocol):
    """`started` when a stage is sent to a worker, `settled` when its fate is known."""

    def started(self, stage: str) -> None: ...

    def settled(self, stage: str, status: str, seconds: float) -> None: ...

    def close(self) -> None: ...


def create(total: int, shown: bool) -> Progress:
    """The display for `total` stages."""
    if not shown:
        return Silent()
    return Bar(total) if sys.stderr.isatty() else Lines(total)


class Silent:
    def started(self, stage: str) -> None:
        pass

    def settled(self, stage: str, status: str, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """One line for each stage that did not stand fresh."""

    def __init__(self, total: int):
        self._total = total
        self._count = 0

    def settled(self, stage: str, status: str, seconds: float) -> None:
        self._count += 1
        if status != "fresh":
            print(f"[{self._count}/{self._total}] {stage} {status} {seconds:.1f} s", file=sys.stderr, flush=True)


class Bar(Silent):
    """A rich bar with the stages under way."""

    def __init__(self, total: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._active: list[str] = []
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def started(self, stage: str) -> None:
        self._active.append(stage)
        self._bar.update(self._task, description=", ".join(self._active))

    def settled(self, stage: str, status: str, seconds: float) -> None:
        self._active = [name for name in self._active if name != stage]
        if status != "fresh":
            self._bar.console.print(f"{stage} {status} {seconds:.1f} s", highlight=False)
        self._bar.update(self._task, advance=1, description=", ".join(self._active))

    def close(self) -> None:
        self._bar.stop()
