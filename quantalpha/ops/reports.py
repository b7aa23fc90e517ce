"""Daily, weekly and monthly reports of a session: read from its journal, or told by the alerts when a period ends."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from quantalpha.errors import UsageError, did_you_mean
from quantalpha.ops.tally import PERIODS, SESSION, Report, Tally
from quantalpha.ops.words import Message, moment
from quantalpha.runner.events import Event
from quantalpha.runner.journal import FILE, read


def reports(folder: Path, period: str = SESSION, predicted: float | None = None) -> list[Report]:
    """A session's reports from its journal, oldest first; the last one is of the period that was running. predicted: slippage (fraction)
    its bundle was judged with. UsageError: no such period."""
    if period not in (SESSION, *PERIODS):
        raise UsageError(f"--period: expected {SESSION}, {', '.join(PERIODS)}, found {period!r}; {did_you_mean(period, PERIODS)}")
    return fold(read(folder / FILE), folder.name, period, predicted)


def fold(events: Iterable[Event], session: str, period: str, predicted: float | None = None) -> list[Report]:
    tally = Tally(session, [] if period == SESSION else [period], predicted)
    ended = [report for event in events for report in tally.add(event)]
    return [*ended, tally.whole if period == SESSION else tally.running[period]]


class Reporter:
    """An observer of events that tells a report when a UTC day, week or month of the market is over.

    kinds: alerts.reports (daily, weekly, monthly); tell: takes a Message, such as Alerts.say.
    """

    def __init__(self, session: str, kinds: Iterable[str], tell: Callable[[Message], None], predicted: float | None = None):
        self.tally = Tally(session, [period for period, kind in PERIODS.items() if kind in kinds], predicted)
        self.tell = tell

    def observe(self, event: Event) -> None:
        for report in self.tally.add(event):
            self.tell(Message("report", ("report", report.period, report.start), text(report), time=report.end))

    def restore(self, events: Iterable[Event]) -> None:
        """What a resumed session did before: counted, told already."""
        for event in events:
            self.tally.add(event)


def rows(report: Report) -> dict[str, object]:
    """A report for a table or JSON: as `Report` documents it, with the values that follow from its sums."""
    follows = {"return": report.change, "slippage": report.slippage, "predicted": report.predicted, "uptime": report.uptime}
    return asdict(report) | {"vetoes": dict(report.vetoes)} | follows


def text(report: Report) -> str:
    """For people, a fact a line."""
    if report.end is None:
        return f"{report.session}, {report.period}: no bar was seen"
    span = f"{moment(report.start)} to {moment(report.end)}"
    turnover, switches = _money(report.turnover), ", ".join(report.switches) or "none"
    lines = [
        f"{report.period} of {report.session}, {span}",
        f"equity {_money(report.equity)} quote, return {_percent(report.change)}, drawdown {_percent(report.drawdown, sign=False)}",
        f"{report.decisions} decisions, {report.fills} fills ({report.closing} closing, {report.won} won), turnover {turnover}",
        f"realised {_money(report.realised)}, fees {_money(report.fees)} paid, funding {_money(report.funding)} received, quote",
        _slippage(report),
        f"refused: {_counted(report.vetoes)}; kill switches: {switches}; orders in doubt or refused: {report.doubts}",
        f"bars {report.bars} of {report.expected} ({_percent(report.uptime, sign=False)}), starts {report.starts}",
    ]
    return "\n".join(lines)


def _slippage(report: Report) -> str:
    if not report.fills:
        return "slippage: nothing was filled"
    return f"slippage measured {_points(report.slippage)}, predicted {_points(report.predicted)}"


def _money(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _percent(value: float | None, sign: bool = True) -> str:
    return "unknown" if value is None else f"{value * 100:{'+' if sign else ''}.2f} %"


def _points(value: float | None) -> str:
    return "unknown" if value is None else f"{value * 1e4:+.2f} bp"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"
