"""Bybit's endpoints of positions and the account: each (member, query) -> result; the desk has been brought up to the present.

    /v5/position/list, set-leverage, switch-isolated, switch-mode, trading-stop
    /v5/account/wallet-balance, info, fee-rate, transaction-log, set-margin-mode       /v5/user/query-api
    /v5/asset/coin/query-info      coins, none of which can be deposited or withdrawn

The account is a unified one (UTA 2.0), in one-way mode. `set-margin-mode` sets all symbols, `switch-isolated` one.
Source: bybit-exchange.github.io/docs/v5/position, /docs/v5/account, /docs/v5/user/apikey-info.
"""

from collections.abc import Iterable

from quantalpha.practice.bybit_member import STOP_LOSS, STOPS, Member
from quantalpha.practice.bybit_payloads import MOST_LEVERAGE
from quantalpha.practice.bybit_query import Query, Refusal, part
from quantalpha.practice.bybit_refusals import refusal
from quantalpha.practice.bybit_rows import log_rows, position_row, text, wallet_row
from quantalpha.practice.bybit_terms import Terms, wrong
from quantalpha.practice.orders import Rejected

MODES = {"REGULAR_MARGIN": "cross", "ISOLATED_MARGIN": "isolated"}
TRADE_MODES = {"0": "cross", "1": "isolated"}
TRIGGERS = {"takeProfit": "tpTriggerBy", "stopLoss": "slTriggerBy"}
SAME_MODE, SAME_POSITION_MODE, NO_HEDGING, SAME_LEVERAGE, RISK_LIMIT = 110026, 110025, 110029, 110043, 110013


def positions(member: Member, query: Query) -> dict:
    """With a symbol its position, be it of size 0; else those that are held."""
    category, account = query.category(), member.desk.account
    if query.text("symbol") is not None:
        return {"category": category, "list": [position_row(member, account.position(query.instrument().symbol))], "nextPageCursor": ""}
    if query.text("settleCoin") is None and query.text("baseCoin") is None:
        raise Refusal("params error: symbol and settleCoin cannot both be empty")
    return {"category": category, "list": [position_row(member, each) for each in account.held()], "nextPageCursor": ""}


def set_leverage(member: Member, query: Query) -> dict:
    query.category()
    symbol, leverage = query.instrument().symbol, _leverage(query)
    if member.desk.account.setting(symbol).leverage == leverage:
        raise Refusal("leverage not modified", SAME_LEVERAGE)
    try:
        member.desk.set_leverage(symbol, leverage)
    except Rejected as refused:
        if refused.reason == "leverage_bracket":
            raise Refusal("cannot set leverage gt maxLeverage by risk limit", RISK_LIMIT) from None
        raise refusal(refused.reason) from None
    return {}


def _leverage(query: Query) -> int:
    """Whole numbers only: the ledger's leverage is one. Both sides must have the same."""
    buy, sell = (Terms(query).decimal(name) for name in ("buyLeverage", "sellLeverage"))
    if buy is None or buy != sell or buy % 1 or not 1 <= buy <= MOST_LEVERAGE:
        raise wrong("buyLeverage, sellLeverage", f"the same whole number, 1 to {MOST_LEVERAGE:g}")
    return int(buy)


def switch_isolated(member: Member, query: Query) -> dict:
    mode = TRADE_MODES.get(query.text("tradeMode") or "")
    if mode is None:
        raise wrong("tradeMode", "0 or 1")
    _set_mode(member, [query.instrument().symbol], mode)
    return {}


def set_margin_mode(member: Member, query: Query) -> dict:
    mode = MODES.get(query.text("setMarginMode") or "")
    if mode is None:
        raise wrong("setMarginMode", f"one of {', '.join(MODES)}")
    _set_mode(member, member.desk.view.instruments, mode)
    return {"reasons": []}


def _set_mode(member: Member, symbols: Iterable[str], mode: str) -> None:
    """Of all of them or none; refused where all have it already."""
    account, records = member.desk.account, member.desk.records
    changing = [symbol for symbol in symbols if account.setting(symbol).margin_mode != mode]
    if not changing:
        raise Refusal("Cross/isolated margin mode is not modified", SAME_MODE)
    if any(account.position(symbol).quantity for symbol in changing):
        raise refusal("position_open")
    if any(records.open_orders(symbol) for symbol in changing):
        raise refusal("orders_open")
    for symbol in changing:
        member.desk.set_margin_mode(symbol, mode)


def switch_mode(member: Member, query: Query) -> dict:
    """Positions are one-way: 0 is what is set, 3 (hedge) is not to be had."""
    mode = query.integer("mode")
    if mode == 0:
        raise Refusal("Position mode is not modified", SAME_POSITION_MODE)
    if mode == 3:
        raise Refusal("Hedge mode is not available for this symbol", NO_HEDGING)
    raise wrong("mode", "0 or 3")


def trading_stop(member: Member, query: Query) -> dict:
    """Stop loss and take profit of the whole position, at market; what is not named stays, 0 removes."""
    query.category()
    each, terms = query.instrument(), Terms(query)
    position = member.desk.account.position(each.symbol)
    if query.text("tpslMode") == "Partial" or query.text("trailingStop") not in (None, "0"):
        raise Refusal("only tpslMode Full without a trailing stop is played here")
    prices = {name: terms.price(each, name) if terms.decimal(name) else terms.decimal(name) for name in STOPS}
    if not position.quantity and any(prices.values()):
        raise Refusal("can not set tp/sl/ts for zero position")
    given = {name: price for name, price in prices.items() if price is not None}
    for name, price in given.items():
        _check_side(member, position, STOPS[name], price, terms.by(TRIGGERS[name]))
    for name, price in given.items():
        member.set_stop(each.symbol, STOPS[name], price, terms.by(TRIGGERS[name]))
    return {}


def _check_side(member: Member, position, kind: str, price, by: str) -> None:
    """A stop loss lies on the losing side of the present price, a take profit on the other."""
    now = member.desk.view.price(position.symbol, by)
    direction = -position.side if kind == STOP_LOSS else position.side
    if price > 0 and direction * (price - now) <= 0:
        side, word = ("Buy" if position.side > 0 else "Sell"), ("higher" if direction > 0 else "lower")
        raise Refusal(f"{kind}:{text(price)} set for {side} position should be {word} than base_price:{text(now)}")


def wallet_balance(member: Member, query: Query) -> dict:
    if query.text("accountType") != "UNIFIED":
        raise Refusal("accountType only support UNIFIED.")
    return {"list": [wallet_row(member.desk)]}


def info(member: Member, query: Query) -> dict:
    """`marginMode` is isolated where every symbol's is."""
    desk = member.desk
    modes = {desk.account.setting(symbol).margin_mode for symbol in desk.view.instruments}
    return {
        "marginMode": "ISOLATED_MARGIN" if modes == {"isolated"} else "REGULAR_MARGIN", "updatedTime": str(desk.time),
        "unifiedMarginStatus": 6, "dcpStatus": "OFF" if member.window is None else "ON", "timeWindow": member.window or 0, "smpGroup": 0,
        "isMasterTrader": False, "spotHedgingStatus": "OFF",
    }  # fmt: skip


def fee_rate(member: Member, query: Query) -> dict:
    maker, taker = (text(fee) for fee in member.desk.account.fees)
    rows = [{"symbol": each.symbol, "makerFeeRate": maker, "takerFeeRate": taker, "baseCoin": ""} for each in query.instruments()]
    return {"category": query.category(), "list": rows}


def transaction_log(member: Member, query: Query) -> dict:
    """Newest first: trades with profit and fee, settlements of funding, liquidations."""
    (start, end), kind = query.span("startTime", "endTime"), query.text("type")
    found = [row for row in log_rows(member.desk.account) if kind in (None, row["type"])]
    found = [row for row in found if (start is None or int(row["transactionTime"]) >= start)]
    found = [row for row in found if (end is None or int(row["transactionTime"]) <= end)][::-1]
    page, cursor = part([row["id"] for row in found], query.limit(20, 50), query)
    return {"list": [found[i] for i in page], "nextPageCursor": cursor}


def coins(member: Member, query: Query) -> dict:
    """What the contracts are in and of. Nothing is deposited or withdrawn here, so no coin has a chain."""
    instruments = member.desk.view.instruments.values()
    names = sorted({each.base for each in instruments} | {each.quote for each in instruments})
    rows = [{"name": name, "coin": name, "remainAmount": "0", "chains": []} for name in names if query.text("coin") in (None, name)]
    return {"rows": rows}


def query_api(member: Member, query: Query) -> dict:
    """What the key may do: trade contracts, and withdraw only where it was made so."""
    contract, wallet = ["Order", "Position"], ["Withdraw"] if member.withdraws else []
    permissions = {"ContractTrade": contract, "Spot": [], "Wallet": wallet, "Options": [], "Derivatives": ["DerivativesTrade"]}
    return {
        "id": "1", "note": "practice", "apiKey": "", "readOnly": 0, "secret": "", "permissions": permissions, "ips": ["*"], "type": 1,
        "deadlineDay": -2, "expiredAt": "1970-01-01T00:00:00Z", "createdAt": "1970-01-01T00:00:00Z", "unified": 0, "uta": 1, "userID": 1,
        "inviterID": 0, "vipLevel": "No VIP", "mktMakerLevel": "0", "affiliateID": 0, "rsaPublicKey": "", "isMaster": True,
        "parentUid": "0",
    }  # fmt: skip
