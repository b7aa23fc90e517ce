"""Bybit v5's public REST endpoints for linear perpetuals over the tape; nothing after the exchange's clock ever leaves here.

    endpoint                rows a request      which rows, always newest first
    time
    instruments-info        500, at most 1000   by symbol, cursor
    kline, mark-price-      200, at most 1000   start alone: the first ones from there on; else the last ones up to `end`
      kline, index-price-
      kline
    funding/history         200, at most 200    the last ones up to `endTime`; startTime alone is refused
    open-interest            50, at most 200    the last ones up to `endTime`, cursor to the older ones
    tickers
    orderbook                25, at most 500    levels a side
    recent-trade            500, at most 1000
    risk-limit              15 symbols          cursor

Limits: no endpoint has one of its own; an address has 600 requests in 5 seconds (`bybit_limit`).
Source: bybit-exchange.github.io/docs/v5/market, /docs/v5/rate-limit. Not documented, but seen by many clients: a span of klines that is too
wide gives its last rows, and the first kline is the one that contains `start`.
"""

from collections.abc import Callable, Mapping

import numpy as np

from quantalpha.practice import bybit_payloads as payloads
from quantalpha.practice.bybit_limit import AddressLimit
from quantalpha.practice.bybit_query import NO_ROUTE, TOO_MANY, Query, Refusal, part
from quantalpha.practice.bybit_streams import Topics
from quantalpha.practice.candles import Candles, Chart
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.pages import page_of
from quantalpha.timeframe import UNITS

INTEREST = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}
INTEREST = {name: minutes * UNITS["m"] for name, minutes in INTEREST.items()}
RISK_SYMBOLS = 15  # of whose risk limits one answer tells
BOOK_DEPTH = 1000  # whose update ids REST shows


class Bybit:
    """Bybit's side of a running exchange: what its clients share."""

    def __init__(self, exchange: Exchange, limit: AddressLimit):
        self.exchange, self.limit, self.topics = exchange, limit, Topics(exchange)

    def answer(self, method: str, path: str, values: Mapping[str, str], address: str) -> tuple[int, dict, dict[str, str]]:
        """(HTTP status, body, headers) of one request."""
        now = self.exchange.now()
        try:
            if not self.limit.admit(address):
                raise Refusal("access too frequent", TOO_MANY, status=403)
            status, code, message, result = 200, 0, "OK", self._result(method, path, values)
        except Refusal as refusal:
            status, code, message, result = refusal.status, refusal.code, refusal.message, {}
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now}
        return status, body, self.limit.headers(address, now)

    def _result(self, method, path, values) -> dict:
        if method != "GET" or path not in ENDPOINTS:
            raise Refusal("Route not found.", NO_ROUTE, status=404)
        return ENDPOINTS[path](self, Query(values, self.exchange))


def time(venue: Bybit, query: Query) -> dict:
    now = venue.exchange.conditions.server_time()
    return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}


def instruments_info(venue: Bybit, query: Query) -> dict:
    """`status` None: what is traded."""
    category, status, exchange = query.category(), query.text("status") or "Trading", venue.exchange
    contracts = [payloads.contract(each, exchange.trades(each), exchange.takes_orders(each)) for each in query.instruments()]
    found = [each for each in contracts if each["status"] == status]
    page, cursor = part([each["symbol"] for each in found], query.limit(500, 1000), query)
    return {"category": category, "list": [found[i] for i in page], "nextPageCursor": cursor}


def kline(venue: Bybit, query: Query) -> dict:
    return _klines(venue, query, query.instrument().last, payloads.kline)


def mark_price_kline(venue: Bybit, query: Query) -> dict:
    return _klines(venue, query, query.instrument().mark, payloads.price_kline)


def index_price_kline(venue: Bybit, query: Query) -> dict:
    return _klines(venue, query, query.instrument().index, payloads.price_kline)


def _klines(venue, query, candles: Candles, payload: Callable) -> dict:
    interval, limit, (start, end) = query.interval(), query.limit(200, 1000), query.span("start", "end")
    now = venue.exchange.now()
    chart, begun = candles.chart(interval), candles.begun(interval, now)
    page = page_of(chart.times[:begun], _open_at(chart, start), end, limit, newest=end is not None)
    rows = [payload(int(chart.times[i]), candles.standing(interval, i, now), candles.digits) for i in reversed(page)]
    return {"category": query.category("linear"), "symbol": query.instrument().symbol, "list": rows}


def _open_at(chart: Chart, start: int | None) -> int | None:
    """The open of the bar that contains `start`, or `start` itself where none does."""
    bar = -1 if start is None else int(np.searchsorted(chart.times, start, side="right")) - 1
    return int(chart.times[bar]) if bar >= 0 and start < chart.ends[bar] else start


def funding_history(venue: Bybit, query: Query) -> dict:
    category, each, (start, end) = query.category(), query.instrument(), query.span("startTime", "endTime")
    if start is not None and end is None:
        raise Refusal("params error: endTime is required with startTime")
    settled = each.settled(venue.exchange.now())
    page = page_of(each.funding_times[:settled], start, end, query.limit(200, 200), newest=True)
    return {"category": category, "list": [payloads.funding(each, i) for i in reversed(page)]}


def open_interest(venue: Bybit, query: Query) -> dict:
    category, each, (start, end) = query.category(), query.instrument(), query.span("startTime", "endTime")
    if query.text("intervalTime") not in INTEREST:
        raise Refusal("Invalid period!")
    step, first = INTEREST[query.text("intervalTime")], int(each.times[0])
    times = np.arange(first + -first % step, min(venue.exchange.now(), each.end) + 1, step)
    span = page_of(times, start, end, times.size, newest=True)[::-1]
    page, cursor = part([str(times[i]) for i in span], query.limit(50, 200), query)
    rows = [payloads.interest(each, int(times[span[i]])) for i in page]
    return {"symbol": each.symbol, "category": category, "list": rows, "nextPageCursor": cursor}


def tickers(venue: Bybit, query: Query) -> dict:
    category, now = query.category(), venue.exchange.now()
    return {
        "category": category,
        "list": [payloads.ticker(each, now) | payloads.sizes(venue.exchange, each) for each in query.instruments()],
    }


def orderbook(venue: Bybit, query: Query) -> dict:
    query.category()
    limit, feed = query.limit(25, 500), venue.topics.feed(query.instrument(), BOOK_DEPTH)
    feed.advance(venue.exchange.clock.wall(), now=True)
    return feed.levels(limit)


def recent_trade(venue: Bybit, query: Query) -> dict:
    category, each, limit = query.category(), query.instrument(), query.limit(500, 1000)
    made = each.last.trades_until(venue.exchange.now())
    return {"category": category, "list": [payloads.trade(each, number) for number in reversed(range(max(0, made - limit), made))]}


def risk_limit(venue: Bybit, query: Query) -> dict:
    category, listed, now = query.category(), query.instruments(), venue.exchange.now()
    page, cursor = part([each.symbol for each in listed], RISK_SYMBOLS, query)
    rows = [entry for i in page for entry in payloads.risk_limits(listed[i], now)]
    return {"category": category, "list": rows, "nextPageCursor": cursor}


ENDPOINTS: dict[str, Callable[[Bybit, Query], dict]] = {
    "/v5/market/time": time,
    "/v5/market/instruments-info": instruments_info,
    "/v5/market/kline": kline,
    "/v5/market/mark-price-kline": mark_price_kline,
    "/v5/market/index-price-kline": index_price_kline,
    "/v5/market/funding/history": funding_history,
    "/v5/market/open-interest": open_interest,
    "/v5/market/tickers": tickers,
    "/v5/market/orderbook": orderbook,
    "/v5/market/recent-trade": recent_trade,
    "/v5/market/risk-limit": risk_limit,
}
