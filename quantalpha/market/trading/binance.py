"""Binance USD-M futures (developers.binance.com, USD-M futures, REST): orders, and conditional ones, which live at its algo service
with names of their own (clientAlgoId) and become an ordinary order when they are triggered.

A trade names the order, not the client's id; the ids are learnt from answers and asked for where they are not known.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from quantalpha import config
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.trading import words
from quantalpha.market.trading.binance_answers import conditional, error_code, ordinary, payment, position, rules, told_of, trade, true
from quantalpha.market.trading.client import Trading, together
from quantalpha.market.trading.replies import judge, number, understood
from quantalpha.market.trading.words import (
    AccountReport,
    InDoubt,
    Instruction,
    Keys,
    OrderReport,
    Payment,
    Permissions,
    Refused,
    Rules,
    Settings,
    Trade,
)  # fmt: skip

# unknown error, disconnected, unexpected response, timeout; a duplicate client id: the order is there already
DOUBTFUL = ("-1000", "-1001", "-1006", "-1007", "-4116")
AT_THE_DOOR = ("-1008", "-1021")  # refused before it was looked at: too busy, too late on the way
UNKNOWN = ("-2011", "-2013", "-20121", "-20124")  # no such (open) order
OURS = "qa-"  # begins the client id of every order made here
PAGE = 1000
TRIGGERED = ("TRIGGERED", "FINISHED")  # the order it became says more
TYPES = {"stop": "STOP_MARKET", "take_profit": "TAKE_PROFIT_MARKET"}
MODES = {"cross": "CROSSED", "isolated": "ISOLATED"}
PAYMENTS = {"FUNDING_FEE": "funding", "INSURANCE_CLEAR": "liquidation"}


class Binance(Trading):
    """The countdown cancels ordinary orders alone: conditional ones belong to another service."""

    dead_man_spares_stops = True
    orders = ("fapiPrivate", "order")

    def __init__(self, venue: config.Venue, keys: Keys, demo: bool):
        super().__init__(venue, keys, demo)
        self.names: dict[str, str] = {}  # of orders that traded or may, by the venue's id
        self._conditional: set[str] = set()  # client ids known to be at the algo service

    @staticmethod
    def judge(status: int, text: str, wait: float | None) -> None:
        judge(status, text, error_code, DOUBTFUL, AT_THE_DOOR)

    @understood
    async def server_time(self) -> int:
        return int((await self._ask("fapiPublicGetTime"))["serverTime"])

    @understood
    async def _rules(self) -> dict[str, Rules]:
        told = await self._ask("fapiPublicGetExchangeInfo")
        return {entry["symbol"]: rules(entry) for entry in told["symbols"] if entry["quoteAsset"] == self.asset}

    @understood
    async def place(self, instruction: Instruction) -> OrderReport:
        side = "BUY" if instruction.quantity > 0 else "SELL"
        terms = {"symbol": instruction.symbol, "side": side, "newOrderRespType": "RESULT"}
        if instruction.kind in words.CONDITIONAL:
            return await self._place_conditional(instruction, terms)
        terms |= {"newClientOrderId": instruction.client_id, "quantity": self.quantity_text(instruction)}
        if instruction.kind == "market":
            terms |= {"type": "MARKET"}
        else:
            in_force = "GTX" if instruction.kind == "post_only" else "GTC"
            terms |= {"type": "LIMIT", "price": self.price_text(instruction), "timeInForce": in_force}
        if instruction.reduce_only:
            terms |= {"reduceOnly": "true"}
        return self._known(ordinary(await self._ask("fapiPrivatePostOrder", **terms)), instruction.client_id)

    async def _place_conditional(self, instruction: Instruction, terms: dict) -> OrderReport:
        self._conditional.add(instruction.client_id)
        terms |= {"algoType": "CONDITIONAL", "type": TYPES[instruction.kind], "clientAlgoId": instruction.client_id}
        terms |= {"triggerPrice": self.price_text(instruction), "workingType": "CONTRACT_PRICE"}
        terms |= {"quantity": self.quantity_text(instruction)} | ({"reduceOnly": "true"} if instruction.reduce_only else {})
        return self._known(conditional(await self._ask("fapiPrivatePostAlgoOrder", **terms)), instruction.client_id, at_algo=True)

    @understood
    async def amend(self, instruction: Instruction) -> OrderReport:
        if instruction.kind in words.CONDITIONAL:
            raise Refused("not sent", "Binance cannot amend a conditional order: place another, then cancel this one")
        terms = {"symbol": instruction.symbol, "side": "BUY" if instruction.quantity > 0 else "SELL"}
        terms |= {"quantity": self.quantity_text(instruction), "price": self.price_text(instruction)}
        answer = await self._ask("fapiPrivatePutOrder", origClientOrderId=instruction.client_id, **terms)
        return self._known(ordinary(answer), instruction.client_id)

    @understood
    async def cancel(self, client_id: str, symbol: str) -> OrderReport | None:
        for at_algo in self._services(client_id):
            try:
                if at_algo:
                    await self._ask("fapiPrivateDeleteAlgoOrder", symbol=symbol, clientAlgoId=client_id)
                    return await self.order(client_id, symbol)
                answer = await self._ask("fapiPrivateDeleteOrder", symbol=symbol, origClientOrderId=client_id)
                return self._known(ordinary(answer), client_id)
            except Refused as error:
                if error.code not in UNKNOWN:
                    raise
        return None

    async def cancel_all(self, symbol: str) -> None:
        asked = self._ask("fapiPrivateDeleteAllOpenOrders", symbol=symbol), self._ask("fapiPrivateDeleteAlgoOpenOrders", symbol=symbol)
        await together(*asked)

    @understood
    async def order(self, client_id: str, symbol: str) -> OrderReport | None:
        for at_algo in self._services(client_id):
            found = await (self._conditional_order if at_algo else self._ordinary)(client_id, symbol)
            if found is not None:
                return found
        return None

    async def _ordinary(self, client_id: str, symbol: str) -> OrderReport | None:
        answer = await self._found("fapiPrivateGetOrder", symbol=symbol, origClientOrderId=client_id)
        return None if answer is None else self._known(ordinary(answer), client_id)

    async def _conditional_order(self, client_id: str, symbol: str) -> OrderReport | None:
        """Once it is triggered, what became of the order that it was turned into."""
        answer = await self._found("fapiPrivateGetAlgoOrder", symbol=symbol, clientAlgoId=client_id)
        if answer is None:
            return None
        report = self._known(conditional(answer), client_id, at_algo=True)
        became = str(answer.get("actualOrderId") or "")
        if answer["algoStatus"] not in TRIGGERED or not became.strip("0"):
            return report
        self.names[became] = client_id
        order = await self._found("fapiPrivateGetOrder", symbol=symbol, orderId=became)
        if order is None:
            raise InDoubt(f"{client_id} was triggered, and what became of it is not told yet")
        return replace(ordinary(order), client_id=client_id, kind=report.kind, price=report.price)

    async def _found(self, endpoint: str, **parameters) -> dict | None:
        try:
            return await self._ask(endpoint, **parameters)
        except Refused as error:
            if error.code in UNKNOWN:
                return None
            raise

    def _services(self, client_id: str) -> tuple[bool, ...]:
        """Where to look for it, the likelier first; whether that is the algo service."""
        return (True, False) if client_id in self._conditional else (False, True)

    @understood
    async def open_orders(self, symbols: Iterable[str] | None = None) -> list[OrderReport]:
        found = []
        for where in [{}] if symbols is None else [{"symbol": symbol} for symbol in symbols]:
            asked = self._ask("fapiPrivateGetOpenOrders", **where), self._ask("fapiPrivateGetOpenAlgoOrders", **where)
            resting, waiting = await together(*asked)
            found += [self._known(ordinary(each), None) for each in resting]
            found += [self._known(conditional(each), None, at_algo=True) for each in waiting]
        return found

    @understood
    async def trades_since(self, symbol: str, since: int) -> list[Trade]:
        rows: dict[int, dict] = {}
        for start, end in self.weeks(since):
            page = await self._ask("fapiPrivateGetUserTrades", symbol=symbol, startTime=start, endTime=end, limit=PAGE)
            rows |= {int(row["id"]): row for row in page}
            while len(page) == PAGE:
                last = max(rows)
                page = await self._ask("fapiPrivateGetUserTrades", symbol=symbol, fromId=last + 1, limit=PAGE)
                rows |= {int(row["id"]): row for row in page}
                if page and max(rows) == last:
                    raise InDoubt(f"{symbol}: trades that were asked for after {last} are not after it")
        return [await self._trade(rows[id]) for id in sorted(rows)]

    async def _trade(self, row: dict) -> Trade:
        if row["commissionAsset"] != self.asset:
            raise ExchangeError(
                f"{row['symbol']}: fees are paid in {row['commissionAsset']}, not {self.asset}; switch that off at the venue"
            )
        name = await self._name(str(row["orderId"]), row["symbol"])
        return trade(row, name)

    async def _name(self, order: str, symbol: str) -> str | None:
        """The client id of an order by the venue's id of it; of one that was conditional, the name it had as such, whatever the order that
        it became is called."""
        if order not in self.names:
            answer = await self._found("fapiPrivateGetOrder", symbol=symbol, orderId=order)
            if answer is None:
                return None
            self.names[order] = answer["clientOrderId"]
            if not self.ours(answer["clientOrderId"]):
                asked = await self._ask("fapiPrivateGetAllAlgoOrders", symbol=symbol)
                self.names |= {str(each["actualOrderId"]): each["clientAlgoId"] for each in asked if each.get("actualOrderId")}
        return self.names[order]

    def ours(self, name: str) -> bool:
        """Whether a client id was given here."""
        return name.startswith(OURS)

    @understood
    async def payments_since(self, symbol: str, since: int) -> list[Payment]:
        """Of one kind 21 a week, 168 where funding is hourly: a page holds them all."""
        paid: dict[str, Payment] = {}
        for income, kind in PAYMENTS.items():
            for start, end in self.weeks(since):
                terms = {"symbol": symbol, "incomeType": income, "startTime": start, "endTime": end, "limit": PAGE}
                found = [payment(row, kind) for row in await self._ask("fapiPrivateGetIncome", **terms)]
                paid |= {each.id: each for each in found}
        return sorted(paid.values(), key=lambda each: (each.time, each.id))

    @understood
    async def funding_rates(self, symbol: str, since: int) -> dict[int, tuple[float, float | None]]:
        rows = await self._ask("fapiPublicGetFundingRate", symbol=symbol, startTime=self.minute(since), limit=PAGE)
        return {self.minute(int(row["fundingTime"])): (float(row["fundingRate"]), number(row.get("markPrice"))) for row in rows}

    @understood
    async def account(self) -> AccountReport:
        told, risks = await together(self._ask("fapiPrivateV3GetAccount"), self._ask("fapiPrivateV3GetPositionRisk"))
        asset = next((each for each in told["assets"] if each["asset"] == self.asset), {"walletBalance": 0.0, "marginBalance": 0.0})
        held = [row for row in risks if float(row["positionAmt"])]
        return AccountReport(float(asset["walletBalance"]), float(asset["marginBalance"]), {row["symbol"]: position(row) for row in held})

    @understood
    async def settings(self, symbol: str) -> Settings:
        asked = self._ask("fapiPrivateGetPositionSideDual"), self._ask("fapiPrivateGetMultiAssetsMargin")
        dual, assets = await together(*asked)
        told = next(row for row in await self._ask("fapiPrivateGetSymbolConfig", symbol=symbol) if row["symbol"] == symbol)
        mode = next((mode for mode, name in MODES.items() if name == told["marginType"].upper()), told["marginType"])
        one_way, one_asset = not true(dual["dualSidePosition"]), not true(assets["multiAssetsMargin"])
        return Settings(float(told["leverage"]), mode, one_way, one_asset)

    async def set_up(self, symbol: str, wanted: Settings, found: Settings) -> None:
        if wanted.leverage != int(wanted.leverage):
            whole = math.ceil(wanted.leverage)
            raise UsageError(f"account.leverage: Binance takes whole ones, found {wanted.leverage:g}; use {whole} with smaller targets")
        if not found.one_asset:
            raise Refused(
                "not sent", "multi-assets mode: other coins are margin too, which nothing here reckons with; switch to single-asset"
            )
        if not found.one_way:
            await self._ask("fapiPrivatePostPositionSideDual", dualSidePosition="false")
        if found.margin_mode != wanted.margin_mode:
            await self._ask("fapiPrivatePostMarginType", symbol=symbol, marginType=MODES[wanted.margin_mode])
        if found.leverage != wanted.leverage:
            await self._ask("fapiPrivatePostLeverage", symbol=symbol, leverage=int(wanted.leverage))

    @understood
    async def permissions(self) -> Permissions:
        """None where the venue (its demo, for one) does not tell."""
        try:
            told = await self._ask("sapiGetAccountApiRestrictions")
        except (Refused, InDoubt):
            return Permissions(None, None)
        return Permissions(told_of(told, "enableFutures"), told_of(told, "enableWithdrawals"))

    async def dead_man(self, seconds: float, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            await self._ask("fapiPrivatePostCountdownCancelAll", symbol=symbol, countdownTime=round(seconds * 1000))

    async def listen_key(self) -> str:
        """Opens the user-data stream, or finds the key of the open one."""
        return str((await self._ask("fapiPrivatePostListenKey"))["listenKey"])

    async def renew_listen_key(self) -> None:
        await self._ask("fapiPrivatePutListenKey")

    def _known(self, report: OrderReport, client_id: str | None, *, at_algo: bool = False) -> OrderReport:
        """InDoubt where it is not the order asked about; its name is kept for its trades."""
        if client_id is not None and report.client_id != client_id:
            raise InDoubt(f"an answer about {report.client_id!r} to a question about {client_id!r}")
        if at_algo:
            self._conditional.add(report.client_id)
        else:
            self.names[report.venue_id] = report.client_id
        return report
