"""One exercise from its first order to the proof that the account trades again."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from quantalpha import config
from quantalpha.bundle import Bundle, load
from quantalpha.drill.exercises import CHECKED, FILLED, PROTECTED, STOPPED, TAPE, Exercise, soon_expired
from quantalpha.drill.scene import WIDE, Hold, Scene, Stage, with_values
from quantalpha.errors import ExchangeError, Halted, QuantalphaError, UsageError
from quantalpha.runner import Request, Summary, emergency, run_session
from quantalpha.runner.drills import Line
from quantalpha.runner.events import Event, FillEvent, HealthEvent, InstructionEvent, MarketCloseEvent, OrderUpdateEvent, SwitchEvent
from quantalpha.runner.orders import OPEN

PATIENCE = 45.0  # seconds from the beginning of a session to its end
POLL = 0.2  # seconds
CHECKS = 2  # of the line's health, after which the client knows the venue's clock and its pace
SMALL = 0.02  # leverage: even after a liquidation there is money for it


class Overdue(QuantalphaError):
    """The drill has waited long enough."""


def perform(stage: Stage, exercise: Exercise) -> Line:
    """What came of it; trouble is said in the line, not raised."""
    line = Line(exercise.name, exercise.how)
    bundle, bars = stage.actor(exercise.policy), exercise.tape(stage.bars, stage.first)
    with stage.scene(bundle, bars, dict(exercise.changes)) as scene:
        try:
            line = _stopped(scene, line) if exercise.when == STOPPED else _tripped(scene, exercise, line)
            line = replace(line, latched=(scene.account.latch.standing() or {"name": ""})["name"])
            line = replace(line, refused=_refused(scene))
            return replace(line, again=_again(scene))
        except (QuantalphaError, OSError, TimeoutError) as error:
            return replace(line, trouble=config.mask(f"{type(error).__name__}: {error}")[:300])
        finally:
            _open_again(scene)


class Patience:
    """Ends a session that goes on for too long."""

    def __init__(self):
        self.started = time.monotonic()

    def __call__(self, event: Event) -> None:
        if time.monotonic() - self.started > PATIENCE:
            raise Overdue(f"nothing came of it within {PATIENCE:g} s")


class Watch(Patience):
    """Sees every event of a session: provokes when it is time, relents once the switch has tripped, and keeps the times (seconds)."""

    def __init__(self, scene: Scene, exercise: Exercise):
        super().__init__()
        self.scene, self.exercise = scene, exercise
        self.provoked = self.tripped = self.flat = None
        self._stops, self._checks = set(), 0
        self._task: asyncio.Task | None = None

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        now = time.monotonic()
        if self._due(event):
            self.provoked = now
        if self._task is None and self.provoked is not None:
            self._task = asyncio.get_running_loop().create_task(self.exercise.provoke(self.scene))
        elif self._task is not None and self._task.done():
            self._task.result()
        if isinstance(event, SwitchEvent):
            self._switch(event, now)

    def _due(self, event: Event) -> bool:
        if self.exercise.when == TAPE:
            return self.tripped is None and isinstance(event, MarketCloseEvent) and not event.warm_up
        if self.provoked is not None:
            return False
        if isinstance(event, InstructionEvent) and (event.kind, event.purpose) == ("stop", "protection"):
            self._stops.add(event.client_id)
        protected = isinstance(event, OrderUpdateEvent) and event.client_id in self._stops and event.status == OPEN
        self._checks += isinstance(event, HealthEvent)
        checked = isinstance(event, HealthEvent) and self._checks > CHECKS
        return {FILLED: isinstance(event, FillEvent), PROTECTED: protected, CHECKED: checked}[self.exercise.when]

    def _switch(self, event: SwitchEvent, now: float) -> None:
        if event.phase == "tripped" and self.tripped is None:
            self.tripped = now
            self.exercise.relent(self.scene)
        if event.phase == "flat":
            self.flat = now


def _tripped(scene: Scene, exercise: Exercise, line: Line) -> Line:
    """A session of this process, until its switch has ended it."""
    scene = replace(scene, params=with_values(scene.params, soon_expired(scene, exercise)))
    watch = Watch(scene, exercise)
    try:
        _session(scene, "tripped", watch)
        raise Overdue(f"{exercise.name}: the session ended by itself")
    except Halted:
        _require_flat(scene)
    trip = None if watch.tripped is None else watch.tripped - watch.provoked
    return replace(line, trip=trip, flat=None if watch.flat is None else watch.flat - watch.tripped)


def _stopped(scene: Scene, line: Line) -> Line:
    """A session in a process of its own that is stopped while it holds a position: nobody but its watchdog can act."""
    context = multiprocessing.get_context("spawn")
    policy = scene.bundle.policy
    process = context.Process(target=_elsewhere, args=(scene.root, scene.bundle.folder, policy, scene.params, "stopped"), daemon=True)
    process.start()
    try:
        trip, flat = asyncio.run(_stop(scene, process.pid))
    finally:
        process.kill()
        process.join()
    return replace(line, trip=trip, flat=flat)


async def _stop(scene: Scene, pid: int) -> tuple[float, float]:
    """Once a position is held and its stop rests; seconds from there to the latch, and on to an account that is flat."""

    async def latched() -> bool:
        return scene.account.latch.standing() is not None

    async with emergency.desk_of(scene.card) as desk:
        await _until(lambda: _is(desk, scene, held=True))
        os.kill(pid, signal.SIGSTOP)
        return await _until(latched), await _until(lambda: _is(desk, scene, held=False))


async def _is(desk: emergency.Desk, scene: Scene, *, held: bool) -> bool:
    """Whether the venue says that a position is held and an order rests, or that neither is; a light question of this symbol alone."""
    position = bool(emergency.held(await desk.account()))
    return {position, bool(await desk.open_orders([scene.bundle.symbol]))} == {held}


async def _until(holds: Callable[[], Awaitable[bool]]) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(POLL)
    return time.monotonic() - started


def _elsewhere(root: Path, folder: Path, policy: Hold, params: config.Params, name: str) -> None:
    """The body of another process: the same session in the drill's workspace, where `quantalpha watchdog` looks for its account."""
    os.environ["QUANTALPHA_ROOT"] = str(root)
    stage = Stage(load(folder, folder.name), params, root, None, 0)
    _run(stage.actor(policy), params, root, name, lambda event: None)


def _session(scene: Scene, name: str, watch: Callable[[Event], None]) -> Summary:
    """Named after what latches, so that the folder of sessions tells the story."""
    return _run(scene.bundle, scene.params, scene.root, f"{name}-{time.time_ns()}", watch)


def _run(bundle: Bundle, params: config.Params, root: Path, name: str, watch: Callable[[Event], None]) -> Summary:
    request = Request("rehearse", name, sessions=root / "data/sessions", watching=lambda folder, past: contextlib.nullcontext([watch]))
    return run_session(bundle, params, request)


async def _looked(scene: Scene) -> emergency.Flattening:
    async with emergency.desk_of(scene.card) as desk:
        return await emergency.look(desk)


def _require_flat(scene: Scene) -> None:
    """By the venue's word, asked by a client that knows nothing of the session."""
    found = asyncio.run(_looked(scene))
    if not found.flat:
        raise ExchangeError(f"the session says flat, but {found}")


def _refused(scene: Scene) -> bool:
    """Whether the latch keeps the next session out, with exit 7."""
    try:
        _session(scene, "refused", Patience())
    except Halted as error:
        return error.exit_code == 7
    return False


def _again(scene: Scene) -> bool:
    """Whether a reset asks for a reason, and with one the account trades."""
    latch = scene.account.latch
    with contextlib.suppress(UsageError):
        latch.reset(" ")
        return False
    latch.reset("the drill goes on")
    calm = with_values(scene.params, WIDE)
    small = replace(scene.bundle, policy=Hold(SMALL))
    return _session(replace(scene, bundle=small, params=with_values(calm, {"runner": {"bars": 2}})), "again", Patience()).fills > 0


def _open_again(scene: Scene) -> None:
    """Whatever went wrong, the next exercise finds the account open."""
    with contextlib.suppress(UsageError):
        scene.account.latch.reset("the drill goes on")
