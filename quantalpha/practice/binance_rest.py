"""One REST request to Binance's side: read, charged for, and answered by the endpoint it names.

Parameters may stand in the query, in the body, or in both; signed is what was sent, the query and then the body.
Source: developers.binance.com, USD-M futures, General Info.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict

from quantalpha.practice import binance, binance_account, binance_algo, binance_settings, binance_trading
from quantalpha.practice.binance_venue import Binance
from quantalpha.practice.query import Query, Refusal, Signature

ROUTES = binance_trading.ROUTES | binance_algo.ROUTES | binance_account.ROUTES | binance_settings.ROUTES


@dataclass(frozen=True)
class Request:
    """`values`: its parameters, a name that stands in query and body as the query has it."""

    method: str
    path: str
    values: MultiDict
    signature: Signature
    address: str

    @classmethod
    def of(cls, request: web.Request, body: str) -> "Request":
        values = MultiDict(request.query)
        values.extend((name, value) for name, value in parse_qsl(body, keep_blank_values=True) if name not in request.query)
        signature = Signature(request.headers.get("X-MBX-APIKEY"), request.raw_path.partition("?")[2] + body)
        return cls(request.method, request.path, values, signature, request.remote)


def answer(venue: Binance, request: Request) -> tuple[Any, dict[str, str]]:
    """(payload, headers). Refusal where it is not served."""
    limits, route = venue.exchange.limits, ROUTES.get((request.method, request.path))
    limits.admit(request.address)
    if route is None:
        return _market_data(venue, request), {}
    query = Query(request.values, venue.exchange, request.signature)
    limits.charge(request.address, route.cost(query))
    payload = route.answer(venue, query)
    return payload, venue.counts.headers(query.check_key().key) if route.orders else {}


def _market_data(venue: Binance, request: Request) -> Any:
    """An endpoint that needs no account is charged for by what it has answered, a refusal as 1."""
    limits = venue.exchange.limits
    try:
        if request.method != "GET" or request.path not in binance.ENDPOINTS:
            raise Refusal(-5000, f"Path {request.path}, Method {request.method} is invalid", status=404)
        query = Query(request.values, venue.exchange, request.signature)
        payload, weight = binance.ENDPOINTS[request.path](venue.exchange, query)
    except Refusal:
        limits.charge(request.address, 1)
        raise
    limits.charge(request.address, weight)
    return payload
