"""Events as a session makes them, for whoever watches one."""

from quantalpha.runner import events as e

HOUR = 3_600_000
START = 1_704_067_200_000  # Monday 2024-01-01 00:00 UTC


def times(hour: float, symbol: str = "BTCUSDT") -> dict:
    now = START + int(hour * HOUR)
    return {"event_time": now, "recv_time": now, "symbol": symbol}


def bar(hour: float) -> dict:
    return {"bar": START + int(hour // 1) * HOUR}


def opened(hour: int) -> e.MarketOpenEvent:
    return e.MarketOpenEvent(**times(hour), **bar(hour), open=100.0, funding_rate=0.0)


def closed(hour: int, warm_up: bool = False) -> e.MarketCloseEvent:
    """Of the bar that opens at `hour`."""
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 5.0}
    return e.MarketCloseEvent(**times(hour + 1), **bar(hour), **prices, mark=None, funding_rate=0.0, warm_up=warm_up)


def equity(hour: int, value: float) -> e.EquityEvent:
    return e.EquityEvent(**times(hour + 1), **bar(hour), equity=value, cash=value, quantity=0.0, price=100.0)


def filled(hour: float, quantity: float = 0.25, price: float = 100.0, realised: float = 0.0, client_id: str | None = "qa-1") -> e.FillEvent:
    money = {"fee": abs(quantity) * price * 0.0005, "realised": realised, "reason": "order"}
    return e.FillEvent(**times(hour), **bar(hour), client_id=client_id, quantity=quantity, price=price, **money, trade=f"t{hour}-{price}")


def funded(hour: int, amount: float) -> e.FundingEvent:
    return e.FundingEvent(**times(hour), **bar(hour), amount=amount, rate=0.0001, mark=100.0, quantity=0.25)


def order(kind=e.ValidatedOrderEvent, hour: float = 1, **verdict) -> e.OrderEvent:
    wish = {"client_id": f"qa-{hour:g}", "quantity": 0.25, "target": 1.0, "price": 100.0}
    return kind(**times(hour), **bar(hour), **wish, **verdict)


def refused(hour: float = 1, reason: str = "price_collar") -> e.RejectedOrderEvent:
    return order(e.RejectedOrderEvent, hour, reason=reason, values={"price": 120.0, "limit": 105.0})


def instructed(hour: float, reference: float | None, client_id: str = "qa-1") -> e.InstructionEvent:
    told = {"client_id": client_id, "parent": "qa-0", "action": "place", "kind": "market", "quantity": 0.25, "price": None}
    return e.InstructionEvent(**times(hour), **bar(hour), **told, reduce_only=False, reference=reference)


def updated(status: str, reason: str = "", hour: float = 1) -> e.OrderUpdateEvent:
    return e.OrderUpdateEvent(**times(hour), client_id="qa-1", venue_id=None, status=status, reason=reason)


def tripped(name: str = "daily_loss", phase: str = "tripped", hour: float = 1) -> e.SwitchEvent:
    return e.SwitchEvent(**times(hour, ""), name=name, phase=phase, reason="equity fell", values={"loss": 0.061, "limit": 0.05})


def said(phase: str, reason: str, hour: float = 0) -> e.SessionEvent:
    return e.SessionEvent(**times(hour), phase=phase, reason=reason)
