"""Bybit's rows of what an account does: orders, executions, positions, wallet, transaction log; the same on REST and websocket.

Source: bybit-exchange.github.io/docs/v5, order, position, account (REST) and websocket private.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from quantalpha.practice.account import Account, Income, Position
from quantalpha.practice.bybit_member import STOP_LOSS, TAKE_PROFIT, TYPE, Member
from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import BUY, ZERO, Change, Fill, Order

SIDES = {BUY: "Buy", -BUY: "Sell"}
TRIGGERS = {"last": "LastPrice", "mark": "MarkPrice"}
IN_FORCE = {"GTX": "PostOnly"}
STATUSES = {"untriggered": "Untriggered", "new": "New", "partially_filled": "PartiallyFilled", "filled": "Filled"}
CANCELED_BY = {
    "client": "CancelByUser", "dead_man": "CancelByDCP", "reduce_only": "CancelByReduceOnly", "liquidation": "CancelAllBeforeLiq",
    "stop_cleared": "CancelByTpSlTsClear",
}  # fmt: skip
REJECTED_FOR = {
    "would_take": "EC_PostOnlyWillTakeLiquidity", "unfilled": "EC_NoImmediateQtyToFill", "no_book": "EC_NoImmediateQtyToFill",
    "unfillable": "EC_NoEnoughQtyToFill",
}  # fmt: skip


def order_id(order_id: int) -> str:
    """As Bybit writes it; `number` reads it."""
    return str(UUID(int=order_id))


def number(order_id: str) -> int | None:
    """The id behind Bybit's text, None where it is none."""
    try:
        return UUID(order_id).int
    except ValueError:
        return None


def text(value: Decimal) -> str:
    """A decimal as it is written, without zeros at its end."""
    return f"{value.normalize():f}" if value else "0"


def link(order: Order) -> str:
    """The owner's id; empty where he gave none."""
    return "" if order.client_id == f"practice-{order.id}" else order.client_id


def status(order: Order) -> str:
    """A conditional order that ends before it is triggered is Deactivated, one that may not work once it is, Rejected."""
    if order.status in STATUSES:
        return STATUSES[order.status]
    if order.trigger is not None and not order.triggered:
        return "Deactivated"
    asleep = order.trigger is not None and order.ended_by in ("margin", "reduce_only", "leverage_bracket", "no_book", "would_take")
    return "Rejected" if asleep and not order.filled else "Cancelled"


def order_row(member: Member, order: Order) -> dict:
    trigger, asset, fees = order.trigger, member.desk.account.asset, member.fees[order.id]
    in_force = "IOC" if order.price is None else IN_FORCE.get(order.time_in_force, order.time_in_force)
    open_left = order.left if order.open else ZERO
    return {
        "category": "linear", "symbol": order.symbol, "orderId": order_id(order.id), "orderLinkId": link(order), "blockTradeId": "",
        "side": SIDES[order.side], "positionIdx": 0, "orderType": "Market" if order.price is None else "Limit",
        "price": text(order.price or ZERO), "qty": text(order.quantity), "timeInForce": in_force, "orderStatus": status(order),
        "cancelType": CANCELED_BY.get(order.ended_by, "UNKNOWN"), "rejectReason": REJECTED_FOR.get(order.ended_by, "EC_NoError"),
        "avgPrice": text(order.average_price.quantize(Decimal("1e-8"))) if order.filled else "",
        "leavesQty": text(open_left), "leavesValue": text(open_left * (order.price or ZERO)), "cumExecQty": text(order.filled),
        "cumExecValue": text(order.cost), "cumExecFee": text(fees), "cumFeeDetail": {asset: text(fees)} if order.filled else {},
        "stopOrderType": order.told.get(TYPE, "Stop" if trigger is not None else ""),
        "triggerPrice": "" if trigger is None else text(trigger.price),
        "triggerDirection": 0 if trigger is None else 1 if trigger.direction > 0 else 2,
        "triggerBy": "" if trigger is None else TRIGGERS[trigger.by], "takeProfit": order.told.get("takeProfit", ""),
        "stopLoss": order.told.get("stopLoss", ""), "tpslMode": "Full" if TYPE in order.told else "", "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_position, "createType": "CreateByUser", "isLeverage": "", "orderIv": "",
        "lastPriceOnCreated": "", "placeType": "", "smpType": "None", "smpGroup": 0, "smpOrderId": "",
        "createdTime": str(order.created), "updatedTime": str(order.updated),
    }  # fmt: skip


def execution_row(member: Member, order: Order, fill: Fill) -> dict:
    """One trade. `closedSize`: what it took from the position."""
    fee_rate = member.desk.account.fees[0 if fill.maker else 1]
    liquidated = order.ended_by == "liquidation"
    return {
        "category": "linear", "symbol": fill.symbol, "orderId": order_id(order.id), "orderLinkId": link(order), "side": SIDES[fill.side],
        "orderPrice": text(order.price or ZERO), "orderQty": text(order.quantity), "leavesQty": text(order.left),
        "orderType": "Market" if order.price is None else "Limit", "createType": "CreateByLiq" if liquidated else "CreateByUser",
        "stopOrderType": order.told.get(TYPE, "Stop" if order.trigger is not None else "UNKNOWN"), "execFee": text(fill.fee),
        "execId": str(UUID(int=fill.id)), "execPrice": text(fill.price), "execQty": text(fill.quantity),
        "execType": "BustTrade" if liquidated else "Trade", "execValue": text(fill.quantity * fill.price), "execTime": str(fill.time),
        "feeCurrency": member.desk.account.asset, "isMaker": fill.maker, "feeRate": "0" if liquidated else text(fee_rate),
        "tradeIv": "", "markIv": "", "markPrice": text(member.desk.view.mark(fill.symbol)), "indexPrice": "", "underlyingPrice": "",
        "blockTradeId": "", "execPnl": text(fill.realised), "seq": fill.id,
    }  # fmt: skip


def funding_row(change: Change) -> dict:
    """A settlement, which Bybit tells as an execution of its own type; `execFee`: + paid."""
    (position,) = change.positions
    return {
        "category": "linear", "symbol": position.symbol, "execType": "Funding", "execId": str(UUID(int=change.time)),
        "side": SIDES.get(position.side, ""), "execQty": text(abs(position.quantity)), "execFee": text(-change.amount),
        "execTime": str(change.time), "orderId": "", "orderLinkId": "", "closedSize": "0", "leavesQty": "0", "isMaker": False,
    }  # fmt: skip


def position_row(member: Member, position: Position) -> dict:
    """The position with what holds of its symbol now; side empty where nothing is held."""
    desk, symbol = member.desk, position.symbol
    margins, setting, mark = desk.margins, desk.account.setting(symbol), desk.view.mark(symbol)
    held, stops = bool(position.quantity), {kind: member.stop_of(symbol, kind) for kind in (STOP_LOSS, TAKE_PROFIT)}
    levels = {kind: "0" if order is None else text(order.trigger.price) for kind, order in stops.items()}
    liquidation, entry = margins.liquidation_price(symbol), text(position.entry_price.quantize(Decimal("1e-8")))
    return {
        "category": "linear", "positionIdx": 0, "riskId": 1, "riskLimitValue": "", "symbol": symbol,
        "side": SIDES.get(position.side, ""), "size": text(abs(position.quantity)),
        "avgPrice": entry, "entryPrice": entry,
        "positionValue": text(abs(position.cost)), "tradeMode": 0, "positionStatus": "Normal", "autoAddMargin": 0, "adlRankIndicator": 0,
        "leverage": str(setting.leverage), "markPrice": text(mark), "liqPrice": text(liquidation) if liquidation > 0 else "",
        "bustPrice": "", "positionIM": text(margins.position_margin(symbol)) if held else "0",
        "positionMM": text(margins.maintenance(symbol)) if held else "0",
        "positionBalance": text(desk.account.isolated_margin(symbol)) if held and desk.account.isolated(symbol) else "0",
        "takeProfit": levels[TAKE_PROFIT], "stopLoss": levels[STOP_LOSS], "trailingStop": "0", "tpslMode": "Full", "sessionAvgPrice": "",
        "unrealisedPnl": text(position.unrealised(mark)), "curRealisedPnl": text(position.realised),
        "cumRealisedPnl": text(position.realised), "seq": position.updated, "isReduceOnly": False, "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "", "createdTime": str(position.updated), "updatedTime": str(position.updated),
    }  # fmt: skip


def wallet_row(desk: Desk, wallet: Decimal | None = None) -> dict:
    """The account of one coin; wallet: what it held at the moment told of, None: now."""
    margins, account = desk.margins, desk.account
    wallet, symbols = account.wallet if wallet is None else wallet, set(account.positions) | {each.symbol for each in margins.orders}
    positions, orders = (sum((each(symbol) for symbol in symbols), ZERO) for each in (margins.position_margin, margins.order_margin))
    kept, unrealised = (sum((each(symbol) for symbol in symbols), ZERO) for each in (margins.maintenance, margins.unrealised))
    equity, available = wallet + unrealised, margins.available
    coin = {
        "coin": account.asset, "equity": text(equity), "usdValue": text(equity), "walletBalance": text(wallet), "locked": "0",
        "free": "", "spotHedgingQty": "0", "borrowAmount": "0", "accruedInterest": "0", "totalOrderIM": text(orders),
        "totalPositionIM": text(positions), "totalPositionMM": text(kept), "unrealisedPnl": text(unrealised), "bonus": "0",
        "cumRealisedPnl": text(account.wallet - account.deposit), "availableToWithdraw": "", "availableToBorrow": "",
        "collateralSwitch": True, "marginCollateral": True,
    }  # fmt: skip
    share = {"accountIMRate": orders + positions, "accountMMRate": kept}
    rates = {name: text((value / equity).quantize(Decimal("1e-4"))) if equity > 0 else "" for name, value in share.items()}
    return rates | {
        "accountType": "UNIFIED", "accountLTV": "0", "totalEquity": text(equity), "totalWalletBalance": text(wallet),
        "totalMarginBalance": text(equity), "totalAvailableBalance": text(available), "totalPerpUPL": text(unrealised),
        "totalInitialMargin": text(orders + positions), "totalMaintenanceMargin": text(kept), "coin": [coin],
    }  # fmt: skip


def log_rows(account: Account) -> Iterator[dict]:
    """The transaction log, oldest first: a trade's profit and fee are one entry, a settlement's funding another."""
    balance = account.deposit

    def entry_of(income: Income):
        return ("trade", income.trade_id) if income.trade_id is not None else ("other", income.id)

    for _, group in groupby(account.incomes, entry_of):
        incomes = list(group)
        amounts = {kind: sum((each.amount for each in incomes if each.kind == kind), ZERO) for kind in ("COMMISSION", "FUNDING_FEE")}
        change = sum((each.amount for each in incomes), ZERO)
        balance += change
        first, traded = incomes[0], incomes[0].trade_id is not None
        yield {
            "id": f"{first.id}", "symbol": first.symbol, "category": "linear", "side": "", "transactionTime": str(first.time),
            "type": "TRADE" if traded else "SETTLEMENT" if first.kind == "FUNDING_FEE" else "LIQUIDATION", "transSubType": "",
            "qty": "", "size": "", "currency": account.asset, "tradePrice": "", "funding": text(amounts["FUNDING_FEE"]),
            "fee": text(-amounts["COMMISSION"]), "cashFlow": text(change - amounts["FUNDING_FEE"] - amounts["COMMISSION"]),
            "change": text(change), "cashBalance": text(balance), "feeRate": "", "bonusChange": "",
            "tradeId": str(UUID(int=first.trade_id)) if traded else "", "orderId": "", "orderLinkId": "",
        }  # fmt: skip
