"""Bars in their turn. Symbols of one account move together: openings and closes of one moment are a slice, which is complete when every
symbol has its bar or a later moment is heard of."""

from collections.abc import Iterator, Sequence

from quantalpha.errors import DataError
from quantalpha.runner.events import MarketCloseEvent, MarketOpenEvent, kind_of

Bar = MarketOpenEvent | MarketCloseEvent


class Slices:
    """opened, closed: open time (ms) of the last bar of each symbol that did; -1 before the first."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = tuple(symbols)
        self.opened, self.closed = dict.fromkeys(self.symbols, -1), dict.fromkeys(self.symbols, -1)
        self._waiting: dict[type[Bar], dict[str, Bar]] = {MarketOpenEvent: {}, MarketCloseEvent: {}}  # of the moment not complete

    def implied(self, bar: Bar) -> MarketOpenEvent | None:
        """The opening that nobody told: of a close that is the first word of its bar, in a market that was heard of before."""
        if type(bar) is MarketOpenEvent or bar.warm_up:
            return None
        return implied_open(bar) if self.opened.get(bar.symbol, -1) <= self.closed.get(bar.symbol, -1) < bar.bar else None

    def require_turn(self, bar: Bar) -> None:
        """DataError for a symbol that is not traded and for a bar out of turn."""
        if bar.symbol not in self.opened:
            raise DataError(f"{bar.symbol}: not traded here, only {', '.join(self.symbols)}")
        opened, closed = self.opened[bar.symbol], self.closed[bar.symbol]
        if type(bar) is MarketOpenEvent:
            in_turn = bar.bar > closed >= opened
        else:
            in_turn = bar.bar > closed and (bar.warm_up or bar.bar == opened)
        if not in_turn:
            known = f"last opened {opened}, last closed {closed}"
            raise DataError(f"{bar.symbol}: {kind_of(bar)} of bar {bar.bar} is out of turn ({known}); bars open, then close")

    def overtaken(self, bar: Bar) -> Iterator[list]:
        """The slices, openings first, that end because this bar is of a later moment: who has none there is not waited for."""
        for kind, waiting in self._waiting.items() if len(self.symbols) > 1 else ():
            if waiting and any(_before(each, bar) for each in waiting.values()):
                yield self._taken(kind)

    def completed(self, bar: Bar) -> list:
        """The bars of the moment that this one completes; [] while others are waited for. Who comes when others wait at a later moment is
        not waited for any more, and alone."""
        if len(self.symbols) == 1:
            return [bar]
        waiting = self._waiting[type(bar)]
        if any(_before(bar, each) for each in waiting.values()):
            return [bar]
        waiting[bar.symbol] = bar
        return self._taken(type(bar)) if len(waiting) == len(self.symbols) else []

    def _taken(self, kind: type[Bar]) -> list:
        held, self._waiting[kind] = self._waiting[kind], {}
        return [held[symbol] for symbol in self.symbols if symbol in held]


def _before(earlier: Bar, bar: Bar) -> bool:
    """Closes of a moment come before its openings."""
    turn = type(earlier) is MarketCloseEvent and type(bar) is MarketOpenEvent
    return earlier.event_time < bar.event_time or turn and earlier.event_time == bar.event_time


def implied_open(bar: MarketCloseEvent) -> MarketOpenEvent:
    """The opening of a bar whose close is the first that was heard of it."""
    times = {"event_time": bar.bar, "recv_time": bar.recv_time, "bar": bar.bar}
    return MarketOpenEvent(**times, symbol=bar.symbol, open=bar.open, funding_rate=bar.funding_rate)
