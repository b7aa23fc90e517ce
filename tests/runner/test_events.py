"""Events survive the journal exactly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import DataError
from quantalpha.runner.events import FillEvent, RejectedOrderEvent, from_json, kind_of, to_json

TIMES = {"event_time": 1_700_000_000_000, "recv_time": 1_700_000_000_123, "symbol": "BTCUSDT", "bar": 1_699_996_400_000}


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_json_round_trip_keeps_every_bit(price, fee):
    event = FillEvent(**TIMES, client_id=None, quantity=-0.1, price=price, fee=fee, realised=1e-320, reason="order")
    assert from_json(kind_of(event), to_json(event)) == event


def test_nan_survives():
    order = {"client_id": "qa-1", "quantity": 1.0, "target": 1.0, "price": math.nan}
    event = RejectedOrderEvent(**TIMES, **order, reason="not_finite", values={"price": math.nan})
    back = from_json(kind_of(event), to_json(event))
    assert math.isnan(back.price) and math.isnan(back.values["price"]) and back.reason == "not_finite"


@pytest.mark.parametrize(("kind", "payload"), [("Nonsense", "{}"), ("Fill", '{"price": 1}'), ("Fill", "no json"), ("Fill", "[1]")])
def test_what_is_no_event_is_refused(kind, payload):
    with pytest.raises(DataError, match="not an event of kind"):
        from_json(kind, payload)
