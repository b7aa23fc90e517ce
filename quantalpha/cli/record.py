"""`quantalpha data record`: live streams onto disk."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import typer

from quantalpha import config
from quantalpha.cli.base import AsJson, Overrides, Profile, data_app, show, table

SHOWN = {"messages": "count", "rate": "/s", "gaps": "gaps", "resyncs": "resyncs", "backfilled": "mended", "lost": "lost"}
SHOWN |= {"p50_ms": "p50 ms", "p99_ms": "p99 ms"}


@data_app.command()
def record(
    symbol: Annotated[list[str], typer.Option(help="Repeat for more; default: data.symbols.")] = (),
    stream: Annotated[list[str], typer.Option(help="book, depth, trades, mark or bars; repeat for more; default: stream.kinds.")] = (),
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop after so long; default: until interrupted.")] = None,
    redis: Annotated[bool, typer.Option(help="Publish as Redis streams too, venue:symbol:kind; QUANTALPHA_REDIS_URL.")] = False,
    profile: Profile = "default", overrides: Overrides = (), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record live streams to data/ticks until interrupted: gaps mended, clocks compared, nothing finished is ever lost."""
    from quantalpha.market.ticks import Recorder, Subscription

    chosen = {"data.symbols": symbol, "stream.kinds": stream}  # as settings, so that they are checked before a folder is made
    params = config.load(profile, [*overrides, *(f"{name}={json.dumps(list(values))}" for name, values in chosen.items() if values)])
    wish = Subscription(tuple(params.data.symbols), tuple(dict.fromkeys(params.stream.kinds)), params.stream.bar)
    root = config.path("data/ticks") / params.venue.kept_as
    with _published(params.venue.kept_as) if redis else nullcontext() as also:
        recorder = Recorder(root, wish.symbols, params.stream, also)
        status = _run(params.venue, wish, recorder, minutes, None if as_json else _print)
    rows = [{"": f"{row['symbol']} {row['kind']}"} | {shown: row[name] for name, shown in SHOWN.items()} for row in status.channels]
    result = {"folder": str(root), "rows": status.rows, "seconds": status.seconds, "channels": status.channels}
    show(result | status.feed, as_json, table("streams", rows))
    if not as_json:
        told = "skew {skew_ms:+.1f} ms (within {skew_error_ms:.1f}), {reconnects} reconnects, {overflows} overflows, {malformed} malformed"
        print(f"{status.rows:,} rows in {status.seconds:,.0f} s to {root}; {told.format(**status.feed)}")


@contextmanager
def _published(venue: str) -> Iterator:
    """Redis streams while the block runs. Redis away stops nothing: what it misses is counted and told."""
    from quantalpha import secrets
    from quantalpha.market.sinks import RedisTicks
    from quantalpha.market.ticks import publisher

    ticks = RedisTicks(secrets.secret("QUANTALPHA_REDIS_URL"))
    try:
        yield publisher(venue, ticks.publish)
    finally:
        ticks.close()


def _run(venue: config.Venue, wish, recorder, minutes: float | None, on_status):
    """Record until SIGINT or SIGTERM, or for `minutes`."""
    import asyncio
    import signal

    from quantalpha.market import ticks

    async def main():
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if minutes is not None:
            loop.call_later(60.0 * minutes, stop.set)
        return await ticks.record(venue, wish, recorder, stop=stop, on_status=on_status or (lambda status: None))

    status = asyncio.run(main())
    if on_status is not None and sys.stderr.isatty():
        print(file=sys.stderr)
    return status


def _print(status) -> None:
    """On standard error: rewritten in place on a terminal, elsewhere a line every minute."""
    if sys.stderr.isatty():
        print(f"\r\033[K{status}", end="", file=sys.stderr, flush=True)
    elif int(status.seconds) % 60 == 0:
        print(status, file=sys.stderr, flush=True)
