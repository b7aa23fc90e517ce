"""SQL over the lake sees what the lake holds, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.market.query import query
from quantalpha.market.store import Lake

from .test_store import FEBRUARY, JANUARY, hours

ROWS = hours(JANUARY[0], 1000)


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "it's a lake")
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        rows = hours(JANUARY[0], 1000, seed)
        more = rows.assign(trades=1.0) if seed else rows
        lake.merge("binanceusdm", symbol, "1h", more, source="REST", complete_before=0)
        lake.merge("binanceusdm", symbol, "mark-1h", rows.drop(columns="volume"), source="REST", complete_before=0)
    return lake


def test_the_table_holds_every_row_of_what_was_asked_for(lake):
    found = query(lake, "select * from bars where symbol = 'BTCUSDT' order by timestamp", kind="1h")
    assert list(found["timestamp"]) == list(ROWS.index) and np.array_equal(found[ROWS.columns].to_numpy(), ROWS.to_numpy())
    counts = query(lake, "select venue, symbol, kind, count(*) n, count(trades) t from bars group by all order by all")
    assert counts.to_numpy().tolist() == [
        ["binanceusdm", "BTCUSDT", "1h", 1000, 0],
        ["binanceusdm", "BTCUSDT", "mark-1h", 1000, 0],
        ["binanceusdm", "ETHUSDT", "1h", 1000, 1000],
        ["binanceusdm", "ETHUSDT", "mark-1h", 1000, 0],
    ]


def test_the_holdout_stays_sealed(lake, tmp_path):
    sealed = pd.Timestamp("2024-02-05T00:00Z")
    closed = Lake(lake.root, sealed)
    last = query(closed, "select max(timestamp) t, count(*) n from bars", symbol="BTCUSDT", kind="1h")
    assert last["t"][0] == sealed - pd.Timedelta("1h") and last["n"][0] == (sealed - ROWS.index[0]) // pd.Timedelta("1h")
    with pytest.raises(UsageError):
        query(
            closed,
            f"select * from read_parquet('{str(lake.path('binanceusdm', 'BTCUSDT', '1h', '2024-02')).replace(chr(39), chr(39) * 2)}')",
        )
    with pytest.raises(DataError, match="no months"):
        query(Lake(lake.root, pd.Timestamp("2023-12-01T00:00Z")), "select 1")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "copy bars to '/tmp/stolen.parquet'",
        "attach '/tmp/other.duckdb'",
        "install httpfs",
        "set enable_external_access = true",
        "select * from no_such_table",
        "selec 1",
    ],
)
def test_what_reaches_beyond_the_table_is_refused(lake, sql):
    with pytest.raises(UsageError, match="data query"):
        query(lake, sql)


def test_a_damaged_month_is_refused_not_read(lake):
    path = lake.path("binanceusdm", "BTCUSDT", "1h", "2024-01")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated or altered"):
        query(lake, "select 1 from bars", symbol="BTCUSDT")
    assert len(query(lake, "select * from bars", symbol="ETHUSDT", kind="1h")) == 1000 and FEBRUARY
