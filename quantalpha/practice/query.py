"""Reading a request's parameters the way Binance does, refusals included."""

import re
from collections.abc import Mapping

from quantalpha.practice.exchange import Exchange
from quantalpha.practice.tape import Instrument

LARGEST_LONG = 2**63 - 1


class Refusal(Exception):
    """Binance's `{"code": ..., "msg": ...}` with an HTTP status (source: USD-M futures error codes)."""

    def __init__(self, code: int, message: str, status: int = 400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Query:
    """The parameters of one request, read against what is listed now."""

    def __init__(self, values: Mapping[str, str], exchange: Exchange):
        self._values, self._exchange = values, exchange
        if len(set(values)) < len(values):
            raise Refusal(-1101, "Duplicate values for a parameter detected.")

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, legal: str) -> str:
        if name not in self._values:
            raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        value = self._values[name]
        if not value:
            raise Refusal(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(legal, value):
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'.")
        return value

    def instrument(self) -> Instrument:
        symbol, listed = self.text("symbol", "[A-Z0-9-_.]{1,20}"), self._exchange.listed()
        if symbol not in listed:
            raise Refusal(-1121, "Invalid symbol.")
        return listed[symbol]

    def instruments(self) -> list[Instrument]:
        """The one named, or all where none is."""
        return [self.instrument()] if self.has("symbol") else list(self._exchange.listed().values())

    def interval(self, instrument: Instrument) -> str:
        interval = self.text("interval", "[a-zA-Z0-9]{1,5}")
        if not instrument.last.serves(interval):
            raise Refusal(-1120, "Invalid interval.")
        return interval

    def integer(self, name: str) -> int | None:
        """A non-negative LONG, None if it was not sent."""
        if not self.has(name):
            return None
        value = int(self.text(name, "[0-9]{1,20}"))
        if value > LARGEST_LONG:
            raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")
        return value

    def limit(self, default: int, most: int) -> int:
        limit = self.integer("limit")
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        return limit

    def span(self) -> tuple[int | None, int | None]:
        """startTime and endTime, both inclusive."""
        start, end = self.integer("startTime"), self.integer("endTime")
        if start is not None and end is not None and start > end:
            raise Refusal(-1023, "Start time is greater than end time.")
        return start, end
