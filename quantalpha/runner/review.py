"""A session as its review reads it: how each order came about, when it reached the market, and what became of it."""

from pathlib import Path

import pandas as pd

from quantalpha.runner.events import (
    Event,
    FillEvent,
    InstructionEvent,
    MarketCloseEvent,
    OrderEvent,
    RejectedOrderEvent,
    SignalEvent,
    SwitchEvent,
)  # fmt: skip
from quantalpha.runner.journal import FILE, read
from quantalpha.schema import from_epoch_ms

ORDERED = ["client_id", "ordered", "decided", "refused", "sent", "reference", "predicted", "filled", "price", "fee", "bar"]
FORCED = ["bar", "quantity", "price", "fee", "reason", "held"]


def reviewed(folder: Path) -> dict[str, pd.DataFrame]:
    """Of a session's journal, as `review`."""
    return review(read(folder / FILE))


def review(events: list[Event]) -> dict[str, pd.DataFrame]:
    """orders, forced, signals, bars, switches. Times in ms since 1970 UTC, quantities signed base units, money in quote currency.

    orders, by the bar decided on: `ordered`, `decided` (when the order was made), `refused` (risk's reason, "" if none), `sent` and
    `reference` and `predicted` slippage of its first instruction (NaN where none was journalled or nothing was known), `filled`, mean
    `price`, `fee`, and the `bar` it first traded in.
    forced: fills that no decision asked for (stops, liquidations, a switch's); `held`: the position before.
    signals, by bar: `bundle` and `features`, the hash of what the model was shown ("" where the journal does not say). bars, by bar:
    `late`, ms between a close and its receipt. switches: what tripped and was reset.
    """
    orders, fills = _orders(events), _fills(events)
    asked = {child: parent for child, parent in _parents(events).items() if parent in set(orders["client_id"])}
    owner = fills["client_id"].map(lambda name: asked.get(name, name)).where(lambda name: name.isin(orders["client_id"]))
    traded = fills.assign(notional=fills["quantity"] * fills["price"]).groupby(owner)
    executed = traded.agg(filled=("quantity", "sum"), notional=("notional", "sum"), fee=("fee", "sum"), bar=("bar", "first"))
    executed["price"] = executed.pop("notional") / executed["filled"]
    orders = orders.join(executed, on="client_id").fillna({"filled": 0.0, "fee": 0.0})
    signals = [(event.bar, event.strategy, event.features) for event in events if type(event) is SignalEvent]
    closes = [(event.bar, event.recv_time - event.event_time) for event in events if type(event) is MarketCloseEvent and not event.warm_up]
    switches = [(event.event_time, event.name, event.phase, event.reason) for event in events if type(event) is SwitchEvent]
    return {
        "orders": _by_bar(orders, "on")[ORDERED],
        "forced": fills[owner.isna()].reset_index(drop=True)[FORCED],
        "signals": _by_bar(pd.DataFrame(signals, columns=["on", "bundle", "features"]), "on"),
        "bars": _by_bar(pd.DataFrame(closes, columns=["on", "late"]), "on"),
        "switches": pd.DataFrame(switches, columns=["time", "name", "phase", "reason"]),
    }


def _orders(events: list[Event]) -> pd.DataFrame:
    refused = {event.client_id: event.reason for event in events if type(event) is RejectedOrderEvent}
    first: dict[str, InstructionEvent] = {}
    for event in events:
        if type(event) is InstructionEvent and event.action == "place":
            first.setdefault(event.parent or event.client_id, event)
    rows = [
        {"on": event.bar, "client_id": event.client_id, "ordered": event.quantity, "decided": event.recv_time}
        | {"refused": refused.get(event.client_id, "")}
        | _arrival(first.get(event.client_id))
        for event in events
        if type(event) is OrderEvent
    ]
    frame = pd.DataFrame(rows, columns=["on", "client_id", "ordered", "decided", "refused", "sent", "reference", "predicted"])
    return frame.astype({"sent": float, "reference": float, "predicted": float})


def _arrival(instruction: InstructionEvent | None) -> dict:
    if instruction is None:
        return {}
    return {"sent": instruction.recv_time, "reference": instruction.reference, "predicted": instruction.predicted}


def _parents(events: list[Event]) -> dict[str, str]:
    return {event.client_id: event.parent for event in events if type(event) is InstructionEvent and event.parent}


def _fills(events: list[Event]) -> pd.DataFrame:
    columns = ["bar", "client_id", "quantity", "price", "fee", "reason"]
    rows = [{name: getattr(event, name) for name in columns} for event in events if type(event) is FillEvent]
    frame = pd.DataFrame(rows, columns=columns).astype({"quantity": float, "price": float, "fee": float})
    return frame.assign(held=frame["quantity"].cumsum() - frame["quantity"])


def _by_bar(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """With bar open times as index, the last of each bar."""
    return frame.set_axis(from_epoch_ms(frame[column])).drop(columns=column).groupby(level=0).last()
