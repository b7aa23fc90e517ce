"""The one process that decides: it hashes, skips what is fresh, sends the rest to workers, moves results into place and records them.

Killed at any moment, it leaves each stage with its old result or its new one; the next run goes on from there.
"""

from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from quantalpha import errors
from quantalpha.config import mask
from quantalpha.errors import QuantalphaError, StageFailed
from quantalpha.files import digest_of
from quantalpha.pipeline import graph, progress, sources
from quantalpha.pipeline.cache import HOW, Parts
from quantalpha.pipeline.execute import Done, Fault, Job, executor, submit
from quantalpha.pipeline.graph import Stage
from quantalpha.pipeline.plan import Plan

LOOK_SECONDS = 0.3  # between looks at what the workers have begun


@dataclass(frozen=True)
class Outcome:
    """What became of a stage. Status: fresh (nothing to do), done, failed, or blocked (a stage it needs failed)."""

    stage: Stage
    status: str
    seconds: float = 0.0
    error: str | None = None

    def row(self) -> dict:
        """One row of a table: stage, id, symbol, model, status, seconds, error."""
        loop = {name: self.stage.loop.get(name) for name in graph.LOOPS}
        return {"stage": self.stage.name, "id": self.stage.id, **loop, "status": self.status, "seconds": self.seconds, "error": self.error}


@dataclass
class Drive:
    """One run of a plan: what is running and what is settled."""

    plan: Plan
    forced: set[str]
    shown: progress.Progress
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: list[StageFailed] = field(default_factory=list)
    _running: dict[Future, tuple[Stage, Parts]] = field(default_factory=dict)  # sent to the workers
    _begun: set[str] = field(default_factory=set)
    _stack: ExitStack = field(default_factory=ExitStack)
    _pool: Executor | None = None

    def go(self) -> None:
        """Runs what is stale. A failure blocks what needs it and lets the rest finish. Holds the pipeline's lock already."""
        self.plan.folder.clean()
        with self._stack:
            self._advance()
            while self._running:
                finished, _ = wait(self._running, LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._finish(future)
                if finished:
                    self._advance()
                self._show_begun()
        self.plan.folder.write_json("hashes.json", self.plan.digests.content())

    def _advance(self) -> None:
        """Settles what needs no run, starts what is ready. Stages come in order, so one pass sees all."""
        active = {stage.id for stage, _ in self._running.values()}
        for stage in self.plan.stages:
            if stage.id in active or stage.id in self.outcomes or not all(need in self.outcomes for need in stage.needs):
                continue
            broken = [need for need in stage.needs if self.outcomes[need].status in ("failed", "blocked")]
            if broken:
                self._settle(Outcome(stage, "blocked", error=f"needs {broken[0]}"))
            elif stage.id not in self.forced and not self.plan.stale_reasons(stage):
                self._settle(Outcome(stage, "fresh"))
            else:
                self._start(stage)

    def _start(self, stage: Stage) -> None:
        if self._pool is None:
            self._pool = self._stack.enter_context(executor(self.plan.params.pipeline))
            self._stack.callback(self.plan.folder.clean)  # runs before the pool closes: on an interruption it stops the workers
        parts = self.plan.parts(stage)
        self._running[submit(self._pool, self._job(stage, parts))] = (stage, parts)

    def _show_begun(self) -> None:
        """A worker that takes a stage up makes a folder in its scratch."""
        waiting = {stage.id for stage, _ in self._running.values()} - self._begun
        for stage in sorted(name for name in waiting if any((self.plan.folder.scratch / name).glob("*"))):
            self._begun.add(stage)
            self.shown.started(stage)

    def _job(self, stage: Stage, parts: Parts) -> Job:
        scratch = self.plan.folder.scratch / stage.id
        scratch.mkdir(parents=True)
        inputs = {name: _absolute(self.plan.root, value) for name, value in stage.inputs.items()}
        sections = {"params": self.plan.params.sections(stage.sections)} if stage.sections else {}
        text = self.plan.notebooks[stage.notebook].text
        sends = HOW in stage.sections and self.plan.params.pipeline.executor == "dask"
        return Job(str(self.plan.root), text, {**stage.loop, **inputs, **sections}, stage.outputs, str(scratch), parts["package"], sends)

    def _finish(self, future: Future) -> None:
        stage, parts = self._running.pop(future)
        crash = future.exception()
        if crash is not None:
            self._fail(stage, Fault(0, type(crash).__name__, str(crash)), None)
            return
        done = future.result()
        fault = done.error or _missing_output(done)
        hashes = {}
        if fault is None:
            try:
                hashes = self._place(stage, done)
            except OSError as error:
                fault = Fault(0, type(error).__name__, f"its outputs cannot be put in place: {error}")
        if fault is None:
            self._record(stage, parts, done, hashes)
        else:
            self._fail(stage, fault, done)

    def _place(self, stage: Stage, done: Done) -> dict[str, str | None]:
        """Moves outputs, then the notebook, to where they belong; the outputs' hashes."""
        folder, digests = self.plan.folder, self.plan.digests
        hashes = {path: digests.path(Path(done.outputs[name])) for name, path in stage.outputs.items()}
        for name, path in stage.outputs.items():
            folder.place(Path(done.outputs[name]), self.plan.root / path)
        folder.place(Path(done.folder) / "notebook.ipynb", folder.notebook(stage.id))
        return hashes

    def _record(self, stage: Stage, parts: Parts, done: Done, hashes: dict[str, str | None]) -> None:
        """The record comes last and makes the outputs count."""
        folder = self.plan.folder
        parts = parts | self._changed_meanwhile(parts)
        record = {"key": digest_of(parts), "parts": parts, "outputs": hashes, "seconds": done.seconds, "finished": _now()}
        folder.write_json(f"state/{stage.id}.json", record)
        folder.forget_failure(stage.id)
        self._settle(Outcome(stage, "done", done.seconds))

    def _changed_meanwhile(self, parts: Parts) -> Parts:
        """A group no later run can equal, if inputs or code were edited while the stage ran: its result counts for this run only."""
        before = {self.plan.root / path: digest for path, digest in (parts["input"] | parts["module"]).items()}
        before |= {sources.PACKAGE.parent / path: digest for path, digest in parts["package"].items()}
        changed = {path.name: digest for path, digest in before.items() if self.plan.digests.path(path) != digest}
        return {"changed while it ran:": changed} if changed else {}

    def _fail(self, stage: Stage, fault: Fault, done: Done | None) -> None:
        """Keeps the notebook as it stopped; the last good result stays as it was."""
        folder = self.plan.folder
        kept = folder.notebook(stage.id, failed=True)
        folder.forget_failure(stage.id)
        if done is not None and (Path(done.folder) / "notebook.ipynb").is_file():
            folder.place(Path(done.folder) / "notebook.ipynb", kept)
        cell = f", code cell {fault.cell}" if fault.cell else ""
        where = f"; the notebook as it stopped: {kept.relative_to(self.plan.root)}" if kept.is_file() else ""
        failure = StageFailed(f"stage {stage.id}{cell}: {fault.name}: {' '.join(mask(fault.text).split())}{where}")
        failure.exit_code = _exit_code(fault.name)
        folder.write_json(f"failed/{stage.id}.json", {"error": str(failure), "finished": _now()})
        self.failures.append(failure)
        self._settle(Outcome(stage, "failed", 0.0 if done is None else done.seconds, str(failure)))

    def _settle(self, outcome: Outcome) -> None:
        self.outcomes[outcome.stage.id] = outcome
        blocked = self._dependents(outcome.stage) if outcome.status == "failed" else 0
        self.shown.settled(outcome.stage.id, outcome.status, outcome.seconds, blocked)

    def _dependents(self, stage: Stage) -> int:
        """How many stages of the plan need this one, directly or not."""
        found = {stage.id}
        for other in self.plan.stages:  # in order
            if not found.isdisjoint(other.needs):
                found.add(other.id)
        return len(found) - 1


def _absolute(root: Path, value: str | list[str]) -> str | list[str]:
    return [str(root / path) for path in value] if isinstance(value, list) else str(root / value)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _missing_output(done: Done) -> Fault | None:
    for name, path in done.outputs.items():
        if not Path(path).exists():
            return Fault(0, "MissingOutput", f"all cells ran, but output {name!r} was not written; write it to the path in `{name}`")
    return None


def _exit_code(name: str) -> int:
    """The exit code of this package's error of that name; 1 for any other."""
    kind = getattr(errors, name, None)
    return kind.exit_code if isinstance(kind, type) and issubclass(kind, QuantalphaError) else StageFailed.exit_code
