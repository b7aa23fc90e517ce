"""What a venue does wrong with requests on an account: most of it leaves open whether an order was taken.

    name                            executed    what the client sees
    timeout_before|after_accept     no | yes    no answer, until it leaves
    disconnect_before|after_accept  no | yes    the connection is gone
    unknown_503_before|after_...    no | yes    Binance: 503 "Unknown error", execution status unknown; Bybit: HTTP 503, a page
    http_504_before|after_...       no | yes    a gateway's page
    server_timeout_before|after_... no | yes    -1007; retCode 10000: "execution status unknown"
    server_error_before|after_...   no | yes    -1001; retCode 10016
    late_answer                     yes         the answer after `seconds`
    malformed, truncated            yes         a page, half of the answer
    http_429, http_418, http_503    no          refused, and said so
    maintenance, clock_skew, ...    as then     a condition begins with this request and lasts `seconds` (`conditions`)

Source: developers.binance.com, USD-M futures, general info (HTTP return codes) and error codes; bybit-exchange.github.io/docs/v5/error.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from zlib import crc32

from aiohttp import web

from quantalpha.config import CONDITIONS, TRADING_FAULTS
from quantalpha.practice.conditions import Conditions
from quantalpha.practice.refusal import Refusal
from quantalpha.practice.schedule import Schedule

Answer = Callable[[web.Request], Awaitable[web.Response]]
POLL = 0.02  # seconds between looks at whether a client that is left hanging has gone
PAGE = b"<html><body>502 Bad Gateway</body></html>"
BEFORE, AFTER = "_before_accept", "_after_accept"
BINANCE = {
    "unknown_503": (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
    "server_timeout": (408, {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown; "
                                                   "execution status unknown."}),
    "server_error": (400, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
    "http_429": (429, {"code": -1003, "msg": "Too many requests."}),
    "http_418": (418, {"code": -1003, "msg": "Way too many requests; IP banned."}),
    "http_503": (503, {"code": -1008, "msg": "Request throttled by system-level protection. Please try again."}),
    "maintenance": (503, {"code": -1016, "msg": "This service is no longer available."}),
}  # fmt: skip
BYBIT = {
    "server_timeout": (200, {"retCode": 10000, "retMsg": "Server Timeout", "result": {}, "retExtInfo": {}}),
    "server_error": (200, {"retCode": 10016, "retMsg": "System error. Please try again later.", "result": {}, "retExtInfo": {}}),
    "http_429": (200, {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}}),
    "http_418": (403, {"retCode": 10018, "retMsg": "access too frequent", "result": {}, "retExtInfo": {}}),
    "http_503": (503, {"retCode": 429, "retMsg": "The trading service is experiencing a high server load.", "result": {}}),
    "maintenance": (503, {"retCode": 10016, "retMsg": "Service is restarting", "result": {}, "retExtInfo": {}}),
}


class TradingFaults(Schedule):
    """seconds: how late an answer is, and how long a condition lasts; where: `trading` or `account`, what is counted."""

    def __init__(
        self,
        chance: Mapping[str, float] | None = None,
        *,
        plan: Mapping[int, str] | None = None,
        seed: int = 0,
        seconds: float = 1.0,
        where: str = "trading",
    ):
        super().__init__(TRADING_FAULTS, chance, plan=plan, seed=(seed, crc32(where.encode())), where=f"exchange.faults.{where}")
        self.seconds = seconds

    async def perform(self, request: web.Request, answer: Answer, conditions: Conditions) -> web.Response:
        """The answer to the next request, or what comes instead of it."""
        fault = self.draw()
        if fault in CONDITIONS:
            conditions.begin(fault, self.seconds)
        if conditions.holds("maintenance"):
            return reply("maintenance", request)
        if fault is None or fault in CONDITIONS:
            return await answer(request)
        if fault == "late_answer":
            return await self._late(request, answer)
        if fault in ("malformed", "truncated") or fault.endswith(AFTER):
            return await self._executed(fault, request, answer)
        return await _instead(fault.removesuffix(BEFORE), request)

    async def _late(self, request, answer) -> web.Response:
        try:
            return await answer(request)
        finally:
            await asyncio.sleep(self.seconds)

    async def _executed(self, fault, request, answer) -> web.Response:
        body = b"{"
        with suppress(Refusal):
            body = (await answer(request)).body
        if fault == "malformed":
            return web.Response(body=PAGE, content_type="text/html")
        if fault == "truncated":
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        return await _instead(fault.removesuffix(AFTER), request)


async def _instead(fault: str, request: web.Request) -> web.Response:
    """What the client sees of a request, whatever was done with it."""
    if fault == "timeout":
        await hang(request)
    if fault == "disconnect":
        cut(request)
    return reply(fault, request)


def reply(fault: str, request: web.Request) -> web.Response:
    """The words of the dialect in which was asked, or a gateway's page."""
    replies = BYBIT if request.path.startswith("/v5/") else BINANCE
    if fault not in replies:
        return web.Response(body=PAGE, status=504 if fault == "http_504" else 503, content_type="text/html")
    status, body = replies[fault]
    return web.json_response(body, status=status, headers={"Retry-After": "1"} if status in (418, 429) else {})


async def hang(request: web.Request) -> None:
    """Wait until the client has gone."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(POLL)


def cut(request: web.Request) -> None:
    """Drop the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
