"""What a session did between two moments, folded from its events one by one: the same sums live and from a journal, in constant memory.

Periods end by the market's time: the bar that opens at 00:00 UTC begins the next day, whatever the machine's clock says. What arrives in
between belongs to the period that is running.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from quantalpha.runner.events import (
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    OrderUpdateEvent,
    RejectedOrderEvent,
    SessionEvent,
    SignalEvent,
    SwitchEvent,
)
from quantalpha.runner.execution.slippage import measured

SESSION, PERIODS = "session", {"day": "daily", "week": "weekly", "month": "monthly"}
REMEMBERED = 10_000  # instructions whose reference price is kept until they fill


@dataclass
class Report:
    """Money in quote currency, times in ms since 1970 UTC, fractions plain (0.01 is 1 %).

    equity: at the mark of the last close, at a venue in the end at that of the moment it was left.
    start and end: of the period, as far as the session lasted then (opening of its first bar, close of its last); first: equity before it
    (after the first bar, where it is the session's first); drawdown: from the highest equity within it; slippage: paid against the mid
    price at which orders were made, or the trigger that a stop or take-profit waited for, weighted by notional, + a cost, known of
    `measured` quote of them; predicted: from the books of the orders that filled, and by the bundle's costs where no book was seen.
    """

    session: str
    period: str  # session | day | week | month
    start: int | None = None
    end: int | None = None
    bars: int = 0
    expected: int = 0
    first: float | None = None
    equity: float | None = None
    peak: float | None = None
    drawdown: float = 0.0
    decisions: int = 0
    fills: int = 0
    closing: int = 0  # fills that realised something
    won: int = 0
    turnover: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    slippage_cost: float = 0.0
    measured: float = 0.0
    usual: float | None = None  # slippage of the bundle's costs
    expected_cost: float = 0.0
    foretold: float = 0.0  # quote traded of which it is known
    vetoes: Counter = field(default_factory=Counter)
    switches: list[str] = field(default_factory=list)
    doubts: int = 0  # orders the venue refused or left in doubt
    starts: int = 0

    @property
    def change(self) -> float | None:
        """Simple return; None before there is any equity."""
        return None if self.first is None or self.equity is None or not self.first > 0 else self.equity / self.first - 1.0

    @property
    def slippage(self) -> float | None:
        return self.slippage_cost / self.measured if self.measured else None

    @property
    def predicted(self) -> float | None:
        usual = self.usual if self.fills else None
        return self.expected_cost / self.foretold if self.foretold else usual

    @property
    def uptime(self) -> float | None:
        """Share of the period's bars that were seen."""
        return self.bars / self.expected if self.expected else None


class Tally:
    """Folds events; `add` gives back the reports of the periods that an event ended. predicted: slippage as a fraction, if known."""

    def __init__(self, session: str, periods: Iterable[str] = PERIODS, predicted: float | None = None):
        self.session, self.predicted = session, predicted
        self.whole = Report(session, SESSION, usual=predicted)
        self.running = {period: Report(session, period, usual=predicted) for period in periods}
        self._until: dict[str, int] = {}
        self._orders: dict[str, InstructionEvent] = {}
        self._named: deque[str] = deque()

    def add(self, event: Event) -> list[Report]:
        live = isinstance(event, MarketOpenEvent) or (isinstance(event, MarketCloseEvent) and not event.warm_up)
        ended = self._roll(event.bar) if live else []
        if isinstance(event, InstructionEvent) and event.reference is not None:
            self._remember(event)
        fold = FOLDS.get(type(event))
        if fold is not None:
            for report in (self.whole, *self.running.values()):
                fold(report, event)
        if isinstance(event, FillEvent) and event.client_id in self._orders:
            for report in (self.whole, *self.running.values()):
                _slip(report, event, self._orders[event.client_id])
        return ended

    def _roll(self, bar: int) -> list[Report]:
        """Begins the periods that this bar is the first of. A bar of the past (another symbol's) ends nothing."""
        ended = []
        for period, report in self.running.items():
            until = self._until.get(period)
            if until is not None and bar < until:
                continue
            start, self._until[period] = bounds(period, bar)
            if until is not None:
                ended.append(_finished(report, until))
                self.running[period] = Report(self.session, period, start=start, first=report.equity, usual=self.predicted)
        return ended

    def _remember(self, instruction: InstructionEvent) -> None:
        self._orders[instruction.client_id] = instruction
        self._named.append(instruction.client_id)
        if len(self._named) > REMEMBERED:
            self._orders.pop(self._named.popleft(), None)


def bounds(period: str, time: int) -> tuple[int, int]:
    """[start, end) of the UTC day, ISO week or month that `time` lies in; all in ms since 1970."""
    day = datetime.fromtimestamp(time / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        day -= timedelta(days=day.weekday())
        after = day + timedelta(days=7)
    elif period == "month":
        day = day.replace(day=1)
        after = (day + timedelta(days=32)).replace(day=1)
    else:
        after = day + timedelta(days=1)
    return int(day.timestamp() * 1000), int(after.timestamp() * 1000)


def _finished(report: Report, until: int) -> Report:
    """Bars that are missing at a period's end are missing too."""
    if report.end is not None:
        report.expected = report.expected * (until - report.start) // (report.end - report.start)
        report.end = until
    return report


def _bar(report: Report, event: MarketCloseEvent) -> None:
    if event.warm_up:
        return
    report.start = event.bar if report.start is None else report.start
    if report.end == event.event_time:  # another symbol's bar of the same moment
        return
    report.end = event.event_time
    report.bars += 1
    report.expected = (event.event_time - report.start) // (event.event_time - event.bar)


def _equity(report: Report, event: EquityEvent) -> None:
    report.equity = event.equity
    report.first = event.equity if report.first is None else report.first
    report.peak = max(report.first if report.peak is None else report.peak, event.equity)
    if report.peak > 0:
        report.drawdown = max(report.drawdown, 1.0 - event.equity / report.peak)


def _fill(report: Report, event: FillEvent) -> None:
    report.fills += 1
    report.closing += event.realised != 0.0
    report.won += event.realised > 0.0
    report.turnover += abs(event.quantity) * event.price
    report.realised += event.realised
    report.fees += event.fee


def _slip(report: Report, event: FillEvent, order: InstructionEvent) -> None:
    found = measured(event.quantity, [event], order.reference, order.reference)
    notional = abs(event.quantity) * order.reference
    report.slippage_cost += found.price
    report.measured += notional
    if order.predicted is not None:
        report.expected_cost += order.predicted * notional
        report.foretold += notional


def _funding(report: Report, event: FundingEvent) -> None:
    report.funding += event.amount


def _veto(report: Report, event: RejectedOrderEvent) -> None:
    report.vetoes[event.reason] += 1


def _switch(report: Report, event: SwitchEvent) -> None:
    if event.phase == "tripped":
        report.switches.append(event.name)


def _decision(report: Report, event: SignalEvent) -> None:
    report.decisions += 1


def _update(report: Report, event: OrderUpdateEvent) -> None:
    report.doubts += event.status in ("rejected", "in_doubt")


def _session(report: Report, event: SessionEvent) -> None:
    report.starts += event.phase in ("start", "resume")


FOLDS: Mapping[type[Event], Callable[[Report, Event], None]] = {
    MarketCloseEvent: _bar,
    EquityEvent: _equity,
    FillEvent: _fill,
    FundingEvent: _funding,
    RejectedOrderEvent: _veto,
    SwitchEvent: _switch,
    SignalEvent: _decision,
    OrderUpdateEvent: _update,
    SessionEvent: _session,
}
