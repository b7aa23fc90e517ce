"""What rows of each kind must be, as Pandera schemas. The one door to pandera.

The lake keeps what a source gave, so that these judge and never change it: `violations` lists every row that breaks a rule.
"""

from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from quantalpha import schema
from quantalpha.market import kinds

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

LARGEST_RATE = 0.1  # funding of one settlement: venues cap it at 2 to 4 %
COLUMNS = ("timestamp", "rule", "value")


def violations(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """timestamp, rule, value: every row that is not what a row of `kind` must be, in order of time; none for sound rows.

    rows: as the lake or an importer gives them. A rule broken by the table as a whole (a missing column, another index) has no timestamp.
    """
    from pandera.errors import SchemaErrors

    numbered = rows.reset_index(names="timestamp")
    try:
        table_schema(kind).validate(numbered, lazy=True)
    except SchemaErrors as error:
        return _listed(error.failure_cases, numbered)
    return pd.DataFrame({name: [] for name in COLUMNS})


@cache
def table_schema(kind: str) -> "DataFrameSchema":
    """The schema of a table with a column `timestamp` beside the kind's own; further numeric columns are free."""
    import pandera.pandas as pa

    time = pa.Column(
        schema.INDEX_DTYPE,
        [
            pa.Check(lambda times: times.diff().dt.total_seconds().fillna(1.0) >= 0, name="in order of time"),
            pa.Check(lambda times: ~times.duplicated(), name="each time once"),
            *_on_grid(pa, kinds.bar_length(kind)),
        ],
    )
    rules = [pa.Check(rule, name=name) for name, rule in _numbers(kind).items()]
    columns = {name: pa.Column(float, rules, nullable=not rules) for name in kinds.columns(kind)}
    return pa.DataFrameSchema({"timestamp": time, **columns}, checks=_possible(pa, kind), strict=False)


def _numbers(kind: str) -> dict:
    """What a single number of the kind must be, by name."""
    if kind == kinds.FUNDING:
        return {f"within {LARGEST_RATE:.0%}": lambda rates: rates.abs() <= LARGEST_RATE}
    if kind.startswith(kinds.INTEREST):
        return {"finite, not negative": lambda held: (held >= 0) & (held < float("inf"))}
    return {}


def _on_grid(pa, step: int | None) -> list:
    """Bars open on whole multiples of their length."""
    return [] if step is None else [pa.Check(lambda times: times.astype("int64") % step == 0, name="on the timeframe's grid")]


def _possible(pa, kind: str) -> list:
    """The one rule about prices is `schema.impossible`; a price without volume is judged as if it had some."""
    if kinds.columns(kind)[: len(schema.REQUIRED) - 1] != schema.REQUIRED[:-1]:
        return []
    fill = {} if "volume" in kinds.columns(kind) else {"volume": 0.0}
    return [pa.Check(lambda table: pd.Series(~schema.impossible(table.assign(**fill)), table.index), name="possible prices and volume")]


def _listed(cases: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Pandera's failure cases as (timestamp, rule, value), one a row and rule."""
    at = pd.to_numeric(cases["index"]).astype("Int64")
    found = pd.DataFrame({"row": at, "rule": cases["check"].astype(str), "value": cases["failure_case"].astype(str)})
    found = found.drop_duplicates(["row", "rule"])
    times = [pd.NaT if pd.isna(row) else rows["timestamp"].iloc[int(row)] for row in found["row"]]
    return found.assign(timestamp=times)[list(COLUMNS)].sort_values("timestamp", ignore_index=True)
