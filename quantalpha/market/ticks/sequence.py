"""Trades and closed bars, each once and in order. What follows a hole is held back until the hole is mended."""

from collections import OrderedDict

from quantalpha.market.ticks.health import Channel
from quantalpha.market.ticks.messages import Bar, Message, Trade

REMEMBERED = 10_000  # text ids of trades, to know a duplicate by
HELD = 50_000  # messages that wait for a hole to be mended, at most


class Numbered:
    """Messages whose numbers go up by `step`: Binance's trades by id, bars by open time (ms). last: the number known already, or None."""

    def __init__(self, channel: Channel, step: int, last: int | None = None):
        self.channel, self.step, self.last = channel, step, last
        self.held: dict[int, Message] = {}

    @property
    def broken(self) -> bool:
        """Whether messages wait for what lies between `last` and them."""
        return bool(self.held)

    def take(self, message: Message) -> list[Message]:
        """What can go on now, in order."""
        number = number_of(message)
        if self.last is None or (number == self.last + self.step and not self.held):
            self.last = number
            return [message]
        if number <= self.last or number in self.held:
            self.channel.duplicates += 1
            return []
        self.channel.gaps += not self.held
        self.held[number] = message
        return self._joined() if len(self.held) < HELD else self.mend([])

    def lose(self) -> None:
        """Messages may be missing: the numbers will tell."""

    def mend(self, fetched: list[Message]) -> list[Message]:
        """`fetched` and what was held, in order; what is still missing between them is counted as lost."""
        fresh = {number_of(m): m for m in fetched if self.last is None or number_of(m) > self.last}
        self.channel.backfilled += len(fresh.keys() - self.held.keys())
        numbers = sorted(fresh | self.held)
        if numbers and self.last is not None:
            self.channel.lost += (numbers[-1] - self.last) // self.step - len(numbers)
        self.last = numbers[-1] if numbers else self.last
        found, self.held = fresh | self.held, {}
        return [found[number] for number in numbers]

    def _joined(self) -> list[Message]:
        """Those held that follow on `last` by now: they came in disorder, and nothing was missing."""
        found = []
        while self.held and self.last + self.step in self.held:
            self.last += self.step
            found.append(self.held.pop(self.last))
        return found


class Named:
    """Trades with text ids, which show duplicates but no hole: after a broken line there may be one."""

    def __init__(self, channel: Channel, last: int | None = None):
        self.channel, self.last = channel, last  # the time of the newest trade given, ms
        self.seen: OrderedDict[str, None] = OrderedDict()
        self.held: list[Trade] = []
        self._lost = last is not None  # whether trades may be missing after `last`

    @property
    def broken(self) -> bool:
        """Whether trades wait for what may lie between `last` and them. Asked for before they came, an answer might end before them."""
        return bool(self.held)

    def take(self, message: Trade) -> list[Trade]:
        if message.id in self.seen:
            self.channel.duplicates += 1
            return []
        if self._lost:
            self.held.append(message)
            return [] if len(self.held) < HELD else self.mend([])
        return [self._give(message)]

    def lose(self) -> None:
        self.channel.gaps += self.last is not None and not self._lost
        self._lost = self.last is not None

    def mend(self, fetched: list[Trade]) -> list[Trade]:
        """`fetched` and what was held, in order of time. That the fetched do not reach back to the last trade known counts as one lost."""
        known, fetched = self.last, sorted(fetched, key=lambda trade: trade.time)
        reaches = known is None or (fetched and fetched[0].time <= known)
        self.channel.lost += not reaches
        fresh = [trade for trade in fetched if (known is None or trade.time >= known) and trade.id not in self.seen]
        held = {trade.id for trade in self.held}
        self.channel.backfilled += sum(trade.id not in held for trade in fresh)
        both = {trade.id: trade for trade in [*fresh, *self.held]}
        self.held, self._lost = [], False
        return [self._give(trade) for trade in sorted(both.values(), key=lambda trade: trade.time)]

    def _give(self, trade: Trade) -> Trade:
        self.seen[trade.id] = None
        if len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        self.last = trade.time
        return trade


def number_of(message: Message) -> int:
    """A bar's open time, a trade's id."""
    return message.time if type(message) is Bar else message.id
