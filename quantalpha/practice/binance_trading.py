"""Binance USD-M futures' trading endpoints: plain orders.

Source: developers.binance.com, USD-M futures, trade REST API.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import orjson

from quantalpha.practice.binance_orders import check_notional, check_price, read_order, read_terms
from quantalpha.practice.binance_told import order_payload, trade_payload
from quantalpha.practice.binance_venue import Binance, Route, refusal_of
from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import NEW, ZERO, Order, Rejected
from quantalpha.practice.pages import page_of
from quantalpha.practice.query import Query, Refusal
from quantalpha.timeframe import UNITS

MOST_IN_BATCH, MOST_TO_CANCEL = 5, 10
LONGEST_SPAN = 7 * UNITS["d"]
RESPONSES = ("ACK", "RESULT")
DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}


def new_order(venue: Binance, query: Query) -> dict:
    return _place(venue.desk(query), query)


def test_order(venue: Binance, query: Query) -> dict:
    """Everything but the order itself."""
    desk = venue.desk(query)
    order = read_order(query, desk)
    desk.test(order)
    return _told(desk, order)


def query_order(venue: Binance, query: Query) -> dict:
    desk = venue.desk(query)
    return _told(desk, _find(desk, query))


def amend_order(venue: Binance, query: Query) -> dict:
    return _amend(venue.desk(query), query)


def cancel_order(venue: Binance, query: Query) -> dict:
    return _cancel(venue.desk(query), query)


def new_batch(venue: Binance, query: Query) -> list[dict]:
    return _each(venue, query, _place)


def amend_batch(venue: Binance, query: Query) -> list[dict]:
    return _each(venue, query, _amend)


def cancel_batch(venue: Binance, query: Query) -> list[dict]:
    """By orderIdList or origClientOrderIdList (ccxt writes them in small letters)."""
    desk = venue.desk(query)
    ids = [("orderId", str(each)) for each in _list(query, "orderIdList", "orderidlist")]
    ids += [("origClientOrderId", str(each)) for each in _list(query, "origClientOrderIdList", "origclientorderidlist")]
    if not 1 <= len(ids) <= MOST_TO_CANCEL:
        raise Refusal(-1102, "Either orderIdList or origClientOrderIdList must be sent, with at most 10 orders.")
    symbol = query.instrument().symbol
    return [_said(lambda each=each: _cancel(desk, query.other({"symbol": symbol, each[0]: each[1]}))) for each in ids]


def cancel_all(venue: Binance, query: Query) -> dict:
    desk, symbol = venue.desk(query), query.instrument().symbol
    for order in desk.records.open_orders(symbol):
        if order.resting:
            desk.cancel(order)
    return DONE


def count_down(venue: Binance, query: Query) -> dict:
    """The dead man's timer, in milliseconds of the wall clock whatever the tape's speed; 0 stops it."""
    desk, symbol, milliseconds = venue.desk(query), query.instrument().symbol, query.integer("countdownTime")
    if milliseconds is None:
        raise Refusal(-1102, "Mandatory parameter 'countdownTime' was not sent, was empty/null, or malformed.")
    desk.count_down(symbol, milliseconds)
    return {"symbol": symbol, "countdownTime": str(milliseconds)}


def open_order(venue: Binance, query: Query) -> dict:
    desk = venue.desk(query)
    order = _find(desk, query)
    if not order.resting:
        raise Refusal(-2013, "Order does not exist.")
    return _told(desk, order)


def open_orders(venue: Binance, query: Query) -> list[dict]:
    desk, symbols = venue.desk(query), {each.symbol for each in query.instruments()}
    return [_told(desk, order) for order in desk.records.open_orders() if order.resting and order.symbol in symbols]


def all_orders(venue: Binance, query: Query) -> list[dict]:
    desk, symbol, first = venue.desk(query), query.instrument().symbol, query.integer("orderId")
    found = [order for order in desk.records.orders.values() if order.symbol == symbol and _worked(order)]
    found.sort(key=lambda order: order.id)
    times = [order.triggered or order.created for order in found]
    return [_told(desk, found[i]) for i in page(query, times, [order.id for order in found], first, 500, 1000)]


def user_trades(venue: Binance, query: Query) -> list[dict]:
    desk, instrument = venue.desk(query), query.instrument()
    number, order_id = query.integer("fromId"), query.integer("orderId")
    found = [fill for fill in desk.records.fills if fill.symbol == instrument.symbol and order_id in (None, fill.order_id)]
    rows = page(query, [fill.time for fill in found], [fill.id for fill in found], number, 500, 1000)
    return [trade_payload(found[i], instrument, venue.asset) for i in rows]


def order_rate(venue: Binance, query: Query) -> list[dict]:
    query.check_signed()
    return [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    ]


def page(query: Query, times: Sequence[int], ids: Sequence[int], first: int | None, default: int, most: int) -> list[int]:
    """Positions of the rows asked for: from the id `first` on, or within startTime and endTime (7 days at most), or the last ones."""
    limit, (start, end) = query.limit(default, most), query.span()
    if start is not None and end is not None and end - start > LONGEST_SPAN:
        raise Refusal(-4166, "Search window is restricted to recent 90 days and must not exceed 7 days.")
    if first is not None:
        return [i for i, each in enumerate(ids) if each >= first][:limit]
    return list(page_of(np.array(times, dtype="int64"), start, end, limit))


def _place(desk: Desk, query: Query) -> dict:
    order = read_order(query, desk)
    result = query.has("newOrderRespType") and query.word("newOrderRespType", RESPONSES, _bad_response) == "RESULT"
    desk.place(order)
    return _told(desk, order if result else replace(order, status=NEW, filled=ZERO, cost=ZERO, updated=order.created))


def _bad_response() -> Refusal:
    return Refusal(-1136, "Invalid newOrderRespType.")


def _amend(desk: Desk, query: Query) -> dict:
    order, instrument = _find(desk, query, -2013), query.instrument()
    quantity, price = read_terms(query, instrument)
    if order.price is None:
        raise Refusal(-5025, "Only limit order is supported.")
    if not order.resting:
        raise Refusal(-2013, "Order does not exist.")
    wanted = replace(order, quantity=quantity, price=price)
    check_price(wanted, desk)
    check_notional(wanted, price)
    return _told(desk, desk.amend(order, quantity, price))


def _cancel(desk: Desk, query: Query) -> dict:
    order = _find(desk, query, -2011)
    if not order.resting:
        raise Rejected("unknown")
    return _told(desk, desk.cancel(order))


def _find(desk: Desk, query: Query, code: int = -2013) -> Order:
    """The order named by orderId or origClientOrderId."""
    symbol, number = query.instrument().symbol, query.integer("orderId")
    if number is None and not query.has("origClientOrderId"):
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    client_id = query.text("origClientOrderId", ".{1,36}") if number is None else None
    for order in desk.records.matching(id=number, client_id=client_id):
        if order.symbol == symbol and _worked(order):
            return order
    raise Refusal(code, "Unknown order sent." if code == -2011 else "Order does not exist.")


def _worked(order: Order) -> bool:
    """Whether it is, or was, an order of the book: a condition that has not come true is none."""
    return order.trigger is None or bool(order.triggered)


def _told(desk: Desk, order: Order) -> dict:
    return order_payload(order, desk.view.instruments[order.symbol])


def _each(venue: Binance, query: Query, handle: Callable[[Desk, Query], dict]) -> list[dict]:
    """Every order of a batch by itself: one that is refused says so in its place."""
    desk, batch = venue.desk(query), _list(query, "batchOrders")
    if not 1 <= len(batch) <= MOST_IN_BATCH or not all(isinstance(each, dict) for each in batch):
        raise Refusal(-4082, "Invalid number of batch place orders.")
    return [_said(lambda each=each: handle(desk, query.other(_texts(each)))) for each in batch]


def _said(act: Callable[[], dict]) -> dict:
    try:
        return act()
    except Rejected as rejected:
        refusal = refusal_of(rejected)
    except Refusal as found:
        refusal = found
    return {"code": refusal.code, "msg": refusal.message}


def _texts(values: dict) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}


def _list(query: Query, *names: str) -> list:
    """A JSON list sent under one of the names; empty where there is none."""
    for name in names:
        if query.has(name):
            try:
                found = orjson.loads(query.text(name, r"(?s).*"))
            except orjson.JSONDecodeError:
                raise Refusal(-1135, "Invalid JSON Request") from None
            if not isinstance(found, list):
                raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
            return found
    return []


ROUTES = {
    ("POST", "/fapi/v1/order"): Route(new_order, 0, orders=1),
    ("POST", "/fapi/v1/order/test"): Route(test_order, 0),
    ("GET", "/fapi/v1/order"): Route(query_order, 1),
    ("PUT", "/fapi/v1/order"): Route(amend_order, 0, orders=1),
    ("DELETE", "/fapi/v1/order"): Route(cancel_order, 1),
    ("POST", "/fapi/v1/batchOrders"): Route(new_batch, 5, orders=5),
    ("PUT", "/fapi/v1/batchOrders"): Route(amend_batch, 5, orders=5),
    ("DELETE", "/fapi/v1/batchOrders"): Route(cancel_batch, 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(cancel_all, 1),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(count_down, 10),
    ("GET", "/fapi/v1/openOrder"): Route(open_order, 1),
    ("GET", "/fapi/v1/openOrders"): Route(open_orders, 1, weight_of_all=40),
    ("GET", "/fapi/v1/allOrders"): Route(all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): Route(user_trades, 5),
    ("GET", "/fapi/v1/rateLimit/order"): Route(order_rate, 1),
}
