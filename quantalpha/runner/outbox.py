"""Where instructions leave for the venue: of one order everything strictly in turn, different orders at once.

An order is sent once. Where no answer comes it is in doubt, and the venue is asked for its client id, with growing pauses, until it knows
the order or can no longer come to know it: a request carries its time, and the venue takes none that is older than RECV_WINDOW, so that
once this and SETTLING (in which what was taken shows up in answers) have passed since the last moment at which it can have been signed, an
order that the venue does not know is dead.

What may open a position is decided on the market of its moment: where it cannot leave within `Pace.entry` it is given up, and never sent.
What reduces or protects has no such time.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from quantalpha.market.connect import Retry, deadline, written
from quantalpha.market.trading import RECV_WINDOW, InDoubt, NotSent, Refused, Trading
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.latency import Stopwatch
from quantalpha.runner.orders import EXPIRED, FINAL, IN_DOUBT, REJECTED
from quantalpha.runner.reports import Reports

SETTLING = 2.0  # seconds
PROMPT = 0.01  # seconds after the moment from which an unknown order is dead, until it is asked about


@dataclass(frozen=True)
class Pace:
    """Seconds between questions: for the account and its orders, for trades, for payments, for the venue's clock and the line's health.
    doubt: pauses between questions about an order in doubt; dead: after so many seconds one that the venue does not know never arrived;
    entry: within so many an order that may open a position leaves this machine, or never."""

    account: float = 5.0
    trades: float = 3.0
    payments: float = 120.0
    health: float = 2.0
    dead: float = RECV_WINDOW / 1000 + SETTLING
    doubt: Retry = field(default_factory=lambda: Retry(base=0.2, cap=5.0))
    entry: float = math.inf


class Outbox:
    """work: runs a delivery and answers for its errors; ask: the venue is to be asked what has changed."""

    def __init__(
        self, trading: Trading, reports: Reports, pace: Pace, work: Callable[[Callable[[], Awaitable]], Awaitable], ask: Callable[[], None]
    ):
        self.trading, self.reports, self.pace, self.work, self.ask = trading, reports, pace, work, ask
        self.stopwatch = Stopwatch()
        self._last: dict[str, asyncio.Task] = {}  # of each order, what is sent last

    @property
    def orders(self):
        return self.reports.broker.orders

    @property
    def tasks(self) -> list[asyncio.Task]:
        return list(self._last.values())

    def busy(self, client_id: str) -> bool:
        """Something of that order is under way."""
        return client_id in self._last

    def send(self, instruction: InstructionEvent) -> None:
        """Takes what is durable and returns at once."""
        before, latest = self._last.get(instruction.client_id), self._latest(instruction)
        self._begin(instruction, partial(self._deliver, instruction, before, latest))

    def pursue(self, instruction: InstructionEvent) -> None:
        """One that was found in doubt is asked about while everything else goes on."""
        self._begin(instruction, partial(self.resolve, instruction))

    def _begin(self, instruction: InstructionEvent, work: Callable[[], Awaitable]) -> None:
        task = asyncio.get_running_loop().create_task(self.work(work))
        self._last[instruction.client_id] = task
        task.add_done_callback(
            lambda done: self._last.pop(instruction.client_id) if self._last.get(instruction.client_id) is done else None
        )

    def _latest(self, instruction: InstructionEvent) -> float | None:
        """Until when (the loop's time) it may leave; None: whenever it can."""
        if instruction.reduce_only or instruction.purpose != "order":
            return None
        age = max(self.reports.clock() - instruction.recv_time, 0) / 1000
        return asyncio.get_running_loop().time() + self.pace.entry - age

    async def _deliver(self, instruction: InstructionEvent, before: asyncio.Task | None, latest: float | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        act = {"place": self.place, "amend": self._amend, "cancel": self._cancel}[instruction.action]
        deadline.set(latest)  # within this delivery's task
        await act(instruction)
        self.ask()

    async def place(self, instruction: InstructionEvent) -> None:
        written.set(partial(self.stopwatch.written, instruction))
        try:
            self.reports.order(await self.trading.place(instruction))
        except NotSent as error:
            self.reports.say(instruction.client_id, EXPIRED, f"given up, never sent: {error}")
        except Refused as error:
            self.reports.say(instruction.client_id, REJECTED, str(error))
        except InDoubt as error:
            self.reports.say(instruction.client_id, IN_DOUBT, str(error))
            await self.resolve(instruction)

    async def _amend(self, instruction: InstructionEvent) -> None:
        """What was refused or not answered leaves the order as the venue says it is."""
        try:
            self.reports.order(await self.trading.amend(instruction))
        except (Refused, InDoubt):
            await self._find_out(instruction)

    async def _cancel(self, instruction: InstructionEvent) -> None:
        """To cancel twice is harmless: it is said until the order is known to be over."""
        deadline.set(None)
        for attempt in range(self.pace.doubt.attempts):
            with contextlib.suppress(InDoubt, Refused):
                report = await self.trading.cancel(instruction.client_id, instruction.symbol)
                report = await self.trading.order(instruction.client_id, instruction.symbol) if report is None else report
                if report is not None:
                    self.reports.order(report)
                if report is None or report.status in FINAL:
                    return
            await self.pace.doubt.sleep(self.pace.doubt.pause(attempt))

    async def _find_out(self, instruction: InstructionEvent) -> None:
        deadline.set(None)
        for attempt in range(self.pace.doubt.attempts):
            try:
                report = await self.trading.order(instruction.client_id, instruction.symbol)
                if report is not None:
                    self.reports.order(report)
                return
            except (Refused, InDoubt):
                await self.pace.doubt.sleep(self.pace.doubt.pause(attempt))

    async def resolve(self, instruction: InstructionEvent) -> None:
        """Asks about an order in doubt until the venue knows it, or never will. It is not sent again."""
        deadline.set(None)
        dead, attempt = time.monotonic() + self.pace.dead, 0
        while not self.orders[instruction.client_id].acknowledged:  # the stream may know it first
            late, answered, report = time.monotonic() > dead, True, None
            try:
                report = await self.trading.order(instruction.client_id, instruction.symbol)
            except (Refused, InDoubt):
                answered = False
            if report is not None:
                self.reports.order(report)
                return
            if late and answered:
                self.reports.say(instruction.client_id, REJECTED, "never arrived: the venue does not know it, and takes nothing so old")
                return
            left = dead - time.monotonic()
            attempt = attempt + 1 if late == (left <= 0.0) else 0  # the question that decides is asked at once
            pause = self.pace.doubt.pause(min(attempt, 10))
            await self.pace.doubt.sleep(min(pause, max(left, 0.0) + PROMPT) if not late else pause)
