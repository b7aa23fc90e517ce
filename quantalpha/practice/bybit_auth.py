"""Who asks Bybit: the signature of a private request and of a private websocket.

A request is signed over timestamp + key + receive window + what was sent (the query string of a GET, the body of a POST), HMAC-SHA256, hex,
in the headers X-BAPI-API-KEY, -TIMESTAMP, -RECV-WINDOW, -SIGN; a websocket over "GET/realtime" + the moment at which the request expires.
Source: bybit-exchange.github.io/docs/v5/guide#authentication, /docs/v5/ws/connect#authentication.
"""

import hashlib
import hmac
from collections.abc import Mapping

from quantalpha.practice.bybit_query import Refusal
from quantalpha.practice.exchange import Exchange

RECEIVE_WINDOW, AHEAD = 5_000, 1_000  # milliseconds a request may be old, and from the future
BAD_TIME, BAD_KEY, BAD_SIGNATURE = 10002, 10003, 10004


class Authority:
    """The keys of an exchange."""

    def __init__(self, exchange: Exchange):
        self._exchange, self._keys = exchange, exchange.keys

    def key_of_request(self, headers: Mapping[str, str], sent: str) -> str:
        """The key that signed a request lately (beside the window as far as the tape's pace puts a clock off); Refusal where none did."""
        key, given = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-SIGN", "")
        timestamp, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", str(RECEIVE_WINDOW))
        if key not in self._keys:
            raise Refusal("API key is invalid.", BAD_KEY)
        if not (timestamp.isdigit() and window.isdigit()):
            raise Refusal("params error: timestamp or recv_window invalid")
        self._check_time(int(timestamp), int(window))
        if not self._signed(key, timestamp + key + headers.get("X-BAPI-RECV-WINDOW", "") + sent, given):
            raise Refusal("error sign! origin_string[" + timestamp + key + window + sent + "]", BAD_SIGNATURE)
        return key

    def key_of_socket(self, arguments: object) -> str | None:
        """The key of [key, expires, signature]; None where it is not signed, or has expired by the tape's clock."""
        if not isinstance(arguments, list) or len(arguments) != 3:
            return None
        key, expires, given = (str(each) for each in arguments)
        if key not in self._keys or not expires.isdigit() or int(expires) <= self._exchange.conditions.server_time():
            return None
        return key if self._signed(key, "GET/realtime" + expires, given) else None

    def _check_time(self, sent: int, window: int) -> None:
        now, (behind, ahead) = self._exchange.conditions.server_time(), self._exchange.clock.drift()
        if not now - window - behind <= sent < now + AHEAD + ahead:
            told = f"req_timestamp[{sent}],server_timestamp[{now}],recv_window[{window}]"
            raise Refusal(f"invalid request, please check your server timestamp or recv_window param. {told}", BAD_TIME)

    def _signed(self, key: str, text: str, given: str) -> bool:
        made = hmac.new(self._keys[key].secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(made.encode(), given.encode())
