"""Binance's algo service: since December 2025 the only place for orders that wait for a trigger price.

When the price is reached an order of its own number, with the same client id, goes to work in the book.
Source: developers.binance.com, USD-M futures, trade REST API (New Algo Order and after), change log of 2025-11-06.
"""

from quantalpha.practice.binance_orders import read_condition
from quantalpha.practice.binance_told import algo_payload
from quantalpha.practice.binance_trading import page
from quantalpha.practice.binance_venue import Binance, Route
from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import UNTRIGGERED, Order
from quantalpha.practice.query import Query, Refusal

DONE = {"code": "200", "msg": "success"}


def new(venue: Binance, query: Query) -> dict:
    desk = venue.desk(query)
    return _told(desk, desk.place(read_condition(query, desk)))


def find(venue: Binance, query: Query) -> dict:
    desk = venue.desk(query)
    return _told(desk, _find(desk, query, -2013))


def cancel(venue: Binance, query: Query) -> dict:
    desk = venue.desk(query)
    order = _find(desk, query, -2011)
    if order.status != UNTRIGGERED:
        raise Refusal(-2011, "Unknown order sent.")
    desk.cancel(order)
    return {"algoId": order.condition_id, "clientAlgoId": order.client_id} | DONE


def open_ones(venue: Binance, query: Query) -> list[dict]:
    desk, symbols = venue.desk(query), {each.symbol for each in query.instruments()}
    number = query.integer("algoId")
    found = [order for order in desk.records.open_orders() if order.status == UNTRIGGERED and order.symbol in symbols]
    return [_told(desk, order) for order in found if number in (None, order.condition_id)]


def all_ones(venue: Binance, query: Query) -> list[dict]:
    desk, symbol = venue.desk(query), query.instrument().symbol
    found = [order for order in desk.records.orders.values() if order.condition_id and order.symbol == symbol]
    ids, times = [order.condition_id for order in found], [order.created for order in found]
    return [_told(desk, found[i]) for i in page(query, times, ids, query.integer("algoId"), 500, 1000)]


def cancel_all(venue: Binance, query: Query) -> dict:
    desk, symbol = venue.desk(query), query.instrument().symbol
    for order in desk.records.open_orders(symbol):
        if order.status == UNTRIGGERED:
            desk.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _find(desk: Desk, query: Query, code: int) -> Order:
    number = query.integer("algoId")
    if number is None and not query.has("clientAlgoId"):
        raise Refusal(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    client_id = query.text("clientAlgoId", ".{1,36}") if number is None else None
    for order in desk.records.matching(condition_id=number, client_id=client_id):
        if order.condition_id:
            return order
    raise Refusal(code, "Unknown order sent." if code == -2011 else "Order does not exist.")


def _told(desk: Desk, order: Order) -> dict:
    return algo_payload(order, desk.view.instruments[order.symbol])


ROUTES = {
    ("POST", "/fapi/v1/algoOrder"): Route(new, 0, orders=1),
    ("GET", "/fapi/v1/algoOrder"): Route(find, 1),
    ("DELETE", "/fapi/v1/algoOrder"): Route(cancel, 1),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(open_ones, 1, weight_of_all=40),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(all_ones, 5),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(cancel_all, 1),
}
