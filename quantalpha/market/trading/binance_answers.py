"""What Binance USD-M says, by REST and on the user-data stream, in plain words (developers.binance.com, USD-M futures: trade, account,
user data streams)."""

import math

from quantalpha.market.trading import words
from quantalpha.market.trading.replies import number, sign
from quantalpha.market.trading.words import Held, OrderReport, Payment, Rules, Trade

STATUSES = {
    "NEW": words.OPEN, "PENDING_NEW": words.OPEN, "PARTIALLY_FILLED": words.PARTLY_FILLED, "FILLED": words.FILLED,
    "CANCELED": words.CANCELLED, "REJECTED": words.REJECTED, "EXPIRED": words.EXPIRED, "EXPIRED_IN_MATCH": words.EXPIRED,
    "TRIGGERING": words.OPEN, "TRIGGERED": words.OPEN, "FINISHED": words.CANCELLED,
}  # fmt: skip
KINDS = {"STOP_MARKET": "stop", "TAKE_PROFIT_MARKET": "take_profit", "LIMIT": "limit", "MARKET": "market"}
LIQUIDATIONS = ("autoclose-", "adl_autoclose", "settlement_autoclose-")  # client ids of the venue's own orders


def error_code(answer: dict) -> str | None:
    code = str(answer.get("code", ""))
    return code if code.startswith("-") else None


def ordinary(told: dict) -> OrderReport:
    side = sign(told["side"])
    return OrderReport(
        symbol=told["symbol"], client_id=told["clientOrderId"], venue_id=str(told["orderId"]), status=STATUSES[told["status"]],
        quantity=side * float(told["origQty"]), filled=side * float(told["executedQty"]), average=number(told.get("avgPrice")),
        price=number(told.get("price")), kind=_kind(told.get("origType") or told["type"], told.get("timeInForce")),
        reduce_only=true(told.get("reduceOnly")), time=int(told["updateTime"]),
    )  # fmt: skip


def conditional(told: dict) -> OrderReport:
    return OrderReport(
        symbol=told["symbol"], client_id=told["clientAlgoId"], venue_id=str(told["algoId"]), status=STATUSES[told["algoStatus"]],
        quantity=sign(told["side"]) * float(told.get("quantity") or 0.0), filled=0.0, average=None, price=number(told["triggerPrice"]),
        kind=_kind(told["orderType"], None), reduce_only=true(told.get("reduceOnly")) or true(told.get("closePosition")),
        time=int(told["updateTime"]),
    )  # fmt: skip


def trade(row: dict, client_id: str | None) -> Trade:
    return Trade(
        symbol=row["symbol"], id=str(row["id"]), client_id=client_id, quantity=sign(row["side"]) * float(row["qty"]),
        price=float(row["price"]), fee=float(row["commission"]), maker=true(row["maker"]), time=int(row["time"]),
        liquidation=(client_id or "").startswith(LIQUIDATIONS),
    )  # fmt: skip


def streamed_order(told: dict, client_id: str) -> OrderReport:
    """Of an ORDER_TRADE_UPDATE's `o`."""
    side = sign(told["S"])
    return OrderReport(
        symbol=told["s"], client_id=client_id, venue_id=str(told["i"]), status=STATUSES[told["X"]], quantity=side * float(told["q"]),
        filled=side * float(told["z"]), average=number(told["ap"]), price=number(told["p"]), kind=_kind(told["ot"], told["f"]),
        reduce_only=true(told["R"]), time=int(told["T"]),
    )  # fmt: skip


def streamed_trade(told: dict, client_id: str) -> Trade:
    return Trade(
        symbol=told["s"], id=str(told["t"]), client_id=client_id, quantity=sign(told["S"]) * float(told["l"]), price=float(told["L"]),
        fee=float(told.get("n") or 0.0), maker=true(told["m"]), time=int(told["T"]), liquidation=client_id.startswith(LIQUIDATIONS),
    )  # fmt: skip


def streamed_condition(told: dict, time: int) -> OrderReport:
    """Of an ALGO_UPDATE's `o`."""
    return OrderReport(
        symbol=told["s"], client_id=told["caid"], venue_id=str(told["aid"]), status=STATUSES[told["X"]],
        quantity=sign(told["S"]) * float(told.get("q") or 0.0), filled=0.0, average=None, price=number(told["tp"]),
        kind=_kind(told["o"], None), reduce_only=true(told.get("R")) or true(told.get("cp")), time=time, reason=told.get("rm") or "",
    )  # fmt: skip


def rules(entry: dict) -> Rules:
    filters = {each["filterType"]: each for each in entry["filters"]}
    sizes = [filters[name] for name in ("LOT_SIZE", "MARKET_LOT_SIZE") if name in filters]
    most = min((number(each.get("maxQty")) or math.inf for each in sizes), default=math.inf)
    least = float(filters.get("MIN_NOTIONAL", {}).get("notional", 0.0))
    return Rules(max(float(each["stepSize"]) for each in sizes), float(filters["PRICE_FILTER"]["tickSize"]), least, most)


def payment(row: dict, kind: str) -> Payment:
    return Payment(row["symbol"], f"{kind}-{row['tranId']}", float(row["income"]), int(row["time"]), kind)


def position(row: dict) -> Held:
    numbers = (row["positionAmt"], row["entryPrice"], row["markPrice"], row["liquidationPrice"] or 0.0)
    return Held(*map(float, numbers))


def told_of(answer: dict, name: str) -> bool | None:
    return true(answer[name]) if name in answer else None


def true(value: bool | str | None) -> bool:
    return value is True or str(value).lower() == "true"


def _kind(name: str, time_in_force: str | None) -> str:
    return "post_only" if time_in_force == "GTX" else KINDS.get(name, name.lower())
