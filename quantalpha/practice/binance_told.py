"""Binance's orders and trades as REST tells of them.

Source: developers.binance.com, USD-M futures, trade (Query Order, Query Algo Order, Account Trade List).
"""

from decimal import Decimal

from quantalpha.practice.binance_orders import REFUSALS
from quantalpha.practice.orders import BUY, UNTRIGGERED, ZERO, Fill, Order
from quantalpha.practice.tape import Instrument

STATUSES = {"untriggered": "NEW", "new": "NEW", "partially_filled": "PARTIALLY_FILLED", "filled": "FILLED", "canceled": "CANCELED",
            "expired": "EXPIRED"}  # fmt: skip


def type_of(order: Order) -> str:
    """LIMIT or MARKET: what works in the book."""
    return "MARKET" if order.price is None else "LIMIT"


def original_type(order: Order) -> str:
    return order.told.get("type", type_of(order))


def plain(value: Decimal) -> str:
    """Without an exponent, or zeros that say nothing."""
    return f"{value.normalize() + 0:f}"


def order_payload(order: Order, instrument: Instrument) -> dict:
    """An order of /order, /openOrders, /allOrders."""
    price, lot = instrument.digits, instrument.lot_digits
    return {
        "orderId": order.id, "symbol": order.symbol, "status": STATUSES[order.status], "clientOrderId": order.client_id,
        "price": f"{order.price or ZERO:.{price}f}", "avgPrice": plain(order.average_price.quantize(Decimal("1e-8"))),
        "origQty": f"{order.quantity:.{lot}f}", "executedQty": f"{order.filled:.{lot}f}", "cumQty": f"{order.filled:.{lot}f}",
        "cumQuote": plain(order.cost), "timeInForce": order.time_in_force, "type": type_of(order), "reduceOnly": order.reduce_only,
        "closePosition": order.close_position, "side": "BUY" if order.side == BUY else "SELL", "positionSide": "BOTH",
        "stopPrice": trigger_price(order, instrument), "workingType": working_type(order), "priceProtect": False,
        "origType": original_type(order), "priceMatch": "NONE", "selfTradePreventionMode": "NONE", "goodTillDate": order.expires or 0,
        "time": order.triggered or order.created, "updateTime": order.updated,
    }  # fmt: skip


def trigger_price(order: Order, instrument: Instrument) -> str:
    return "0" if order.trigger is None else f"{order.trigger.price:.{instrument.digits}f}"


def working_type(order: Order) -> str:
    return "MARK_PRICE" if order.trigger is not None and order.trigger.by == "mark" else "CONTRACT_PRICE"


def algo_status(order: Order) -> str:
    """NEW, TRIGGERED once it works, FINISHED once that has ended; REJECTED where it was not let to work."""
    if order.status == UNTRIGGERED:
        return "NEW"
    if not order.triggered:
        return STATUSES[order.status]
    if order.open:
        return "TRIGGERED"
    return "REJECTED" if order.status == "expired" and order.ended_by in REFUSALS and not order.filled else "FINISHED"


def algo_payload(order: Order, instrument: Instrument) -> dict:
    """An order of /algoOrder, /openAlgoOrders, /allAlgoOrders."""
    price, lot = instrument.digits, instrument.lot_digits
    average = plain(order.average_price.quantize(Decimal("1e-8")))
    worked = dict.fromkeys(("actualOrderId", "actualPrice", "actualQty", "actualType"), "")
    if order.triggered:
        worked = {"actualOrderId": str(order.id), "actualPrice": average, "actualQty": plain(order.filled), "actualType": type_of(order)}
    return {
        "algoId": order.condition_id, "clientAlgoId": order.client_id, "algoType": "CONDITIONAL", "orderType": original_type(order),
        "symbol": order.symbol, "side": "BUY" if order.side == BUY else "SELL", "positionSide": "BOTH", "timeInForce": order.time_in_force,
        "quantity": f"{order.quantity:.{lot}f}", "algoStatus": algo_status(order), "triggerPrice": trigger_price(order, instrument),
        "price": f"{order.price or ZERO:.{price}f}", "icebergQuantity": None, "selfTradePreventionMode": "NONE",
        "workingType": working_type(order), "priceMatch": "NONE", "closePosition": order.close_position, "priceProtect": False,
        "reduceOnly": order.reduce_only, "createTime": order.created, "updateTime": order.updated, "triggerTime": order.triggered,
        "goodTillDate": order.expires or 0, **worked,
    }  # fmt: skip


def trade_payload(fill: Fill, instrument: Instrument, asset: str) -> dict:
    """One of /userTrades."""
    return {
        "id": fill.id, "orderId": fill.order_id, "symbol": fill.symbol, "side": "BUY" if fill.side == BUY else "SELL",
        "positionSide": "BOTH", "price": plain(fill.price), "qty": f"{fill.quantity:.{instrument.lot_digits}f}",
        "quoteQty": plain(fill.price * fill.quantity),
        "realizedPnl": f"{fill.realised:.8f}", "commission": f"{fill.fee:.8f}", "commissionAsset": asset, "time": fill.time,
        "buyer": fill.side == BUY, "maker": fill.maker,
    }  # fmt: skip
