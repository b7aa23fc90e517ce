"""Pandera's schemas: sound rows pass, every planted violation is listed with its time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.market.tables import violations

from .test_store import HOUR, JANUARY, hours


def bars(n=50):
    rows = hours(JANUARY[0], n)
    rows["high"], rows["low"] = rows.iloc[:, :4].max(axis=1), rows.iloc[:, :4].min(axis=1)
    return rows


def grid(values, name, n=30):
    return pd.DataFrame({name: np.broadcast_to(values, n).astype(float)}, schema.from_epoch_ms(JANUARY[0] + HOUR * np.arange(n)))


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (bars(), "1h"),
        (bars().assign(trades=np.nan), "1h"),
        (bars().drop(columns="volume"), "mark-1h"),
        (bars().drop(columns="volume"), "index-1h"),
        (grid(1e6, "open_interest"), "interest-1h"),
        (grid(-0.003, "funding_rate"), "funding"),
    ],
)
def test_sound_rows_break_no_rule(rows, kind):
    assert violations(rows, kind).empty


@given(row=st.integers(0, 49), column=st.sampled_from(schema.REQUIRED), value=st.sampled_from([np.nan, np.inf, -1.0]))
def test_an_impossible_number_is_listed_with_its_time(row, column, value):
    rows = bars()
    rows.iloc[row, rows.columns.get_loc(column)] = value
    found = violations(rows, "1h")
    assert list(found["timestamp"]) == [rows.index[row]] and list(found["rule"]) == ["possible prices and volume"]


@pytest.mark.parametrize(
    ("rows", "kind", "rule"),
    [
        (bars().iloc[[0, 1, 1, 2]], "1h", "each time once"),
        (bars().iloc[[0, 2, 1, 3]], "1h", "in order of time"),
        (bars().set_axis(bars().index + pd.Timedelta("1min")), "1h", "on the timeframe's grid"),
        (bars().drop(columns="close"), "1h", "column_in_dataframe"),
        (bars().astype("float32"), "1h", "dtype('float64')"),
        (bars().drop(columns="volume").assign(high=0.5), "mark-1h", "possible prices and volume"),
        (grid(-1, "open_interest"), "interest-1h", "finite, not negative"),
        (grid(np.nan, "open_interest"), "interest-1h", "not_nullable"),
        (grid(0.5, "funding_rate"), "funding", "within 10%"),
        (grid(np.nan, "funding_rate"), "funding", "not_nullable"),
    ],
)
def test_each_rule_is_named(rows, kind, rule):
    assert rule in set(violations(rows, kind)["rule"])
