"""A session's report: the sums of its journal, at the ends of the market's days, weeks and months."""

from dataclasses import replace
from datetime import UTC, datetime

import happened
import pytest
from happened import HOUR, START
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.ops.reports import Reporter, fold, reports, rows, text
from quantalpha.ops.tally import bounds
from quantalpha.runner.events import EquityEvent, FillEvent, FundingEvent, MarketCloseEvent
from quantalpha.runner.journal import FILE, Journal


def session(hours: int, start: int = 0):
    """An hour a bar; equity swings, a fill every 5th and funding every 8th hour."""
    yield happened.said("start", "paper", start)
    for hour in range(start, start + hours):
        yield happened.opened(hour)
        if hour % 8 == 0:
            yield happened.funded(hour, -0.5)
        if hour % 5 == 0:
            yield happened.instructed(hour, 100.0, f"qa-{hour}")
            yield happened.filled(hour, 0.25, 100.1, 2.0 if hour % 2 else -1.0, f"qa-{hour}")
        yield happened.closed(hour)
        yield happened.equity(hour, 1000.0 + hour % 7)


def test_a_day_ends_when_the_bar_of_midnight_opens():
    told = []
    reporter = Reporter("s1", ["daily"], told.append)
    for event in session(24):
        reporter.observe(event)
    assert told == []
    reporter.observe(happened.opened(24))
    (day,) = told
    assert day.topic == "report" and day.time == START + 24 * HOUR
    assert day.text.splitlines() == [
        "day of s1, 2024-01-01 00:00:00 UTC to 2024-01-02 00:00:00 UTC",
        "equity 1,002.00 quote, return +0.20 %, drawdown 0.60 %",
        "0 decisions, 5 fills (5 closing, 2 won), turnover 125.12",
        "realised 1.00, fees 0.06 paid, funding -1.50 received, quote",
        "slippage measured +10.00 bp, predicted unknown",
        "refused: none; kill switches: none; orders in doubt or refused: 0",
        "bars 24 of 24 (100.00 %), starts 1",
    ]


@settings(max_examples=20)
@given(st.integers(1, 24 * 40), st.integers(0, 24 * 40))
def test_the_periods_add_up_to_the_session(hours, start):
    events = list(session(hours, start))
    (whole,) = fold(events, "s1", "session")
    for period in ("day", "week", "month"):
        parts = fold(events, "s1", period)
        for name in ("bars", "fills", "closing", "won", "starts"):
            assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
        for name in ("turnover", "realised", "fees", "funding", "slippage_cost", "measured"):
            assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(whole, name))
        for before, after in zip(parts, parts[1:]):
            assert after.first == before.equity and before.end == after.start == bounds(period, after.start)[0]
        assert max(part.drawdown for part in parts) <= whole.drawdown + 1e-12


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        ("day", "2024-02-29T23:59:59", "2024-02-29", "2024-03-01"),
        ("week", "2024-01-07T23:00:00", "2024-01-01", "2024-01-08"),
        ("week", "2024-12-31T12:00:00", "2024-12-30", "2025-01-06"),
        ("month", "2024-02-01T00:00:00", "2024-02-01", "2024-03-01"),
        ("month", "2024-12-31T00:00:00", "2024-12-01", "2025-01-01"),
    ],
)
def test_days_weeks_and_months_are_the_calendars(period, moment, start, end):
    stamps = [int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) for text in (moment, start, end)]
    assert bounds(period, stamps[0]) == (stamps[1], stamps[2])


def test_weekly_and_monthly_reports_are_told_as_asked():
    told = []
    reporter = Reporter("s1", ["weekly", "monthly"], told.append)
    for event in session(24 * 32):
        reporter.observe(event)
    assert [message.text.split(" of ")[0] for message in told] == ["week", "week", "week", "week", "month"]


def test_a_resumed_session_tells_no_period_twice_and_forgets_nothing():
    events = list(session(30))
    told = []
    reporter = Reporter("s1", ["daily"], told.append)
    reporter.restore(events[:-20])
    for event in [*events[-20:], *list(session(19, 30))[1:]]:
        reporter.observe(event)
    assert len(told) == 1 and "bars 24 of 24" in told[0].text


def test_missed_bars_refusals_switches_and_doubts_are_in_it():
    events = [happened.closed(0), happened.closed(1), happened.closed(4), happened.closed(-1, warm_up=True)]
    events += [happened.refused(), happened.refused(), happened.refused(reason="halted")]
    events += [happened.tripped(), happened.tripped(phase="flat"), happened.updated("in_doubt"), happened.updated("open")]
    (report,) = fold(events, "s1", "session", predicted=0.0001)
    assert (report.bars, report.expected, report.uptime) == (3, 5, 0.6)
    assert "refused: price_collar 2, halted 1; kill switches: daily_loss; orders in doubt or refused: 1" in text(report)
    assert "slippage: nothing was filled" in text(report) and report.predicted is None
    assert rows(report)["uptime"] == 0.6 and rows(report)["return"] is None


def test_a_day_that_misses_its_first_and_last_bars_shows_it():
    events = [happened.closed(20), *(happened.closed(hour) for hour in range(26, 44)), happened.opened(48)]
    first, second, _ = fold(events, "s1", "day")
    assert (first.bars, first.expected, second.bars, second.expected) == (1, 4, 18, 24)


def test_a_day_without_a_bar_is_told_too():
    told = []
    reporter = Reporter("s1", ["daily"], told.append)
    for event in (happened.opened(0), happened.opened(24)):
        reporter.observe(event)
    assert [message.text for message in told] == ["s1, day: no bar was seen"]


def test_what_a_short_position_pays_is_a_cost_too():
    events = [happened.instructed(1, 100.0), happened.filled(1, -1.0, 99.0), happened.filled(2, -1.0, 99.0, client_id="unknown")]
    (report,) = fold(events, "s1", "session")
    assert report.slippage == pytest.approx(0.01) and report.measured == 100.0


def test_predicted_slippage_is_that_of_the_orders_that_filled():
    foretold = replace(happened.instructed(1, 100.0), predicted=0.002)
    events = [foretold, happened.filled(1, 1.0, 101.0), happened.instructed(2, 50.0), happened.filled(2, 1.0, 50.0)]
    (report,) = fold(events, "s1", "session", 0.5)
    assert report.predicted == pytest.approx(0.002) and report.slippage == pytest.approx(1.0 / 150.0)
    (usual,) = fold(events[2:], "s1", "session", 0.5)
    assert usual.predicted == 0.5 and rows(usual)["predicted"] == 0.5


def test_two_symbols_of_one_moment_are_one_bar():
    other = happened.closed(0).__dict__ | {"symbol": "ETHUSDT"}
    (report,) = fold([happened.closed(0), MarketCloseEvent(**other)], "s1", "session")
    assert (report.bars, report.expected) == (1, 1)


def test_from_a_journal(tmp_path):
    folder = tmp_path / "s1"
    folder.mkdir()
    journal, events = Journal(folder / FILE, "s1"), list(session(30))
    for event in events:
        journal.append(event)
    journal.close()
    day, rest = reports(folder, "day")
    assert (day.bars, rest.bars, rest.session) == (24, 6, "s1") and reports(folder)[0].bars == 30
    fees = sum(event.fee for event in events if isinstance(event, FillEvent))
    funding = sum(event.amount for event in events if isinstance(event, FundingEvent))
    assert reports(folder)[0].fees == fees and reports(folder)[0].funding == funding
    assert reports(folder)[0].equity == [event.equity for event in events if isinstance(event, EquityEvent)][-1]
    with pytest.raises(UsageError, match="did you mean 'week'"):
        reports(folder, "weekk")


def test_a_session_that_saw_nothing_says_so():
    assert text(fold([], "s1", "day")[0]) == "s1, day: no bar was seen"
