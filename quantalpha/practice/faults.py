"""What a venue does wrong with requests for market data, on a schedule; what it does wrong with an account stands beside it.

Faults({"hang": 0.01, "http_503": 0.02}, seed=7)        Faults(plan={3: "truncated", 4: "empty"})
Faults(trading=TradingFaults(plan={0: "timeout_after_accept"}))
"""

import asyncio
from collections.abc import Mapping

import orjson
from aiohttp import web

from quantalpha import config
from quantalpha.config import FAULTS
from quantalpha.practice.conditions import Sizes
from quantalpha.practice.schedule import Schedule
from quantalpha.practice.stream_faults import StreamFaults
from quantalpha.practice.trading_faults import PAGE, TradingFaults, cut, hang

REPLIES = {
    "http_429": (429, {"code": -1003, "msg": "Too many requests."}),
    "http_418": (418, {"code": -1003, "msg": "Way too many requests."}),
    "http_503": (503, {"code": -1008, "msg": "Request throttled by system-level protection. Please try again."}),
}


class Faults(Schedule):
    """seconds: how long a `delay` lasts, and what `Retry-After` says; told: whether it is said.

    trading, account, stream: what goes wrong with requests that change an account, that read it, and with its messages; they count on
    their own. sizes: how large conditions are.
    """

    def __init__(
        self,
        chance: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        plan: Mapping[int, str] | None = None,
        seconds: float = 1.0,
        told: bool = True,
        trading: TradingFaults | None = None,
        account: TradingFaults | None = None,
        stream: StreamFaults | None = None,
        sizes: Sizes | None = None,
    ):
        super().__init__(FAULTS, chance, plan=plan, seed=seed)
        self.seconds, self.told, self.sizes = seconds, told, Sizes() if sizes is None else sizes
        self.trading = TradingFaults() if trading is None else trading
        self.account = TradingFaults(where="account") if account is None else account
        self.stream = StreamFaults() if stream is None else stream

    @classmethod
    def of(cls, settings: config.Faults) -> "Faults":
        def timed(part):
            return {"chance": part.chance, "plan": part.plan, "seed": settings.seed, "seconds": settings.seconds}

        return cls(
            **timed(settings),
            trading=TradingFaults(**timed(settings.trading)),
            account=TradingFaults(**timed(settings.account), where="account"),
            stream=StreamFaults(**timed(settings.stream)),
            sizes=Sizes(settings.skew, settings.gap, settings.share),
        )

    async def before(self, fault: str | None, request: web.Request) -> web.Response | None:
        """Plays what goes wrong before an answer is made; returns the answer where that is one."""
        if fault == "delay":
            await asyncio.sleep(self.seconds)
        if fault == "hang":
            await hang(request)
        if fault == "disconnect":
            cut(request)
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
