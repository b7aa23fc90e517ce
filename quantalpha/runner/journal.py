"""What happened in a session, append-only, in SQLite (WAL).

Every event is written before it takes effect. Durability: with `batch=1` (paper, live) each event is committed and synced to the disk
(synchronous=FULL) before `append` returns, so neither a kill nor a power cut loses what was acknowledged; with a larger one (replay, whose
tape can be read again) up to `batch` events wait in memory. The database itself refuses updates, deletes and replacements.
"""

from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from quantalpha.errors import DataError, Halted
from quantalpha.runner.events import (
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    MarketCloseEvent,
    RejectedOrderEvent,
    SignalEvent,
    from_json,
    kind_of,
    to_json,
)  # fmt: skip
from quantalpha.schema import from_epoch_ms

FILE = "journal.db"
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
TAKEN = "WHEN EXISTS (SELECT 1 FROM events WHERE session = NEW.session AND seq = NEW.seq)"  # a REPLACE fires no delete trigger
for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", TAKEN)):
    refuse = f"CREATE TRIGGER no_{verb.lower()} BEFORE {verb} ON events {when} BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    sa.event.listen(EVENTS, "after_create", sa.DDL(refuse).execute_if(dialect="sqlite"))


class Journal:
    """The writer of one session; one process, one thread."""

    def __init__(self, path: Path, session: str, *, batch: int = 1):
        if path.exists():
            raise DataError(f"journal: {path} exists already; a session is written once, choose another session id")
        self.session, self.seq, self.batch = session, 0, batch
        self._pending: list[dict] = []
        self._engine = sa.create_engine(f"sqlite:///{path}")
        try:
            self._connection = self._engine.connect()
            for setting in ("journal_mode=WAL", "synchronous=FULL"):
                self._connection.exec_driver_sql(f"PRAGMA {setting}")
            METADATA.create_all(self._connection)
            self._connection.commit()
        except sa.exc.DBAPIError as error:
            raise Halted(f"journal: {path}: cannot be made: {error.orig}; the folder must exist, be writable and have room") from None

    def append(self, event: Event) -> None:
        """Stores the event; on return it is durable as the module says."""
        self.seq += 1
        self._pending.append(
            {"session": self.session, "seq": self.seq, "event_time": event.event_time, "recv_time": event.recv_time,
             "kind": kind_of(event), "payload": to_json(event)}
        )  # fmt: skip
        if len(self._pending) >= self.batch:
            self.flush()

    def flush(self) -> None:
        """Raises Halted when the events cannot be stored; they are dropped then: what did not take effect must not be journalled later."""
        if not self._pending:
            return
        events, self._pending = self._pending, []
        try:
            with self._connection.begin():
                self._connection.execute(sa.insert(EVENTS), events)
        except sa.exc.DBAPIError as error:
            self.seq = events[0]["seq"] - 1
            where = f"{self._engine.url.database}, event {events[0]['seq']}"
            raise Halted(f"journal: {where}: cannot be stored: {error.orig}; make room or unlock it, then run again") from None

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._connection.close()
            self._engine.dispose()


def read(path: Path) -> list[Event]:
    """Every event of a journal in order. Raises DataError when the file is missing, damaged, foreign or has lost an event."""
    if not path.is_file():
        raise DataError(f"journal: {path} does not exist; was the session id spelled right?")
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            health = connection.exec_driver_sql("PRAGMA quick_check").scalar()
            rows = connection.execute(sa.select(EVENTS.c.seq, EVENTS.c.kind, EVENTS.c.payload).order_by(EVENTS.c.seq)).all()
    except sa.exc.DatabaseError as error:
        raise DataError(f"journal: {path} is damaged or no journal: {error.orig}; restore it from a copy") from None
    finally:
        engine.dispose()
    if health != "ok" or [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        raise DataError(f"journal: {path} is damaged: {'events are missing' if health == 'ok' else health}; restore it from a copy")
    return [from_json(row.kind, row.payload) for row in rows]


def recorded(folder: Path) -> dict[str, pd.DataFrame]:
    """A session as frames by bar open time: bars (with warm-up), decisions, refusals, equity (index), fills and funding (column `time`)."""
    events = read(folder / FILE)
    frames = {
        "bars": _frame(events, MarketCloseEvent, ["open", "high", "low", "close", "volume", "mark", "funding_rate"]),
        "decisions": _frame(events, SignalEvent, ["edge", "previous", "target"]),
        "refusals": _frame(events, RejectedOrderEvent, ["quantity", "target", "price", "reason"]),
        "fills": _frame(events, FillEvent, ["quantity", "price", "fee", "realised", "reason"]),
        "funding": _frame(events, FundingEvent, ["amount", "rate", "mark", "quantity"]),
        "equity": _frame(events, EquityEvent, ["equity", "cash", "quantity", "price"]),
    }
    for name in ("fills", "funding"):
        frames[name] = frames[name].rename_axis("time").reset_index()
    frames["bars"] = frames["bars"].astype(float)
    if frames["bars"]["mark"].isna().all():
        frames["bars"] = frames["bars"].drop(columns="mark")
    return frames


def _frame(events: list[Event], kind: type[Event], columns: list[str]) -> pd.DataFrame:
    rows = [vars(event) for event in events if type(event) is kind]
    frame = pd.DataFrame(rows, columns=["bar", *columns])
    return frame.set_axis(from_epoch_ms(frame.pop("bar")))
