"""What limits look back on: returns as the closes have them, however long the session, and nothing that was given out changes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.runner.events import InstructionEvent, MarketCloseEvent
from quantalpha.runner.past import HISTORY, ROOM, Past
from quantalpha.runner.views import AccountView

STEP = 60_000


def close(bar, price):
    times = {"event_time": (bar + 1) * STEP, "recv_time": 0, "symbol": "BTCUSDT", "bar": bar * STEP}
    return MarketCloseEvent(**times, open=1.0, high=1.0, low=1.0, close=price, volume=1.0, mark=None, funding_rate=0.0, warm_up=False)


def instruction(time, action="place"):
    told = {"client_id": "qa-1", "parent": "", "action": action, "kind": "market", "quantity": 1.0, "price": None, "reduce_only": False}
    return InstructionEvent(event_time=time, recv_time=time, symbol="BTCUSDT", bar=0, **told)


def returns_of(past):
    return past.view(AccountView(1.0), 0).returns["BTCUSDT"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * ROOM * HISTORY), st.integers(0, 10**6))
def test_returns_are_those_of_the_last_closes_bit_for_bit(count, seed):
    prices = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, count)))
    past, given_out = Past(("BTCUSDT",)), []
    for bar, price in enumerate(prices.tolist()):
        past.closed(close(bar, price))
        if bar % 1000 == 999:
            given_out.append((bar, returns_of(past)))
    given_out.append((count - 1, returns_of(past)))
    for bar, returns in given_out:
        last = prices[max(bar - HISTORY, 0) : bar + 1]
        assert np.array_equal(returns, last[1:] / last[:-1] - 1.0)


def test_a_price_of_nothing_is_no_return():
    past = Past(("BTCUSDT",))
    for bar, price in enumerate([0.0, 1.0, 2.0]):
        past.closed(close(bar, price))
    assert np.isnan(returns_of(past)[0]) and returns_of(past)[1] == 1.0


def test_instructions_of_the_last_minute_are_told():
    past = Past(("BTCUSDT",))
    for time, action in [(0, "place"), (30_000, "amend"), (40_000, "cancel"), (61_000, "place")]:
        past.instructed(instruction(time, action))
        past.heard(instruction(time, action))
    assert sorted(past.view(AccountView(1.0), 0).sent) == [30_000, 61_000]
    assert sorted(past.view(AccountView(1.0), 90_000).sent) == [61_000]
