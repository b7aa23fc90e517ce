import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import config, schema
from quantalpha.backtest import simulate
from quantalpha.errors import DataError
from quantalpha.market.clean import align_funding, clean_bars, usual_spacing
from quantalpha.perp import Account, Costs

HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01
POLICY = config.Clean(duplicates="last", impossible="drop", max_missing=0.5, funding_gaps="report")


def bars(count: int) -> pd.DataFrame:
    close = 100.0 + np.arange(count)
    values = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": np.full(count, 3.0)}
    return pd.DataFrame(values, index=schema.from_epoch_ms(START + HOUR * np.arange(count)))


def rates(*pairs) -> pd.DataFrame:
    """(hours after START, rate)."""
    times = [int(START + hours * HOUR) for hours, _ in pairs]
    return pd.DataFrame({"funding_rate": [rate for _, rate in pairs]}, index=schema.from_epoch_ms(times))


def clean(raw, funding=None, mark=None, **policy):
    return clean_bars(raw, funding, mark, POLICY.model_copy(update=policy), "1h")


def test_sound_bars_pass_unchanged():
    raw = bars(10)
    table, report = clean(raw)
    pd.testing.assert_frame_equal(table[list(schema.REQUIRED)], raw)
    assert (table["funding_rate"] == 0).all() and "mark" not in table, "no mark price is not a mark price equal to the close"
    assert report["missing"] == {"bars": 0, "fraction": 0.0, "gaps": []} and report["mark"] == {"bars": 0, "missing": 10}
    assert json.loads(json.dumps(report)) == report


def test_duplicates_by_policy():
    raw = pd.concat([bars(5), bars(5).iloc[[2]] + 1]).sort_index(kind="stable")
    assert clean(raw, duplicates="first")[0]["close"].iloc[2] == 102
    table, report = clean(raw, duplicates="last")
    assert table["close"].iloc[2] == 103 and len(table) == 5
    assert report["duplicates"] == {"count": 1, "first": ["2024-01-01T02:00:00Z"]}
    with pytest.raises(DataError, match="1 duplicate bars, first 2024-01-01T02:00"):
        clean(raw, duplicates="fail")


def test_disorder_is_sorted_and_counted():
    table, report = clean(bars(6).iloc[[0, 2, 1, 3, 5, 4]])
    pd.testing.assert_frame_equal(table[list(schema.REQUIRED)], bars(6), check_freq=False)
    assert report["out_of_order"] == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("close", np.nan), ("open", np.inf), ("low", 0.0), ("low", -1.0), ("high", 99.0), ("low", 1e6), ("volume", -1.0), ("volume", np.nan)],
)
def test_impossible_bars_are_dropped_and_reported_never_repaired(column, value):
    raw = bars(8)
    raw.loc[raw.index[4], column] = value
    table, report = clean(raw)
    assert raw.index[4] not in table.index and len(table) == 7
    assert report["impossible"] == {"count": 1, "first": ["2024-01-01T04:00:00Z"]}
    assert report["missing"]["gaps"] == [{"start": "2024-01-01T04:00:00Z", "bars": 1}]
    with pytest.raises(DataError, match="1 impossible bars, first 2024-01-01T04:00"):
        clean(raw, impossible="fail")


def test_too_many_missing_bars_fail_and_name_the_longest_gap():
    raw = bars(100).drop(bars(100).index[[3, 50, 51, 52]])
    assert clean(raw, max_missing=0.04)[1]["missing"]["bars"] == 4
    with pytest.raises(DataError, match=r"4.00% .* allowed 3.90%.*longest gap 3 bars from 2024-01-03T02:00"):
        clean(raw, max_missing=0.039)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (bars(0), "no raw bars"),
        (bars(5).set_axis(bars(5).index + pd.Timedelta("30min")), "5 do not, first 2024-01-01 00:30"),
        (bars(3) * np.nan, "every one of 3 bars is impossible"),
    ],
)
def test_unusable_rows_are_a_data_error(raw, says):
    with pytest.raises(DataError, match=says):
        clean(raw)


GOLDEN = [  # (settlements, expected rate of each of 10 hourly bars): hand-derived from "(previous open, open]"
    ([(0, 0.1), (8, 0.2)], {0: 0.1, 8: 0.2}),
    ([(8 + 5 / 3_600_000, 0.2)], {8: 0.2}),  # 5 ms late: rounded to the minute
    ([(8 - 20 / 3600, 0.2)], {8: 0.2}),  # 20 s early
    ([(7.5, 0.2)], {8: 0.2}),  # inside a bar: paid at the next open
    ([(7.25, 0.1), (7.5, 0.2), (8, 0.4)], {8: 0.7}),
    ([(-1, 0.3), (9.5, 0.4)], {}),  # before the first bar's interval, after the last open
    ([(-0.5, 0.3)], {0: 0.3}),
]


@pytest.mark.parametrize(("settled", "expected"), GOLDEN)
def test_funding_stands_on_the_bar_that_opens_at_or_after_it(settled, expected):
    table, report = clean(bars(10), rates(*settled))
    wanted = np.zeros(10)
    wanted[list(expected)] = list(expected.values())
    assert np.allclose(table["funding_rate"], wanted, rtol=0, atol=1e-15)
    assert report["funding"]["settlements"] + report["funding"]["outside"] == len(settled)


def test_funding_inside_a_gap_waits_for_the_next_bar():
    raw = bars(12).drop(bars(12).index[[7, 8, 9]])
    table, _ = clean(raw, rates((0, 0.1), (8, 0.2), (9, 0.4)))
    assert table["funding_rate"].tolist() == [0.1] + [0.0] * 6 + [pytest.approx(0.6), 0.0]


def test_a_settlement_told_twice_is_paid_once():
    table, report = clean(bars(10), rates((8, 0.2), (8 + 1e-6, 0.2)))
    assert table["funding_rate"].sum() == 0.2 and report["funding"]["duplicates"]["count"] == 1
    with pytest.raises(DataError, match="settlements come twice"):
        clean(bars(10), rates((8, 0.2), (8 + 1e-6, 0.2)), duplicates="fail")


def test_funding_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="1 funding rates are not numbers"):
        clean(bars(10), rates((0, 0.1), (8, np.nan)))


@settings(max_examples=50, deadline=None)
@given(
    settled=st.lists(st.tuples(st.integers(-3 * 60, 60 * 60), st.integers(-100, 100)), max_size=30, unique_by=lambda pair: pair[0]),
    gone=st.sets(st.integers(1, 48), max_size=20),
)
def test_no_settlement_is_lost_or_doubled(settled, gone):
    index = bars(50).index.delete(list(gone))
    funding = rates(*[(minute / 60, rate / 1e6) for minute, rate in sorted(settled)])
    aligned = align_funding(funding, index, "1h")
    last = (schema.epoch_ms(index)[-1] - START) // 60_000
    inside = sum(rate for minute, rate in settled if -60 < minute <= last)
    assert aligned.sum() == pytest.approx(inside / 1e6, abs=1e-15)
    for time, rate in aligned[aligned != 0].items():
        before = index[index < time]
        low = before[-1] if len(before) else time - pd.Timedelta("1h")
        minutes = [low.timestamp(), time.timestamp()]
        due = [r for m, r in settled if minutes[0] < START / 1000 + 60 * m <= minutes[1]]
        assert rate == pytest.approx(sum(due) / 1e6, abs=1e-15)


def every(hours: int, count: int, *, without=(), start: int = 0) -> pd.DataFrame:
    """`count` settlements, those numbered in `without` lost."""
    return rates(*[(start + hours * n, 0.1) for n in range(count) if n not in without])


def test_holes_in_the_funding_history_are_told_and_refused_on_request():
    raw, funding = bars(200), every(8, 25, without=[5, 12, 13])
    table, report = clean(raw, funding)
    told = [
        {"start": "2024-01-02T08:00:00Z", "end": "2024-01-03T00:00:00Z", "hours": 16.0},
        {"start": "2024-01-04T16:00:00Z", "end": "2024-01-05T16:00:00Z", "hours": 24.0},
    ]
    assert report["funding"]["gaps"] == {"count": 2, "first": told} and table["funding_rate"].iloc[40] == 0
    assert report["funding"]["covered"] == {"first": "2024-01-01T00:00:00Z", "last": "2024-01-09T00:00:00Z"}
    assert json.dumps(clean(raw, funding.iloc[::-1])[1]) == json.dumps(report), "the same history has the same report"
    with pytest.raises(DataError, match="between 2024-01-02T08:00:00Z and 2024-01-03T00:00:00Z: 16 h where 8 h are usual, 2 such"):
        clean(raw, funding, funding_gaps="fail")


def test_a_whole_history_passes_the_strict_policy_and_many_holes_are_counted():
    assert clean(bars(200), every(8, 25), funding_gaps="fail")[1]["funding"]["gaps"] == {"count": 0, "first": []}
    gaps = clean(bars(700), every(8, 88, without=range(10, 80, 10)))[1]["funding"]["gaps"]
    assert gaps["count"] == 7 and len(gaps["first"]) == 5


def test_bars_beyond_the_funding_history_are_told_in_hours():
    funding = clean(bars(100), every(8, 5, start=20))[1]["funding"]
    assert funding["uncovered_hours"] == {"before": 20.0, "after": 47.0}
    assert clean(bars(10), every(8, 5, start=-8))[1]["funding"]["uncovered_hours"] == {"before": 0.0, "after": 0.0}


def test_a_hole_where_there_are_no_bars_is_none():
    assert clean(bars(50), every(8, 30, without=[2, 20], start=-80))[1]["funding"]["gaps"]["count"] == 0
    assert clean(bars(50), every(8, 30, without=[12], start=-80))[1]["funding"]["gaps"]["count"] == 1


@pytest.mark.parametrize("funding", [None, rates()])
def test_no_funding_at_all_is_said(funding):
    table, report = clean(bars(10), funding, funding_gaps="fail")
    assert report["funding"] == {"settlements": 0, "covered": None} and (table["funding_rate"] == 0).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(4, 12)), min_size=1, max_size=6))
def test_a_change_of_schedule_is_no_hole(stretches):
    spacing = np.concatenate([[hours] * count for hours, count in stretches])
    assert (spacing <= 1.5 * usual_spacing(spacing)).all()
    times = np.concatenate([[0], spacing.cumsum()])
    funding = rates(*[(time, 0.1) for time in times])
    assert clean(bars(int(times[-1]) + 1), funding)[1]["funding"]["gaps"]["count"] == 0


@settings(max_examples=100, deadline=None)
@given(hours=st.sampled_from([1, 4, 8]), count=st.integers(7, 40), first=st.integers(1, 5), lost=st.integers(1, 30))
def test_lost_settlements_are_always_one_hole(hours, count, first, lost):
    first, spacing = min(first, count - 2), [hours] * count
    spacing[first] = hours * (lost + 1)
    assert np.flatnonzero(spacing > 1.5 * usual_spacing(np.array(spacing))).tolist() == [first]


def test_two_holes_side_by_side_do_not_hide_each_other():
    spacing = np.array([8, 8, 8, 24, 24, 8, 8, 8])
    assert np.flatnonzero(spacing > 1.5 * usual_spacing(spacing)).tolist() == [3, 4]


@pytest.mark.real
def test_holes_of_recorded_histories(shared_data):
    """Gate.io's history lacks a month (752 h); Binance's is whole."""
    table = pd.read_parquet(shared_data / "funding_multi_venue_BTC_ETH_2020_2023.parquet").set_index("timestamp")
    for venue, hours in [("binance", []), ("dydx", []), ("gate", [752.0])]:
        funding = table[(table["venue"] == venue) & (table["symbol"] == "BTCUSDT")][["funding_rate"]]
        index = pd.date_range(funding.index[0].floor("h"), funding.index[-1], freq="h", unit="ms")
        gaps = clean(bars(len(index)).set_axis(index), funding)[1]["funding"]["gaps"]
        assert [gap["hours"] for gap in gaps["first"]] == hours and gaps["count"] == len(hours)


def test_mark_is_its_own_bars_close_and_unknown_where_it_is_missing():
    raw = bars(6)
    mark = raw[["open", "high", "low", "close"]] + 0.25
    mark.iloc[2, 3], mark.iloc[3, 3] = np.nan, 0.0
    table, report = clean(raw, mark=mark.drop(mark.index[4]))
    assert np.array_equal(table["mark"], [100.25, 101.25, np.nan, np.nan, np.nan, 105.25], equal_nan=True)
    assert report["mark"] == {"bars": 3, "missing": 3}


def test_funding_is_paid_at_the_open_and_equity_told_at_the_close_where_the_mark_is_missing():
    raw = bars(6)
    table, _ = clean(raw, rates((3, 0.01), (5, 0.01)), mark=(raw[["close"]] + 0.25).drop(raw.index[2]))
    account, costs = Account(1000.0), Costs(0.0, 0.0, 0.0, 0.0)
    result = simulate(table, pd.Series(1.0, index=raw.index), account=account, costs=costs)
    assert result.funding["mark"].tolist() == [table["open"].iloc[3], 104.25], "not the previous close, which is half a dollar lower"
    held = result.final.quantity
    assert result.equity.iloc[2] == pytest.approx(1000.0 + held * (table["close"].iloc[2] - table["open"].iloc[1]))


def test_columns_the_bars_came_with_are_kept():
    raw = bars(4).assign(mark=7.0, funding_rate=[0.0, 0.1, 0.0, 0.0], trades=2.0)
    table, report = clean(raw)
    assert table["mark"].tolist() == [7.0] * 4 and table["funding_rate"].tolist() == [0.0, 0.1, 0.0, 0.0]
    assert table["trades"].tolist() == [2.0] * 4 and report["funding"]["settlements"] == 1


def test_inputs_are_left_alone():
    raw, funding = bars(5).iloc[::-1], rates((2, 0.1))
    before = raw.copy(), funding.copy()
    clean(raw, funding)
    pd.testing.assert_frame_equal(raw, before[0])
    pd.testing.assert_frame_equal(funding, before[1])
