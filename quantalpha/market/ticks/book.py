"""A maintained L2 book: prices in order, a quantity each, and the check that no change of it was missed."""

from bisect import bisect_left, insort

from quantalpha.market.ticks.messages import FETCHED, STREAMED, Depth

INFINITE = float("inf")


class Side:
    """Quantities by price, best first. Prices are kept as keys that grow away from the market: bids negated, asks as they are."""

    def __init__(self, sign: int):
        self.sign = sign
        self.keys: list[float] = []
        self.quantity: dict[float, float] = {}

    def update(self, levels) -> None:
        """Each [price, quantity] replaces what waits there; 0 removes it, and may name a price that is not there.

        ValueError or TypeError for what is no level; those before it are in by then.
        """
        quantity, sign = self.quantity, self.sign
        for price, amount in levels:
            price, amount = float(price), float(amount)
            if not (0.0 < price < INFINITE and 0.0 <= amount < INFINITE):  # NaN is neither
                raise ValueError(f"no level of a book: {price}, {amount}")
            key = sign * price
            if amount:
                if key not in quantity:
                    insort(self.keys, key)
                quantity[key] = amount
            elif quantity.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]

    def replace(self, levels) -> None:
        self.keys, self.quantity = [], {}
        self.update(levels)

    def top(self, levels: int) -> tuple[list[float], list[float]]:
        """Prices and quantities of the best `levels`; NaN and 0 where there are fewer."""
        keys, sign = self.keys[:levels], self.sign
        lacking = levels - len(keys)
        prices, amounts = [sign * key for key in keys], [self.quantity[key] for key in keys]
        return prices + [float("nan")] * lacking, amounts + [0.0] * lacking


class Book:
    """The book of one symbol, as of update number `last`; not `synced` until a snapshot and an unbroken chain of changes stand behind it.

    Changes that come while it is not synced are kept (at most `BACKLOG`) and applied once a snapshot lies among them.
    Source: developers.binance.com, USD-M futures, "How to manage a local order book correctly".
    """

    BACKLOG = 10_000

    def __init__(self, symbol: str):
        self.symbol = symbol
        self.bids, self.asks = Side(-1), Side(1)
        self.synced, self.last, self.time = False, -1, 0
        self._fetched = False  # whether the book is a snapshot by REST, and no change has joined it yet
        self._backlog: list[Depth] = []

    def apply(self, message: Depth) -> str:
        """'applied'; 'old': its changes are in the book already; 'waiting' for a snapshot; 'gap': changes were missed.

        Raises ValueError or TypeError for levels that are none; a book that they may have touched is not `synced` then.
        """
        if message.snapshot == STREAMED:
            self._backlog.clear()  # what came before it is older
        if message.snapshot:
            return self._reset(message)
        if not self.synced:
            return self._wait(message)
        if message.last <= self.last:
            return "old"
        if message.previous != self.last and not (self._fetched and _meets(message, self.last)):
            self.synced = False
            self._wait(message)
            return "gap"
        self._change(message)
        return "applied"

    def crossed(self) -> bool:
        """Whether the best bid reaches the best ask: no exchange's book is like that, so changes went astray."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids and asks and -bids[0] >= asks[0])

    def lose(self) -> None:
        """Forget: messages went missing, or the line broke."""
        self.synced = False
        self._backlog.clear()

    def _wait(self, message: Depth) -> str:
        Side(-1).update(message.bids)  # what is no level is refused before it is kept
        Side(1).update(message.asks)
        if len(self._backlog) >= self.BACKLOG:
            del self._backlog[: self.BACKLOG // 2]  # a snapshot that late is asked for again
        self._backlog.append(message)
        return "waiting"

    def _reset(self, snapshot: Depth) -> str:
        """Take a snapshot and the changes kept since; 'gap' where the first of them does not reach back to it."""
        later = [message for message in self._backlog if message.last >= snapshot.last]
        chain = [snapshot.last, *(message.last for message in later)]
        if later and not _meets(later[0], snapshot.last):
            return "gap"
        if any(message.previous != before for message, before in zip(later[1:], chain[1:])):
            self._backlog = later
            return "gap"
        self.lose()
        self.bids.replace(snapshot.bids)
        self.asks.replace(snapshot.asks)
        self.synced, self.last, self.time = True, snapshot.last, snapshot.time
        self._fetched = snapshot.snapshot == FETCHED
        for message in later:
            self._change(message)
        return "applied"

    def _change(self, message: Depth) -> None:
        try:
            self.bids.update(message.bids)
            self.asks.update(message.asks)
        except (ValueError, TypeError):
            self.lose()
            raise
        self.last, self.time, self._fetched = message.last, message.time, False


def _meets(message: Depth, snapshot: int) -> bool:
    """Whether no change lies between a snapshot and this, the first message that ends at or after it.

    Binance asks for first <= snapshot. The numbers between `previous` and `first` belong to other symbols, so there is none either where
    the snapshot lies among those.
    """
    return message.previous <= snapshot
