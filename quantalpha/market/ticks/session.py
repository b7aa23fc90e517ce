"""One recording: a feed into a recorder until it is told to stop."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from quantalpha import config
from quantalpha.market.ticks.feed import Feed, Subscription
from quantalpha.market.ticks.record import Recorder

STATUS_SECONDS = 1.0


@dataclass(frozen=True)
class Status:
    """How a recording stands. channels: `Health.rows`, feed: `Health.totals`."""

    seconds: float
    rows: int
    channels: list[dict]
    feed: dict

    def __str__(self):
        faults = {name: sum(row[name] for row in self.channels) for name in ("gaps", "resyncs", "lost")}
        told = ", ".join(f"{count:,} {name}" for name, count in faults.items())
        stale = sum(row["stale"] for row in self.channels)
        rate = sum(row["rate"] for row in self.channels)
        slowest = max((row["p99_ms"] for row in self.channels if row["messages"]), default=float("nan"))
        came = f"{self.seconds:,.0f} s  {self.rows:,} rows  {rate:,.0f}/s"
        return f"{came}  {told}, {stale} stale  p99 {slowest:,.0f} ms  skew {self.feed['skew_ms']:+,.0f} ms"


async def record(
    venue: config.Venue,
    wish: Subscription,
    recorder: Recorder,
    *,
    stop: asyncio.Event,
    on_status: Callable[[Status], None],
) -> Status:
    """Record `wish` until `stop` is set, going on after what an earlier recording left there; the recorder is closed at the end.

    Raises ExchangeError when a line stays broken. What had come is kept then too.
    """
    begun = time.monotonic()
    try:
        async with Feed(venue, replace(wish, since=recorder.known(wish.symbols)), recorder.settings) as feed:
            jobs = [asyncio.create_task(job) for job in (_listen(feed, recorder), _flush(recorder, recorder.settings.flush), stop.wait())]
            try:
                while not any(job.done() for job in jobs):
                    await asyncio.wait(jobs, timeout=STATUS_SECONDS, return_when="FIRST_COMPLETED")
                    on_status(_status(feed, recorder, begun))
                for job in jobs[:2]:
                    if job.done():
                        job.result()
            finally:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
            return _status(feed, recorder, begun)
    finally:
        recorder.close()


def _status(feed: Feed, recorder: Recorder, begun: float) -> Status:
    seconds = time.monotonic() - begun
    return Status(seconds, recorder.rows, feed.health.rows(feed.clock(), seconds), feed.health.totals())


async def _listen(feed: Feed, recorder: Recorder) -> None:
    async for received, message in feed.messages():
        recorder.add(received, message)


async def _flush(recorder: Recorder, seconds: float) -> None:
    """Write in a thread of its own, so that the sockets are read meanwhile."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(recorder.write, recorder.take())
