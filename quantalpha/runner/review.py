"""A session as its review reads it: how each order came about, when it reached the market, and what became of it."""

from collections.abc import Mapping
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
from quantalpha.runner.two_venues import ROUTE
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
    `price`, `fee`, and the `bar` it first traded in; of an order shared out over two venues all of it, what is of one instruction as the
    mean of each leg's first, weighted by what went there.
    forced: fills that no decision asked for (stops, liquidations, a switch's); `held`: the position before.
    signals, by bar: `bundle` and `features`, the hash of what the model was shown ("" where the journal does not say). bars, by bar:
    `late`, ms between a close and its receipt. switches: what tripped and was reset.
    """
    orders, fills = _orders(events), _fills(events)
    owners = _owners(events)
    owner = fills["client_id"].map(lambda name: owners.get(name, name)).where(lambda name: name.isin(orders["client_id"]))
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
    owners, sent, parts = _owners(events), {}, {}
    for event in events:
        if type(event) is InstructionEvent:
            known = sent if event.action == "place" else parts if event.action == ROUTE else {}
            known.setdefault(owners.get(event.client_id, event.client_id), {}).setdefault(event.symbol, event)
    rows = [
        {"on": event.bar, "client_id": event.client_id, "ordered": event.quantity, "decided": event.recv_time}
        | {"refused": refused.get(event.client_id, "")}
        | _arrival(sent.get(event.client_id, {}), parts.get(event.client_id, {}))
        for event in events
        if type(event) is OrderEvent
    ]
    frame = pd.DataFrame(rows, columns=["on", "client_id", "ordered", "decided", "refused", "sent", "reference", "predicted"])
    return frame.astype({"sent": float, "reference": float, "predicted": float})


def _arrival(sent: Mapping[str, InstructionEvent], parts: Mapping[str, InstructionEvent]) -> dict:
    """sent: the first instruction of each leg; parts: what each leg was given, where the order was shared out."""
    if not sent:
        return {}
    weights = [abs(parts[leg].quantity) if leg in parts else 1.0 for leg in sent]
    means = {name: _mean([getattr(each, name) for each in sent.values()], weights) for name in ("reference", "predicted")}
    return {"sent": min(each.recv_time for each in sent.values())} | means


def _mean(values: list[float | None], weights: list[float]) -> float | None:
    """None where one of them is; one alone stays as it is."""
    if None in values:
        return None
    return values[0] if len(values) == 1 else sum(value * weight for value, weight in zip(values, weights)) / sum(weights)


def _owners(events: list[Event]) -> dict[str, str]:
    """The decided order that each instruction serves in the end: a leg's child serves its part of the order first."""
    owners: dict[str, str] = {}
    for event in events:
        if type(event) is InstructionEvent and event.parent:
            owners[event.client_id] = owners.get(event.parent, event.parent)
    return owners


def _fills(events: list[Event]) -> pd.DataFrame:
    columns = ["bar", "client_id", "quantity", "price", "fee", "reason"]
    rows = [{name: getattr(event, name) for name in columns} for event in events if type(event) is FillEvent]
    frame = pd.DataFrame(rows, columns=columns).astype({"quantity": float, "price": float, "fee": float})
    return frame.assign(held=frame["quantity"].cumsum() - frame["quantity"])


def _by_bar(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """With bar open times as index, the last of each bar."""
    return frame.set_axis(from_epoch_ms(frame[column])).drop(columns=column).groupby(level=0).last()
