"""The messages of Binance's user data stream: ORDER_TRADE_UPDATE, ALGO_UPDATE, ACCOUNT_UPDATE, ACCOUNT_CONFIG_UPDATE and MARGIN_CALL.

Source: developers.binance.com, USD-M futures, user data streams.
"""

from decimal import Decimal

from quantalpha.practice.account import Position
from quantalpha.practice.binance_orders import REFUSALS
from quantalpha.practice.binance_told import STATUSES, algo_status, original_type, plain, trigger_price, type_of, working_type
from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import BUY, UNTRIGGERED, ZERO, Change, Order
from quantalpha.practice.path import price_at

EXECUTIONS = {"new": "NEW", "fill": "TRADE", "amended": "AMENDMENT", "canceled": "CANCELED", "expired": "EXPIRED"}


def messages(desk: Desk, change: Change) -> list[dict]:
    """What one change is told as."""
    if change.kind == "order":
        return _order(desk, change)
    if change.kind == "setting" and change.reason == "leverage":
        symbol = change.symbols[0]
        setting = {"s": symbol, "l": desk.account.setting(symbol).leverage}
        return [{"e": "ACCOUNT_CONFIG_UPDATE", "E": change.time, "T": change.time, "ac": setting}]
    return [_margin_call(desk, change) if change.kind == "margin_call" else _account(desk, change)]


def _order(desk: Desk, change: Change) -> list[dict]:
    """Of a condition its algo order is told, of what it has set to work the order, and the algo order's end with that one's."""
    order = change.order
    if order.trigger is None:
        return [_trade_update(desk, change)]
    told = [_algo_update(desk, change)] if order.status == UNTRIGGERED or change.reason == "triggered" or not order.open else []
    works = order.triggered and change.reason != "triggered" and algo_status(order) != "REJECTED"
    return [_trade_update(desk, change), *told] if works else told


def _trade_update(desk: Desk, change: Change) -> dict:
    order, fill, each = change.order, change.fill, desk.view.instruments[change.order.symbol]
    liquidation = fill is not None and order.ended_by == "liquidation"
    head = {
        "s": order.symbol, "c": order.client_id, "S": _side(order), "o": type_of(order), "f": order.time_in_force,
        "q": f"{order.quantity:.{each.lot_digits}f}", "p": f"{order.price or ZERO:.{each.digits}f}", "ap": _average(order),
        "sp": trigger_price(order, each), "x": "CALCULATED" if liquidation else EXECUTIONS[change.reason], "X": STATUSES[order.status],
        "i": order.id, "l": plain(fill.quantity) if fill else "0", "z": f"{order.filled:.{each.lot_digits}f}",
        "L": plain(fill.price) if fill else "0",
    }  # fmt: skip
    paid = {"n": f"{fill.fee:.8f}", "N": desk.account.asset} if fill else {}
    tail = {
        "T": change.time, "t": fill.id if fill else 0, "b": "0", "a": "0", "m": bool(fill and fill.maker), "R": order.reduce_only,
        "wt": working_type(order), "ot": original_type(order), "ps": "BOTH", "cp": order.close_position,
        "rp": f"{fill.realised:.8f}" if fill else "0", "pP": False, "si": 0, "ss": 0, "V": "NONE", "pm": "NONE", "gtd": order.expires or 0,
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": change.time, "T": change.time, "o": head | paid | tail}


def _algo_update(desk: Desk, change: Change) -> dict:
    order, each = change.order, desk.view.instruments[change.order.symbol]
    works = {"ai": str(order.id), "ap": _average(order), "aq": plain(order.filled), "act": type_of(order)}
    told = {
        "caid": order.client_id, "aid": order.condition_id, "at": "CONDITIONAL", "o": original_type(order), "s": order.symbol,
        "S": _side(order), "ps": "BOTH", "f": order.time_in_force, "q": f"{order.quantity:.{each.lot_digits}f}", "X": algo_status(order),
        **(works if order.triggered else {"ai": ""}), "tp": trigger_price(order, each),
        "p": f"{order.price or ZERO:.{each.digits}f}", "V": "NONE", "wt": working_type(order),
        "pm": "NONE", "cp": order.close_position, "pP": False, "R": order.reduce_only, "tt": order.triggered, "gtd": order.expires or 0,
        "rm": REFUSALS[order.ended_by][1] if order.ended_by in REFUSALS else "",
    }  # fmt: skip
    return {"e": "ALGO_UPDATE", "E": change.time, "T": change.time, "o": told}


def _account(desk: Desk, change: Change) -> dict:
    """Balance and positions after orders and settings; after funding of a cross position the balance alone."""
    reason = "MARGIN_TYPE_CHANGE" if change.kind == "setting" else change.reason
    funded = reason == "FUNDING_FEE"
    told = [each for each in change.positions if not funded or desk.account.isolated(each.symbol)]
    balance = {
        "a": desk.account.asset, "wb": f"{change.wallet:.8f}", "cw": f"{change.cross_wallet:.8f}",
        "bc": f"{change.amount:.8f}" if funded else "0",
    }  # fmt: skip
    data = {"m": reason, "B": [balance], "P": [_position(desk, each, change.time) for each in told]}
    return {"e": "ACCOUNT_UPDATE", "E": change.time, "T": change.time, "a": data}


def _position(desk: Desk, position: Position, time: int) -> dict:
    isolated = desk.account.isolated(position.symbol)
    return {
        "s": position.symbol, "pa": plain(position.quantity), "ep": entry_price(position), "bep": entry_price(position),
        "cr": f"{position.realised:.8f}", "up": f"{position.unrealised(_mark(desk, position.symbol, time)):.8f}",
        "mt": "isolated" if isolated else "cross", "iw": f"{desk.account.isolated_margin(position.symbol):.8f}", "ps": "BOTH",
        "ma": desk.account.asset,
    }  # fmt: skip


def _margin_call(desk: Desk, change: Change) -> dict:
    position, symbol = change.positions[0], change.symbols[0]
    mark = _mark(desk, symbol, change.time)
    told = {
        "s": symbol, "ps": "BOTH", "pa": plain(position.quantity), "mt": "ISOLATED" if change.reason == "isolated" else "CROSSED",
        "iw": f"{desk.account.isolated_margin(symbol):.8f}", "mp": plain(mark), "up": f"{position.unrealised(mark):.8f}",
        "mm": f"{desk.margins.maintenance(symbol):.8f}",
    }  # fmt: skip
    return {"e": "MARGIN_CALL", "E": change.time, "cw": f"{change.cross_wallet:.8f}", "p": [told]}


def entry_price(position: Position) -> str:
    return plain(position.entry_price.quantize(Decimal("1e-8")))


def _mark(desk: Desk, symbol: str, time: int) -> Decimal:
    """As it stood at `time`, which may be past."""
    candles = desk.view.instruments[symbol].mark
    return price_at(candles, max(candles.trades_until(time) - 1, 0))


def _average(order: Order) -> str:
    return plain(order.average_price.quantize(Decimal("1e-8")))


def _side(order: Order) -> str:
    return "BUY" if order.side == BUY else "SELL"
