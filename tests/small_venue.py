"""A venue for tests of executions: a random walk with a book of three levels, one position, and every answer late, doubled or in disorder.

Orders are filled in parts, refused, expire, are lost on the way and found again; a cancellation may be overtaken by a fill or get lost.
All of it is drawn from `rng`; without faults every order is accepted, and what can trade trades at the next step.
"""

import math
import random
from dataclasses import dataclass, field, replace

from quantalpha.runner import orders as states
from quantalpha.runner.events import Event, FillEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.execution.book import Book
from quantalpha.runner.orders import Orders

LOT, TICK = 0.001, 0.1
LEVEL = 40  # lots of a full level


@dataclass
class Resting:
    """Quantities in whole lots, so that the venue counts exactly."""

    instruction: InstructionEvent
    lots: int
    price: float | None
    filled: int = 0
    parts: list[int] = field(default_factory=list)  # its trades
    status: str = states.OPEN


class SmallVenue:
    def __init__(self, rng: random.Random, *, faults: bool, position: float = 0.0, most_delay: int = 3):
        self.rng, self.faults, self.most_delay = rng, faults, most_delay
        self.position = round(position / LOT)
        self.orders: dict[str, Resting] = {}
        self.mid, self.traded, self.now = 1000.0, 0.0, 0
        self._spread, self._sizes = 1, [LEVEL] * 3
        self._arriving: list[tuple[int, InstructionEvent]] = []
        self._news: list[tuple[int, Event]] = []
        self._steps = 0

    @property
    def book(self) -> Book:
        return Book(self._side(-1), self._side(1))

    def _side(self, way: int) -> tuple[tuple[float, float], ...]:
        return tuple((round(self.mid + way * TICK * (self._spread / 2 + level), 1), size * LOT) for level, size in enumerate(self._sizes))

    @property
    def quiet(self) -> bool:
        """Nothing is on its way in either direction."""
        return not self._arriving and not self._news

    def tell(self, instruction: InstructionEvent) -> None:
        self._arriving.append((self._steps + self._delay(), instruction))

    def step(self, now: int) -> list[Event]:
        """The market moves, what has arrived is done, what has come back is returned."""
        self.now, self._steps = now, self._steps + 1
        self.mid = round(self.mid + TICK * self.rng.randint(-3, 3), 1)
        self._spread = 30 if self.faults and self.rng.random() < 0.1 else 2
        self._sizes = [self.rng.randint(1, LEVEL) if self.faults else LEVEL for _ in range(3)]
        self.traded += LOT * self.rng.randint(0, 3 * LEVEL)
        arrived = [instruction for due, instruction in self._arriving if due <= self._steps]
        self._arriving = [(due, instruction) for due, instruction in self._arriving if due > self._steps]
        for instruction in arrived:
            {"place": self._place, "cancel": self._cancel, "amend": self._amend}[instruction.action](instruction)
        for resting in list(self.orders.values()):
            self._trade(resting)
        return self._delivered()

    def settled(self) -> list[Event]:
        """Asked at last: every trade and the last word on every order, whatever was lost."""
        fills = [event for name in self.orders for event in self._fills(name)]
        return fills + [self._word(resting) for resting in self.orders.values()]

    def lots(self, parent: str) -> int:
        return sum(resting.filled for resting in self.orders.values() if resting.instruction.parent == parent)

    def _place(self, instruction: InstructionEvent) -> None:
        assert instruction.client_id not in self.orders, "the same order was sent twice"
        lots = round(instruction.quantity / LOT)
        assert math.isclose(lots * LOT, instruction.quantity, rel_tol=1e-12), "not a multiple of the lot"
        resting = self.orders[instruction.client_id] = Resting(instruction, lots, instruction.price)
        wrong_way = instruction.reduce_only and (lots * self.position >= 0)
        if wrong_way or self._happens(0.1) or self._crosses(resting):
            resting.status = states.REJECTED
        self._tell(self._word(resting))

    def _crosses(self, resting: Resting) -> bool:
        if resting.instruction.kind != "post_only":
            return False
        return resting.price >= self.book.ask if resting.lots > 0 else resting.price <= self.book.bid

    def _cancel(self, instruction: InstructionEvent) -> None:
        resting = self.orders.get(instruction.client_id)
        assert resting is not None, "the cancellation overtook its order"
        if self._happens(0.2):
            return  # lost; asked for again
        if resting.status not in states.FINAL:
            resting.status = states.CANCELLED
        self._tell(self._word(resting))

    def _amend(self, instruction: InstructionEvent) -> None:
        resting = self.orders[instruction.client_id]
        assert round(instruction.quantity / LOT) == resting.lots
        if resting.status not in states.FINAL and not self._happens(0.2):
            resting.price = instruction.price
            if self._crosses(resting):
                resting.status = states.EXPIRED
        self._tell(self._word(resting))

    def _trade(self, resting: Resting) -> None:
        if resting.status in states.FINAL:
            return
        kind, left = resting.instruction.kind, abs(resting.lots) - abs(resting.filled)
        if kind == "market":
            part = left if not self.faults else self.rng.randint(0, left)
        else:
            touched = self.book.ask <= resting.price if resting.lots > 0 else self.book.bid >= resting.price
            part = self.rng.randint(0, left) if touched or self.rng.random() < 0.2 else 0
        if resting.instruction.reduce_only:
            part = min(part, max(0, -self.position * (1 if resting.lots > 0 else -1)))
        self._fill(resting, part)
        if kind == "market" and resting.status not in states.FINAL:
            resting.status = states.EXPIRED
            self._tell(self._word(resting))

    def _fill(self, resting: Resting, part: int) -> None:
        if part == 0:
            return
        way = 1 if resting.lots > 0 else -1
        resting.filled, self.position = resting.filled + way * part, self.position + way * part
        resting.parts.append(way * part)
        resting.status = states.FILLED if resting.filled == resting.lots else states.PARTLY_FILLED
        self._tell(self._fills(resting.instruction.client_id)[-1])
        self._tell(self._word(resting))

    def _fills(self, name: str) -> list[FillEvent]:
        resting = self.orders[name]
        price = resting.price or (self.book.ask if resting.lots > 0 else self.book.bid)
        at = {"event_time": self.now, "recv_time": self.now, "symbol": resting.instruction.symbol, "bar": 0, "client_id": name}
        return [
            FillEvent(**at, quantity=part * LOT, price=price, fee=0.0, realised=0.0, reason="order", trade=f"{name}:{number}")
            for number, part in enumerate(resting.parts)
        ]

    def _word(self, resting: Resting) -> OrderUpdateEvent:
        name, filled = resting.instruction.client_id, resting.filled * LOT
        at = {"event_time": self.now, "recv_time": self.now, "symbol": resting.instruction.symbol}
        return OrderUpdateEvent(**at, client_id=name, venue_id=name, status=resting.status, filled=filled)

    def _tell(self, event: Event) -> None:
        if self._happens(0.1) and isinstance(event, OrderUpdateEvent):
            doubt = replace(event, status=states.IN_DOUBT, filled=0.0, venue_id=None)
            self._news.append((self._steps, doubt))
            self._news.append((self._steps + 5, event))  # asked about and answered
            return
        for _ in range(2 if self._happens(0.2) else 1):
            self._news.append((self._steps + self._delay(), event))

    def _delivered(self) -> list[Event]:
        due = [event for at, event in self._news if at <= self._steps]
        self._news = [(at, event) for at, event in self._news if at > self._steps]
        if self.faults:
            self.rng.shuffle(due)
        return due

    def _delay(self) -> int:
        return self.rng.randint(0, self.most_delay) if self.faults else 0

    def _happens(self, chance: float) -> bool:
        return self.faults and self.rng.random() < chance


def hear(orders: Orders, news: list[Event]) -> None:
    for event in news:
        orders.fill(event) if isinstance(event, FillEvent) else orders.update(event)
