"""What a venue does wrong, on a schedule: a seeded chance for every request, or a plan that names requests by their number.

    Faults({"hang": 0.01, "http_503": 0.02}, seed=7)        Faults(plan={3: "truncated", 4: "empty"})

Requests of the market data endpoints are counted from 0 in the order of their arrival; the fault of a number depends on the seed alone.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping

import numpy as np
import orjson
from aiohttp import web

from quantalpha import config
from quantalpha.config import FAULTS
from quantalpha.errors import UsageError, did_you_mean

POLL = 0.02  # seconds between looks at whether a client that is left hanging has gone
REPLIES = {
    "http_429": (429, {"code": -1003, "msg": "Too many requests."}),
    "http_418": (418, {"code": -1003, "msg": "Way too many requests."}),
    "http_503": (503, {"code": -1008, "msg": "Request throttled by system-level protection. Please try again."}),
}
PAGE = b"<html><body>502 Bad Gateway</body></html>"


class Faults:
    """chance: fault -> probability; seed: which requests it meets; plan: request number -> fault, before chance is asked;
    seconds: how long a `delay` lasts, and what `Retry-After` says; told: whether it is said. `met` counts the faults played."""

    def __init__(
        self,
        chance: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        plan: Mapping[int, str] | None = None,
        seconds: float = 1.0,
        told: bool = True,
    ):
        self.chance, self.plan, self.seed, self.seconds = dict(chance or {}), dict(plan or {}), seed, seconds
        self.told = told
        self.number, self.met = 0, Counter()
        for name in {*self.chance, *self.plan.values()} - set(FAULTS):
            raise UsageError(f"exchange.faults: no fault {name!r}; {did_you_mean(name, FAULTS)}")
        if sum(self.chance.values()) > 1:
            raise UsageError(f"exchange.faults.chance: expected probabilities that add up to 1 at most, found {self.chance}")

    @classmethod
    def of(cls, settings: config.Faults) -> "Faults":
        return cls(settings.chance, seed=settings.seed, plan=settings.plan, seconds=settings.seconds)

    def draw(self) -> str | None:
        """The fault of the next request, None where it is answered as it should be."""
        number, self.number = self.number, self.number + 1
        fault = self.plan.get(number)
        if fault is None and self.chance:
            throw = np.random.default_rng([self.seed, number]).random()
            edges = np.cumsum(list(self.chance.values()))
            fault = [*self.chance, None][int(np.searchsorted(edges, throw, side="right"))]
        self.met[fault] += fault is not None
        return fault

    async def before(self, fault: str | None, request: web.Request) -> web.Response | None:
        """Plays what goes wrong before an answer is made; returns the answer where that is one."""
        if fault == "delay":
            await asyncio.sleep(self.seconds)
        while fault == "hang" and request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(POLL)
        if fault == "disconnect" and request.transport is not None:
            request.transport.abort()
        if fault not in REPLIES:
            return None
        status, body = REPLIES[fault]
        headers = {} if fault == "http_503" or not self.told else {"Retry-After": f"{self.seconds:g}"}
        return web.json_response(body, status=status, headers=headers)

    def after(self, fault: str | None, body: bytes) -> bytes:
        """The answer as it leaves: spoilt where the fault is one of its content."""
        if fault == "malformed":
            return PAGE
        if fault == "truncated":
            return body[: len(body) // 2]
        return _spoil(fault, body) if fault in SPOILT else body


def _duplicates(rows: list) -> list:
    middle = len(rows) // 2
    return rows[:middle] + rows[middle - 1 :]


def _changed(rows: list) -> list:
    """A candle's close as it was before the venue corrected it: the last row's, at its low."""
    last = rows[-1]
    return [*rows[:-1], [*last[:4], last[3], *last[5:]] if isinstance(last, list) else last]


SPOILT = {"empty": lambda rows: [], "duplicates": _duplicates, "disorder": lambda rows: rows[::-1], "changed": _changed}


def _spoil(fault: str, body: bytes) -> bytes:
    """A list of rows, be it all or Bybit's `result.list`, made wrong in the way of `fault`; any other answer stays as it is."""
    answer = orjson.loads(body)
    wrapped = isinstance(answer, dict) and "list" in answer.get("result", {})
    rows = answer["result"]["list"] if wrapped else answer
    if not isinstance(rows, list) or not rows:
        return body
    rows = SPOILT[fault](rows)
    return orjson.dumps(answer | {"result": answer["result"] | {"list": rows}} if wrapped else rows)
