"""The one door to apprise: people are told of a session by Telegram, Discord, e-mail, webhook, whatever QUANTALPHA_ALERTS names.

    alerts = Alerts("my-session", params.alerts)       # one thread a channel
    engine.observers.append(alerts.tell)               # never waits, never raises for a channel's sake
    alerts.close()

Each channel has its own queue and thread, so that one that hangs delays neither the engine nor the others. All text is masked.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.ops.mailbox import Mailbox, Ration
from quantalpha.ops.words import Message, message, moment
from quantalpha.runner.events import Event
from quantalpha.secrets import ALERTS, environment, mask

log = logging.getLogger(__name__)
ATTEMPTS = 3  # of an urgent message; others get one
PAUSE = 2.0  # seconds before the next attempt
LOOK = 1.0  # seconds between looks at what was held back
PATIENCE = 10.0  # seconds that a session's end waits for the last words to be delivered
LEVELS = {"switch": "failure", "error": "failure", "veto": "warning"}


@dataclass(frozen=True)
class Channel:
    """One address. name: its place in QUANTALPHA_ALERTS and its service, such as '2 (Telegram)': never the address."""

    name: str
    service: object  # apprise.Apprise with this address alone

    def send(self, title: str, body: str, level: str = "info") -> bool:
        """Whether the service took it. Blocks as long as the network does; what apprise says of a failure is logged."""
        try:
            return bool(self.service.notify(body=mask(body), title=mask(title), notify_type=level, body_format="text"))
        except Exception as error:  # a plugin's own bug must not end the thread that tells people
            log.warning("alerts: channel %s: %s: %s", self.name, type(error).__name__, mask(str(error)))
            return False


def channels(addresses: str | None = None) -> list[Channel]:
    """One for each address, apart by blanks; None: those of QUANTALPHA_ALERTS, none where it is not set. UsageError names a bad one by
    its place."""
    addresses = environment().get(ALERTS, "") if addresses is None else addresses
    if not addresses.split():
        return []
    import apprise

    logging.getLogger("apprise").addFilter(_masked)
    asset = apprise.AppriseAsset(app_id="quantalpha", storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False)
    return [_channel(apprise, asset, number, address) for number, address in enumerate(addresses.split(), 1)]


def _channel(apprise, asset, number: int, address: str) -> Channel:
    service = apprise.Apprise(asset=asset)
    if not service.add(address):
        found = address.partition("://")[0][:20] if "://" in address else "no scheme"
        raise UsageError(f"{ALERTS}: address {number} ({found}) is none that apprise can use; see github.com/caronc/apprise for its form")
    return Channel(f"{number} ({service[0].service_name})", service)


class Alerts:
    """What a session tells people. orders: runner.orders; lines: None for those of QUANTALPHA_ALERTS; clock: monotonic seconds."""

    def __init__(
        self,
        session: str,
        settings: config.Alerts,
        orders: str = "send",
        lines: Sequence[Channel] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.topics = {*settings.tell, *({"signal"} if orders in ("signal", "approve") else ())}
        self.orders = orders
        given = channels() if lines is None else lines
        self.lines = [_Line(each, session, Ration(settings.repeat_after, settings.per_minute, clock)) for each in given]

    def tell(self, event: Event) -> None:
        """An observer of the engine's events."""
        told = message(event, self.orders) if self.lines else None
        if told is not None:
            self.say(told)

    def say(self, told: Message) -> None:
        """What is no event: a report, an error outside the engine."""
        if told.topic in self.topics:
            for line in self.lines:
                line.box.put(told)

    def close(self, patience: float = PATIENCE) -> None:
        """Delivers what is waiting, for at most `patience` seconds; what was not told by then is logged."""
        for line in self.lines:
            line.box.close()
        deadline = time.monotonic() + patience
        for line in self.lines:
            line.thread.join(max(0.0, deadline - time.monotonic()))
            if line.thread.is_alive():
                log.warning(
                    "alerts: channel %s hangs; %d messages and the one under way are not told", line.channel.name, line.box.discard()
                )


class _Line:
    """One channel's thread."""

    def __init__(self, channel: Channel, session: str, ration: Ration):
        self.channel, self.session, self.ration = channel, session, ration
        self.box, self.counts = Mailbox(), Counter()
        self.thread = threading.Thread(target=self._run, daemon=True, name=f"alerts {channel.name}")
        self.thread.start()

    def _run(self) -> None:
        while not self.box.finished:
            taken = self.box.take(LOOK if self.ration.held else None)
            if taken is not None and self.ration.admit(*taken):
                self._deliver(taken[0])
            self._sum_up()
        self._sum_up(last=True)

    def _sum_up(self, last: bool = False) -> None:
        summary = self.ration.summary(last)
        if summary is not None:
            self._deliver(summary)

    def _deliver(self, told: Message) -> None:
        when = "" if told.time is None else f"{moment(told.time)}  "
        for attempt in range(ATTEMPTS if told.urgent else 1):
            if attempt:
                self.box.pause(PAUSE)
            if self.channel.send(f"quantalpha {self.session}: {told.topic}", f"{when}{told.text}", LEVELS.get(told.topic, "info")):
                self.counts["delivered"] += 1
                return
            self.counts["failed"] += 1
        log.warning("alerts: channel %s took no %s; %d failures so far", self.channel.name, told.topic, self.counts["failed"])


def self_test(lines: Sequence[Channel]) -> list[dict]:
    """A message through every channel: {channel, arrived, seconds, said}. said: the service's words where it did not take it."""
    return [_tested(line) for line in lines]


def _tested(line: Channel) -> dict:
    import apprise

    started = time.monotonic()
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
        arrived = line.send("quantalpha: self-test", "quantalpha doctor --alerts: this channel works")
        words = " ".join(mask(said.getvalue()).split())
    seconds = round(time.monotonic() - started, 3)
    return {"channel": line.name, "arrived": arrived, "seconds": seconds, "said": "" if arrived else words[:200]}


def _masked(record: logging.LogRecord) -> bool:
    """A filter that hides secrets in what apprise logs."""
    record.msg, record.args = mask(record.getMessage()), ()
    return True
