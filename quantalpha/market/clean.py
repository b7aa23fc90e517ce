"""From raw rows to a sound table of bars: faults are reported and dropped by policy, nothing is ever filled.

Funding settled in (previous open, open] stands on the bar that opens then; mark prices stand on their own bar, at its close, NaN where the
venue gives none (the clock then takes the open for funding and the close for equity). Holes in the funding history are told, as their zeros
look like bars on which none was due.
The streamed bars of a live session pass through the same `align_funding` and `mark_close`, so that they equal a later download bit for bit.
"""

import numpy as np
import pandas as pd

from quantalpha import config, schema, timeframe
from quantalpha.errors import DataError
from quantalpha.market.kinds import gaps

MINUTE = 60_000
HOUR = 60 * MINUTE
SHOWN = 5  # how many examples a report names
NEIGHBOURS = 3  # settlement intervals on either side that say what is usual
HOLE = 1.5  # an interval this many times the usual one lacks a settlement


def clean_bars(
    raw: pd.DataFrame, funding: pd.DataFrame | None, mark: pd.DataFrame | None, params: config.Clean, bar: str
) -> tuple[pd.DataFrame, dict]:
    """(bars, report). Bars: the columns of `raw` plus `mark` (where known) and `funding_rate`, in time order, no impossible row.

    raw: bars as the lake holds them, in any order. funding: column funding_rate (a fraction of the notional) at its settlement times.
    mark: mark-price bars, column close. Without any mark price there is no column `mark`. Raises DataError by policy, off the timeframe's
    grid, or when more than `max_missing` of the span is absent.
    """
    if raw.empty:
        raise DataError("clean: no raw bars in the span asked for; check data.start and data.end, or download first")
    _check_grid(raw.index, bar)
    disordered = int((np.diff(schema.epoch_ms(raw.index)) < 0).sum())
    bars = raw.sort_index(kind="stable")
    bars, doubles = _drop_duplicates(bars, params.duplicates)
    bars, impossible = _drop_impossible(bars, params.impossible)
    missing = _missing(bars.index, bar, params.max_missing)
    rates, funding_report = _funding(bars, funding, params, bar)
    marks = _marks(bars, mark)
    marked = sum(int(column.notna().sum()) for column in marks.values())
    bars = schema.check_bars(bars.assign(**marks, funding_rate=rates), "clean bars")
    report = {
        "rows_in": len(raw),
        "rows_out": len(bars),
        "first": _iso(bars.index[:1])[0],
        "last": _iso(bars.index[-1:])[0],
        "out_of_order": disordered,
        "duplicates": doubles,
        "impossible": impossible,
        "missing": missing,
        "funding": funding_report,
        "mark": {"bars": marked, "missing": len(bars) - marked},
    }
    return bars, report


def settlement_times(funding: pd.DataFrame) -> np.ndarray:
    """int64[n] milliseconds: settlements rounded to the nearest minute (venues stamp them a little late)."""
    return (schema.epoch_ms(funding.index) + MINUTE // 2) // MINUTE * MINUTE


def align_funding(funding: pd.DataFrame, index: pd.DatetimeIndex, bar: str) -> pd.Series:
    """float64[n]: for each bar the sum of the rates settled in (previous open, open]; 0 where none was.

    The first bar's interval is one bar long.
    """
    opens = schema.epoch_ms(index)
    times = settlement_times(funding)
    rates = pd.Series(0.0, index=index, name="funding_rate")
    inside = (times > opens[0] - timeframe.milliseconds(bar)) & (times <= opens[-1])
    position = np.searchsorted(opens, times[inside], side="left")
    return rates + np.bincount(position, funding["funding_rate"].to_numpy(float)[inside], minlength=len(index))


def mark_close(mark: pd.DataFrame | None, index: pd.DatetimeIndex) -> pd.Series:
    """float64[n]: mark price at each bar's close, from mark-price bars; NaN where there is none."""
    if mark is None:
        return pd.Series(np.nan, index=index, name="mark")
    marks = mark["close"][~mark.index.duplicated(keep="last")].reindex(index).astype(float)
    return marks.where(np.isfinite(marks) & (marks > 0)).rename("mark")


def _check_grid(index: pd.DatetimeIndex, bar: str) -> None:
    off = index[schema.epoch_ms(index) % timeframe.milliseconds(bar) != 0]
    if len(off):
        raise DataError(f"clean: bars open on whole multiples of {bar} UTC; {len(off)} do not, first {off[0]}; check the timeframe")


def _drop_duplicates(bars: pd.DataFrame, policy: str) -> tuple[pd.DataFrame, dict]:
    repeated = bars.index.duplicated(keep="first")
    found = _found(bars.index[repeated])
    if policy == "fail" and repeated.any():
        raise DataError(f"clean: {found['count']} duplicate bars, first {found['first'][0]}; set clean.duplicates to first or last")
    keep = "last" if policy == "last" else "first"
    return bars[~bars.index.duplicated(keep=keep)], found


def _drop_impossible(bars: pd.DataFrame, policy: str) -> tuple[pd.DataFrame, dict]:
    fault = schema.impossible(bars)
    found = _found(bars.index[fault])
    if policy == "fail" and fault.any():
        row = bars[fault].iloc[0][list(schema.REQUIRED)].to_dict()
        raise DataError(f"clean: {found['count']} impossible bars, first {found['first'][0]} {row}; set clean.impossible to drop")
    if fault.all():
        raise DataError(f"clean: every one of {len(bars)} bars is impossible, first {found['first'][0]}; check the source's columns")
    return bars[~fault], found


def _missing(index: pd.DatetimeIndex, bar: str, allowed: float) -> dict:
    step = timeframe.milliseconds(bar)
    span = (schema.epoch_ms(index[-1:])[0] - schema.epoch_ms(index[:1])[0]) // step + 1
    holes = gaps(index, step)
    fraction = (span - len(index)) / span
    if fraction > allowed:
        longest = max(holes, key=lambda hole: hole["bars"])
        raise DataError(
            f"clean: {fraction:.2%} of the bars from {index[0]} to {index[-1]} are missing, allowed {allowed:.2%} (clean.max_missing); "
            f"longest gap {longest['bars']} bars from {longest['start']}; get the missing data or narrow data.start and data.end"
        )
    return {"bars": int(span - len(index)), "fraction": round(float(fraction), 9), "gaps": holes}


def _funding(bars: pd.DataFrame, funding: pd.DataFrame | None, params: config.Clean, bar: str) -> tuple[pd.Series, dict]:
    """(rates, report): the funding history, or the column the bars came with, or zeros. `covered` is None where there is no history."""
    if funding is None or funding.empty:
        rates = bars["funding_rate"] if "funding_rate" in bars else pd.Series(0.0, index=bars.index)
        _check_rates(rates)
        return rates, {"settlements": int((rates != 0).sum()), "covered": None}
    _check_rates(funding["funding_rate"])
    minutes = pd.Index(settlement_times(funding))
    found = _found(funding.index[minutes.duplicated()])
    if params.duplicates == "fail" and found["count"]:
        raise DataError(f"clean: {found['count']} settlements come twice, first {found['first'][0]}; set clean.duplicates to first or last")
    keep = "last" if params.duplicates == "last" else "first"
    funding = funding[~minutes.duplicated(keep=keep)]
    times, opens = np.sort(settlement_times(funding)), schema.epoch_ms(bars.index)
    reach = opens[0] - timeframe.milliseconds(bar), opens[-1]  # what is settled after the first and up to the second stands on a bar
    outside = (times <= reach[0]) | (times > reach[1])
    report = {"settlements": int((~outside).sum()), "outside": int(outside.sum()), "duplicates": found}
    report |= _coverage(times, opens) | {"gaps": _holes(times, reach, params.funding_gaps)}
    return align_funding(funding, bars.index, bar), report


def _coverage(times: np.ndarray, opens: np.ndarray) -> dict:
    """The first and last settlement, and the hours of bars before and after them, of which the history says nothing."""
    first, last = _iso(schema.from_epoch_ms(times[[0, -1]]))
    before, after = max(0, int(times[0] - opens[0])), max(0, int(opens[-1] - times[-1]))
    return {"covered": {"first": first, "last": last}, "uncovered_hours": {"before": _hours(before), "after": _hours(after)}}


def _holes(times: np.ndarray, reach: tuple[int, int], policy: str) -> dict:
    """Intervals between settlements, among the bars, that are too long for none to be lacking: {count, first: [{start, end, hours}]}."""
    start, end = times[:-1], times[1:]
    usual = usual_spacing(end - start)
    lacking = (end - start > HOLE * usual) & (end > reach[0]) & (start < reach[1])
    pairs = list(zip(_iso(schema.from_epoch_ms(start[lacking])), _iso(schema.from_epoch_ms(end[lacking])), (end - start)[lacking]))
    if policy == "fail" and pairs:
        since, until, length = pairs[0]
        raise DataError(
            f"clean: no funding between {since} and {until}: {_hours(length):g} h where {_hours(usual[lacking][0]):g} h are usual, "
            f"{len(pairs)} such hole(s); get the history again, or set clean.funding_gaps to report"
        )
    return {"count": len(pairs), "first": [{"start": a, "end": b, "hours": _hours(length)} for a, b, length in pairs[:SHOWN]]}


def usual_spacing(spacing: np.ndarray) -> np.ndarray:
    """float64[n]: what each interval between settlements should measure: the larger of the medians of the few before and the few after it.

    Venues change the interval (8 h, 4 h, 1 h, and back): one side then still follows the interval's own schedule, if that held for four
    intervals, so that a change is no hole; one stray interval on each side does not hide a hole. NaN for an interval that is alone.
    """
    values = pd.Series(spacing, dtype=float)
    before = values.rolling(NEIGHBOURS, min_periods=1).median().shift(1)
    after = values[::-1].rolling(NEIGHBOURS, min_periods=1).median().shift(1)[::-1]
    return np.fmax(before.to_numpy(), after.to_numpy())


def _hours(ms: float) -> float:
    return round(float(ms) / HOUR, 3)


def _check_rates(rates: pd.Series) -> None:
    bad = ~np.isfinite(rates.to_numpy(float))
    if bad.any():
        raise DataError(f"clean: {int(bad.sum())} funding rates are not numbers, first at {rates.index[bad][0]}; get the history again")


def _marks(bars: pd.DataFrame, mark: pd.DataFrame | None) -> dict[str, pd.Series]:
    """The column `mark` from the history, or the one the bars came with; none where there is no mark price at all."""
    if mark is None and "mark" in bars:
        mark = bars[["mark"]].rename(columns={"mark": "close"})
    return {} if mark is None else {"mark": mark_close(mark, bars.index)}


def _found(index: pd.DatetimeIndex) -> dict:
    return {"count": len(index), "first": _iso(index[:SHOWN])}


def _iso(index: pd.DatetimeIndex) -> list[str]:
    return [time.isoformat().replace("+00:00", "Z") for time in index]
