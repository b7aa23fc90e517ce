"""The lake as a manifest found it."""

import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.market.passport import retell
from quantalpha.market.snapshot import put_back
from quantalpha.market.store import Lake

from .test_store import FEBRUARY, JANUARY, KEY, hours, write

ROWS = hours(JANUARY[0], 40 * 24)


@pytest.fixture
def lake(tmp_path) -> Lake:
    """January, complete, and nine days of February."""
    lake = Lake(tmp_path / "lake")
    write(lake, ROWS, JANUARY[1])
    return lake


@pytest.fixture
def target(tmp_path) -> Lake:
    return Lake(tmp_path / "target")


def listing(lake: Lake) -> dict:
    return lake.manifest("binanceusdm", "BTCUSDT", ["1h", "funding"])


def test_the_months_of_then_come_back_bit_by_bit_however_they_have_grown(lake, target):
    then, bytes_then = listing(lake), lake.path(*KEY, "2024-02").read_bytes()
    write(lake, longer(), FEBRUARY[1])
    assert listing(lake) != then
    assert put_back(then, lake, target) == (then, [])
    assert listing(target) == then and target.path(*KEY, "2024-02").read_bytes() == bytes_then


def longer():
    """The same rows, and the rest of February."""
    rest = hours(JANUARY[0], 60 * 24, seed=1).iloc[len(ROWS) :]
    return pd.concat([ROWS, rest])


def test_a_revised_month_comes_as_it_was_while_its_file_is_kept_else_as_it_is_and_is_named(lake, target, tmp_path):
    then, revised = listing(lake), longer()
    revised.iloc[800, 0] += 1.0  # in February, among the rows of then
    write(lake, revised, FEBRUARY[1], replace=True)
    assert put_back(then, lake, target) == (then, [])
    (kept,) = lake.path(*KEY, "x").parent.glob("2024-02.*.parquet")
    kept.unlink()
    found, changed = put_back(then, lake, Lake(tmp_path / "later"))
    assert changed == ["binanceusdm/BTCUSDT/1h/2024-02.parquet"]
    assert found == listing(lake) == listing(Lake(tmp_path / "later"))


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_what_was_compared_or_repaired_since_is_not_told_in_the_copy(lake, target, factor):
    """An agreeing or differing second source, and a hole that it filled: the run saw nothing of either."""
    holes = Lake(target.root.parent / "holes")
    write(holes, ROWS.drop(ROWS.index[[5, 800]]), JANUARY[1])
    then = listing(holes)
    holes.merge(*KEY, ROWS * factor, source="archive", complete_before=0)
    assert listing(holes) != then
    assert put_back(then, holes, target) == (then, [])
    assert listing(target) == then and len(target.disputed(*KEY)) == 0
    assert target.read_listed(then, *KEY[:2])[0].equals(ROWS.drop(ROWS.index[[5, 800]]))


def test_a_history_that_is_no_longer_told_is_a_change(lake, target):
    lake.merge(*KEY, ROWS, source="archive", complete_before=0)
    then = listing(lake)
    path = lake.path(*KEY, "2024-01")
    retell(path, [])
    assert put_back(then, lake, target)[1] == ["binanceusdm/BTCUSDT/1h/2024-01.parquet"]


def test_a_month_that_is_gone_is_named(lake, target):
    then = listing(lake)
    lake.discard(*KEY, keep=["2024-02"])
    with pytest.raises(DataError, match="lake/binanceusdm/BTCUSDT/1h/2024-01.parquet: the run used this month, and it is gone"):
        put_back(then, lake, target)
