"""Reading a request's parameters the way Binance does, refusals included."""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from quantalpha.practice.exchange import Exchange
from quantalpha.practice.keys import KEY, SECRET, ApiKey
from quantalpha.practice.refusal import Refusal
from quantalpha.practice.tape import Instrument

LARGEST_LONG = 2**63 - 1
RECEIVE_WINDOW, LONGEST_WINDOW, AHEAD = 5_000, 60_000, 1_000  # milliseconds a signed request may be old, and from the future
DECIMAL = r"([0-9]{1,20})(\.[0-9]{1,20})?"

__all__ = ["KEY", "SECRET", "Query", "Refusal", "Signature"]


@dataclass(frozen=True)
class Signature:
    """What a signed request is checked by: its header X-MBX-APIKEY, and its query string and body as sent, one after the other."""

    key: str | None
    sent: str


class Query:
    """The parameters of one request, read against what is listed now."""

    def __init__(self, values: Mapping[str, str], exchange: Exchange, signature: Signature = Signature(None, "")):
        self._values, self._exchange, self._signature = values, exchange, signature
        if len(set(values)) < len(values):
            raise Refusal(-1101, "Duplicate values for a parameter detected.")

    def has(self, name: str) -> bool:
        return name in self._values

    def other(self, values: Mapping[str, str]) -> "Query":
        """Other parameters that came with the same request: one order of a batch."""
        return Query(values, self._exchange, self._signature)

    def text(self, name: str, legal: str) -> str:
        if name not in self._values:
            raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        value = self._values[name]
        if not value:
            raise Refusal(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(legal, value):
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^{legal}$'.")
        return value

    def instrument(self, name: str = "symbol") -> Instrument:
        symbol, listed = self.text(name, "[A-Z0-9-_.]{1,20}"), self._exchange.listed()
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

    def decimal(self, name: str) -> Decimal | None:
        """None if it was not sent."""
        return Decimal(self.text(name, DECIMAL)) if self.has(name) else None

    def boolean(self, name: str) -> bool:
        """False if it was not sent."""
        return self.has(name) and self.word(name, ("true", "false"), lambda: _bad(-1130, name), lower=True) == "true"

    def word(self, name: str, known: tuple[str, ...], refusal: Callable[[], Refusal], *, lower: bool = False) -> str:
        """One of `known`; `lower`: in small or in capital letters."""
        value = self.text(name, "[a-zA-Z0-9_]{1,40}")
        value = value.lower() if lower else value
        if value not in known:
            raise refusal()
        return value

    def check_key(self) -> ApiKey:
        """The API key that the request names; Refusal where there is none, or nobody has it."""
        if self._signature.key is None:
            raise Refusal(-2014, "API-key format invalid.", 401)
        if self._signature.key not in self._exchange.keys:
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._exchange.keys[self._signature.key]

    def check_signed(self) -> ApiKey:
        """The API key that has signed this query, and lately; Refusal otherwise.

        Lately is what the venue calls so, and beyond that as far as a client's time can be off because the tape runs at another pace.
        """
        key, (sent, window) = self.check_key(), (self.integer("timestamp"), self.integer("recvWindow"))
        window = RECEIVE_WINDOW if window is None else window
        if sent is None:
            raise Refusal(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
        if window > LONGEST_WINDOW:
            raise Refusal(-1131, "recvWindow must be less than 60000.")
        now, (behind, ahead) = self._exchange.conditions.server_time(), self._exchange.clock.drift()
        if sent > now + AHEAD + ahead:
            raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if sent < now - window - behind:
            raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
        told, _, given = self._signature.sent.rpartition("&signature=")
        made = hmac.new(key.secret.encode(), told.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(made.encode(), given.encode()):
            raise Refusal(-1022, "Signature for this request is not valid.")
        return key


def _bad(code: int, name: str) -> Refusal:
    return Refusal(code, f"Data sent for parameter '{name}' is not valid.")
