"""Bybit's endpoints of orders: each (member, query) -> result; the desk has been brought up to the present.

    /v5/order/create, amend, cancel, cancel-all, create-batch, amend-batch, cancel-batch     POST
    /v5/order/realtime     what is open, or the order of an id whatever its state        /v5/order/history   what has ended
    /v5/execution/list     trades (`execType` Trade, BustTrade); a settlement's funding stands in the transaction log
    /v5/order/disconnected-cancel-all     the dead man's timer (`bybit_member`)

Post only that would take, and what the book cannot fill at once, is taken and then Cancelled, as the venue does.
Source: bybit-exchange.github.io/docs/v5/order.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from quantalpha.practice.bybit_member import Member
from quantalpha.practice.bybit_payloads import MOST_LIMIT
from quantalpha.practice.bybit_query import Query, Refusal, part
from quantalpha.practice.bybit_refusals import NO_ORDER, refusal
from quantalpha.practice.bybit_rows import execution_row, link, number, order_id, order_row
from quantalpha.practice.bybit_terms import Terms, wrong
from quantalpha.practice.orders import UNTRIGGERED, Order, Rejected

MOST_IN_BATCH = 20
AT_ONCE = ("would_take", "no_book", "unfillable")  # why an order is taken and ends at once
WINDOWS = range(3, 301)  # seconds of the dead man's timer


def create(member: Member, query: Query) -> dict:
    query.category()
    order = Terms(query).order()
    try:
        member.place(order)
    except Rejected as refused:
        if refused.reason not in AT_ONCE:
            raise refusal(refused.reason) from None
        member.end_at_once(order, refused.reason)
    return named(order)


def amend(member: Member, query: Query) -> dict:
    """`qty` is the whole quantity, what is filled included."""
    order, terms = _open(member, query), Terms(query)
    each = query.instrument()
    quantity = order.quantity if query.text("qty") is None else terms.quantity(each, MOST_LIMIT)
    price = order.price if query.text("price") is None else terms.price(each)
    try:
        if order.status != UNTRIGGERED:
            member.desk.amend(order, quantity, price)
        else:
            trigger = order.trigger
            if query.text("triggerPrice") is not None:
                trigger = replace(trigger, price=terms.price(each, "triggerPrice"))
            member.amend_condition(order, quantity, price, trigger)
    except Rejected as refused:
        if refused.reason != "would_take":
            raise refusal(refused.reason) from None
        member.desk.cancel(order, "would_take")
    return named(order)


def cancel(member: Member, query: Query) -> dict:
    return named(member.desk.cancel(_open(member, query)))


def cancel_all(member: Member, query: Query) -> dict:
    """Of a symbol, or with `settleCoin` or `baseCoin` of all; conditional ones too unless orderFilter says Order."""
    if not any(query.text(name) for name in ("symbol", "settleCoin", "baseCoin")):
        raise Refusal("params error: symbol, baseCoin and settleCoin cannot all be empty")
    canceled = [member.desk.cancel(order) for order in _standing(member, query)]
    return {"list": [named(order) for order in canceled], "success": "1"}


def realtime(member: Member, query: Query) -> dict:
    category = query.category()
    if any(query.text(name) for name in ("orderId", "orderLinkId")):
        found = [order for order in (_named(member, query),) if order is not None]
    else:
        found = sorted(_standing(member, query), key=lambda order: -order.id)
    return _page(category, found, query, lambda order: order_row(member, order))


def history(member: Member, query: Query) -> dict:
    category, (start, end) = query.category(), query.span("startTime", "endTime")
    found = [order for order in member.desk.records.orders.values() if not order.open and _asked(order, query)]
    found = [order for order in found if (start is None or order.created >= start) and (end is None or order.created <= end)]
    return _page(category, sorted(found, key=lambda order: -order.id), query, lambda order: order_row(member, order))


def executions(member: Member, query: Query) -> dict:
    category, (start, end), orders = query.category(), query.span("startTime", "endTime"), member.desk.records.orders
    found = [fill for fill in reversed(member.desk.records.fills) if _asked(orders[fill.order_id], query)]
    found = [fill for fill in found if (start is None or fill.time >= start) and (end is None or fill.time <= end)]
    kind = query.text("execType")
    found = [fill for fill in found if kind in (None, _kind(orders[fill.order_id]))]
    return _page(category, found, query, lambda fill: execution_row(member, orders[fill.order_id], fill), most=100)


def disconnected_cancel_all(member: Member, query: Query) -> dict:
    window = query.integer("timeWindow")
    if window not in WINDOWS:
        raise wrong("timeWindow", f"{WINDOWS[0]} to {WINDOWS[-1]}")
    if query.text("product") in (None, "DERIVATIVES"):
        member.window = window
    return {}


def batch(each: Callable[[Member, Query], dict], member: Member, category: str, requests: list[Query]) -> tuple[dict, dict]:
    """(result, retExtInfo): every request on its own, in order, with a code of its own."""
    if not 1 <= len(requests) <= MOST_IN_BATCH:
        raise wrong("request", f"1 to {MOST_IN_BATCH} orders")
    results, codes = [], []
    for query in requests:
        result, code, message = {}, 0, "OK"
        try:
            result = each(member, query)
        except Refusal as refused:
            code, message = refused.code, refused.message
        asked = {name: query.text(name) or "" for name in ("symbol", "orderId", "orderLinkId")}
        results.append({"category": category} | asked | {"createAt": ""} | result)
        codes.append({"code": code, "msg": message})
    return {"list": results}, {"list": codes}


def named(order: Order) -> dict[str, str]:
    return {"orderId": order_id(order.id), "orderLinkId": link(order)}


def _kind(order: Order) -> str:
    return "BustTrade" if order.ended_by == "liquidation" else "Trade"


def _open(member: Member, query: Query) -> Order:
    order = _named(member, query)
    if order is None or not order.open:
        raise Refusal("order not exists or too late to cancel", NO_ORDER)
    return order


def _named(member: Member, query: Query) -> Order | None:
    """The order of `orderId`, else of `orderLinkId`; None where the account has none of the symbol."""
    given, symbol = query.text("orderId"), query.text("symbol")
    if given is None and query.text("orderLinkId") is None:
        raise Refusal("params error: orderId or orderLinkId is required")
    order = member.desk.records.orders.get(number(given)) if given is not None else member.linked(query.text("orderLinkId"))
    return order if order is not None and symbol in (None, order.symbol) else None


def _standing(member: Member, query: Query) -> list[Order]:
    symbol = query.instrument().symbol if query.text("symbol") is not None else None
    return [order for order in member.desk.records.open_orders(symbol) if _asked(order, query)]


def _asked(order: Order, query: Query) -> bool:
    """Whether symbol, orderFilter, orderId and orderLinkId of a query name the order."""
    conditional = {"StopOrder": True, "Order": False}.get(query.text("orderFilter") or "", order.trigger is not None)
    facts: Mapping[str, str] = {"symbol": order.symbol, "orderId": order_id(order.id), "orderLinkId": link(order)}
    return conditional == (order.trigger is not None) and all(query.text(name) in (None, value) for name, value in facts.items())


def _page(category: str, found: list, query: Query, row: Callable, most: int = 50) -> dict:
    """Newest first, with a cursor to the older ones."""
    page, cursor = part([str(each.id) for each in found], query.limit(20 if most == 50 else 50, most), query)
    return {"category": category, "list": [row(found[i]) for i in page], "nextPageCursor": cursor}
