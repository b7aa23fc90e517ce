"""Many symbols in one long table: a parquet file with the columns symbol, timestamp, open, high, low, close, volume, and optional ones."""

from pathlib import Path

import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_parquet

NAMES = ["symbol", "timestamp"]


def read_panel(path: Path) -> dict[str, pd.DataFrame]:
    """Bars by symbol, in the order of their names; a symbol has the bars the file has, from its listing on.

    timestamp: UTC bar open times. Columns beyond the schema are left out. UsageError where there is no file; DataError, naming symbol and
    row, for bars that are not sound.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"panel: no file {path}; name a parquet file of bars with the columns {', '.join([*NAMES, *schema.REQUIRED])}")
    try:
        table = read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"panel: {path.name} cannot be read: {' '.join(str(error).split())[:160]}") from None
    missing = [name for name in NAMES if name not in table]
    if missing:
        raise DataError(f"panel: {path.name}: no column {missing[0]!r}; found {', '.join(map(str, table))}")
    columns = [name for name in (*schema.REQUIRED, *schema.OPTIONAL) if name in table]
    groups = table.sort_values(NAMES).set_index("timestamp").groupby("symbol", observed=True)
    return {str(symbol): schema.check_bars(rows[columns], f"{path.name}, {symbol}") for symbol, rows in groups}
