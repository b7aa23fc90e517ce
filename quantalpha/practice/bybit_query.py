"""Reading a request's parameters the way Bybit v5 does, refusals included.

Bybit documents the code 10001 for every wrong parameter and leaves the words open: they follow what the venue has been seen to answer.
Source: bybit-exchange.github.io/docs/v5/error.
"""

from collections.abc import Mapping, Sequence

from quantalpha.practice.exchange import Exchange
from quantalpha.practice.tape import Instrument

WRONG_PARAMETER, NO_ROUTE, TOO_MANY = 10001, 10017, 10018
CATEGORIES = ("linear", "inverse", "spot", "option")
INTERVALS = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h", "720": "12h"}
INTERVALS |= {"D": "1d", "W": "1w", "M": "1M"}


class Refusal(Exception):
    """`{"retCode": ..., "retMsg": ...}` with an HTTP status: 200 where only a parameter is wrong."""

    def __init__(self, message: str, code: int = WRONG_PARAMETER, status: int = 200):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Query:
    """The parameters of one request, read against what is listed now. Only the category linear has instruments."""

    def __init__(self, values: Mapping[str, str], exchange: Exchange):
        self._values, self._exchange = values, exchange

    def text(self, name: str) -> str | None:
        """None where the parameter is absent or empty."""
        return self._values.get(name) or None

    def category(self, default: str | None = None) -> str:
        found = self.text("category") or default
        if found not in CATEGORIES:
            raise Refusal("Illegal category")
        return found

    def instrument(self) -> Instrument:
        symbol = self.text("symbol")
        if symbol is None or symbol != symbol.upper():
            raise Refusal("params error: symbol invalid")
        listed = self._exchange.listed()
        if self.category("linear") != "linear" or symbol not in listed:
            raise Refusal("Not supported symbols")
        return listed[symbol]

    def instruments(self) -> list[Instrument]:
        """The one named, or all of the category by name, or those of `baseCoin`."""
        if self.text("symbol") is not None:
            return [self.instrument()]
        listed = self._exchange.listed() if self.category() == "linear" else {}
        base = self.text("baseCoin")
        return [listed[name] for name in sorted(listed) if base in (None, listed[name].base)]

    def interval(self) -> str:
        """The bar length as the tape calls it: '60' -> '1h'."""
        interval = INTERVALS.get(self.text("interval") or "", "")
        if not self.instrument().last.serves(interval):
            raise Refusal("Invalid period!")
        return interval

    def integer(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise Refusal(f"params error: {name} invalid")
        return int(value)

    def limit(self, default: int, most: int) -> int:
        limit = self.integer("limit")
        limit = default if limit is None else limit
        if not 1 <= limit <= most:
            raise Refusal(f"params error: limit invalid, expected [1, {most}]")
        return limit

    def span(self, first: str, last: str) -> tuple[int | None, int | None]:
        """Both inclusive, milliseconds."""
        start, end = self.integer(first), self.integer(last)
        if start is not None and end is not None and start > end:
            raise Refusal(f"params error: {first} must not be later than {last}")
        return start, end


def part(keys: Sequence[str], limit: int, query: Query) -> tuple[range, str]:
    """Positions of one page of `keys` and the cursor to the next: the last key of the page, empty on the last page."""
    cursor = query.text("cursor")
    if cursor is not None and cursor not in keys:
        raise Refusal("params error: cursor invalid")
    begin = 0 if cursor is None else keys.index(cursor) + 1
    page = range(begin, min(begin + limit, len(keys)))
    return page, keys[page[-1]] if page and page.stop < len(keys) else ""
