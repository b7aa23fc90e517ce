"""Everybody who looks at a session while it runs: its log, the alerts, the reports."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quantalpha import config
from quantalpha.ops.alerts import Alerts
from quantalpha.ops.logs import SessionLog
from quantalpha.ops.reports import Reporter
from quantalpha.runner.events import Event

log = logging.getLogger(__name__)
Observer = Callable[[Event], None]


@contextmanager
def watching(folder: Path, params: config.Params, past: Iterable[Event] = ()) -> Iterator[list[Observer]]:
    """The observers of the session in `folder`, which exists. On leaving, what waits is delivered, for a bounded time.

    past: what a resumed session's journal holds: it counts in the reports and is told to nobody again. No observer raises, or waits for
    a network or a disk.
    """
    written = SessionLog(folder, params.logs)
    try:
        alerts = Alerts(folder.name, params.alerts, params.runner.orders)
        try:
            reporter = Reporter(folder.name, params.alerts.reports, alerts.say)
            reporter.restore(past)
            yield [_harmless(observer) for observer in (written.observe, alerts.tell, reporter.observe)]
        finally:
            alerts.close()
    finally:
        written.close()


def _harmless(observer: Observer) -> Observer:
    """A mistake in what merely watches must not end what trades."""

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            log.exception("a watcher failed at a %s", type(event).__name__)

    return observe
