"""Bybit v5, linear perpetuals (bybit-exchange.github.io/docs/v5). An order's name is its orderLinkId; conditional orders are ordinary ones
that wait. `create`, `amend` and `cancel` say only that the request was taken: what became of it is read afterwards or told by the stream.
"""

import math
from collections.abc import Iterable

from quantalpha.market.trading import words
from quantalpha.market.trading.client import Trading
from quantalpha.market.trading.replies import judge, number, sign, understood
from quantalpha.market.trading.words import (
    AccountReport,
    Held,
    InDoubt,
    Instruction,
    OrderReport,
    Payment,
    Permissions,
    Refused,
    Rules,
    Settings,
    Trade,
)  # fmt: skip

# server timeout, internal error, restarting; a duplicate name or request: the order is there already
DOUBTFUL = ("5004", "10000", "10014", "10016", "10019", "170007", "110072", "12141")
AT_THE_DOOR = ("10002", "10006", "10018", "10429")  # refused before it was looked at: too late on the way, too many
UNKNOWN = ("110001", "110008", "110010")  # no such order, finished, cancelled already
PAGE, ORDER_PAGE, LOG_PAGE = 100, 50, 50
PAYMENTS = {"SETTLEMENT": "funding", "LIQUIDATION": "liquidation"}
STATUSES = {
    "Created": words.OPEN, "New": words.OPEN, "Untriggered": words.OPEN, "Triggered": words.OPEN, "Active": words.OPEN,
    "PartiallyFilled": words.PARTLY_FILLED, "Filled": words.FILLED, "Cancelled": words.CANCELLED,
    "PartiallyFilledCanceled": words.CANCELLED, "Deactivated": words.CANCELLED, "Rejected": words.REJECTED,
}  # fmt: skip
IN_FORCE = {"limit": "GTC", "post_only": "PostOnly"}
MODES = {"cross": "REGULAR_MARGIN", "isolated": "ISOLATED_MARGIN"}
RISING, FALLING = 1, 2
SHORTEST_WINDOW, LONGEST_WINDOW = 3, 300  # seconds of the disconnection protection


class Bybit(Trading):
    """The dead man's switch is the disconnection protection: it counts from when the private websocket is lost, and spares nothing."""

    orders = ("private", "v5/order/create")

    @staticmethod
    def judge(status: int, text: str, wait: float | None) -> None:
        judge(status, text, _code, DOUBTFUL, AT_THE_DOOR)

    @understood
    async def server_time(self) -> int:
        return int((await self._ask("publicGetV5MarketTime"))["time"])

    @understood
    async def _rules(self) -> dict[str, Rules]:
        listed = await self._pages("publicGetV5MarketInstrumentsInfo", {"category": "linear", "limit": 1000})
        return {
            each["symbol"]: _rules(each) for each in listed if each["contractType"] == "LinearPerpetual" and each["quoteCoin"] == self.asset
        }

    @understood
    async def place(self, instruction: Instruction) -> OrderReport:
        terms = {"category": "linear", "symbol": instruction.symbol, "side": "Buy" if instruction.quantity > 0 else "Sell"}
        terms |= {"orderLinkId": instruction.client_id, "positionIdx": 0, "reduceOnly": instruction.reduce_only}
        if instruction.kind in words.CONDITIONAL:
            terms |= self._condition(instruction)
        elif instruction.kind == "market":
            terms |= {"orderType": "Market", "qty": self.quantity_text(instruction)}
        else:
            terms |= {"orderType": "Limit", "qty": self.quantity_text(instruction), "price": self.price_text(instruction)}
            terms |= {"timeInForce": IN_FORCE[instruction.kind]}
        return self._taken(await self._ask("privatePostV5OrderCreate", **terms), instruction)

    def _condition(self, instruction: Instruction) -> dict:
        """A stop lies on the side the market must move to for a loss, a take-profit on the other."""
        buys, stops = instruction.quantity > 0, instruction.kind == "stop"
        terms = {"orderType": "Market", "triggerPrice": self.price_text(instruction), "triggerBy": "LastPrice"}
        terms |= {"triggerDirection": RISING if buys == stops else FALLING}
        return terms | {"qty": self.quantity_text(instruction)}

    @understood
    async def amend(self, instruction: Instruction) -> OrderReport:
        price = "triggerPrice" if instruction.kind in words.CONDITIONAL else "price"
        terms = {"category": "linear", "symbol": instruction.symbol, "orderLinkId": instruction.client_id}
        terms |= {"qty": self.quantity_text(instruction), price: self.price_text(instruction)}
        return self._taken(await self._ask("privatePostV5OrderAmend", **terms), instruction)

    @understood
    async def cancel(self, client_id: str, symbol: str) -> OrderReport | None:
        try:
            await self._ask("privatePostV5OrderCancel", category="linear", symbol=symbol, orderLinkId=client_id)
        except Refused as error:
            if error.code in UNKNOWN:
                return None
            raise
        return await self.order(client_id, symbol)

    async def cancel_all(self, symbol: str) -> None:
        await self._ask("privatePostV5OrderCancelAll", category="linear", symbol=symbol)

    @understood
    async def order(self, client_id: str, symbol: str) -> OrderReport | None:
        for endpoint in ("privateGetV5OrderRealtime", "privateGetV5OrderHistory"):
            found = (await self._ask(endpoint, category="linear", symbol=symbol, orderLinkId=client_id))["result"]["list"]
            if any(each["orderLinkId"] != client_id for each in found):
                raise InDoubt(f"an answer about another order to a question about {client_id!r}")
            if found:
                return report(found[0])
        return None

    @understood
    async def open_orders(self, symbols: Iterable[str] | None = None) -> list[OrderReport]:
        found = []
        for where in [{"settleCoin": self.asset}] if symbols is None else [{"symbol": symbol} for symbol in symbols]:
            found += await self._pages("privateGetV5OrderRealtime", {"category": "linear", "openOnly": 0, "limit": ORDER_PAGE} | where)
        return [report(each) for each in found]

    @understood
    async def trades_since(self, symbol: str, since: int) -> list[Trade]:
        rows: dict[str, dict] = {}
        for start, end in self.weeks(since):
            terms = {"category": "linear", "symbol": symbol, "startTime": start, "endTime": end, "limit": PAGE}
            rows |= {row["execId"]: row for row in await self._pages("privateGetV5ExecutionList", terms) if row["execType"] != "Funding"}
        return [
            trade(row) for row in sorted(rows.values(), key=lambda row: (int(row["execTime"]), int(row.get("seq") or 0), row["execId"]))
        ]

    @understood
    async def payments_since(self, symbol: str, since: int) -> list[Payment]:
        """By the transaction log: a liquidation's own entry names no trade."""
        found: dict[str, Payment] = {}
        for type_, kind in PAYMENTS.items():
            for start, end in self.weeks(since):
                terms = {"accountType": "UNIFIED", "type": type_, "startTime": start, "endTime": end, "limit": LOG_PAGE}
                rows = await self._pages("privateGetV5AccountTransactionLog", terms | {"category": "linear"})
                mine = [row for row in rows if row["symbol"] == symbol and not row.get("tradeId") and row["currency"] == self.asset]
                found |= {row["id"]: _payment(row, kind) for row in mine}
        return sorted(found.values(), key=lambda each: (each.time, each.id))

    @understood
    async def funding_rates(self, symbol: str, since: int) -> dict[int, tuple[float, float | None]]:
        """The last 200, which are more than two months of them, an hourly funding's week."""
        span = {"startTime": self.minute(since), "endTime": self.until()}
        rows = (await self._ask("publicGetV5MarketFundingHistory", category="linear", symbol=symbol, **span, limit=200))["result"]["list"]
        return {self.minute(int(row["fundingRateTimestamp"])): (float(row["fundingRate"]), None) for row in rows}

    @understood
    async def account(self) -> AccountReport:
        coins = (await self._ask("privateGetV5AccountWalletBalance", accountType="UNIFIED", coin=self.asset))["result"]["list"][0]["coin"]
        coin = next((each for each in coins if each["coin"] == self.asset), {"walletBalance": 0.0, "equity": 0.0})
        rows = await self._pages("privateGetV5PositionList", {"category": "linear", "settleCoin": self.asset, "limit": 200})
        held = {row["symbol"]: _position(row) for row in rows if float(row["size"] or 0.0)}
        return AccountReport(float(coin["walletBalance"]), float(coin["equity"]), held)

    @understood
    async def settings(self, symbol: str) -> Settings:
        mode = (await self._ask("privateGetV5AccountInfo"))["result"]["marginMode"]
        rows = (await self._ask("privateGetV5PositionList", category="linear", symbol=symbol))["result"]["list"]
        one_way = [int(row["positionIdx"]) for row in rows] == [0]
        return Settings(float(rows[0]["leverage"]), next((name for name, word in MODES.items() if word == mode), mode), one_way)

    async def set_up(self, symbol: str, wanted: Settings, found: Settings) -> None:
        if not found.one_way:
            await self._ask("privatePostV5PositionSwitchMode", category="linear", symbol=symbol, mode=0)
        if found.margin_mode != wanted.margin_mode:
            await self._ask("privatePostV5AccountSetMarginMode", setMarginMode=MODES[wanted.margin_mode])
        if found.leverage != wanted.leverage:
            both = dict.fromkeys(("buyLeverage", "sellLeverage"), f"{wanted.leverage:g}")
            await self._ask("privatePostV5PositionSetLeverage", category="linear", symbol=symbol, **both)

    @understood
    async def permissions(self) -> Permissions:
        try:
            told = (await self._ask("privateGetV5UserQueryApi"))["result"]
        except (Refused, InDoubt):
            return Permissions(None, None)
        granted = told.get("permissions")
        if not isinstance(granted, dict) or "Wallet" not in granted:
            return Permissions(None, None)
        trade = str(told.get("readOnly")) == "0" and "Order" in granted.get("ContractTrade", [])
        return Permissions(trade, any(each.lower().startswith("withdraw") for each in granted["Wallet"]))

    async def dead_man(self, seconds: float, symbols: Iterable[str]) -> None:
        """Cannot be switched off, and counts only while the private line is down: said once it stands. 0 does nothing."""
        if seconds > 0:
            window = round(min(max(seconds, SHORTEST_WINDOW), LONGEST_WINDOW))
            await self._ask("privatePostV5OrderDisconnectedCancelAll", product="DERIVATIVES", timeWindow=window)

    async def _pages(self, endpoint: str, terms: dict) -> list[dict]:
        """All rows of a list that is told in pages."""
        rows, cursor, told = [], "", set()
        while cursor not in told:
            told.add(cursor)
            result = (await self._ask(endpoint, **terms, **({"cursor": cursor} if cursor else {})))["result"]
            rows += result["list"]
            if not result.get("nextPageCursor") or not result["list"] or result["nextPageCursor"] == cursor:
                return rows
            cursor = result["nextPageCursor"]
        raise InDoubt(f"{endpoint}: its pages go round in a circle")

    def _taken(self, answer: dict, instruction: Instruction) -> OrderReport:
        """What is known once a request was taken: the order is there, and no more."""
        told = answer["result"]
        if told.get("orderLinkId") != instruction.client_id:
            raise InDoubt(f"an answer about {told.get('orderLinkId')!r} to an instruction for {instruction.client_id!r}")
        return OrderReport(
            symbol=instruction.symbol, client_id=instruction.client_id, venue_id=told["orderId"], status=words.OPEN,
            quantity=instruction.quantity, filled=0.0, average=None, price=instruction.price,
            kind=instruction.kind, reduce_only=instruction.reduce_only, time=int(answer["time"]),
        )  # fmt: skip


def report(told: dict) -> OrderReport:
    side, conditional = sign(told["side"]), _is_conditional(told)
    reason = told.get("rejectReason") or told.get("cancelType") or ""
    return OrderReport(
        symbol=told["symbol"], client_id=told["orderLinkId"], venue_id=told["orderId"], status=STATUSES[told["orderStatus"]],
        quantity=side * float(told["qty"]), filled=side * float(told["cumExecQty"] or 0.0), average=number(told.get("avgPrice")),
        price=number(told["triggerPrice"] if conditional else told["price"]), kind=_kind(told), reduce_only=bool(told.get("reduceOnly")),
        time=int(told["updatedTime"]),
        reason="" if reason in ("EC_NoError", "UNKNOWN") else reason,
    )  # fmt: skip


def trade(row: dict) -> Trade:
    return Trade(
        symbol=row["symbol"], id=row["execId"], client_id=row["orderLinkId"] or None, quantity=sign(row["side"]) * float(row["execQty"]),
        price=float(row["execPrice"]), fee=float(row["execFee"]), maker=str(row["isMaker"]).lower() == "true", time=int(row["execTime"]),
        liquidation=row["execType"] in ("BustTrade", "AdlTrade"),
    )  # fmt: skip


def _code(answer: dict) -> str | None:
    """An answer without one says nothing."""
    code = answer.get("retCode", DOUBTFUL[0])
    return None if code == 0 else str(code)


def _rules(entry: dict) -> Rules:
    lots = entry["lotSizeFilter"]
    most = min(number(lots.get(name)) or math.inf for name in ("maxOrderQty", "maxMktOrderQty"))
    return Rules(float(lots["qtyStep"]), float(entry["priceFilter"]["tickSize"]), float(lots.get("minNotionalValue") or 0.0), most)


def _kind(told: dict) -> str:
    """A condition that waits for the market to lose is a stop."""
    if _is_conditional(told):
        buys, rises = told["side"] == "Buy", int(told["triggerDirection"]) == RISING
        return "stop" if buys == rises else "take_profit"
    return "post_only" if told.get("timeInForce") == IN_FORCE["post_only"] else told["orderType"].lower()


def _is_conditional(told: dict) -> bool:
    return told.get("stopOrderType") not in (None, "", "UNKNOWN")


def _payment(row: dict, kind: str) -> Payment:
    return Payment(row["symbol"], f"{kind}-{row['id']}", float(row["change"]), int(row["transactionTime"]), kind)


def _position(row: dict) -> Held:
    liquidation = float(row["liqPrice"] or 0.0)
    return Held(sign(row["side"]) * float(row["size"]), float(row["avgPrice"]), float(row["markPrice"]), liquidation)
