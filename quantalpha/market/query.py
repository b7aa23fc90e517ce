"""SQL over the lake: DuckDB reads the months where they lie. The one door to duckdb.

    query(lake, "select symbol, date_trunc('day', timestamp) day, max(high) from bars group by all", kind="1h")

The table `bars` has the columns venue, symbol, kind, timestamp (UTC) and those of the months, NULL where a month has none. Only the months
asked for can be read, each checked against its passport; nothing else on this machine can be, and the hold-out stays sealed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.market import passport
from quantalpha.market.kinds import month_bounds
from quantalpha.market.store import Lake

BARS = "bars"


def query(lake: Lake, sql: str, *, venue: str = "*", symbol: str = "*", kind: str = "*") -> pd.DataFrame:
    """The rows that `sql` selects from the table `bars`: the months of these venues, symbols and kinds ('*': all).

    DataError where the lake holds none or a month is damaged, UsageError where the SQL is wrong or reaches beyond the table.
    """
    import duckdb

    files, clipped = _months(lake, venue, symbol, kind)
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_paths = {_quoted(files)}")
        connection.execute("SET enable_external_access = false")
        connection.execute(_table(connection, files, clipped))
        connection.execute("SET lock_configuration = true")
        try:
            return connection.execute(sql).df()
        except duckdb.Error as error:
            found = " ".join(str(error).split())[:300]
            raise UsageError(f"data query: {found}; the one table is `{BARS}`, and no other file can be read") from None


def _months(lake: Lake, venue: str, symbol: str, kind: str) -> tuple[list[Path], list[pd.DataFrame]]:
    """(verified files, rows of the months that the hold-out cuts in two)."""
    for name in (venue, symbol, kind):
        if not re.fullmatch(r"[\w*-]+", name, re.ASCII):
            raise UsageError(f"data query: expected a name of the lake, or * for all, found {name!r}")
    files, clipped = [], []
    for folder in sorted(lake.root.glob(f"{venue}/{symbol}/{kind}")):
        key = folder.relative_to(lake.root).parts
        for path in _before_holdout(lake, key):
            cut = lake.holdout is not None and month_bounds(path.stem)[1] > lake.holdout.timestamp() * 1000
            if cut:
                begin = pd.Timestamp(month_bounds(path.stem)[0], unit="ms", tz="UTC")
                clipped.append(lake.read(*key, begin).reset_index().assign(venue=key[0], symbol=key[1], kind=key[2]))
            else:
                passport.verify(path)
                files.append(path)
    if not files and not clipped:
        raise DataError(f"{lake.root}: no months of {venue}/{symbol}/{kind}; run the download stage or `quantalpha import`")
    return files, clipped


def _before_holdout(lake: Lake, key: tuple[str, ...]) -> Iterator[Path]:
    for name in lake.stored(*key):
        if lake.holdout is None or month_bounds(name)[0] < lake.holdout.timestamp() * 1000:
            yield lake.path(*key, name)


def _table(connection, files: list[Path], clipped: list[pd.DataFrame]) -> str:
    """SQL that makes the view `bars`."""
    parts = []
    if files:
        depth = "string_split(filename, '/')"
        named = ", ".join(f"{depth}[{at}] AS {name}" for at, name in ((-4, "venue"), (-3, "symbol"), (-2, "kind")))
        parts.append(f"SELECT {named}, * EXCLUDE (filename) FROM read_parquet({_quoted(files)}, union_by_name=true, filename=true)")
    if clipped:
        connection.register("clipped", pd.concat(clipped))
        parts.append("SELECT * FROM clipped")
    return f"CREATE VIEW {BARS} AS " + " UNION ALL BY NAME ".join(parts)


def _quoted(files: list[Path]) -> str:
    return "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"
