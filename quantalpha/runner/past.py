"""What an account and its limits look back on: the last closes of each symbol, the last instructions, the time."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from quantalpha.runner.events import Event, InstructionEvent, MarketCloseEvent, SessionEvent
from quantalpha.runner.views import AccountView

HISTORY = 1024  # returns and instructions kept
ROOM = 4  # times as many returns have room, so that they are moved once in a while and not at every bar
MINUTE = 60_000  # ms


class Past:
    """time: ms, of the last event; step: ms of a bar."""

    def __init__(self, symbols: Sequence[str]):
        self.time = self.step = 0
        self._closes = {symbol: _Closes() for symbol in symbols}
        self._sent: deque[int] = deque(maxlen=HISTORY)

    def heard(self, event: Event) -> None:
        time = self.of_market(event)
        if time > self.time:
            self.time = time

    @staticmethod
    def of_market(event: Event) -> int:
        """When it was true on the market; 0 where the event has our time."""
        return 0 if type(event) is SessionEvent else event.event_time

    def closed(self, bar: MarketCloseEvent) -> None:
        self.step = bar.event_time - bar.bar
        self._closes[bar.symbol].append(bar.close)

    def instructed(self, event: InstructionEvent) -> None:
        if event.action != "cancel":
            self._sent.append(event.event_time)

    def price(self, symbol: str) -> float:
        """Its last close."""
        return self._closes[symbol].last

    def prices(self) -> dict[str, float]:
        """The last close of each symbol that has one."""
        return {symbol: closes.last for symbol, closes in self._closes.items() if closes.last is not None}

    def view(self, account: AccountView, time: int) -> AccountView:
        """The account with its markets as of the last event, or of `time` (ms) if that is later."""
        now, sent = max(self.time, time), []
        for moment in reversed(self._sent):
            if moment <= now - MINUTE:
                break
            sent.append(moment)
        returns = {symbol: closes.returns for symbol, closes in self._closes.items()}
        known = {"time": now, "returns": returns, "step": self.step, "sent": tuple(sent)}
        return AccountView(account.equity, account.positions, account.cash, **known, pending=account.pending, venues=account.venues)


class _Closes:
    """Of one symbol. What was given out stays as it was: a full table is followed by another one."""

    def __init__(self):
        self.last: float | None = None
        self._table, self._rows = np.empty(ROOM * HISTORY), 0

    def append(self, close: float) -> None:
        if self.last is not None:
            if self._rows == len(self._table):
                self._turn()
            self._table[self._rows] = close / self.last - 1.0 if self.last else float("nan")
            self._rows += 1
        self.last = close

    @property
    def returns(self) -> np.ndarray:
        """(at most HISTORY,) oldest first."""
        return self._table[max(self._rows - HISTORY, 0) : self._rows]

    def _turn(self) -> None:
        kept, self._table = self.returns, np.empty(ROOM * HISTORY)
        self._table[:HISTORY], self._rows = kept, HISTORY
