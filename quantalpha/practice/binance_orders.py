"""Binance's orders: read from a request and checked by the contract's filters.

Source: developers.binance.com, USD-M futures, trade (New Order, New Algo Order), common definition (filters), error codes.
"""

from decimal import Decimal

from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import BUY, SELL, ZERO, Order, Trigger, lot_of, tick_of
from quantalpha.practice.query import Query, Refusal
from quantalpha.practice.tape import Instrument

SIDES = {"BUY": BUY, "SELL": SELL}
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
PLAIN = ("LIMIT", "MARKET")
CONDITIONAL = {"STOP": "stop", "STOP_MARKET": "stop", "TAKE_PROFIT": "take_profit", "TAKE_PROFIT_MARKET": "take_profit"}
TRAILING = "TRAILING_STOP_MARKET"
CLIENT_ID = r"[\.A-Z\:/a-z0-9_-]{1,36}"
LARGEST, LARGEST_AT_MARKET, DEAREST, LEAST_NOTIONAL = Decimal(1_000_000), Decimal(100_000), Decimal(10_000_000), Decimal(5)
BAND = Decimal("0.05")  # PERCENT_PRICE: how far from the mark a price may lie
GOOD_FOR = 600_000  # milliseconds a GTD order must last
WORKING = {"CONTRACT_PRICE": "last", "MARK_PRICE": "mark"}
REFUSALS = {
    "margin": (-2019, "Margin is insufficient."),
    "leverage_bracket": (-2027, "Exceeded the maximum allowable position at current leverage."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    "would_take": (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history",
    ),
    "unfillable": (
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected. "
        "The order will not be recorded in the order history",
    ),
    "would_trigger": (-2021, "Order would immediately trigger."),
    "duplicate": (-4116, "ClientOrderId is duplicated."),
    "unknown": (-2011, "Unknown order sent."),
    "too_many": (-2025, "Reach max open order limit."),
    "too_many_conditional": (-4045, "Reach max stop order limit."),
    "no_book": (-2020, "Unable to fill."),
    "unchanged": (-5027, "No need to modify the order."),
    "position_open": (-4048, "Margin type cannot be changed if there exists position."),
    "orders_open": (-4047, "Margin type cannot be changed if there exists open orders."),
    "leverage_reduction": (-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions."),
    "not_traded": (-4140, "Invalid symbol status for opening position."),
}


def read_order(query: Query, desk: Desk) -> Order:
    """What /order asks for. Refusal where the venue would not even look at it."""
    instrument = query.instrument()
    side, kind = _side(query), query.word("type", (*PLAIN, *CONDITIONAL, TRAILING), lambda: Refusal(-1116, "Invalid orderType."))
    if kind not in PLAIN:
        raise Refusal(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.")
    order = Order(
        instrument.symbol,
        side,
        _quantity(query, instrument, LARGEST if kind == "LIMIT" else LARGEST_AT_MARKET),
        _price(query, instrument) if kind == "LIMIT" else None,
        reduce_only=query.boolean("reduceOnly"),
        client_id=_client_id(query, "newClientOrderId"),
        told={"type": kind},
    )
    _set_time_in_force(order, query, desk)
    _check_common(query, kind)
    check_price(order, desk)
    check_notional(order, order.price or desk.view.best(order.symbol, side))
    return order


def read_condition(query: Query, desk: Desk) -> Order:
    """What /algoOrder asks for."""
    instrument, side = query.instrument(), _side(query)
    query.word("algoType", ("CONDITIONAL",), lambda: Refusal(-1130, "Data sent for parameter 'algoType' is not valid."))
    kind = query.word("type", (*CONDITIONAL, TRAILING), lambda: Refusal(-1116, "Invalid orderType."))
    if kind == TRAILING:
        raise Refusal(-1020, "This operation is not supported.")  # the practice exchange trails nothing
    by, closes = _working_type(query), query.boolean("closePosition")
    if closes and (query.has("quantity") or query.has("reduceOnly") or not kind.endswith("_MARKET")):
        raise Refusal(-4136, "Target strategy invalid for orderType closePosition true")
    direction = side if CONDITIONAL[kind] == "stop" else -side  # a stop waits for worse prices, a take-profit for better ones
    order = Order(
        instrument.symbol,
        side,
        ZERO if closes else _quantity(query, instrument, LARGEST),
        None if kind.endswith("_MARKET") else _price(query, instrument),
        reduce_only=closes or query.boolean("reduceOnly"),
        close_position=closes,
        trigger=Trigger(_price(query, instrument, "triggerPrice"), direction, by, CONDITIONAL[kind]),
        client_id=_client_id(query, "clientAlgoId"),
        told={"type": kind},
    )
    _set_time_in_force(order, query, desk, needed=False)
    _check_common(query, kind)
    if not closes:
        check_notional(order, order.price or order.trigger.price)
    return order


def check_price(order: Order, desk: Desk) -> None:
    """PERCENT_PRICE: a price, or the best one a market order would get, must lie near the mark."""
    mark = desk.view.mark(order.symbol)
    if order.price is None:
        best = desk.view.best(order.symbol, order.side)
        if order.side * (best - mark * (1 + order.side * BAND)) > 0:
            raise Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")
        return
    highest, lowest = mark * (1 + BAND), mark * (1 - BAND)
    if order.side == BUY and order.price > highest:
        raise Refusal(-4016, f"Limit price can't be higher than {highest:.2f}.")
    if order.side == SELL and order.price < lowest:
        raise Refusal(-4024, f"Limit price can't be lower than {lowest:.2f}.")


def check_notional(order: Order, price: Decimal) -> None:
    if not order.reduce_only and order.quantity * price < LEAST_NOTIONAL:
        raise Refusal(-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only).")


def read_terms(query: Query, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """(quantity, price) of an amendment."""
    return _quantity(query, instrument, LARGEST), _price(query, instrument)


def _side(query: Query) -> int:
    return SIDES[query.word("side", tuple(SIDES), lambda: Refusal(-1117, "Invalid side."))]


def _quantity(query: Query, instrument: Instrument, largest: Decimal) -> Decimal:
    value = _required(query, "quantity")
    if value <= 0:
        raise Refusal(-4003, "Quantity less than or equal to zero.")
    if value > largest:
        raise Refusal(-4005, "Quantity greater than max quantity.")
    if value % lot_of(instrument):
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    return value


def _price(query: Query, instrument: Instrument, name: str = "price") -> Decimal:
    value = _required(query, name)
    if value <= 0:
        raise Refusal(-4001, "Price less than or equal to zero.")
    if value > DEAREST:
        raise Refusal(-4002, "Price greater than max price.")
    if -value.normalize().as_tuple().exponent > instrument.digits:
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    if value % tick_of(instrument):
        raise Refusal(-4014, "Price not increased by tick size.")
    return value


def _required(query: Query, name: str) -> Decimal:
    value = query.decimal(name)
    if value is None:
        raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def _client_id(query: Query, name: str) -> str:
    try:
        return query.text(name, CLIENT_ID) if query.has(name) else ""
    except Refusal:
        raise Refusal(-4015, "Client order id is not valid.") from None


def _working_type(query: Query) -> str:
    if not query.has("workingType"):
        return "last"
    return WORKING[query.word("workingType", tuple(WORKING), lambda: Refusal(-4030, "Invalid workingType."))]


def _set_time_in_force(order: Order, query: Query, desk: Desk, *, needed: bool = True) -> None:
    """A limit order names it; a market order has none to name."""
    if order.price is None and needed and query.has("timeInForce"):
        raise Refusal(-1106, "Parameter 'timeInForce' sent when not required.")
    if query.has("timeInForce") or (order.price is not None and needed):
        order.time_in_force = query.word("timeInForce", TIMES_IN_FORCE, lambda: Refusal(-1115, "Invalid timeInForce."))
    if order.time_in_force == "GTD":
        until = query.integer("goodTillDate")
        if until is None:
            raise Refusal(-1102, "Mandatory parameter 'goodTillDate' was not sent, was empty/null, or malformed.")
        if until <= desk.time + GOOD_FOR:
            raise Refusal(
                -5040, "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than 253402300799000"
            )
        order.expires = until - until % 1000  # "only retains second-level precision"


def _check_common(query: Query, kind: str) -> None:
    """What is refused of every order: prices where there are none, hedge mode, and what the practice exchange does not do."""
    if kind.endswith("MARKET") and query.has("price"):
        raise Refusal(-1106, "Parameter 'price' sent when not required.")
    if query.has("positionSide") and query.text("positionSide", "[A-Z]{1,10}") != "BOTH":
        raise Refusal(-4061, "Order's position side does not match user's setting.")
    if query.has("priceMatch") and query.text("priceMatch", "[A-Z0-9_]{1,20}") != "NONE":
        raise Refusal(-5037, "Invalid price match")
