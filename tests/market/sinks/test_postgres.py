"""What PostgreSQL itself makes of the tables: partitions, indexes, types; and the statements for TimescaleDB."""

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg.sql import SQL

from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.sinks import epoch, export
from quantalpha.market.sinks.postgres import PostgresSink, _delete, copy_bytes, definition

from .support import bars, fill, fresh


@pytest.fixture
def sink_name():
    return "postgres"


@pytest.fixture
def database(urls):
    with psycopg.connect(urls["QUANTALPHA_POSTGRES_URL"], autocommit=True) as connection:
        yield connection


def text(statements) -> list[str]:
    return [statement.as_string() for statement in statements]


def test_years_are_partitions_with_a_key_and_a_brin_index(sink, lake, series, database):
    fill(lake, series, bars(1_200))
    export(lake, sink, series)
    parts = database.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'market.bars'::regclass").fetchall()
    assert {("market.bars_2023",), ("market.bars_2024",)} <= set(parts)
    found = database.execute("SELECT tableoid::regclass::text, count(*) FROM market.bars WHERE symbol = %s GROUP BY 1", [series.symbol])
    assert dict(found.fetchall()) == {"market.bars_2023": 17 * 24, "market.bars_2024": 1_200 - 17 * 24}
    indexes = [row[0] for row in database.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'bars_2024'")]
    assert any('brin ("time")' in each for each in indexes) and any("btree (venue, symbol, kind" in each for each in indexes)


def test_a_question_about_one_month_reads_one_partition_by_its_index(sink, lake, series, database):
    fill(lake, series, bars(1_200))
    export(lake, sink, series)
    asked = "EXPLAIN SELECT close FROM market.bars WHERE venue = %s AND symbol = %s AND kind = %s AND time >= '2024-02-01Z'"
    with database.transaction():
        database.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in database.execute(asked, [*series]))
    assert "bars_2023" not in plan and "bars_2024_pkey" in plan


def test_values_are_double_precision_and_absent_ones_null(sink, lake, series, database):
    fill(lake, series, bars(3, trades=[1.0, np.nan, 3.0]))
    export(lake, sink, series)
    found = database.execute(
        "SELECT time, trades, pg_typeof(close)::text FROM market.bars WHERE symbol = %s ORDER BY time", [series.symbol]
    )
    assert [(row[0].isoformat(), *row[1:]) for row in found] == [
        ("2023-12-15T00:00:00+00:00", 1.0, "double precision"),
        ("2023-12-15T01:00:00+00:00", None, "double precision"),
        ("2023-12-15T02:00:00+00:00", 3.0, "double precision"),
    ]


def test_copy_bytes_are_the_documented_format():
    """Signature, flags and extension; per row a 16-bit count, then 32-bit lengths and big-endian values; -1 ends it."""
    rows = pd.DataFrame({"x": [1.5]}, pd.DatetimeIndex(["2000-01-01T00:00:00.001"], tz="UTC").as_unit("ms"))
    body = "0002" + "00000008" + "00000000000003e8" + "00000008" + "3ff8000000000000"
    assert copy_bytes(rows) == b"PGCOPY\n\xff\r\n\x00" + bytes(8) + bytes.fromhex(body) + b"\xff\xff"


def test_a_hypertable_where_timescale_is_offered():
    plain, hyper = text(definition("bars", ["close"], timescale=False)), text(definition("bars", ["close"], timescale=True))
    assert any("PARTITION BY RANGE" in each for each in plain) and not any("hyper" in each or "timescale" in each for each in plain)
    assert hyper[0] == "CREATE EXTENSION IF NOT EXISTS timescaledb" and not any("PARTITION" in each for each in hyper)
    (made,) = [each for each in hyper if "create_hypertable" in each]
    assert made.startswith("SELECT create_hypertable('market.bars'::regclass, 'time'::name, chunk_time_interval => interval '30 days'")
    assert hyper.index(made) > [each.startswith("CREATE TABLE") for each in hyper].index(True)


STAND_IN = """CREATE FUNCTION create_hypertable(t regclass, by name, chunk_time_interval anyelement, if_not_exists boolean)
RETURNS text LANGUAGE sql AS $$ SELECT t::text $$"""


def test_the_statements_for_timescale_are_sound_and_rows_go_into_the_table(urls, lake, monkeypatch):
    """The extension itself is not in the distribution: its function is a stand-in here, in a database of its own."""
    name = fresh().symbol.lower()
    with psycopg.connect(urls["QUANTALPHA_POSTGRES_URL"], autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    own = urls["QUANTALPHA_POSTGRES_URL"].replace("/postgres", f"/{name}")
    statements = definition("bars", sorted(bars(1).columns), timescale=True)
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(STAND_IN)
        for statement in [*statements, *statements]:
            if "EXTENSION" not in statement.as_string():
                connection.execute(statement)
    series = fresh()
    fill(lake, series, bars(1_200))
    with PostgresSink.connect(own) as sink:
        assert export(lake, sink, series).written == 1_200 and export(lake, sink, series).written == 0


def test_the_choice_is_what_the_server_offers(sink, database):
    offered = database.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()[0]
    assert sink.has_timescale() == bool(offered)


def test_two_exporters_at_once_do_no_harm(urls, lake):
    from concurrent.futures import ThreadPoolExecutor

    series = fresh()
    fill(lake, series, bars(3_000))

    def one(_) -> int:
        with PostgresSink.connect(urls["QUANTALPHA_POSTGRES_URL"]) as sink:
            export(lake, sink, series)
            return len(sink.read(series, ["close"], 0, 2**42))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == [3_000] * 4


def test_a_changed_month_is_not_compared_row_by_row_with_itself(sink, lake, series):
    """44,640 minutes against as many took 72 s where the planner knew neither table."""
    rows = bars(44_640)
    rows.index = rows.index[0] + (rows.index - rows.index[0]) / 60
    low, high = epoch("2023-12-01"), epoch("2024-02-01")
    span = {"low": rows.index[0], "high": rows.index[-1]} | series._asdict()
    fill(lake, series, rows)
    export(lake, sink, series, (low, high))
    with sink._connection.transaction():
        sink._copy(rows)
        plan = "\n".join(row[0] for row in sink._connection.execute(SQL("EXPLAIN ") + _delete("bars"), span))
    assert "Nested Loop" not in plan or "Seq Scan on incoming" not in plan, plan


def test_a_name_longer_than_the_server_keeps_is_refused(sink, lake, series):
    fill(lake, series, bars(2, **{"x" * 64: 1.0}))
    with pytest.raises(DataError, match="at most 63 bytes"):
        export(lake, sink, series)


def test_a_connection_lost_says_what_to_do(sink, lake, series, database):
    fill(lake, series, bars(10))
    database.execute("SELECT pg_terminate_backend(%s)", [sink._connection.info.backend_pid])
    with pytest.raises(ExchangeError, match="run again"):
        export(lake, sink, series)


def test_a_wrong_password_is_a_users_error(urls):
    wrong = urls["QUANTALPHA_POSTGRES_URL"].replace("quantalpha:", "quantalpha:no-")
    with pytest.raises(UsageError, match="authentication failed"):
        PostgresSink.connect(wrong)


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@127.0.0.1:port/x", "nonsense", "postgresql://%zz"])
def test_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError) as told:
        PostgresSink.connect(url)
    assert "hunter2" not in str(told.value) and url not in str(told.value)
