"""Rows that meet stored rows: nothing is lost, nothing is silently replaced."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError
from quantalpha.market.merge import SAME
from quantalpha.market.store import Lake

from .test_store import FEBRUARY, HOUR, JANUARY, KEY, files, hours, killed

ROWS = hours(JANUARY[0], 1000)


def merge(lake, rows, source="REST", closed=0):
    return lake.merge(*KEY, rows, source=source, complete_before=closed)


def history(lake, month="2024-01"):
    return lake.month(*KEY, month).passport.history


def test_the_same_rows_again_change_nothing(tmp_path):
    lake = Lake(tmp_path)
    assert merge(lake, ROWS, closed=JANUARY[1]).added == 1000
    before = files(tmp_path)
    again = merge(lake, ROWS[300:900])
    assert (again.months, again.added, again.revised, again.disputed) == ((), 0, 0, 0)
    assert files(tmp_path) == before and history(lake) == []


@settings(max_examples=30, deadline=None)
@given(parts=st.permutations(list(range(8))), overlap=st.integers(0, 40))
def test_parts_in_any_order_make_the_file_that_the_whole_makes(tmp_path_factory, parts, overlap):
    whole, pieces = Lake(tmp_path_factory.mktemp("whole")), Lake(tmp_path_factory.mktemp("pieces"))
    merge(whole, ROWS, closed=JANUARY[1])
    for part in parts:
        merge(pieces, ROWS[max(0, part * 125 - overlap) : (part + 1) * 125])
    merge(pieces, ROWS[-1:], closed=JANUARY[1])
    merge(pieces, ROWS[:1], closed=JANUARY[1])
    sums = [[(entry["file"], entry["sha256"]) for entry in lake.manifest(*KEY[:2], ["1h"])["1h"]] for lake in (whole, pieces)]
    assert sums[0] == sums[1] and pieces.month(*KEY, "2024-01").complete
    assert all(event["act"] == "repaired" for event in history(pieces))


def test_a_candle_that_its_source_changes_is_a_revision_and_the_file_before_is_kept(tmp_path):
    lake, changed = Lake(tmp_path), ROWS.copy()
    merge(lake, ROWS, closed=JANUARY[1])
    was = lake.month(*KEY, "2024-01")
    changed.iloc[7, 3] += 0.5
    done = merge(lake, changed[:20])
    assert (done.months, done.added, done.revised, done.disputed) == (("2024-01",), 0, 1, 0)
    (event,) = history(lake)
    assert event["act"] == "revised" and event["rows"] == 1 and event["first"] == "2024-01-01T07:00:00Z"
    assert event["examples"] == [{"time": event["first"], "column": "close", "was": ROWS.iloc[7, 3], "now": changed.iloc[7, 3]}]
    month = lake.month(*KEY, "2024-01")
    assert month.complete and event["made"] == month.sha256
    pd.testing.assert_frame_equal(month.rows, changed[:744], check_freq=False)
    pd.testing.assert_frame_equal(lake.version(*KEY, "2024-01", was.sha256), was.rows)
    assert lake.version(*KEY, "2024-01", "0" * 64) is None


def test_two_revisions_keep_both_files_and_tell_both(tmp_path):
    lake, hashes = Lake(tmp_path), []
    for step in range(3):
        rows = ROWS.copy()
        rows.iloc[7, 3] += step
        merge(lake, rows)
        hashes.append(lake.month(*KEY, "2024-01").sha256)
    assert [event["made"] for event in history(lake)] == hashes[1:]
    assert [lake.version(*KEY, "2024-01", each).iloc[7, 3] - ROWS.iloc[7, 3] for each in hashes[:2]] == pytest.approx([0, 1])


def test_a_kept_file_that_was_altered_is_refused(tmp_path):
    lake = Lake(tmp_path)
    merge(lake, ROWS)
    was = lake.month(*KEY, "2024-01").sha256
    merge(lake, ROWS + 1)
    (kept,) = tmp_path.rglob("2024-01.*.parquet")
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(DataError, match="altered"):
        lake.version(*KEY, "2024-01", was)


def test_another_source_is_compared_and_what_is_stored_stands(tmp_path):
    lake, other = Lake(tmp_path), ROWS.copy()
    merge(lake, ROWS)
    other.iloc[[3, 5], 3] *= 1.01
    other.iloc[9, 4] *= 1 + SAME / 10
    done = merge(lake, other, "archive")
    assert (done.added, done.revised, done.disputed) == (0, 0, 2)
    pd.testing.assert_frame_equal(lake.read(*KEY), ROWS, check_freq=False)
    event = history(lake)[0]
    assert event["act"] == "compared" and event["rows"] == 744 and event["differ"] == 2 and event["largest"] == pytest.approx(0.01)
    assert list(lake.disputed(*KEY)) == list(ROWS.index[[3, 5]])
    assert merge(lake, other, "archive").disputed == 0 and len(history(lake)) == 1, "the same comparison is told once"


def test_another_source_fills_what_is_absent_and_says_so(tmp_path):
    lake, holes = Lake(tmp_path), [4, 5, 100]
    merge(lake, ROWS.drop(ROWS.index[holes]), closed=JANUARY[1])
    assert merge(lake, ROWS, "archive").added == 3
    pd.testing.assert_frame_equal(lake.read(*KEY), ROWS, check_freq=False)
    told = [(event["act"], event["source"], event["rows"]) for event in history(lake)]
    assert told == [
        ("repaired", "archive", 3),
        ("compared", "archive", 741),
    ]
    assert lake.month(*KEY, "2024-01").passport.gaps == []


def test_columns_that_only_one_source_has_are_joined_and_never_made_up(tmp_path):
    lake, rich = Lake(tmp_path), ROWS.assign(trades=np.arange(1000.0))
    merge(lake, ROWS[:100])
    merge(lake, rich[:50], "archive")
    rows = lake.read(*KEY)
    assert rows["trades"].iloc[:50].tolist() == list(range(50)) and rows["trades"].iloc[50:].isna().all()
    assert len(lake.disputed(*KEY)) == 0
    merge(lake, ROWS[40:200])
    assert lake.read(*KEY)["trades"].iloc[:50].tolist() == list(range(50)), "a poorer row of the first source takes none away"


def test_a_passport_id_tells_histories_apart_but_not_days(tmp_path):
    plain, revised = Lake(tmp_path / "plain"), Lake(tmp_path / "revised")
    merge(plain, ROWS)
    merge(revised, ROWS + 1)
    merge(revised, ROWS)
    entries = [lake.manifest(*KEY[:2], ["1h"])["1h"][0] for lake in (plain, revised)]
    assert entries[0]["sha256"] == entries[1]["sha256"] and entries[0]["passport"] != entries[1]["passport"]
    path = plain.path(*KEY, "2024-01").with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fetched_at": "1999-01-01T00:00:00+00:00"}))
    assert plain.manifest(*KEY[:2], ["1h"])["1h"][0] == entries[0]


def test_a_value_that_comes_and_goes_is_told_each_time_and_every_file_is_kept(tmp_path):
    lake, hashes = Lake(tmp_path), []
    for step in (0, 1, 0, 1, 0, 1):
        merge(lake, ROWS + step)
        hashes.append(lake.month(*KEY, "2024-01").sha256)
    told = history(lake)
    assert [(event["was"], event["made"]) for event in told] == list(zip(hashes, hashes[1:]))
    assert all(lake.version(*KEY, "2024-01", each) is not None for each in hashes[:2])


def test_a_number_that_only_another_source_has_is_told_as_a_repair(tmp_path):
    lake, holes = Lake(tmp_path), ROWS.copy()
    holes.iloc[7, 3] = np.nan
    merge(lake, holes)
    was = lake.month(*KEY, "2024-01").sha256
    merge(lake, ROWS.assign(trades=2.0), "archive")
    told = [event for event in history(lake) if event["act"] == "repaired"]
    assert [(event["rows"], event["columns"]) for event in told] == [(744, ["close", "trades"])]
    assert lake.read(*KEY).iloc[7, 3] == ROWS.iloc[7, 3]
    assert np.isnan(lake.version(*KEY, "2024-01", was).iloc[7, 3])


def test_a_dispute_is_settled_by_the_last_comparison(tmp_path):
    lake, other = Lake(tmp_path), ROWS.copy()
    other.iloc[[3, 5], 3] *= 1.01
    merge(lake, ROWS)
    for rows, disputed in ((other, [3, 5]), (ROWS, []), (other, [3, 5])):
        merge(lake, rows, "archive")
        assert list(lake.disputed(*KEY)) == list(ROWS.index[disputed])
    merge(lake, ROWS, "third")
    assert len(lake.disputed(*KEY)) == 2, "that a third agrees does not settle what the second says"


def test_the_passport_of_a_month_that_the_seal_cuts_tells_nothing_from_behind_it(tmp_path):
    lake, later = Lake(tmp_path), ROWS.copy()
    later.iloc[-3:, 3] += 1
    merge(lake, ROWS)
    merge(lake, later)
    seal = ROWS.index[800]
    january, february = Lake(tmp_path, seal).passports(*KEY).values()
    assert january.rows == 744 and (february.rows, february.last, february.history) == (0, "sealed", [])
    assert list(Lake(tmp_path, ROWS.index[10]).passports(*KEY)) == ["2024-01"]


@pytest.mark.parametrize("renames", range(4))
def test_a_merge_killed_anywhere_and_run_again_tells_one_revision_a_month(tmp_path, renames):
    lake = Lake(tmp_path)
    merge(lake, ROWS)
    killed(tmp_path, renames, 'lake.merge(*KEY, hours(JANUARY[0], 1000) + 1, source="REST", complete_before=0)')
    merge(lake, ROWS + 1)
    pd.testing.assert_frame_equal(lake.read(*KEY), ROWS + 1, check_freq=False)
    for month in ("2024-01", "2024-02"):
        assert [event["act"] for event in history(lake, month)] == ["revised"]
        assert history(lake, month)[0]["made"] == lake.month(*KEY, month).sha256


def test_the_seal_holds_for_disputes_too(tmp_path):
    lake, other = Lake(tmp_path), ROWS.copy()
    merge(lake, ROWS)
    other["close"] *= 2
    merge(lake, other, "archive")
    sealed = pd.Timestamp(FEBRUARY[0], unit="ms", tz="UTC")
    times = Lake(tmp_path, sealed).disputed(*KEY)
    assert len(times) == 744 and times[-1] == sealed - pd.Timedelta(HOUR, "ms")
