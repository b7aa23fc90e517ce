"""How many orders an account may send: 300 in 10 seconds and 1200 in a minute of the wall clock.

Source: developers.binance.com, USD-M futures, General Info, Order Rate Limits; the numbers are exchangeInfo's `rateLimits`.
"""

from collections.abc import Callable

from quantalpha.practice.refusal import Refusal

WINDOWS = {"10S": (10, 300, "TEN_SECONDS"), "1M": (60, 1200, "MINUTE")}  # seconds, orders
CODE = -1015


class OrderCounts:
    """By API key; windows are aligned to the wall clock."""

    def __init__(self, wall: Callable[[], float]):
        self.wall = wall
        self._used: dict[tuple[str, str], tuple[int, int]] = {}

    def used(self, key: str, window: str) -> int:
        begun, used = self._used.get((key, window), (-1, 0))
        return used if begun == self._begun(window) else 0

    def count(self, key: str, orders: int) -> None:
        """Count so many orders; Refusal, uncounted, where they exceed a limit."""
        for window, (_, limit, name) in WINDOWS.items():
            if self.used(key, window) + orders > limit:
                raise Refusal(CODE, f"Too many new orders; current limit is {limit} orders per {name}.", 429)
        for window in WINDOWS:
            self._used[key, window] = self._begun(window), self.used(key, window) + orders

    def headers(self, key: str) -> dict[str, str]:
        return {f"X-MBX-ORDER-COUNT-{window}": str(self.used(key, window)) for window in WINDOWS}

    def _begun(self, window: str) -> int:
        return int(self.wall() // WINDOWS[window][0])
