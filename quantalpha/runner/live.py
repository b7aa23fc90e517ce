"""A session on a live market: history first, then the streams of all symbols from the first bar that is not in it. No gap, no overlap."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator

from quantalpha import config, schema
from quantalpha.errors import ExchangeError, Halted
from quantalpha.market import stream
from quantalpha.runner import feed
from quantalpha.runner.composition import Composition
from quantalpha.runner.events import TickEvent
from quantalpha.runner.session import Request, Session, Summary

TICK = 0.2  # seconds between looks at the clock, the latch and the state of the tasks
LONGEST_LAG = 10.0  # seconds for which the opening of a bar waits for another symbol's close of the bar before


async def run(composition: Composition, params: config.Params, request: Request) -> Summary:
    """A session from its first word to its last."""
    start = Session.resume if request.resume else Session.start
    session = start(composition, params, request, composition.paper())
    with session.account.hold(session.card), session:
        await follow(session)
    return session.summary()


async def follow(session: Session) -> None:
    """Until asked to stop or done. Raises as `run_session` says."""
    with asked_to_stop() as stop:
        since = {symbol: await _caught_up(session, symbol) for symbol in session.composition.symbols}
        session.require_young(max(since.values()), session.params.runner.max_model_age)
        inbox: asyncio.Queue = asyncio.Queue()
        tasks = [asyncio.create_task(_listen(session, symbol, start, inbox)) for symbol, start in since.items()]
        try:
            await _pump(session, inbox, tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _caught_up(session: Session, symbol: str) -> int:
    """Shows a new session its history; open time (ms) of the first bar it has not seen."""
    known = session.engine.closed(symbol)
    if known is not None:
        return known + session.step
    history = await stream.backfill(session.params.venue, symbol, session.composition.timeframe, session.composition.lookback)
    for event in feed.replay(history, symbol, session.step, warm_up=True):
        session.feed(event)
    return int(schema.epoch_ms(history.index)[-1]) + session.step


async def _listen(session: Session, symbol: str, since: int, inbox: asyncio.Queue) -> None:
    """One symbol's bars into the inbox."""
    venue, settings, bar = session.params.venue, session.params.runner, session.composition.timeframe
    bars = stream.stream_bars(venue, symbol, bar, since, retries=settings.retries, clock=stream.wall_ms)
    async with contextlib.aclosing(bars):
        async for each in bars:
            inbox.put_nowait(feed.live(each, symbol, session.step, stream.wall_ms()))
    raise ExchangeError("runner: the venue's stream ended; run again when it is back")


async def _pump(session: Session, inbox: asyncio.Queue, tasks: list, stop: asyncio.Event) -> None:
    """From the inbox to the engine, in order of time; a look at everything else every TICK."""
    merge = feed.Merge(session.composition.symbols, LONGEST_LAG)
    patience, heard = session.params.runner.stale_after * session.step / 1000, asyncio.get_running_loop().time()
    while not stop.is_set():
        event = await _next(inbox)
        now = asyncio.get_running_loop().time()
        for each in merge.take(event, now) if event is not None else merge.late(now):
            if session.feed(each):
                return
        heard = now if event is not None else heard
        session.look_at_latch()
        session.feed(TickEvent(event_time=0, recv_time=stream.wall_ms(), symbol=""))
        session.require_running()
        for task in tasks:
            if task.done():
                task.result()
        if now - heard > patience:
            raise Halted(f"runner: no news for {patience:g} s (runner.stale_after); the position stays; check the venue, then run again")


async def _next(inbox: asyncio.Queue):
    """The next event; None after TICK."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TICK):
            return await inbox.get()
    return None


@contextlib.contextmanager
def asked_to_stop() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set while inside; where this is not the main thread, nothing can."""
    loop, stop, signals = asyncio.get_running_loop(), asyncio.Event(), (signal.SIGINT, signal.SIGTERM)
    listening = threading.current_thread() is threading.main_thread()
    for number in signals if listening else ():
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals if listening else ():
            loop.remove_signal_handler(number)
