"""What a person is told of an event: one short line with numbers and units, or nothing."""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from quantalpha.runner.events import (
    Event,
    FillEvent,
    OrderUpdateEvent,
    RejectedOrderEvent,
    SessionEvent,
    SwitchEvent,
    ValidatedOrderEvent,
)

ERROR = re.compile(r"[A-Z]\w*(:|$)")  # a session that ended by an error names its class first
DOUBTFUL = ("rejected", "in_doubt")
LAST = {"signal": "signal only, nothing is sent", "approve": "waits for `quantalpha approve {id}`", "send": "goes to the venue"}


@dataclass(frozen=True)
class Message:
    """key: equal for what need not be told twice; urgent: never held back for the sake of a limit."""

    topic: str  # of alerts.tell
    key: Hashable
    text: str
    urgent: bool = False
    time: int | None = None  # event time, ms since 1970 UTC


def message(event: Event, orders: str = "send") -> Message | None:
    """orders: runner.orders, which decides what becomes of a validated order."""
    make = WORDS.get(type(event))
    told = None if make is None else make(event, orders)
    if told is None:
        return None
    topic, key, text = told
    urgent = topic in ("switch", "error") or (topic == "signal" and orders == "approve")
    return Message(topic, (topic, *key), text, urgent, event.event_time)


def moment(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _fill(event: FillEvent, orders: str):
    verb = "bought" if event.quantity > 0 else "sold"
    money = f"fee {_number(event.fee)}, realised {event.realised:+,.8g} quote"
    text = f"{event.symbol}: {verb} {_number(abs(event.quantity))} base at {_number(event.price)} quote ({event.reason}); {money}"
    return "fill", (event.symbol, event.client_id, event.trade, event.event_time, event.quantity, event.price), text


def _veto(event: RejectedOrderEvent, orders: str):
    if event.reason == "signal_only":
        return None  # told as a signal
    text = f"{event.symbol}: refused to {_side(event)}: {event.reason}{_values(event.values)}"
    return "veto", (event.symbol, event.reason), text


def _signal(event: ValidatedOrderEvent, orders: str):
    if event.quantity == 0.0:
        return None
    return "signal", (event.client_id,), f"{event.symbol}: {_side(event)}; {LAST[orders].format(id=event.client_id)}"


def _switch(event: SwitchEvent, orders: str):
    phase = {"tripped": "TRIPPED, the account is being flattened", "flat": "the account is verified flat", "reset": "reset by a person"}
    text = f"kill switch {event.name}: {phase.get(event.phase, event.phase)}: {event.reason}{_values(event.values)}"
    return "switch", (event.name, event.phase), text


def _order(event: OrderUpdateEvent, orders: str):
    if event.status not in DOUBTFUL:
        return None
    text = f"{event.symbol}: order {event.client_id} is {event.status.replace('_', ' ')}: {event.reason or 'no reason given'}"
    return "error", (event.symbol, event.status, event.reason[:80]), text


def _session(event: SessionEvent, orders: str):
    failed = event.phase == "stop" and ERROR.match(event.reason)
    return ("error" if failed else "session"), (event.phase, event.reason), f"session {event.phase}: {event.reason}"


WORDS: Mapping[type[Event], Callable] = {
    FillEvent: _fill,
    RejectedOrderEvent: _veto,
    ValidatedOrderEvent: _signal,
    SwitchEvent: _switch,
    OrderUpdateEvent: _order,
    SessionEvent: _session,
}


def _side(event: ValidatedOrderEvent | RejectedOrderEvent) -> str:
    verb = "buy" if event.quantity > 0 else "sell"
    return f"{verb} {_number(abs(event.quantity))} base at about {_number(event.price)} quote"


def _values(values: Mapping[str, float]) -> str:
    return f" ({', '.join(f'{name} {_number(value)}' for name, value in values.items())})" if values else ""


def _number(value: float) -> str:
    return f"{value:,.8g}"
