"""Binance's trading endpoints: what is refused and with which code, signatures, order counts, listen keys, and what streams say."""

from decimal import Decimal

import pytest

from quantalpha.practice import ApiKey
from quantalpha.practice.binance_user import VALID
from quantalpha.practice.keys import KEY
from quantalpha.practice.query import Refusal

from .support import HOUR
from .test_account import crash
from .trading import Session

BTC = {"symbol": "BTCUSDT"}
ORDER = BTC | {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
MARKET = BTC | {"side": "BUY", "type": "MARKET", "quantity": "0.1"}
STOP = BTC | {"side": "SELL", "type": "STOP_MARKET", "algoType": "CONDITIONAL", "quantity": "0.1"}
PATH, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


@pytest.fixture
def session(tape) -> Session:
    return Session(tape)


def code(session, method, path, **values) -> int:
    with pytest.raises(Refusal) as caught:
        session.ask(method, path, **values)
    return caught.value.code


def near(session, away=0) -> str:
    """A price so far from the last one, in ticks of 0.1."""
    return f"{session.desk.view.last('BTCUSDT') + Decimal(away):.1f}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"symbol": "XYZUSDT"}, -1121),
        ({"side": "UP"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"timeInForce": "DAY"}, -1115),
        ({"timeInForce": None}, -1102),
        ({"quantity": None}, -1102),
        ({"quantity": "0"}, -4003),
        ({"quantity": "2000000"}, -4005),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "1e3"}, -1100),
        ({"quantity": "0.001", "price": "4999.9"}, -4164),
        ({"price": "0"}, -4001),
        ({"price": "99999999"}, -4002),
        ({"price": "20000.05"}, -1111),
        ({"price": "90000"}, -4016),
        ({"side": "SELL", "price": "9000"}, -4024),
        ({"price": None}, -1102),
        ({"quantity": "900"}, -2019),
        ({"reduceOnly": "true"}, -2022),
        ({"positionSide": "LONG"}, -4061),
        ({"priceMatch": "QUEUE"}, -5037),
        ({"newClientOrderId": "no spaces"}, -4015),
        ({"timeInForce": "GTX", "away": 50}, -5022),
        ({"timeInForce": "FOK", "away": -50}, -5021),
        ({"timeInForce": "GTD"}, -1102),
        ({"timeInForce": "GTD", "goodTillDate": 1_000}, -5040),
        ({"newOrderRespType": "FULL"}, -1136),
    ],
)
def test_orders_are_refused_with_the_venues_codes(session, change, expected):
    change = dict(change)
    price = near(session, change.pop("away", -10))
    if change.get("quantity") == "0.001":
        price = near(session)
    assert code(session, "POST", PATH, **(ORDER | {"price": price} | change)) == expected
    assert not session.desk.records.orders


def test_market_orders_have_no_price_and_no_time_in_force(session):
    assert code(session, "POST", PATH, **MARKET, price="20000") == -1106
    assert code(session, "POST", PATH, **MARKET, timeInForce="GTC") == -1106


def test_least_notional_does_not_bind_who_reduces(session):
    session.ask("POST", PATH, **MARKET)
    session.ask("POST", PATH, **(MARKET | {"quantity": "0.099", "side": "SELL"}))
    assert session.ask("POST", PATH, **(MARKET | {"quantity": "0.001", "side": "SELL", "reduceOnly": "true"}))["status"] == "NEW"
    assert not session.desk.account.held()


def test_orders_are_found_canceled_and_missed_by_either_id(session):
    placed = session.ask("POST", PATH, **ORDER, price=near(session, -500), newClientOrderId="mine")
    assert placed["clientOrderId"] == "mine" and placed["status"] == "NEW"
    assert code(session, "POST", PATH, **ORDER, price=near(session, -500), newClientOrderId="mine") == -4116
    assert session.ask("GET", PATH, **BTC, origClientOrderId="mine")["orderId"] == placed["orderId"]
    assert session.ask("GET", "/fapi/v1/openOrder", **BTC, orderId=placed["orderId"])["clientOrderId"] == "mine"
    assert session.ask("DELETE", PATH, **BTC, orderId=placed["orderId"])["status"] == "CANCELED"
    assert code(session, "DELETE", PATH, **BTC, orderId=placed["orderId"]) == -2011
    assert code(session, "GET", PATH, **BTC, orderId=1) == -2013
    assert code(session, "GET", PATH, **BTC) == -1102
    assert code(session, "GET", "/fapi/v1/openOrder", **BTC, origClientOrderId="mine") == -2013
    assert session.ask("GET", PATH, **BTC, origClientOrderId="mine")["status"] == "CANCELED"


def test_amending(session):
    placed = session.ask("POST", PATH, **ORDER, price=near(session, -500))
    terms = BTC | {"side": "BUY", "orderId": placed["orderId"], "quantity": "0.2"}
    amended = session.ask("PUT", PATH, **terms, price=near(session, -400))
    assert (amended["origQty"], amended["price"]) == ("0.200", near(session, -400))
    assert code(session, "PUT", PATH, **terms, price=near(session, -400)) == -5027
    assert code(session, "PUT", PATH, **(terms | {"orderId": 5}), price=near(session, -400)) == -2013


def test_a_batch_says_of_each_order_what_became_of_it(session):
    import orjson

    good, bad = ORDER | {"price": near(session, -500)}, ORDER | {"price": near(session, -500), "quantity": "0"}
    told = session.ask("POST", "/fapi/v1/batchOrders", batchOrders=orjson.dumps([good, bad, good]).decode())
    assert [entry.get("status", entry.get("code")) for entry in told] == ["NEW", -4003, "NEW"]
    ids = [entry["orderId"] for entry in told if "orderId" in entry]
    gone = session.ask("DELETE", "/fapi/v1/batchOrders", **BTC, orderIdList=orjson.dumps([ids[0], 7]).decode())
    assert [entry.get("status", entry.get("code")) for entry in gone] == ["CANCELED", -2011]
    assert code(session, "POST", "/fapi/v1/batchOrders", batchOrders=orjson.dumps([good] * 6).decode()) == -4082


def test_conditions_live_in_the_algo_service_and_become_orders(session):
    session.ask("POST", PATH, **MARKET)
    stop = session.ask("POST", ALGO, **STOP, triggerPrice=near(session, -300), clientAlgoId="guard", reduceOnly="true")
    assert stop["algoStatus"] == "NEW" and session.ask("GET", "/fapi/v1/openOrders", **BTC) == []
    assert [each["algoId"] for each in session.ask("GET", "/fapi/v1/openAlgoOrders")] == [stop["algoId"]]
    assert code(session, "POST", ALGO, **STOP, triggerPrice=near(session, 300)) == -2021
    assert code(session, "GET", PATH, **BTC, origClientOrderId="guard") == -2013
    session.wait(400)
    done = session.ask("GET", ALGO, algoId=stop["algoId"])
    assert done["algoStatus"] == "FINISHED" and done["triggerTime"] > stop["createTime"]
    worked = session.ask("GET", PATH, **BTC, orderId=done["actualOrderId"])
    assert (worked["status"], worked["type"], worked["origType"], worked["clientOrderId"]) == ("FILLED", "MARKET", "STOP_MARKET", "guard")
    assert worked["orderId"] != stop["algoId"]
    assert code(session, "DELETE", ALGO, clientAlgoId="guard") == -2011


def test_close_position_names_no_quantity(session):
    closing = {name: value for name, value in STOP.items() if name != "quantity"} | {"closePosition": "true"}
    session.ask("POST", PATH, **MARKET)
    assert session.ask("POST", ALGO, **closing, triggerPrice=near(session, -300))["closePosition"] is True
    assert code(session, "POST", ALGO, **STOP, closePosition="true", triggerPrice=near(session, -300)) == -4136
    session.ask("DELETE", "/fapi/v1/algoOpenOrders", **BTC)
    assert session.ask("GET", "/fapi/v1/openAlgoOrders", **BTC) == []


def test_settings_and_what_is_refused_of_them(session):
    told = session.ask("POST", "/fapi/v1/leverage", **BTC, leverage=10)
    assert told["leverage"] == 10
    assert code(session, "POST", "/fapi/v1/leverage", **BTC, leverage=126) == -4028
    assert code(session, "POST", "/fapi/v1/leverage", **BTC) == -4028
    assert code(session, "POST", "/fapi/v1/marginType", **BTC, marginType="CROSSED") == -4046
    assert code(session, "POST", "/fapi/v1/positionSide/dual", dualSidePosition="false") == -4059
    assert code(session, "POST", "/fapi/v1/positionSide/dual", dualSidePosition="true") == -1020
    session.ask("POST", "/fapi/v1/marginType", **BTC, marginType="ISOLATED")
    session.ask("POST", PATH, **MARKET)
    assert code(session, "POST", "/fapi/v1/marginType", **BTC, marginType="CROSSED") == -4048
    assert code(session, "POST", "/fapi/v1/leverage", **BTC, leverage=5) == -4161
    [risk] = session.ask("GET", "/fapi/v2/positionRisk", **BTC)
    assert risk["marginType"] == "isolated" and risk["leverage"] == "10" and float(risk["isolatedWallet"]) > 0
    assert float(risk["liquidationPrice"]) == pytest.approx(float(session.desk.margins.liquidation_price("BTCUSDT")))


def test_incomes_add_up_to_the_wallet(session):
    session.ask("POST", PATH, **MARKET)
    session.wait(50)
    session.ask("POST", PATH, **(MARKET | {"side": "SELL"}))
    incomes = session.ask("GET", "/fapi/v1/income", limit=1000)
    [balance] = session.ask("GET", "/fapi/v3/balance")
    assert Decimal(balance["balance"]) == 10_000 + sum(Decimal(each["income"]) for each in incomes)
    assert {each["incomeType"] for each in incomes} == {"REALIZED_PNL", "COMMISSION", "FUNDING_FEE"}
    fees = session.ask("GET", "/fapi/v1/income", incomeType="COMMISSION")
    trades = session.ask("GET", "/fapi/v1/userTrades", **BTC)
    assert [Decimal(each["income"]) for each in fees] == [-Decimal(each["commission"]) for each in trades]


def test_signatures_keys_and_permissions(tape):
    session = Session(tape)
    assert code(session, "GET", "/fapi/v3/account", key=None) == -2014
    assert code(session, "GET", "/fapi/v3/account", key="stranger") == -2015
    assert code(session, "GET", "/fapi/v3/account", secret="guess") == -1022
    session.exchange.keys["rich"] = ApiKey("rich", "secret", withdraws=True)
    path = "/sapi/v1/account/apiRestrictions"
    assert session.ask("GET", path, key="rich", secret="secret")["enableWithdrawals"] is True
    assert session.ask("GET", path)["enableWithdrawals"] is False


def test_staleness_is_exact_at_speed_one(tape):
    session = Session(tape, speed=1.0)
    session.wall.seconds += 3_600
    now = session.exchange.now()
    path = "/fapi/v3/balance"
    assert session.ask("GET", path, timestamp=now - 4_990)
    assert session.ask("GET", path, timestamp=now + 990)
    assert code(session, "GET", path, timestamp=now - 5_010) == -1021
    assert code(session, "GET", path, timestamp=now + 1_010) == -1021


@pytest.mark.parametrize("speed", [0.0, 0.25, 60.0, 3_600.0])
def test_a_client_that_learnt_the_time_once_is_served_at_every_speed(tape, speed):
    """It goes on at the wall's pace; a request that is older than that may explain is stale at any speed."""
    session = Session(tape, tape.start + 300 * HOUR, speed=speed)
    session.wall.seconds += 10
    offset = session.exchange.now() - session.wall.seconds * 1000
    for _ in range(5):
        session.wall.seconds += 200
        assert session.ask("GET", "/fapi/v3/balance", timestamp=int(offset + session.wall.seconds * 1000))
    start = tape.start + 300 * HOUR
    if speed > 1:
        assert code(session, "GET", "/fapi/v3/balance", timestamp=start - 5_010) == -1021
    else:
        assert code(session, "GET", "/fapi/v3/balance", timestamp=start - 5_010 + int(1_010_000 * speed)) == -1021
        assert code(session, "GET", "/fapi/v3/balance", timestamp=start + 1_010_000 + 1_010) == -1021


def test_a_client_that_learnt_the_pace_may_misread_the_time_by_as_much_as_at_speed_one(tape):
    """A millisecond of ours is seconds of a fast tape."""
    session = Session(tape, speed=3_600.0)
    session.wall.seconds += 10
    now, path = session.exchange.now(), "/fapi/v3/balance"
    assert session.ask("GET", path, timestamp=now + 990 * 3_600)
    assert code(session, "GET", path, timestamp=now + 1_010 * 3_600) == -1021


def test_orders_are_counted(session):
    for _ in range(300):
        session.ask("POST", "/fapi/v1/order/test", **MARKET)
        session.venue.counts.count(KEY, 1)
    assert code(session, "POST", PATH, **MARKET) == -1015
    assert session.venue.counts.headers(KEY)["X-MBX-ORDER-COUNT-10S"] == "300"
    session.wall.seconds += 10
    assert session.ask("POST", PATH, **MARKET)
    assert session.venue.counts.headers(KEY) == {"X-MBX-ORDER-COUNT-10S": "1", "X-MBX-ORDER-COUNT-1M": "301"}


def test_listen_keys_last_an_hour_and_are_renewed(session):
    assert code(session, "PUT", "/fapi/v1/listenKey") == -1125
    listen_key = session.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    session.wall.seconds += VALID - 1
    assert session.ask("PUT", "/fapi/v1/listenKey")["listenKey"] == listen_key
    session.wall.seconds += VALID - 1
    stream = session.venue.listen_keys.stream(listen_key)
    session.wall.seconds += 2
    assert [each["e"] for each in stream.due(session.exchange.now(), 0.0)] == ["listenKeyExpired"]
    assert list(stream.due(session.exchange.now(), 0.0)) == []
    assert session.venue.listen_keys.stream(listen_key) is None
    assert session.ask("POST", "/fapi/v1/listenKey")["listenKey"] != listen_key


def heard(session, stream) -> list[dict]:
    return list(stream.due(session.exchange.now(), session.wall.seconds))


def test_a_stream_tells_each_change_once_and_in_order(tape):
    session = Session(tape, crash(tape) - 30 * HOUR)
    listen_key = session.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    first, second = (session.venue.listen_keys.stream(listen_key) for _ in range(2))
    session.ask("POST", "/fapi/v1/leverage", **BTC, leverage=20)
    session.ask("POST", PATH, **(MARKET | {"quantity": "5"}))
    session.ask("POST", ALGO, **(STOP | {"quantity": "0.5"}), triggerPrice=near(session, -2_000), reduceOnly="true")
    told = heard(session, first)
    for _ in range(40):
        session.wait(1)
        told += heard(session, first)
    assert told == heard(session, second)
    assert [each["E"] for each in told] == sorted(each["E"] for each in told)
    kinds = [each["e"] for each in told]
    assert kinds[:3] == ["ACCOUNT_CONFIG_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]
    fills = [each["o"] for each in told if each["e"] == "ORDER_TRADE_UPDATE" and each["o"]["x"] in ("TRADE", "CALCULATED")]
    assert [fill["t"] for fill in fills] == [fill.id for fill in session.desk.records.fills]
    reasons = [each["a"]["m"] for each in told if each["e"] == "ACCOUNT_UPDATE"]
    assert reasons.count("ORDER") == len(fills) and "FUNDING_FEE" in reasons
    wallets = [each["a"]["B"][0]["wb"] for each in told if each["e"] == "ACCOUNT_UPDATE"]
    assert Decimal(wallets[-1]) == session.desk.account.wallet
    algo = [each["o"]["X"] for each in told if each["e"] == "ALGO_UPDATE"]
    assert algo in (["NEW", "TRIGGERED", "FINISHED"], ["NEW", "EXPIRED"])
    assert "MARGIN_CALL" in kinds
