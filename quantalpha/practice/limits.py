"""How often a client may ask, as Binance counts it: request weight in fixed windows of the wall clock, 429 above the limit, and 418 with a
growing ban for who goes on regardless.

Source: developers.binance.com, USD-M futures, General Info, IP Limits: "Repeatedly violating rate limits and/or failing to back off after
receiving 429s will result in an automated IP ban (HTTP status 418)", "from 2 minutes to 3 days".
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from quantalpha import config
from quantalpha.practice.refusal import Refusal

PATIENCE = 5  # refusals in one window; the next one is a ban
LONGEST_BAN = 3 * 86_400.0
CODE = -1003


@dataclass
class _Client:
    window: int = -1
    used: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until: float = 0.0


@dataclass
class Limits:
    """limit: weight a client may use in each `interval` (whole seconds, windows aligned to the wall clock); ban: seconds of the first ban,
    each further one lasts twice as long. `refused` counts what was answered 429 and 418, `admitted` the weight that was served."""

    limit: int = 2400
    interval: int = 60
    ban: float = 120.0
    wall: Callable[[], float] = time.time
    refused: Counter = field(default_factory=Counter)
    admitted: int = 0
    _clients: dict[str, _Client] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: config.Exchange) -> "Limits":
        return cls(settings.weight_limit, settings.weight_interval, settings.ban)

    @property
    def label(self) -> str:
        """The window as Binance's header and `rateLimits` write it: '1M', '2S'."""
        return f"{self.interval // 60}M" if self.interval % 60 == 0 else f"{self.interval}S"

    @property
    def rule(self) -> dict:
        """An entry of exchangeInfo's `rateLimits`."""
        count, unit = (self.interval // 60, "MINUTE") if self.interval % 60 == 0 else (self.interval, "SECOND")
        return {"rateLimitType": "REQUEST_WEIGHT", "interval": unit, "intervalNum": count, "limit": self.limit}

    def used(self, address: str) -> int:
        """Weight that `address` has used in the present window."""
        return self._client(address).used

    def admit(self, address: str) -> None:
        """Refusal where `address` is banned or has used its weight up; to be asked before anything is computed."""
        self.charge(address, 0)

    def charge(self, address: str, weight: int) -> None:
        """Count `weight` for `address`; Refusal, uncounted, where that exceeds the limit."""
        client = self._client(address)
        if client.banned_until > self.wall():
            raise self._ban_notice(client, address)
        if client.used + weight > self.limit or (weight == 0 and client.used >= self.limit):
            raise self._refuse(client, address)
        client.used += weight
        self.admitted += weight

    def _client(self, address: str) -> _Client:
        client, window = self._clients.setdefault(address, _Client()), int(self.wall() // self.interval)
        if client.window != window:
            client.window, client.used, client.refusals = window, 0, 0
        return client

    def _refuse(self, client: _Client, address: str) -> Refusal:
        client.refusals += 1
        if client.refusals > PATIENCE:
            client.banned_until = self.wall() + min(LONGEST_BAN, self.ban * 2**client.bans)
            client.bans += 1
            return self._ban_notice(client, address)
        self.refused[429] += 1
        rest = self.interval - self.wall() % self.interval
        period = f"{self.rule['intervalNum']} {self.rule['interval']}" if self.label != "1M" else "minute"
        told = f"Too many requests; current limit of IP({address}) is {self.limit} requests per {period}. "
        return Refusal(CODE, told + "Please use the websocket for live updates to avoid polling the API.", 429, math.ceil(rest))

    def _ban_notice(self, client: _Client, address: str) -> Refusal:
        self.refused[418] += 1
        told = f"Way too many requests; IP({address}) banned until {int(client.banned_until * 1000)}. "
        rest = math.ceil(client.banned_until - self.wall())
        return Refusal(CODE, told + "Please use the websocket for live updates to avoid bans.", 418, rest)
