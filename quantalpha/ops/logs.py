"""What a session did, as lines of JSON in its folder: log.jsonl, then log.jsonl.1 (older) and so on. No line holds a secret.

    time     when it was written, ISO 8601 UTC, milliseconds
    level    debug | info | warning | error
    session  name of its folder
    kind     of a journalled event ("Fill", "Switch", ...), or "Log": a warning or error of some library or of this package
    event    of an event: its fields as the journal has them
    logger   of a Log: who warns;  message: what;  exception: the traceback, where there is one

A thread of its own writes, so that a slow disk does not delay the engine. The journal is the record; lines for which there was no room in
memory or on the disk are counted, and the next line says how many.
"""

import json
import logging
import queue
import threading
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from quantalpha import config
from quantalpha.ops.words import DOUBTFUL, ERROR
from quantalpha.runner.events import Event, OrderUpdateEvent, SessionEvent, kind_of
from quantalpha.secrets import masked

FILE = "log.jsonl"
CAPACITY = 10_000  # lines that may wait for the disk
PATIENCE = 10.0  # seconds that a session's end waits for it
FREQUENT = ("MarketOpen", "MarketClose", "Equity", "Account", "Health")  # of every bar or second: told at level debug only
GRAVE = {"RejectedOrder": "warning", "Switch": "error"}
LEVELS = ("debug", "info", "warning", "error")


class SessionLog:
    """folder: the session's, which exists. `observe` is an observer of the engine's events; while open, warnings of all loggers are
    written as well."""

    def __init__(self, folder: Path, settings: config.Logs):
        self.session, self.least, self.lost = folder.name, LEVELS.index(settings.level), 0
        size = int(settings.rotate_mb * 1e6)
        self._file = _File(folder / FILE, maxBytes=size, backupCount=settings.keep, encoding="utf-8", delay=True)
        self._queue: queue.Queue[dict | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._write, daemon=True, name="session log")
        self._thread.start()
        self._bridge = _Bridge(self)
        logging.getLogger().addHandler(self._bridge)

    def observe(self, event: Event) -> None:
        level = _level(event)
        if LEVELS.index(level) >= self.least:
            self.put({"level": level, "kind": kind_of(event), "event": event.__dict__})

    def put(self, line: dict) -> None:
        """Takes a line without waiting; what there is no room for is counted."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._queue.put_nowait({"time": now, "session": self.session} | line)
        except queue.Full:
            self.lost += 1

    def close(self, patience: float = PATIENCE) -> None:
        """Writes what waits, for at most `patience` seconds."""
        logging.getLogger().removeHandler(self._bridge)
        try:
            self._queue.put(None, timeout=patience)
        except queue.Full:
            return
        self._thread.join(patience)

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            lost, self.lost, self._file.failed = self.lost + self._file.failed, 0, 0
            if lost:
                line = line | {"lost": lost}
            self._file.emit(logging.makeLogRecord({"msg": json.dumps(masked(line), default=str)}))
        self._file.close()


class _File(RotatingFileHandler):
    """One that counts what could not be written instead of printing tracebacks."""

    failed = 0

    def handleError(self, record: logging.LogRecord) -> None:
        self.failed += 1


class _Bridge(logging.Handler):
    """From the standard logging module."""

    def __init__(self, target: SessionLog):
        super().__init__(logging.WARNING)
        self.target = target

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        line = {"level": level, "kind": "Log", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = logging.Formatter().formatException(record.exc_info)
        self.target.put(line)


def _level(event: Event) -> str:
    kind = kind_of(event)
    if isinstance(event, SessionEvent) and event.phase == "stop" and ERROR.match(event.reason):
        return "error"
    if isinstance(event, OrderUpdateEvent) and event.status in DOUBTFUL:
        return "warning"
    return "debug" if kind in FREQUENT else GRAVE.get(kind, "info")
