"""Binance USD-M futures' market data over REST from the tape; nothing after the exchange's clock ever leaves here.

Each endpoint: (exchange, query) -> (payload, request weight). Source: developers.binance.com, USD-M futures, market data REST API.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from quantalpha.practice import payloads
from quantalpha.practice.candles import INTERVALS, Candles
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.pages import page_of
from quantalpha.practice.query import Query, Refusal
from quantalpha.practice.tape import Instrument
from quantalpha.timeframe import UNITS

Answer = tuple[Any, int]
DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
INTEREST_HISTORY = 30 * UNITS["d"]  # "Only the data of the latest 1 month is available"
INTEREST_PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
PERPETUAL = 4133404800000  # Binance's delivery date of a contract that is never delivered
ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]


def ping(exchange: Exchange, query: Query) -> Answer:
    return {}, 1


def time(exchange: Exchange, query: Query) -> Answer:
    return {"serverTime": exchange.conditions.server_time()}, 1


def exchange_info(exchange: Exchange, query: Query) -> Answer:
    orders = [("ORDERS", "MINUTE", 1, 1200), ("ORDERS", "SECOND", 10, 300)]
    limits = [dict(zip(("rateLimitType", "interval", "intervalNum", "limit"), limit)) for limit in orders]
    instruments = list(exchange.listed().values())
    quotes = sorted({each.quote for each in instruments})
    return {
        "timezone": "UTC",
        "serverTime": exchange.now(),
        "futuresType": "U_MARGINED",
        "rateLimits": [exchange.limits.rule, *limits],
        "exchangeFilters": [],
        "assets": [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"} for asset in quotes],
        "symbols": [_contract(exchange, each) for each in instruments],
    }, 1


def _contract(exchange: Exchange, instrument: Instrument) -> dict:
    trades = exchange.trades(instrument)
    status = "SETTLING" if not trades else "TRADING" if exchange.takes_orders(instrument) else "PENDING_TRADING"
    return {
        "symbol": instrument.symbol, "pair": instrument.symbol, "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL if trades else instrument.end,
        "onboardDate": int(instrument.times[0]), "status": status,
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base, "quoteAsset": instrument.quote, "marginAsset": instrument.quote,
        "pricePrecision": instrument.digits, "quantityPrecision": instrument.lot_digits, "baseAssetPrecision": 8, "quotePrecision": 8,
        "underlyingType": "COIN", "underlyingSubType": [], "triggerProtect": "0.0500", "liquidationFee": "0.012500",
        "marketTakeBound": "0.05", "maxMoveOrderLimit": 10000, "filters": _filters(instrument), "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _filters(instrument: Instrument) -> list[dict]:
    tick, lot = (payloads.decimal(10.0**-digits, digits) for digits in (instrument.digits, instrument.lot_digits))
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "1000000", "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "100000", "stepSize": lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
    ]


def klines(exchange: Exchange, query: Query) -> Answer:
    instrument = query.instrument()
    return _klines(exchange, query, instrument, instrument.last, payloads.kline)


def mark_price_klines(exchange: Exchange, query: Query) -> Answer:
    instrument = query.instrument()
    return _klines(exchange, query, instrument, instrument.mark, payloads.mark_kline)


def index_price_klines(exchange: Exchange, query: Query) -> Answer:
    instrument = query.instrument("pair")
    return _klines(exchange, query, instrument, instrument.index, payloads.mark_kline)


def _klines(exchange, query, instrument, candles: Candles, payload: Callable) -> Answer:
    interval, limit, now = query.interval(instrument), query.limit(500, 1500), exchange.now()
    chart, begun = candles.chart(interval), candles.begun(interval, now)
    page = page_of(chart.times[:begun], *query.span(), limit)
    bars = [payload(int(chart.times[i]), int(chart.ends[i]), candles.standing(interval, i, now), candles.digits) for i in page]
    return bars, 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def funding_rate(exchange: Exchange, query: Query) -> Answer:
    now, (start, end) = exchange.now(), query.span()
    recent = start is None and end is None
    limit = query.limit(200 if recent else 100, 1000)  # documented so: without times the last 200
    found = []
    for instrument in query.instruments():
        page = page_of(instrument.funding_times[: instrument.settled(now)], start, end, limit)
        found += [payloads.funding(instrument, i) for i in page]
    found.sort(key=lambda entry: entry["fundingTime"])
    return found[-limit:] if start is None else found[:limit], 1


def open_interest(exchange: Exchange, query: Query) -> Answer:
    instrument, now = query.instrument(), exchange.now()
    held = payloads.decimal(instrument.open_interest(now), instrument.lot_digits)
    return {"openInterest": held, "symbol": instrument.symbol, "time": now}, 1


def open_interest_history(exchange: Exchange, query: Query) -> Answer:
    """Of the last 30 days only; its requests have a limit of their own and weigh nothing."""
    instrument, now, period = query.instrument(), exchange.now(), query.text("period", "[a-zA-Z0-9]{1,5}")
    if period not in INTEREST_PERIODS:
        raise Refusal(-1130, "Data sent for parameter 'period' is not valid.")
    limit, (start, end), step = query.limit(30, 500), query.span(), INTERVALS[period]
    if start is not None and start < now - INTEREST_HISTORY:
        raise Refusal(-1130, "parameter 'startTime' is invalid.")
    begin = max(now - INTEREST_HISTORY, int(instrument.times[0]))
    times = np.arange(begin + -begin % step, min(now, instrument.end) + 1, step)
    return [payloads.interest(instrument, int(times[i])) for i in page_of(times, start, end, limit)], 0


def leverage_bracket(exchange: Exchange, query: Query) -> Answer:
    query.check_signed()
    return [payloads.brackets(each.symbol, exchange.now()) for each in query.instruments()], 1


def premium_index(exchange: Exchange, query: Query) -> Answer:
    entries = [payloads.premium_index(each, exchange.now()) for each in query.instruments()]
    return (entries[0], 1) if query.has("symbol") else (entries, 10)


def depth(exchange: Exchange, query: Query) -> Answer:
    instrument, limit = query.instrument(), query.integer("limit")
    limit = 500 if limit is None else limit
    if limit not in DEPTH_WEIGHTS:
        raise Refusal(-4021, f"{limit} is not valid depth limit")
    book, now = exchange.book(instrument.symbol), exchange.now()
    return {
        "lastUpdateId": book.version,
        "E": now,
        "T": instrument.last.trade_time(book.version - 1),
        "bids": payloads.levels(instrument, book.bids, list(book.bids)[:limit]),
        "asks": payloads.levels(instrument, book.asks, list(book.asks)[:limit]),
    }, DEPTH_WEIGHTS[limit]


def book_ticker(exchange: Exchange, query: Query) -> Answer:
    def entry(instrument):
        book = exchange.book(instrument.symbol)
        traded = instrument.last.trade_time(book.version - 1)
        return {"symbol": instrument.symbol, **payloads.book_top(exchange, instrument), "time": traded}

    entries = [entry(each) for each in query.instruments()]
    return (entries[0], 2) if query.has("symbol") else (entries, 5)


def agg_trades(exchange: Exchange, query: Query) -> Answer:
    instrument, limit, now = query.instrument(), query.limit(500, 1000), exchange.now()
    (start, end), first = query.span(), query.integer("fromId")
    if start is not None and end is not None and end - start > UNITS["h"]:
        raise Refusal(-1127, "More than 1 hours between startTime and endTime.")
    last = instrument.last
    high = last.trades_until(now if end is None else min(end, now))
    if first is None and start is None:
        page = range(max(0, high - limit), high)
    else:
        low = max(0 if first is None else first, 0 if start is None else last.trades_until(start - 1))
        page = range(low, min(high, low + limit))
    return [payloads.agg_trade(instrument, number) for number in page], 20


ENDPOINTS: dict[str, Callable[[Exchange, Query], Answer]] = {
    "/fapi/v1/ping": ping,
    "/fapi/v1/time": time,
    "/api/v3/ping": ping,  # the spot market's: python-binance asks it for the time
    "/api/v3/time": time,
    "/fapi/v1/exchangeInfo": exchange_info,
    "/fapi/v1/klines": klines,
    "/fapi/v1/markPriceKlines": mark_price_klines,
    "/fapi/v1/indexPriceKlines": index_price_klines,
    "/fapi/v1/fundingRate": funding_rate,
    "/fapi/v1/openInterest": open_interest,
    "/futures/data/openInterestHist": open_interest_history,
    "/fapi/v1/leverageBracket": leverage_bracket,
    "/fapi/v1/premiumIndex": premium_index,
    "/fapi/v1/depth": depth,
    "/fapi/v1/ticker/bookTicker": book_ticker,
    "/fapi/v1/aggTrades": agg_trades,
}
