"""Binance USD-M futures' account endpoints: balances, positions, income, and how symbols are set.

Source: developers.binance.com, USD-M futures, account REST API, trade REST API (Position Information).
"""

from quantalpha.practice.account import Position
from quantalpha.practice.binance_events import entry_price
from quantalpha.practice.binance_told import plain
from quantalpha.practice.binance_trading import page
from quantalpha.practice.binance_venue import Binance, Route
from quantalpha.practice.desk import Desk
from quantalpha.practice.orders import ZERO
from quantalpha.practice.query import Query, Refusal
from quantalpha.practice.tape import Instrument

INCOMES = ("REALIZED_PNL", "COMMISSION", "FUNDING_FEE", "INSURANCE_CLEAR")
OTHER_INCOMES = ("TRANSFER", "WELCOME_BONUS", "REFERRAL_KICKBACK", "COMMISSION_REBATE", "API_REBATE", "CONTEST_REWARD")  # never paid here


def balance(venue: Binance, query: Query) -> list[dict]:
    """v2 and v3."""
    desk = venue.desk(query)
    margins = desk.margins
    unrealised = sum((margins.unrealised(each.symbol) for each in margins.cross), ZERO)
    return [
        {
            "accountAlias": "practice", "asset": venue.asset, "balance": f"{desk.account.wallet:.8f}",
            "crossWalletBalance": f"{desk.account.cross_wallet:.8f}", "crossUnPnl": f"{unrealised:.8f}",
            "availableBalance": f"{margins.available:.8f}", "maxWithdrawAmount": f"{margins.available:.8f}", "marginAvailable": True,
            "updateTime": desk.time,
        }
    ]  # fmt: skip


def account_v2(venue: Binance, query: Query) -> dict:
    key = query.check_signed()
    desk = venue.desks[key.key]
    positions = [_account_position(desk, each) for each in query.instruments()]
    return _permissions(key.withdraws) | _totals(desk) | {"assets": [_asset(venue, desk)], "positions": positions}


def account_v3(venue: Binance, query: Query) -> dict:
    """Only the symbols with a position or an order."""
    desk = venue.desk(query)
    return _totals(desk) | {"assets": [_asset(venue, desk)], "positions": [_account_position(desk, each) for each in _engaged(desk)]}


def account_config(venue: Binance, query: Query) -> dict:
    return _permissions(query.check_signed().withdraws) | {"dualSidePosition": False, "multiAssetsMargin": False, "tradeGroupId": -1}


def positions_v2(venue: Binance, query: Query) -> list[dict]:
    desk = venue.desk(query)
    return [_risk(desk, each) | _risk_v2(desk, each) for each in query.instruments()]


def positions_v3(venue: Binance, query: Query) -> list[dict]:
    """Only the symbols with a position or an order."""
    desk = venue.desk(query)
    asked = {each.symbol for each in query.instruments()}
    return [_risk(desk, each) | _margins_of(desk, each.symbol) | {"adl": 0} for each in _engaged(desk) if each.symbol in asked]


def income(venue: Binance, query: Query) -> list[dict]:
    desk, known = venue.desk(query), (*INCOMES, *OTHER_INCOMES)
    wrong = Refusal(-1130, "Data sent for parameter 'incomeType' is not valid.")
    kind = query.word("incomeType", known, lambda: wrong) if query.has("incomeType") else None
    symbol = query.instrument().symbol if query.has("symbol") else None
    found = [each for each in desk.account.incomes if symbol in (None, each.symbol) and kind in (None, each.kind)]
    rows = page(query, [each.time for each in found], [each.id for each in found], None, 100, 1000)
    return [
        {
            "symbol": each.symbol, "incomeType": each.kind, "income": f"{each.amount:.8f}", "asset": venue.asset, "info": each.kind,
            "time": each.time, "tranId": each.id, "tradeId": "" if each.trade_id is None else str(each.trade_id),
        }
        for each in (found[i] for i in rows)
    ]  # fmt: skip


def symbol_config(venue: Binance, query: Query) -> list[dict]:
    desk = venue.desk(query)
    return [
        {
            "symbol": each.symbol, "marginType": "ISOLATED" if desk.account.isolated(each.symbol) else "CROSSED", "isAutoAddMargin": False,
            "leverage": desk.account.setting(each.symbol).leverage, "maxNotionalValue": largest_position(desk, each.symbol),
        }
        for each in query.instruments()
    ]  # fmt: skip


def _permissions(withdraws: bool) -> dict:
    return {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": withdraws, "updateTime": 0}


def _engaged(desk: Desk) -> list[Instrument]:
    symbols = {each.symbol for each in desk.account.held()} | {each.symbol for each in desk.records.open_orders() if each.resting}
    return [each for symbol, each in desk.view.instruments.items() if symbol in symbols]


def _totals(desk: Desk) -> dict:
    margins, held = desk.margins, [each.symbol for each in desk.account.held()]
    positions = sum((margins.position_margin(symbol) for symbol in held), ZERO)
    orders = sum((margins.order_margin(symbol) for symbol in {order.symbol for order in margins.orders}), ZERO)
    unrealised = sum((margins.unrealised(symbol) for symbol in held), ZERO)
    cross = sum((margins.unrealised(each.symbol) for each in margins.cross), ZERO)
    values = {
        "totalInitialMargin": positions + orders, "totalMaintMargin": sum((margins.maintenance(symbol) for symbol in held), ZERO),
        "totalWalletBalance": desk.account.wallet, "totalUnrealizedProfit": unrealised,
        "totalMarginBalance": desk.account.wallet + unrealised, "totalPositionInitialMargin": positions,
        "totalOpenOrderInitialMargin": orders, "totalCrossWalletBalance": desk.account.cross_wallet, "totalCrossUnPnl": cross,
        "availableBalance": margins.available, "maxWithdrawAmount": margins.available,
    }  # fmt: skip
    return {"multiAssetsMargin": False} | {name: f"{value:.8f}" for name, value in values.items()}


def _asset(venue: Binance, desk: Desk) -> dict:
    """The totals again, for there is one asset."""
    totals = _totals(desk)
    same = {
        "walletBalance": "totalWalletBalance", "unrealizedProfit": "totalUnrealizedProfit", "marginBalance": "totalMarginBalance",
        "maintMargin": "totalMaintMargin", "initialMargin": "totalInitialMargin", "positionInitialMargin": "totalPositionInitialMargin",
        "openOrderInitialMargin": "totalOpenOrderInitialMargin", "crossWalletBalance": "totalCrossWalletBalance",
        "crossUnPnl": "totalCrossUnPnl", "availableBalance": "availableBalance", "maxWithdrawAmount": "maxWithdrawAmount",
    }  # fmt: skip
    return {"asset": venue.asset, "marginAvailable": True, "updateTime": desk.time} | {name: totals[total] for name, total in same.items()}


def _position_amounts(desk: Desk, each: Instrument) -> tuple[Position, dict]:
    position = desk.account.position(each.symbol)
    notional = position.quantity * desk.view.mark(each.symbol)
    return position, {
        "symbol": each.symbol, "positionSide": "BOTH", "positionAmt": f"{position.quantity:.{each.lot_digits}f}",
        "notional": plain(notional.quantize(desk.account.wallet)), "isolatedWallet": f"{desk.account.isolated_margin(each.symbol):.8f}",
        "updateTime": position.updated,
    }  # fmt: skip


def _margins_of(desk: Desk, symbol: str) -> dict:
    margins = desk.margins
    position, orders = margins.position_margin(symbol), margins.order_margin(symbol)
    return {
        "initialMargin": f"{position + orders:.8f}", "maintMargin": f"{margins.maintenance(symbol):.8f}",
        "positionInitialMargin": f"{position:.8f}", "openOrderInitialMargin": f"{orders:.8f}", "bidNotional": "0", "askNotional": "0",
    }  # fmt: skip


def _account_position(desk: Desk, each: Instrument) -> dict:
    position, amounts = _position_amounts(desk, each)
    isolated = desk.account.isolated(each.symbol)
    return amounts | _margins_of(desk, each.symbol) | {
        "unrealizedProfit": f"{desk.margins.unrealised(each.symbol):.8f}", "entryPrice": entry_price(position),
        "breakEvenPrice": entry_price(position), "leverage": str(desk.account.setting(each.symbol).leverage), "isolated": isolated,
        "isolatedMargin": amounts["isolatedWallet"] if isolated else "0", "maxNotional": largest_position(desk, each.symbol),
    }  # fmt: skip


def _risk(desk: Desk, each: Instrument) -> dict:
    position, amounts = _position_amounts(desk, each)
    unrealised, isolated = desk.margins.unrealised(each.symbol), desk.account.isolated(each.symbol)
    return amounts | {
        "entryPrice": entry_price(position), "breakEvenPrice": entry_price(position), "markPrice": f"{desk.view.mark(each.symbol):.8f}",
        "unRealizedProfit": f"{unrealised:.8f}", "liquidationPrice": plain(desk.margins.liquidation_price(each.symbol)),
        "isolatedMargin": f"{desk.account.isolated_margin(each.symbol) + unrealised:.8f}" if isolated and position.quantity else "0",
        "marginAsset": desk.account.asset,
    }  # fmt: skip


def _risk_v2(desk: Desk, each: Instrument) -> dict:
    return {
        "marginType": desk.account.setting(each.symbol).margin_mode, "leverage": str(desk.account.setting(each.symbol).leverage),
        "maxNotionalValue": largest_position(desk, each.symbol), "isAutoAddMargin": "false",
    }  # fmt: skip


def largest_position(desk: Desk, symbol: str) -> str:
    largest = desk.margins.largest(symbol, desk.account.setting(symbol).leverage)
    return plain(largest) if largest.is_finite() else "9223372036854775807"


ROUTES = {
    ("GET", "/fapi/v2/balance"): Route(balance, 5),
    ("GET", "/fapi/v3/balance"): Route(balance, 5),
    ("GET", "/fapi/v2/account"): Route(account_v2, 5),
    ("GET", "/fapi/v3/account"): Route(account_v3, 5),
    ("GET", "/fapi/v1/accountConfig"): Route(account_config, 5),
    ("GET", "/fapi/v2/positionRisk"): Route(positions_v2, 5),
    ("GET", "/fapi/v3/positionRisk"): Route(positions_v3, 5),
    ("GET", "/fapi/v1/income"): Route(income, 30),
    ("GET", "/fapi/v1/symbolConfig"): Route(symbol_config, 5),
}
