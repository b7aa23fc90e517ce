"""What a venue's reply to a request means: done, surely not done (`Refused`), or nobody knows (`InDoubt`)."""

import functools
import json
from collections.abc import Callable, Collection

from quantalpha.market.connect import PARSING, short
from quantalpha.market.trading.words import InDoubt, Refused

SHUT = (403, 418, 429)  # the door is closed: the request was not let in


def judge(status: int, text: str, code_of: Callable[[dict], str | None], doubtful: Collection[str], sure: Collection[str] = ()) -> None:
    """code_of: the error code in an answer's JSON object, None where it is none. doubtful: codes of orders that may have been carried out
    all the same; sure: codes that are a refusal even in a 5xx."""
    answer = _parsed(text)
    code = code_of(answer) if isinstance(answer, dict) else None
    words = f"HTTP {status} {short(text)}"
    if status in SHUT:
        raise Refused(code or str(status), words, sound=False)
    if code in sure:
        raise Refused(code, words, sound=False)
    if status >= 500 or status == 408 or code in doubtful or not isinstance(answer, dict | list):
        raise InDoubt(words)
    if code is not None:
        raise Refused(code, words)
    if status >= 400:
        raise InDoubt(words)


def understood(method):
    """What a method raises where an answer lacks what it should hold: InDoubt."""

    @functools.wraps(method)
    async def asked(self, *given):
        try:
            return await method(self, *given)
        except PARSING as error:
            raise InDoubt(f"an answer that makes no sense: {type(error).__name__} {short(str(error))}") from None

    return asked


def number(value: str | float | None) -> float | None:
    """A venue's number; None where it says nothing or 0, which is how venues say nothing of a price."""
    return float(value or 0.0) or None


def sign(side: str) -> float:
    """+1 for BUY, -1 for SELL; ValueError for anything else."""
    return {"BUY": 1.0, "SELL": -1.0}[side.upper()]


def _parsed(text: str):
    try:
        return json.loads(text)
    except PARSING:
        return None
