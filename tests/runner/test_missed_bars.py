"""Bars that a session missed and is told afterwards: nothing is decided on them, but a position has lived through them."""

import pytest

from quantalpha import config, perp
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import EquityEvent, FillEvent, MarketCloseEvent
from quantalpha.runner.execution import Terms
from quantalpha.runner.risk import standard
from quantalpha.runner.two_venues import Setting, TwoVenues
from quantalpha.runner.venue_setup import Market, Setup

HOUR = 3_600_000
ACCOUNT = perp.Account(1_000.0, leverage=5.0)


class Silent:
    """Decides nothing; also the journal of what happened."""

    fingerprint, novelty = "", float("nan")

    def __init__(self):
        self.events = []

    def observe(self, bar): ...

    def decide(self, previous):
        return float("nan"), 0.0

    def append(self, event):
        self.events.append(event)
        return event

    def commit(self): ...


def broker(symbol: str) -> ExchangeBroker:
    market = Market(Terms(0.001, 0.1, 5.0, (0.0, 0.0)), perp.Stops(max_bars=3, trailing_stop=0.05), 0.05)
    return ExchangeBroker(Setup(ACCOUNT, {symbol: market}, config.load().execution, "test", lambda instruction: None))


def bar(number: int, high: float, missed: bool = False) -> MarketCloseEvent:
    times = {"event_time": (number + 1) * HOUR, "recv_time": (number + 1) * HOUR, "bar": number * HOUR}
    prices = {"open": 100.0, "high": high, "low": 99.0, "close": high, "volume": 1.0, "mark": None, "funding_rate": 0.0}
    return MarketCloseEvent(**times, symbol="BTCUSDT", **prices, warm_up=missed)


@pytest.mark.parametrize("legs", [1, 2])
def test_a_time_stop_and_a_trailing_stop_count_the_bars_that_were_missed(legs):
    first, second = broker("BTCUSDT"), broker("BTCUSDT@bybit")
    both = TwoVenues(first, second, Setting(ACCOUNT, ("BTCUSDT",), "@bybit", (0.0, 0.0)))
    log = Silent()
    engine = Engine([Strategy("b", "BTCUSDT", log)], first if legs == 1 else both, Gates(standard(5.0)), log, lambda: 0)
    engine.feed(bar(0, 100.0))
    times = {"event_time": 2 * HOUR + 1, "recv_time": 2 * HOUR + 1, "bar": 2 * HOUR}  # found out by the next session
    trade = {"quantity": 1.0, "price": 100.0, "fee": 0.0, "realised": 0.0, "reason": "order", "trade": "1"}
    for leg in (first, second)[:legs]:
        engine.feed(FillEvent(**times, symbol=next(iter(leg.setup.markets)), client_id=None, **trade))
    marked = first.account().equity
    engine.feed(bar(1, 150.0, missed=True))
    for number in (2, 3, 4):
        engine.feed(bar(number, 120.0, missed=True))
    for leg in (first, second)[:legs]:
        (symbol,) = leg.setup.markets
        known = leg.known(symbol)
        assert (known.bars, known.best) == (3, 120.0), "of the bars since it was opened"
        need = leg._need(symbol, known)
        assert need.close and need.levels["stop"] == pytest.approx(114.0)
    assert first.account().equity == marked and sum(isinstance(each, EquityEvent) for each in log.events) == 1
