"""A session: a bundle put to work on one feed until it has decided often enough, is told to stop, or loses its venue.

Everything it did is in its folder: `session.json` says what ran, `journal.db` what happened.
"""

import asyncio
import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from quantalpha import __version__, config, schema, timeframe, verdict
from quantalpha.bundle import Bundle
from quantalpha.bundle import load as load_bundle
from quantalpha.errors import DataError, ExchangeError, Halted, QuantalphaError, UsageError, did_you_mean
from quantalpha.files import read_json, write_atomic
from quantalpha.market import stream
from quantalpha.runner import feed, risk
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.console import warn_overridden
from quantalpha.runner.decide import Decider
from quantalpha.runner.engine import Engine, Status, Strategy, status
from quantalpha.runner.events import MarketCloseEvent, SessionEvent
from quantalpha.runner.journal import FILE, Journal

CARD = "session.json"
BUNDLES = "data/bundles"  # where promotion seals them
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
REPLAY_BATCH = 4096  # events held in memory: a tape can be read again
OnStatus = Callable[[Status], None]


@dataclass(frozen=True)
class Summary:
    """What a session came to. `reason`: why it ended; money in quote currency; a position left open is said, not closed."""

    session: str
    folder: str
    bundle: str
    mode: str
    symbol: str
    timeframe: str
    reason: str
    decisions: int
    orders: int
    rejected: int
    fills: int
    equity: float
    cash: float
    position: float
    in_sample: int  # decisions on bars the model may have learnt from
    overridden: list[str]  # lines of the gate that the bundle failed and a person overrode
    seconds: float

    def to_dict(self) -> dict:
        return asdict(self)


def run_session(
    bundle: Bundle,
    params: config.Params,
    *,
    mode: str,
    session_id: str | None = None,
    on_status: OnStatus | None = None,
    sessions: Path | None = None,
) -> Summary:
    """Runs `bundle` on the venue of `params` until `params.runner.bars` decisions were made or SIGINT or SIGTERM arrives.

    sessions: folder of all sessions; None: the workspace's data/sessions. Raises ExchangeError when the venue stays away and Halted when it
    falls silent or the journal cannot be written; what was journalled stays readable.
    """
    if mode != "paper":
        raise UsageError(f"mode: expected paper (or replay, over recorded bars), found {mode!r}")
    if bundle.venue not in (params.venue.kept_as, config.IMPORT):  # what was made from own files trades wherever the user points it
        raise UsageError(
            f"run: the bundle was made from data of {bundle.venue}, but params.venue is {params.venue.kept_as}; "
            "name the profile and settings it was made with, or promote a run of this venue"
        )
    with Session.start(bundle, params, mode, session_id, sessions) as session:
        asyncio.run(_follow(session, params, on_status))
    return session.summary()


def run_replay(
    bundle: Bundle,
    params: config.Params,
    bars: pd.DataFrame,
    *,
    session_id: str | None = None,
    on_status: OnStatus | None = None,
    sessions: Path | None = None,
) -> Summary:
    """The same engine over recorded `bars`, with a decision at every close, as fast as it goes; its clock is the tape's."""
    schema.check_bars(bars)
    with Session.start(bundle, params, "replay", session_id, sessions) as session:
        session.reason = "end of data"
        for event in feed.replay(bars, bundle.symbol, session.step):
            session.feed(event, on_status)
    return session.summary()


class Session:
    """A folder, its journal and the engine that writes it; leaving the context writes the last word and closes the journal."""

    def __init__(self, bundle: Bundle, decider: Decider, mode: str, folder: Path, limit: int | None):
        self.bundle, self.mode, self.folder, self.limit = bundle, mode, folder, limit
        self.step = timeframe.milliseconds(bundle.timeframe)
        self.reason, self.in_sample = "interrupted", 0
        self.overridden = [line["name"] for line in verdict.overridden(bundle.gate)]
        self.until = int(bundle.until.timestamp() * 1000)
        self.journal = Journal(folder / FILE, folder.name, batch=REPLAY_BATCH if mode == "replay" else 1)
        self.started = time.monotonic()
        broker = PaperBroker(bundle.symbol, bundle.account, bundle.costs, bundle.stops)
        strategy = Strategy(bundle.id, bundle.symbol, decider)
        self.engine = Engine(strategy, broker, risk.standard(bundle.account.leverage), self.journal, self.clock)

    @classmethod
    def start(cls, bundle: Bundle, params: config.Params, mode: str, session_id: str | None, sessions: Path | None) -> "Session":
        """A new folder with its card. UsageError: the name is none or taken; DataError: a live bar tells the bundle too little, or it was
        made with other libraries."""
        decider = Decider(bundle)
        config.require_same_libraries(bundle.manifest["lock_sha256"], f"bundle {bundle.id[:12]}")
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{bundle.id[:8]}" if session_id is None else session_id
        if not re.fullmatch(NAME, name):
            raise UsageError(f"session: expected a name of at most 100 letters a-z, digits, '-', '_' and '.', found {name[:120]!r}")
        folder = (config.path("data/sessions") if sessions is None else sessions) / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"session {name!r}: exists already in {folder.parent}; choose another id") from None
        except OSError as error:
            raise UsageError(f"session {name!r}: no folder can be made in {folder.parent}: {error.strerror}; make it writable") from None
        card = {"session": name, "mode": mode, "bundle": bundle.id, "bundle_folder": str(bundle.folder.absolute()), "symbol": bundle.symbol}
        card |= {"timeframe": bundle.timeframe, "started": datetime.now(UTC).isoformat(), "code_version": __version__}
        card |= {"overridden": verdict.overridden(bundle.gate)}
        card |= {"params": params.sections(["venue", "runner"])}  # what is in force; the rest is sealed in the bundle
        write_atomic(folder / CARD, json.dumps(_masked(card), indent=1) + "\n")
        return cls(bundle, decider, mode, folder, None if mode == "replay" else params.runner.bars)

    def clock(self) -> int:
        """Milliseconds since 1970 UTC: the wall's, in a replay the tape's."""
        last = self.engine.last.get("MarketClose") if self.mode == "replay" else None
        return stream.wall_ms() if last is None else last.event_time

    def feed(self, event: feed.MarketEvent, on_status: OnStatus | None) -> bool:
        """Takes one market event; true once the session has made its number of decisions."""
        self.engine.feed(event)
        if isinstance(event, MarketCloseEvent) and not event.warm_up and event.bar <= self.until:
            self.in_sample += 1
        if on_status is not None and isinstance(event, MarketCloseEvent):
            on_status(status(self.engine))
        done = self.limit is not None and self.engine.counts["Signal"] >= self.limit
        if done:
            self.reason = f"{self.limit} decisions made"
        return done

    def __enter__(self) -> "Session":
        warn_overridden(self.bundle)
        self._say("start", "; ".join([f"{self.mode} {self.bundle.id}", *(f"{name} overridden" for name in self.overridden)]))
        return self

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, QuantalphaError):
            self.reason = config.mask(f"{kind.__name__}: {error}")
        elif error is not None:
            self.reason = kind.__name__
        try:
            self._say("stop", self.reason)
        finally:
            self.journal.close()

    def _say(self, phase: str, reason: str) -> None:
        now = stream.wall_ms()
        self.engine.feed(SessionEvent(event_time=now, recv_time=now, symbol=self.bundle.symbol, phase=phase, reason=reason))

    def summary(self) -> Summary:
        counts, ledger = self.engine.counts, self.engine.broker.ledger
        return Summary(
            session=self.folder.name, folder=str(self.folder), bundle=self.bundle.id, mode=self.mode, symbol=self.bundle.symbol,
            timeframe=self.bundle.timeframe, reason=self.reason, decisions=counts["Signal"], orders=counts["Order"],
            rejected=counts["RejectedOrder"], fills=counts["Fill"], equity=ledger.equity, cash=ledger.cash, position=ledger.quantity,
            in_sample=self.in_sample, overridden=self.overridden, seconds=time.monotonic() - self.started,
        )  # fmt: skip


async def _follow(session: Session, params: config.Params, on_status: OnStatus | None) -> None:
    """History, then the stream from the first bar that is not in it: no gap, no overlap."""
    bundle, step = session.bundle, session.step
    with _asked_to_stop() as stop:
        history = await stream.backfill(params.venue, bundle.symbol, bundle.timeframe, bundle.features.lookback)
        for event in feed.replay(history, bundle.symbol, step, warm_up=True):
            session.feed(event, None)
        since = int(schema.epoch_ms(history.index)[-1]) + step
        _require_young(bundle, since, params.runner.max_model_age)
        bars = stream.stream_bars(params.venue, bundle.symbol, bundle.timeframe, since, retries=params.runner.retries, clock=stream.wall_ms)
        async with contextlib.aclosing(bars):
            while (bar := await _next(bars, stop, params.runner.stale_after * step / 1000)) is not None:
                if session.feed(feed.live(bar, bundle.symbol, step, stream.wall_ms()), on_status):
                    return


def _require_young(bundle: Bundle, now: int, limit: str | None) -> None:
    """DataError where the model has learnt nothing for longer than `limit`. now: ms, when the first live bar opens."""
    age = now - int(bundle.until.timestamp() * 1000)
    if limit is not None and age > timeframe.milliseconds(limit):
        days = age / timeframe.UNITS["d"]
        raise DataError(
            f"bundle {bundle.id[:12]}: stale: it learnt from bars up to {bundle.until:%Y-%m-%d %H:%M}, {days:.0f} days before the "
            f"first live one, and runner.max_model_age is {limit}; run the pipeline and promote its new run, or set runner.max_model_age"
        )


async def _next(bars: AsyncIterator[stream.BarOpen | stream.BarClose], stop: asyncio.Event, patience: float):
    """The next message, None when asked to stop. Raises Halted after `patience` seconds of silence, ExchangeError when the stream ends."""
    news, asked = asyncio.ensure_future(anext(bars)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({news, asked}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if news.done():
            return news.result()
        if asked.done():
            return None
        raise Halted(f"runner: no news for {patience:g} s (runner.stale_after); the position stays; check the venue, then run again")
    except StopAsyncIteration:
        raise ExchangeError("runner: the venue's stream ended; run again when it is back") from None
    finally:
        for task in (news, asked):
            task.cancel()
        await asyncio.gather(news, asked, return_exceptions=True)


@contextlib.contextmanager
def _asked_to_stop():
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


def session_folder(session: str) -> Path:
    """Where a session's record lies: its name in data/sessions, or 'latest'. Raises UsageError naming the nearest."""
    cards = list(config.path("data/sessions").glob(f"*/{CARD}"))
    if not cards:
        raise UsageError(f"session {session!r}: no session has run yet; `quantalpha run --mode paper` runs one")
    if session == "latest":
        return max(cards, key=lambda card: card.stat().st_mtime).parent
    names = [card.parent.name for card in cards]
    if session not in names:
        raise UsageError(f"session {session!r}: not found in data/sessions; {did_you_mean(session, names)}")
    return config.path("data/sessions") / session


def sessions(mode: str) -> list[Path]:
    """The folders of all sessions of a mode, the oldest first."""
    cards = sorted(config.path("data/sessions").glob(f"*/{CARD}"), key=lambda card: card.stat().st_mtime)
    return [card.parent for card in cards if read_json(card, "mode")["mode"] == mode]


def session_bundle(folder: Path) -> Bundle:
    """The verified bundle a session ran: from the folder its card names or, where that is gone (a moved workspace), from data/bundles."""
    card = read_json(folder / CARD, "bundle", "bundle_folder")
    places = [Path(card["bundle_folder"]), config.path(BUNDLES) / card["bundle"]]
    for place in places:
        if place.is_dir():
            return load_bundle(place, card["bundle"])
    raise DataError(
        f"session {folder.name}: its bundle {card['bundle'][:12]} is neither in {places[0]} nor in {places[1].parent}; "
        "put the folder back, or promote the same run again"
    )


def _masked(value):
    """The same JSON value without a secret in any text of it; numbers stay numbers."""
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return config.mask(value) if isinstance(value, str) else value
