"""How often one account may ask one of Bybit's private endpoints: a number of requests in a rolling second of the wall clock.

Source: bybit-exchange.github.io/docs/v5/rate-limit: retCode 10006, the headers X-Bapi-Limit, -Status and -Reset-Timestamp.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

SECOND = 1.0


@dataclass
class AccountLimit:
    """`refused` counts what exceeded a limit."""

    wall: Callable[[], float] = time.monotonic
    refused: Counter = field(default_factory=Counter)
    _asked: dict[tuple[str, str], deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def admit(self, key: str, path: str, limit: int) -> bool:
        """Count a request of `key`; False where it has made `limit` of them within a second."""
        asked = self._recent(key, path)
        if len(asked) >= limit:
            self.refused[path] += 1
            return False
        asked.append(self.wall())
        return True

    def headers(self, key: str, path: str, limit: int, now: int) -> dict[str, str]:
        """The limit, what is left of it, and at which of the venue's times (`now`, ms) who has used it up may ask again."""
        asked = self._recent(key, path)
        left = limit - len(asked)
        wait = 0.0 if left > 0 else asked[0] + SECOND - self.wall()
        reset = str(now + int(wait * 1000))
        return {"X-Bapi-Limit": str(limit), "X-Bapi-Limit-Status": str(left), "X-Bapi-Limit-Reset-Timestamp": reset}

    def _recent(self, key: str, path: str) -> deque[float]:
        asked = self._asked[key, path]
        while asked and asked[0] <= self.wall() - SECOND:
            asked.popleft()
        return asked
