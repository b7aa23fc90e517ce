"""How often one address may ask Bybit: a number of requests in a rolling window of the wall clock, and a ban for who exceeds it.

Source: bybit-exchange.github.io/docs/v5/rate-limit, HTTP IP limit: 600 requests within 5 seconds per IP; "403, access too frequent"
means to end all sessions and wait for at least 10 minutes, after which the ban is lifted.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from quantalpha import config


@dataclass
class AddressLimit:
    """limit: requests of one address within `seconds`; ban: seconds of 403 for who asks once more. `refused` counts the 403s."""

    limit: int = 600
    seconds: float = 5.0
    ban: float = 600.0
    wall: Callable[[], float] = time.monotonic
    refused: Counter = field(default_factory=Counter)
    _asked: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _banned_until: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: config.Exchange) -> "AddressLimit":
        return cls(settings.address_limit)

    def admit(self, address: str) -> bool:
        """Count a request; False where the address is banned, or is so from now on."""
        now, asked = self.wall(), self._recent(address)
        if self._banned_until.get(address, now) <= now and len(asked) < self.limit:
            asked.append(now)
            return True
        self.refused[address] += 1
        self._banned_until.setdefault(address, now + self.ban)
        return False

    def headers(self, address: str, now: int) -> dict[str, str]:
        """Bybit's headers at the venue's time `now` (ms): the limit, what is left of it, and when who has exceeded it may ask again."""
        wait = self._banned_until.get(address, 0.0) - self.wall()
        left = 0 if wait > 0 else self.limit - len(self._recent(address))
        reset = now + int(max(wait, 0.0) * 1000)
        return {"X-Bapi-Limit": str(self.limit), "X-Bapi-Limit-Status": str(left), "X-Bapi-Limit-Reset-Timestamp": str(reset)}

    def _recent(self, address: str) -> deque[float]:
        """When the address asked within the window; a ban that is over is forgotten."""
        now, asked = self.wall(), self._asked[address]
        while asked and asked[0] <= now - self.seconds:
            asked.popleft()
        if self._banned_until.get(address, now + 1) <= now:
            del self._banned_until[address]
        return asked
