"""Bybit v5's private REST endpoints of linear perpetuals: who asks, how often, and which function answers.

A key has an account here and another on Binance's face, as on two venues: the same clock, tape and book, but money and positions apart.
Limits are requests a second of one account to one endpoint. Source: bybit-exchange.github.io/docs/v5/rate-limit.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

import orjson

from quantalpha.practice import bybit_account, bybit_orders
from quantalpha.practice.bybit_auth import Authority
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_member import Member
from quantalpha.practice.bybit_query import NO_ROUTE, TOO_MANY, Query, Refusal
from quantalpha.practice.bybit_rate import AccountLimit
from quantalpha.practice.desks import Desks
from quantalpha.practice.exchange import Exchange

TOO_OFTEN = 10006
EMPTY = b"{}"


class Sent(NamedTuple):
    """One request as it came: query: the query string as it was sent; address: whose limit counts."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: str
    body: bytes
    address: str


class Private:
    """What the private half of Bybit's face shares. `streams` may be watched while it runs."""

    def __init__(self, exchange: Exchange, address_limit: AddressLimit):
        self.exchange, self.authority = exchange, Authority(exchange)
        self.address_limit, self.limit = address_limit, AccountLimit(exchange.clock.wall)
        self._desks = Desks(exchange, "bybit")
        self.streams: list[object] = []  # the private websockets that are open
        self._members = {key: Member(self._desks[key], each.withdraws) for key, each in exchange.keys.items()}

    def member(self, key: str) -> Member:
        """Its desk brought up to the present."""
        self._desks[key].advance(self.exchange.now())
        return self._members[key]

    def answer(self, sent: Sent) -> tuple[int, dict, dict[str, str]]:
        """(HTTP status, body, headers) of one request."""
        now, headers, extra = self.exchange.now(), {}, {}
        try:
            if not self.address_limit.admit(sent.address):
                raise Refusal("access too frequent", TOO_MANY, status=403)
            key, endpoint = self._admitted(sent)
            headers = self.limit.headers(key, sent.path, endpoint.limit, now)
            status, code, message, (result, extra) = 200, 0, "OK", self._result(self.member(key), sent, endpoint)
        except Refusal as refusal:
            status, code, message, result = refusal.status, refusal.code, refusal.message, {}
        return status, {"retCode": code, "retMsg": message, "result": result, "retExtInfo": extra, "time": now}, headers

    def _admitted(self, sent: Sent) -> tuple[str, "Endpoint"]:
        endpoint = ENDPOINTS[sent.path]
        if sent.method != endpoint.method:
            raise Refusal("Route not found.", NO_ROUTE, status=404)
        key = self.authority.key_of_request(sent.headers, sent.query if sent.method == "GET" else sent.body.decode())
        if not self.limit.admit(key, sent.path, endpoint.limit):
            raise Refusal("Too many visits. Exceeded the API Rate Limit.", TOO_OFTEN)
        return key, endpoint

    def _result(self, member: Member, sent: Sent, endpoint: "Endpoint") -> tuple[dict, dict]:
        values = dict(parse_qsl(sent.query)) if sent.method == "GET" else _parsed(sent.body)
        if not endpoint.batch:
            return endpoint.answer(member, self._query(values)), {}
        requests = values.get("request")
        if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
            raise Refusal("params error: request invalid")
        category = self._query(values).category()
        queries = [self._query({"category": category} | each) for each in requests]
        return bybit_orders.batch(endpoint.answer, member, category, queries)

    def _query(self, values: Mapping[str, object]) -> Query:
        plain = {name: str(value) for name, value in values.items() if value is not None and not isinstance(value, list | dict)}
        return Query(plain, self.exchange)


def _parsed(body: bytes) -> dict:
    try:
        values = orjson.loads(body or EMPTY)
    except orjson.JSONDecodeError:
        raise Refusal("params error: body is no JSON") from None
    if not isinstance(values, dict):
        raise Refusal("params error: body is no JSON object")
    return values


class Endpoint(NamedTuple):
    """limit: requests a second; batch: `request` in the body is a list, of which each is answered by itself."""

    method: str
    limit: int
    answer: Callable[[Member, Query], dict]
    batch: bool = False


ENDPOINTS = {
    "/v5/order/create": Endpoint("POST", 20, bybit_orders.create),
    "/v5/order/amend": Endpoint("POST", 20, bybit_orders.amend),
    "/v5/order/cancel": Endpoint("POST", 20, bybit_orders.cancel),
    "/v5/order/cancel-all": Endpoint("POST", 20, bybit_orders.cancel_all),
    "/v5/order/create-batch": Endpoint("POST", 20, bybit_orders.create, batch=True),
    "/v5/order/amend-batch": Endpoint("POST", 20, bybit_orders.amend, batch=True),
    "/v5/order/cancel-batch": Endpoint("POST", 20, bybit_orders.cancel, batch=True),
    "/v5/order/disconnected-cancel-all": Endpoint("POST", 5, bybit_orders.disconnected_cancel_all),
    "/v5/order/realtime": Endpoint("GET", 50, bybit_orders.realtime),
    "/v5/order/history": Endpoint("GET", 50, bybit_orders.history),
    "/v5/execution/list": Endpoint("GET", 50, bybit_orders.executions),
    "/v5/position/list": Endpoint("GET", 50, bybit_account.positions),
    "/v5/position/set-leverage": Endpoint("POST", 10, bybit_account.set_leverage),
    "/v5/position/switch-isolated": Endpoint("POST", 10, bybit_account.switch_isolated),
    "/v5/position/switch-mode": Endpoint("POST", 10, bybit_account.switch_mode),
    "/v5/position/trading-stop": Endpoint("POST", 10, bybit_account.trading_stop),
    "/v5/account/wallet-balance": Endpoint("GET", 50, bybit_account.wallet_balance),
    "/v5/account/info": Endpoint("GET", 50, bybit_account.info),
    "/v5/account/set-margin-mode": Endpoint("POST", 10, bybit_account.set_margin_mode),
    "/v5/account/fee-rate": Endpoint("GET", 10, bybit_account.fee_rate),
    "/v5/account/transaction-log": Endpoint("GET", 50, bybit_account.transaction_log),
    "/v5/asset/coin/query-info": Endpoint("GET", 5, bybit_account.coins),
    "/v5/user/query-api": Endpoint("GET", 10, bybit_account.query_api),
}
