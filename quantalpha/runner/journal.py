"""What happened in a session, append-only, in SQLite (WAL).

Every event is written down before it takes effect, and the chain of one event from outside is committed and synced to the disk
(synchronous=FULL) at its end, before anything is said to anybody: neither a kill nor a power cut loses what was acknowledged or sent. In a
replay, whose tape can be read again, up to `batch` events wait in memory. The database itself refuses updates, deletes and replacements.

A session that goes on (`Journal.reopen`) is told its own story first: see `Retold`.
"""

import json
import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from quantalpha.errors import DataError, Halted, ReconcileError, UsageError
from quantalpha.runner.events import (
    NAMES,
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    RejectedOrderEvent,
    SessionEvent,
    SignalEvent,
    from_json,
    kind_of,
    to_json,
)  # fmt: skip
from quantalpha.schema import from_epoch_ms

FILE = "journal.db"
MINUTE = 60_000  # ms
METADATA = sa.MetaData()
EVENTS = sa.Table(
    "events", METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_time", sa.BigInteger, nullable=False),
    sa.Column("recv_time", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sqlite_with_rowid=False,  # (session, seq) is the only name of an event
)  # fmt: skip
INSERT = f"INSERT INTO events VALUES ({', '.join('?' * len(EVENTS.columns))})"  # as the driver has it: ten times as fast as compiled
TAKEN = "WHEN EXISTS (SELECT 1 FROM events WHERE session = NEW.session AND seq = NEW.seq)"  # a REPLACE fires no delete trigger
for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", TAKEN)):
    refuse = f"CREATE TRIGGER no_{verb.lower()} BEFORE {verb} ON events {when} BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    sa.event.listen(EVENTS, "after_create", sa.DDL(refuse).execute_if(dialect="sqlite"))


class Journal:
    """The writer of one session; one process, one thread."""

    def __init__(self, path: Path, session: str, *, batch: int = 1):
        if path.exists():
            raise DataError(f"journal: {path} exists already; a session is written once, choose another session id")
        self._open(path, session, 0, batch)

    @classmethod
    def reopen(cls, path: Path, session: str, seq: int) -> "Journal":
        """Goes on behind event `seq`, the last of a journal that `read` found sound."""
        journal = cls.__new__(cls)
        journal._open(path, session, seq, 1)
        return journal

    def _open(self, path: Path, session: str, seq: int, batch: int) -> None:
        self.session, self.seq, self.batch = session, seq, batch
        self._pending: list[tuple] = []
        self._engine = sa.create_engine(f"sqlite:///{path}")
        try:
            self._connection = self._engine.connect()
            for setting in ("journal_mode=WAL", "synchronous=FULL"):
                self._connection.exec_driver_sql(f"PRAGMA {setting}")
            METADATA.create_all(self._connection)
            self._connection.commit()
            self._driver = self._connection.connection.driver_connection
        except sa.exc.DBAPIError as error:
            raise UsageError(f"journal: {path}: cannot be made: {error.orig}; the folder must exist, be writable and have room") from None

    def append(self, event: Event) -> Event:
        """Takes the event; durable after the next `commit`."""
        text, seq = to_json(event), self.seq + 1
        self._pending.append((self.session, seq, event.event_time, event.recv_time, NAMES[type(event)], text))
        self.seq = seq  # counted once it can be stored: a gap is damage
        return event

    def commit(self) -> None:
        """On return what was appended is durable as the module says."""
        if len(self._pending) >= self.batch:
            self.flush()

    def flush(self) -> None:
        """Raises Halted when the events cannot be stored; they are dropped then: what did not take effect must not be journalled later."""
        if not self._pending:
            return
        events, self._pending = self._pending, []
        try:
            with self._driver:  # commits, or rolls back; SQLAlchemy's own way takes a third of a millisecond more
                self._driver.executemany(INSERT, events)
        except self._engine.dialect.dbapi.Error as error:
            self.seq = events[0][1] - 1
            where = f"{self._engine.url.database}, event {events[0][1]}"
            raise Halted(f"journal: {where}: cannot be stored: {error}; make room or unlock it, then run again") from None

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._connection.close()
            self._engine.dispose()


class Cut(Exception):
    """The record breaks a chain off: an error ended the session there."""


class Retold:
    """A journal's past in front of its future: while there is a record, what an engine appends is compared with it instead of written.

    What comes out is the record, with the times at which things were learned then. Raises ReconcileError where the engine now does
    something else than it did: other code, another bundle or a damaged record; then nobody may trade on what it believes to hold.
    """

    def __init__(self, events: list[Event], journal: Journal):
        self._record, self._journal = deque(events), journal
        self._signals: dict[str, deque[SignalEvent]] = {}
        for event in events:
            if type(event) is SignalEvent:
                self._signals.setdefault(event.strategy, deque()).append(event)

    @property
    def head(self) -> Event | None:
        """What comes next in the record; None once it is told."""
        return self._record[0] if self._record else None

    @property
    def cause(self) -> Event | None:
        """What came from outside and brought about what comes next: of the end of a moment that a later bar has overtaken, that bar."""
        if self.head is None or not _brought_about(self.head):
            return self.head
        later = next((event for event in self._record if isinstance(event, (MarketOpenEvent, MarketCloseEvent, SessionEvent))), None)
        return self.head if later is None or type(later) is SessionEvent else later

    def append(self, event: Event) -> Event:
        if not self._record:
            return self._journal.append(event)
        if type(self.head) is SessionEvent is not type(event):
            raise Cut
        recorded = self._record.popleft()
        if recorded is not event and _what(recorded) != _what(event):  # what came from outside is the record's own
            raise ReconcileError(f"journal: told again, the session does {_told(event)}, its record says {_told(recorded)}; not resumed")
        return recorded

    def decided(self, strategy: str) -> SignalEvent | None:
        """The next decision of a strategy in the record: it is not asked again."""
        signals = self._signals.get(strategy)
        return signals.popleft() if signals else None

    def commit(self) -> None:
        if not self._record:
            self._journal.commit()

    def close(self) -> None:
        self._journal.close()


def _brought_about(event: Event) -> bool:
    """It happens at the end of a moment; on paper fills and funding do, too."""
    paper = type(event) is FillEvent and event.trade is None or type(event) is FundingEvent and event.payment is None
    return paper or type(event) in (EquityEvent, SignalEvent)


def _what(event: Event) -> tuple[str, str]:
    """All of an event but when it was learned; as text, in which two NaN are one."""
    return kind_of(event), json.dumps({name: value for name, value in vars(event).items() if name != "recv_time"})


def _told(event: Event) -> str:
    kind, values = _what(event)
    return f"{kind} {values[:200]}"


def read(path: Path) -> list[Event]:
    """Every event of a journal in order. Raises DataError when the file is missing, damaged, foreign or has lost an event."""
    return [from_json(row.kind, row.payload) for row in _rows(path, EVENTS.c.kind, EVENTS.c.payload)]


def require_sound(path: Path) -> None:
    """Raises what `read` does, but for a single event that cannot be understood, in a fraction of its time."""
    _rows(path)


def _rows(path: Path, *columns: sa.Column) -> list[sa.Row]:
    if not path.is_file():
        raise DataError(f"journal: {path} does not exist; was the session id spelled right?")
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            health = connection.exec_driver_sql("PRAGMA quick_check").scalar()
            rows = connection.execute(sa.select(EVENTS.c.seq, *columns).order_by(EVENTS.c.seq)).all()
    except sa.exc.DatabaseError as error:
        raise DataError(f"journal: {path} is damaged or no journal: {error.orig}; restore it from a copy") from None
    finally:
        engine.dispose()
    if health != "ok" or [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        raise DataError(f"journal: {path} is damaged: {'events are missing' if health == 'ok' else health}; restore it from a copy")
    return rows


def recorded(folder: Path) -> dict[str, pd.DataFrame]:
    """A session as frames by bar open time: bars (with warm-up), decisions, refusals, equity (index), fills and funding (column `time`)."""
    events = read(folder / FILE)
    frames = {
        "bars": _frame(events, MarketCloseEvent, ["open", "high", "low", "close", "volume", "mark", "funding_rate"]),
        "decisions": _frame(events, SignalEvent, ["edge", "previous", "target"]),
        "refusals": _frame(events, RejectedOrderEvent, ["quantity", "target", "price", "reason"]),
        "fills": _frame(events, FillEvent, ["quantity", "price", "fee", "realised", "reason"]),
        "funding": _frame(_settled(events), FundingEvent, ["amount", "rate", "mark", "quantity"]),
        "equity": _frame(_last_of_bars(events), EquityEvent, ["equity", "cash", "quantity", "price"]),
    }
    for name in ("fills", "funding"):
        frames[name] = frames[name].rename_axis("time").reset_index()
    frames["bars"] = frames["bars"].astype(float)
    if frames["bars"]["mark"].isna().all():
        frames["bars"] = frames["bars"].drop(columns="mark")
    return frames


def _last_of_bars(events: list[Event]) -> list[EquityEvent]:
    """A session that went on closed the bar in which it had been left."""
    return list({(event.symbol, event.bar): event for event in events if type(event) is EquityEvent}.values())


def _settled(events: list[Event]) -> list[FundingEvent]:
    """What two venues settled at one time as one payment: on both legs, at the rate and mark that come to it."""
    times: dict[tuple[str, int], list[FundingEvent]] = {}
    for event in events:
        if type(event) is FundingEvent:
            times.setdefault((event.symbol.partition("@")[0], event.event_time // MINUTE), []).append(event)
    return [_one(paid) for paid in times.values()]


def _one(paid: list[FundingEvent]) -> FundingEvent:
    if len(paid) == 1:
        return paid[0]
    amount, quantity = sum(each.amount for each in paid), sum(each.quantity for each in paid)
    mark = sum(each.quantity * each.mark for each in paid) / quantity if quantity else math.nan
    return replace(paid[0], amount=amount, quantity=quantity, mark=mark, rate=-amount / (quantity * mark) if quantity else math.nan)


def _frame(events: list[Event], kind: type[Event], columns: list[str]) -> pd.DataFrame:
    rows = [vars(event) for event in events if type(event) is kind]
    frame = pd.DataFrame(rows, columns=["bar", *columns])
    return frame.set_axis(from_epoch_ms(frame.pop("bar")))
