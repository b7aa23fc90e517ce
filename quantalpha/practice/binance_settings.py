"""Binance USD-M futures' settings: leverage, margin type and modes of an account, its listen key, and what an API key may do.

Source: developers.binance.com, USD-M futures, trade REST API (leverage, margin type, position mode), account REST API, user data streams;
wallet REST API (API key permission).
"""

from quantalpha.practice.binance_account import largest_position
from quantalpha.practice.binance_told import plain
from quantalpha.practice.binance_venue import Binance, Route
from quantalpha.practice.orders import Rejected
from quantalpha.practice.query import Query, Refusal

MODES = {"CROSSED": "cross", "ISOLATED": "isolated"}


def set_leverage(venue: Binance, query: Query) -> dict:
    desk, symbol, leverage = venue.desk(query), query.instrument().symbol, query.integer("leverage")
    if leverage is None or not 1 <= leverage <= desk.margins.most_leverage(symbol):
        raise Refusal(-4028, f"Leverage {leverage} is not valid")
    try:
        desk.set_leverage(symbol, leverage)
    except Rejected as rejected:
        if rejected.reason != "margin":
            raise
        raise Refusal(-2028, "Leverage is smaller than permitted: insufficient margin balance") from None
    return {"leverage": leverage, "maxNotionalValue": largest_position(desk, symbol), "symbol": symbol}


def set_margin_type(venue: Binance, query: Query) -> dict:
    desk, symbol = venue.desk(query), query.instrument().symbol
    mode = query.word("marginType", (*MODES, "CROSS"), lambda: Refusal(-4049, "Invalid margin type."))
    try:
        desk.set_margin_mode(symbol, MODES.get(mode, "cross"))
    except Rejected as rejected:
        if rejected.reason != "unchanged":
            raise
        raise Refusal(-4046, "No need to change margin type.") from None
    return {"code": 200, "msg": "success"}


def position_mode(venue: Binance, query: Query) -> dict:
    query.check_signed()
    return {"dualSidePosition": False}


def set_position_mode(venue: Binance, query: Query) -> dict:
    """One-way is all there is."""
    return _only_false(query, "dualSidePosition", Refusal(-4059, "No need to change position side."))


def assets_mode(venue: Binance, query: Query) -> dict:
    query.check_signed()
    return {"multiAssetsMargin": False}


def set_assets_mode(venue: Binance, query: Query) -> dict:
    return _only_false(query, "multiAssetsMargin", Refusal(-4171, "No need to adjust Multi-Assets Mode."))


def commission_rate(venue: Binance, query: Query) -> dict:
    maker, taker = venue.desk(query).account.fees
    return {"symbol": query.instrument().symbol, "makerCommissionRate": plain(maker), "takerCommissionRate": plain(taker)}


def trading_status(venue: Binance, query: Query) -> dict:
    """Nobody is restricted."""
    return {"indicators": {}, "updateTime": venue.desk(query).time}


def listen_key(venue: Binance, query: Query) -> dict:
    return {"listenKey": venue.listen_keys.open(query.check_key().key)}


def renew_listen_key(venue: Binance, query: Query) -> dict:
    return {"listenKey": venue.listen_keys.renew(query.check_key().key)}


def close_listen_key(venue: Binance, query: Query) -> dict:
    venue.listen_keys.close(query.check_key().key)
    return {}


def restrictions(venue: Binance, query: Query) -> dict:
    """What the key may do: read and trade futures, and withdraw only where the exchange was started with such a key."""
    withdraws = query.check_signed().withdraws
    never = ("enableInternalTransfer", "permitsUniversalTransfer", "enableVanillaOptions", "enableMargin", "enableSpotAndMarginTrading",
             "enablePortfolioMarginTrading", "ipRestrict")  # fmt: skip
    may = {"enableReading": True, "enableFutures": True, "enableWithdrawals": withdraws}
    return {"createTime": int(venue.exchange.tape.start)} | may | dict.fromkeys(never, False)


def coins(venue: Binance, query: Query) -> list[dict]:
    """Coins to deposit and pairs to borrow for, of which there are none: ccxt asks for both with its markets."""
    query.check_key()
    return []


def _only_false(query: Query, name: str, same: Refusal) -> dict:
    query.check_signed()
    query.text(name, ".*")
    raise Refusal(-1020, "This operation is not supported.") if query.boolean(name) else same


ROUTES = {
    ("POST", "/fapi/v1/leverage"): Route(set_leverage, 1),
    ("POST", "/fapi/v1/marginType"): Route(set_margin_type, 1),
    ("GET", "/fapi/v1/positionSide/dual"): Route(position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): Route(set_position_mode, 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(assets_mode, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Route(set_assets_mode, 1),
    ("GET", "/fapi/v1/commissionRate"): Route(commission_rate, 20),
    ("GET", "/fapi/v1/apiTradingStatus"): Route(trading_status, 1, weight_of_all=10),
    ("POST", "/fapi/v1/listenKey"): Route(listen_key, 1),
    ("PUT", "/fapi/v1/listenKey"): Route(renew_listen_key, 1),
    ("DELETE", "/fapi/v1/listenKey"): Route(close_listen_key, 1),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(restrictions, 1),
    ("GET", "/sapi/v1/capital/config/getall"): Route(coins, 10),
    ("GET", "/sapi/v1/margin/allPairs"): Route(coins, 1),
}
