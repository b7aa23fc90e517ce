import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.market.kinds import FUNDING, gaps, mark_kind, month_bounds, months
from quantalpha.market.store import Lake

HOUR = 3_600_000
JANUARY, FEBRUARY = month_bounds("2024-01"), month_bounds("2024-02")
KEY = ("binanceusdm", "BTCUSDT", "1h")


def hours(begin: int, count: int, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(1, 2, (count, 5))
    return pd.DataFrame(values, columns=schema.REQUIRED, index=schema.from_epoch_ms(begin + HOUR * np.arange(count)))


def write(lake, rows, complete_before=0, **more):
    return lake.write(*KEY, rows, source="test", complete_before=complete_before, **more)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_months_cover_a_half_open_span():
    assert months(JANUARY[0] - 1, FEBRUARY[0] + 1) == ["2023-12", "2024-01", "2024-02"]
    assert months(*JANUARY) == ["2024-01"]
    assert months(JANUARY[0], JANUARY[0]) == []
    assert (FEBRUARY[1] - FEBRUARY[0]) // HOUR == 29 * 24


def test_rows_come_back_bit_for_bit_and_clipped(tmp_path):
    lake, rows = Lake(tmp_path), hours(JANUARY[0], 60 * 24)
    assert write(lake, rows, FEBRUARY[1]) == ["2024-01", "2024-02"]
    pd.testing.assert_frame_equal(lake.read(*KEY), rows, check_freq=False)
    clipped = lake.read(*KEY, pd.Timestamp("2024-01-31T22:00Z"), pd.Timestamp("2024-02-01T02:00Z"))
    pd.testing.assert_frame_equal(clipped, rows[31 * 24 - 2 : 31 * 24 + 2], check_freq=False)
    assert str(lake.read(*KEY).index.dtype) == schema.INDEX_DTYPE


def test_same_rows_give_same_bytes_and_a_second_write_touches_nothing(tmp_path):
    rows = hours(JANUARY[0], 744)
    write(Lake(tmp_path / "a"), rows, JANUARY[1])
    write(Lake(tmp_path / "b"), rows, JANUARY[1])
    name = "2024-01.parquet"
    assert files(tmp_path / "a")[name] == files(tmp_path / "b")[name]
    before = files(tmp_path / "a")
    assert write(Lake(tmp_path / "a"), rows, JANUARY[1]) == []
    assert files(tmp_path / "a") == before


def test_manifest_depends_on_the_data_alone(tmp_path, monkeypatch):
    rows, kinds = hours(JANUARY[0], 744), ["1h", FUNDING, mark_kind("1h")]
    write(Lake(tmp_path / "a"), rows, JANUARY[1])
    write(Lake(tmp_path / "b"), rows[:100])
    assert Lake(tmp_path / "a").manifest(*KEY[:2], kinds) != Lake(tmp_path / "b").manifest(*KEY[:2], kinds)
    write(Lake(tmp_path / "b"), rows, JANUARY[1])
    listing = Lake(tmp_path / "a").manifest(*KEY[:2], kinds)
    assert listing == Lake(tmp_path / "b").manifest(*KEY[:2], kinds)
    assert listing["1h"][0]["rows"] == 744 and listing[FUNDING] == [] and json.dumps(listing)


def test_closed_month_with_other_content_is_refused(tmp_path):
    lake, rows = Lake(tmp_path), hours(JANUARY[0], 744)
    write(lake, rows, JANUARY[1])
    before = files(tmp_path)
    other = rows.copy()
    other.iloc[5, 0] += 1e-9
    with pytest.raises(DataError, match="2024-01-01 05:00"):
        write(lake, other, JANUARY[1])
    with pytest.raises(DataError, match="2024-01-31 23:00"):
        write(lake, rows[:-1], JANUARY[1])
    assert files(tmp_path) == before
    write(lake, other, JANUARY[1], replace=True)
    assert lake.read(*KEY).iloc[5, 0] == other.iloc[5, 0]


def test_complete_month_does_not_grow_and_a_refused_write_stores_no_month(tmp_path):
    lake, rows = Lake(tmp_path), hours(JANUARY[0], 744 + 48)
    write(lake, rows[:700], JANUARY[1])
    with pytest.raises(DataError, match="write-once"):
        write(lake, rows, FEBRUARY[1])
    assert lake.stored(*KEY) == ["2024-01"]


def test_unfinished_month_grows_then_closes(tmp_path):
    lake, rows = Lake(tmp_path), hours(JANUARY[0], 744)
    write(lake, rows[:100])
    assert not lake.month(*KEY, "2024-01").complete
    assert lake.merge(*KEY, rows[100:200], source="test", complete_before=0).months == ("2024-01",)
    assert lake.merge(*KEY, rows[200:], source="test", complete_before=JANUARY[1]).months == ("2024-01",)
    assert lake.month(*KEY, "2024-01").complete
    pd.testing.assert_frame_equal(lake.read(*KEY), rows, check_freq=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 1000), max_size=5), holes=st.sets(st.integers(0, 1000), max_size=20), doubled=st.booleans())
def test_growing_in_any_steps_ends_in_the_same_files(tmp_path_factory, cuts, holes, doubled):
    rows = hours(JANUARY[0], 1001).drop(hours(JANUARY[0], 1001).index[list(holes)])
    rows = pd.concat([rows, rows[:3]]).sort_index(kind="stable") if doubled else rows
    whole, stepwise = Lake(tmp_path_factory.mktemp("whole")), Lake(tmp_path_factory.mktemp("steps"))
    write(whole, rows, JANUARY[1])
    for cut in sorted(cuts):
        part = rows[:cut]
        if len(part):
            write(stepwise, part, JANUARY[1] if part.index[-1] >= schema.from_epoch_ms([FEBRUARY[0]])[0] else 0)
    write(stepwise, rows, JANUARY[1])
    kinds = ["1h"]
    assert whole.manifest(*KEY[:2], kinds) == stepwise.manifest(*KEY[:2], kinds)
    pd.testing.assert_frame_equal(stepwise.read(*KEY), rows, check_freq=False)


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[3])
from test_store import JANUARY, KEY, Lake, hours
left = int(sys.argv[2])
rename = os.replace
def replace(a, b):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    rename(a, b)
os.replace = replace
lake = Lake(sys.argv[1])
"""


def killed(folder, renames: int, work: str) -> None:
    """Do `work` to the `lake` in `folder`, in a process that dies before its next rename after so many."""
    here = str(__file__).rsplit("/", 1)[0]
    done = subprocess.run([sys.executable, "-c", KILLED + work, str(folder), str(renames), here], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize("renames", [0, 1])
@pytest.mark.parametrize("held", [0, 100])
def test_kill_between_temporary_file_and_rename(tmp_path, renames, held):
    lake, rows = Lake(tmp_path), hours(JANUARY[0], 744)
    if held:
        write(lake, rows[:held])
    killed(tmp_path, renames, 'lake.write(*KEY, hours(JANUARY[0], 744), source="test", complete_before=JANUARY[1])')
    assert lake.stored(*KEY) == (["2024-01"] if held else [])
    if held:
        pd.testing.assert_frame_equal(lake.read(*KEY), rows[:held], check_freq=False)
        assert not lake.month(*KEY, "2024-01").complete
    write(lake, rows, JANUARY[1])
    assert lake.month(*KEY, "2024-01").complete
    pd.testing.assert_frame_equal(lake.read(*KEY), rows, check_freq=False)


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "no passport", "bad passport"])
def test_damaged_month_is_named_with_its_remedy(tmp_path, damage):
    lake = Lake(tmp_path)
    write(lake, hours(JANUARY[0], 744), JANUARY[1])
    path = lake.path(*KEY, "2024-01")
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "altered":
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "no passport":
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text("{")
    with pytest.raises(DataError, match=r"2024-01\.parquet.*download or import"):
        lake.read(*KEY)


def test_nothing_stored_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="import FILE --symbol BTCUSDT"):
        Lake(tmp_path).read(*KEY)
    assert Lake(tmp_path).find(*KEY) is None


def test_gaps_name_the_first_absent_bar():
    index = hours(JANUARY[0], 10).index.delete([3, 4, 7])
    assert gaps(index, HOUR) == [{"start": "2024-01-01T03:00:00Z", "bars": 2}, {"start": "2024-01-01T07:00:00Z", "bars": 1}]
    assert gaps(index, None) == []


def test_disordered_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="time order"):
        write(Lake(tmp_path), hours(JANUARY[0], 5)[::-1])


def test_two_writers_a_bar_apart_leave_a_whole_month(tmp_path):
    """A scheduled download and a notebook fetch the same month at once: neither tears the other's file from its passport."""
    code = """
import sys, numpy as np, pandas as pd
from quantalpha.market.store import Lake
index = pd.date_range("2024-01-01", periods=24, freq="1h", tz="UTC", name="timestamp", unit="ms")
rows = pd.DataFrame({name: np.arange(1.0, 25.0) for name in ("open", "high", "low", "close", "volume")}, index=index)
for end in range(1 + int(sys.argv[2]), 25):
    Lake(sys.argv[1]).merge("binanceusdm", "BTCUSDT", "1h", rows.iloc[:end], source="test", complete_before=0)
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), ahead], stderr=subprocess.PIPE, text=True) for ahead in "01"]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0), ("", 0)]
    rows = Lake(tmp_path).read(*KEY)
    assert len(rows) == 24 and rows.index.is_monotonic_increasing and rows.index.is_unique


def test_research_reads_up_to_the_holdout_and_no_further(tmp_path):
    whole, sealed = Lake(tmp_path), pd.Timestamp("2024-02-10T00:00Z")
    write(whole, hours(JANUARY[0], 60 * 24), FEBRUARY[1])
    lake = Lake(tmp_path, sealed)
    pd.testing.assert_frame_equal(lake.read(*KEY), whole.read(*KEY, None, sealed))
    pd.testing.assert_frame_equal(lake.read_all(*KEY, pd.Timestamp("2024-02-01T00:00Z"))[0], whole.read(*KEY, "2024-02-01", sealed))
    assert lake.manifest(*KEY[:2], ["1h"]) == whole.manifest(*KEY[:2], ["1h"], None, sealed)
    later = sealed + pd.Timedelta("1h")
    for read in (
        lambda: lake.read(*KEY, None, later),
        lambda: lake.read(*KEY, sealed),
        lambda: lake.read(*KEY, later),
        lambda: lake.find(*KEY, sealed, later),
        lambda: lake.read_all(*KEY, None, later),
        lambda: lake.manifest(*KEY[:2], ["1h"], None, later),
        lambda: lake.read_listed(lake.manifest(*KEY[:2], ["1h"]), *KEY[:2], None, later),
        lambda: lake.month(*KEY, "2024-02"),
    ):
        with pytest.raises(DataError, match=r"from 2024-02-10T00:00:00Z on are sealed .*quantalpha holdout open"):
            read()
    assert len(lake.month(*KEY, "2024-01").rows) == 744


def test_a_month_that_lies_behind_the_holdout_is_in_no_manifest(tmp_path):
    """What is fetched later makes no stage of research stale."""
    whole, lake = Lake(tmp_path), Lake(tmp_path, pd.Timestamp("2024-02-01T00:00Z"))
    write(whole, hours(JANUARY[0], 744), JANUARY[1])
    before = lake.manifest(*KEY[:2], ["1h"])
    write(whole, hours(FEBRUARY[0], 100))
    assert lake.manifest(*KEY[:2], ["1h"]) == before and lake.read(*KEY).index[-1] < pd.Timestamp("2024-02-01T00:00Z")
    with pytest.raises(DataError, match="sealed"):
        Lake(tmp_path, pd.Timestamp("2023-12-01T00:00Z")).read(*KEY)
