"""Live ticks for other programs: every message that is recorded, as an entry of the Redis stream venue:symbol:kind."""

from collections.abc import Callable, Mapping

import orjson

from quantalpha.market.ticks.messages import KIND, Message

Publish = Callable[[str, Mapping[str, str | int | float]], None]  # RedisTicks.publish


def publisher(venue: str, publish: Publish) -> Callable[[int, Message], None]:
    """What `Recorder(also=...)` takes. An entry's fields are those of `messages` and `received` (ns of this machine's clock).

    Floats arrive exactly, as text; the levels of a depth message as JSON [[price, quantity], ...]; true and false as 1 and 0.
    """

    def also(received_ns: int, message: Message) -> None:
        told = message._asdict()
        stream = f"{venue}:{told.pop('symbol')}:{KIND[type(message)]}"
        publish(stream, {"received": received_ns} | {name: _plain(value) for name, value in told.items()})

    return also


def _plain(value) -> str | int | float:
    if isinstance(value, list):
        return orjson.dumps(value).decode()
    return int(value) if isinstance(value, bool) else value
