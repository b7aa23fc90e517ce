"""Each sink holds the rows of the lake, on the real server: whatever happened before, and bit for bit."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workspace import CHECKOUT

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.market import Lake
from quantalpha.market.kinds import month_bounds
from quantalpha.market.sinks import Series, canonical, check, digest, epoch, export, stored_series
from quantalpha.market.sinks.base import changed

from .support import bars, fill, fresh

ALWAYS = (0, 7_258_118_400_000)
EDGES = [
    ms for month in ("1999-12", "2000-01", "2024-01", "2024-02", "2024-03") for first in month_bounds(month) for ms in (first - 1, first)
]
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-308, 5e-324, 1e308, -0.0, 0.1, 1 / 3, 2.0**53 + 2])


def held(sink, series: Series, columns) -> pd.DataFrame:
    return sink.read(series, sorted(columns), *ALWAYS)


def assert_same(sink, lake: Lake, series: Series) -> None:
    rows = lake.read(*series)
    columns = sorted(rows.columns)
    pd.testing.assert_frame_equal(held(sink, series, columns), canonical(rows, columns), check_exact=True, check_freq=False)
    assert all(month.agrees for month in check(lake, sink, series))


def test_a_sink_holds_what_the_lake_does_and_a_second_export_sends_nothing(sink, lake, series):
    fill(lake, series, bars(1_200))
    first, second = export(lake, sink, series), export(lake, sink, series)
    assert (first.months, first.rows, first.written, first.removed, first.present, first.repeated) == (3, 1_200, 1_200, 0, 1_200, 0)
    assert (second.written, second.removed, second.present) == (0, 0, 1_200)
    assert_same(sink, lake, series)


def test_only_what_is_new_or_changed_is_written(sink, lake, series):
    rows = bars(1_200)
    fill(lake, series, rows.iloc[:1_000])
    export(lake, sink, series)
    rows.iloc[500, 3] += 1e-9
    fill(lake, series, rows)
    assert export(lake, sink, series).written == 201
    assert_same(sink, lake, series)


def test_a_row_the_lake_has_no_longer_goes_and_one_altered_in_the_sink_comes_back(sink, lake, series):
    rows = bars(1_200)
    altered = canonical(rows, sorted(rows.columns)).iloc[:300] * 2
    sink.prepare("bars", sorted({*sink.columns("bars"), *rows.columns}))
    sink.replace(series, altered, *month_bounds("2023-12"))
    fill(lake, series, rows.drop(rows.index[[5, 700]]))
    assert [month.agrees for month in check(lake, sink, series)] == [False, False, False]
    sent = export(lake, sink, series)
    assert (sent.written, sent.removed) == (1_198, 1)
    assert_same(sink, lake, series)


def test_of_rows_of_one_time_the_last_is_held_and_the_others_are_counted(sink, lake, series):
    rows = bars(10)
    doubled = pd.concat([rows, rows.iloc[[4, 4]] * [2.0, 2, 2, 2, 2]]).sort_index(kind="stable")
    fill(lake, series, doubled)
    sent = export(lake, sink, series)
    assert (sent.rows, sent.repeated, sent.present) == (12, 2, 10)
    assert held(sink, series, rows.columns)["open"].iloc[4] == rows["open"].iloc[4] * 2
    assert_same(sink, lake, series)


def test_a_value_that_is_not_there_stays_so_and_one_taken_back_goes(sink, lake, series):
    rows = bars(900, trades=np.where(np.arange(900) % 3, 7.0, np.nan))
    fill(lake, series, rows)
    export(lake, sink, series)
    assert_same(sink, lake, series)
    rows.loc[rows.index[1:5], "trades"] = np.nan
    fill(lake, series, rows)
    assert export(lake, sink, series).written == 3
    assert_same(sink, lake, series)


def test_a_later_month_may_bring_a_column(sink, lake, series):
    fill(lake, series, bars(100))
    export(lake, sink, series)
    fill(lake, series, bars(200, start="2024-02-01", taker_buy_volume=2.5))
    assert export(lake, sink, series).written == 200
    columns = [*bars(1).columns, "taker_buy_volume"]
    found = held(sink, series, columns)["taker_buy_volume"]
    assert found.iloc[:100].isna().all() and (found.iloc[100:] == 2.5).all()
    assert all(month.agrees for month in check(lake, sink, series))


@pytest.mark.parametrize("kind, column", [("funding", "funding_rate"), ("mark-1h", "close"), ("interest-5m", "open_interest")])
def test_every_kind_has_a_table_of_its_own(sink, lake, kind, column):
    series = fresh(kind)
    fill(lake, series, bars(50)[["close"]].set_axis([column], axis=1))
    export(lake, sink, series)
    assert_same(sink, lake, series)
    assert column in sink.columns(kind.split("-")[0])


def test_a_span_touches_nothing_outside(sink, lake, series):
    rows = bars(1_200)
    fill(lake, series, rows)
    span = (epoch("2023-12-20"), epoch("2024-01-02T03:00"))
    inside = rows[(rows.index >= "2023-12-20") & (rows.index < "2024-01-02T03:00")]
    assert export(lake, sink, series, span).written == len(inside)
    pd.testing.assert_index_equal(held(sink, series, rows.columns).index, inside.index)
    assert all(month.agrees for month in check(lake, sink, series, span)) and not all(month.agrees for month in check(lake, sink, series))
    assert export(lake, sink, series).written == len(rows) - len(inside)
    assert_same(sink, lake, series)


def test_check_tells_of_rows_in_months_that_the_lake_has_not(sink, lake, series):
    fill(lake, series, bars(1_200))
    export(lake, sink, series)
    lake.discard(*series, keep=["2023-12", "2024-02"])
    differ = [month for month in check(lake, sink, series) if not month.agrees]
    assert [(month.month, month.lake, month.sink) for month in differ] == [("others", 0, 744)]
    assert export(lake, sink, series).removed == 0, "the lake has lost a month: that is no reason to lose it here"


def test_the_hold_out_is_not_sent(sink, lake, series):
    fill(lake, series, bars(1_200))
    sealed = Lake(lake.root, pd.Timestamp("2024-01-10", tz="UTC").to_pydatetime())
    export(sealed, sink, series)
    assert held(sink, series, ["close"]).index[-1] == pd.Timestamp("2024-01-09T23:00", tz="UTC")
    with pytest.raises(DataError, match="sealed"):
        export(sealed, sink, series, (None, epoch("2024-01-11")))


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_arrive_bit_for_bit(sink, data):
    """Times at the edges of months, repeated times, tiny, huge and absent values; then other rows over them."""
    wide = sink.name == "postgres"
    value = st.floats() if wide else FINITE | st.just(float("nan"))
    series = fresh()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "raw")
        for _ in range(2):
            times = sorted(data.draw(st.lists(st.sampled_from(EDGES) | st.integers(EDGES[0], EDGES[-1]), min_size=1, max_size=8)))
            columns = {"open": st.floats() if wide else FINITE, "trades": value, "mark": value}
            drawn = {name: data.draw(st.lists(each, min_size=len(times), max_size=len(times))) for name, each in columns.items()}
            fill(lake, series, pd.DataFrame(drawn, schema.from_epoch_ms(times)))
            lake.discard(*series, keep={str(name) for name in pd.DatetimeIndex(schema.from_epoch_ms(times)).strftime("%Y-%m")} | {"none"})
            export(lake, sink, series)
        for month in lake.stored(*series):
            rows = lake.month(*series, month).rows
            found = sink.read(series, sorted(rows.columns), *month_bounds(month))
            assert digest(found) == digest(canonical(rows, sorted(rows.columns)))
            pd.testing.assert_frame_equal(found, canonical(rows, sorted(rows.columns)), check_exact=True)


def test_what_a_sink_cannot_hold_is_refused_by_name_and_time(sink, lake, series):
    rows = bars(5)
    rows.iloc[2, 0] = np.inf
    fill(lake, series, rows)
    if sink.name == "postgres":
        export(lake, sink, series)
        assert_same(sink, lake, series)
    else:
        with pytest.raises(DataError, match=r"open is inf at 2023-12-15 02:00:00\+00:00"):
            export(lake, sink, series)


def test_a_column_named_as_part_of_the_key_is_refused(sink, lake, series):
    fill(lake, series, bars(5, venue=1.0))
    with pytest.raises(DataError, match="'venue'"):
        export(lake, sink, series)


HOSTILE = ["x'; DROP TABLE market.bars; --", 'a"b', "a b,c=d", "ü💥", "%s {} \t", "a;DELETE FROM bars", ":x:"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name_and_nothing_else(sink, lake, series, name):
    """As a symbol and as a column, on all sinks: nothing in it is ever read as part of a statement."""
    other, hostile = series, Series("binanceusdm", name + series.symbol, "1h")
    fill(lake, other, bars(10))
    fill(lake, hostile, bars(20, **{name: 3.0}))
    export(lake, sink, other)
    export(lake, sink, hostile)
    assert_same(sink, lake, hostile)
    assert_same(sink, lake, other)


KILLED = """
import sys
from pathlib import Path
from quantalpha.market import Lake
from quantalpha.market.sinks import Series, export, open_sink
print("ready", flush=True)
with open_sink(sys.argv[1]) as sink:
    export(Lake(Path(sys.argv[2])), sink, Series(*sys.argv[3:]), tell=lambda month: print(month, flush=True))
"""


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.11])
def test_killed_anywhere_the_next_export_completes_it(sink, lake, series, urls, delay):
    fill(lake, series, bars(6_000))
    environment = {"PYTHONPATH": str(CHECKOUT), "QUANTALPHA_ROOT": str(lake.root)} | urls
    command = [sys.executable, "-c", KILLED, sink.name, str(lake.root), *series]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline()  # a month is there
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    export(lake, sink, series)
    assert_same(sink, lake, series)
    assert len(held(sink, series, ["close"])) == 6_000


def test_only_what_the_lake_holds_can_be_asked_for(lake):
    fill(lake, fresh(), bars(5))
    fill(lake, Series("bybit", "ETHUSDT", "funding"), bars(5)[["close"]])
    assert stored_series(lake, ["ETHUSDT"]) == [Series("bybit", "ETHUSDT", "funding")]
    assert len(stored_series(lake)) == 2 and stored_series(lake, kinds=["funding"]) == stored_series(lake, ["ETHUSDT"])
    with pytest.raises(Exception, match="did you mean 'ETHUSDT'"):
        stored_series(lake, ["ETHUSD"])


def test_changed_rows_are_those_lacking_or_different():
    rows = canonical(bars(6), ["close", "open"])
    present = rows.drop(rows.index[1]).copy()
    present.iloc[2, 0] = np.nan
    assert changed(rows, present).tolist() == [False, True, False, True, False, False]
