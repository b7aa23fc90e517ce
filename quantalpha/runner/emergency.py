"""Making an account flat at its venue by what the venue itself says, without anything a session knows or holds.

Closing comes first and a stop is cancelled last, so that a position never rests without one. What closes is reduce-only: sent twice it
cannot turn a position, so that it is safe to go on after an answer that never came.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from quantalpha import config
from quantalpha.errors import ExchangeError, QuantalphaError, UsageError
from quantalpha.market.connect import Retry
from quantalpha.market.trading import CONDITIONAL, AccountReport, Keys, OrderReport, Rules, open_trading
from quantalpha.perp import in_parts
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.orders import EMERGENCY

TROUBLE = (QuantalphaError, OSError, TimeoutError)  # what asking a venue may raise
PACE = Retry(base=0.02, cap=5.0)  # between rounds: all orders of an account are a heavy question, and who asks too often is shut out
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PRACTICE = ("practice-key", "practice-secret")  # what the practice exchange gives everybody


class Desk(Protocol):
    """What is needed of `market.trading.Trading`."""

    rules: Mapping[str, Rules]

    async def synchronise(self) -> float: ...

    async def account(self) -> AccountReport: ...

    async def open_orders(self, symbols: Iterable[str] | None = None) -> list[OrderReport]: ...

    async def place(self, instruction: InstructionEvent) -> OrderReport: ...

    async def cancel(self, client_id: str, symbol: str) -> OrderReport | None: ...

    async def cancel_all(self, symbol: str) -> None: ...


@dataclass
class Flattening:
    """left: positions (signed base units) and orders that the venue last told; None before it told anything."""

    seconds: float = 0.0
    left: dict[str, float] | None = None
    orders: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def flat(self) -> bool:
        """By the venue's word: no position and no order."""
        return self.left is not None and not self.left and not self.orders

    def __str__(self) -> str:
        if self.flat:
            return f"flat after {self.seconds:.1f} s"
        positions = [f"{name} {left:+g}" for name, left in (self.left or {}).items()] or ["no position"]
        held = "nobody knows what is held" if self.left is None else ", ".join(positions)
        return f"NOT flat after {self.seconds:.1f} s: {held}, {self.orders} orders; {'; '.join(self.errors[-2:]) or 'no error'}"


async def flatten(desk: Desk, patience: float) -> Flattening:
    """Closes every position and cancels every order of the account, again and again until the venue says that nothing is left, for at most
    `patience` seconds. Raises nothing that a venue can bring about."""
    started, found, rounds = time.monotonic(), Flattening(), count()
    while not found.flat and found.seconds < patience:
        try:
            async with asyncio.timeout(patience - found.seconds):
                await _round(desk, found)
        except TROUBLE as error:
            found.left = None
            found.errors.append(_words(error))
        found.seconds = time.monotonic() - started
        if not found.flat:
            await asyncio.sleep(PACE.pause(next(rounds)))
    return found


async def look(desk: Desk) -> Flattening:
    """What the venue says is left, nothing done about it. Raises ExchangeError where it gives no sound answer."""
    found = Flattening()
    try:
        await _seen(desk, found)
    except TROUBLE as error:
        raise ExchangeError(f"venue: no sound answer about the account: {_words(error)}; try again") from None
    return found


async def _seen(desk: Desk, found: Flattening) -> list[OrderReport]:
    account, orders = await asyncio.gather(desk.account(), desk.open_orders())
    found.left, found.orders = held(account), len(orders)
    return orders


async def _round(desk: Desk, found: Flattening) -> None:
    """One look and what follows from it. A reduce-only order that waits for its price is cancelled too: Binance counts it against the
    position, and refuses (-4118) to close that by another one."""
    if found.errors and found.left is None:
        await desk.synchronise()  # what got no answer may have carried a wrong time
    orders = await _seen(desk, found)
    entering = [order for order in orders if order.symbol in found.left and not (order.reduce_only and order.kind in CONDITIONAL)]
    idle = {order.symbol for order in orders} - found.left.keys()
    steps = [desk.place(each) for symbol, quantity in found.left.items() for each in _closings(symbol, quantity, desk.rules.get(symbol))]
    steps += [desk.cancel(order.client_id, order.symbol) for order in entering] + [desk.cancel_all(symbol) for symbol in sorted(idle)]
    await _all(steps, found.errors)


async def _all(steps: Sequence[Awaitable], errors: list[str]) -> None:
    """All of them at once; one that fails keeps no other from being done."""
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, TROUBLE):
            raise result
        if isinstance(result, BaseException):
            errors.append(_words(result))


def held(account: AccountReport) -> dict[str, float]:
    """Signed quantity of every position that is not known to be zero."""
    return {symbol: position.quantity for symbol, position in account.positions.items() if position.quantity != 0}


def _closings(symbol: str, quantity: float, rules: Rules | None) -> list[InstructionEvent]:
    """In as many orders as the venue demands."""
    parts = in_parts(-quantity, math.inf if rules is None else rules.most)
    return [_closing(symbol, part, time.time_ns() + number) for number, part in enumerate(parts)]


def _closing(symbol: str, quantity: float, now: int) -> InstructionEvent:
    times = {"event_time": now // 1_000_000, "recv_time": now // 1_000_000, "symbol": symbol, "bar": 0}
    order = {"client_id": f"{EMERGENCY}{now:x}", "parent": "", "action": "place", "kind": "market", "quantity": quantity, "price": None}
    return InstructionEvent(**times, **order, reduce_only=True, purpose="flatten")


def _words(error: BaseException) -> str:
    return config.mask(f"{type(error).__name__}: {error}")[:200]


@contextlib.asynccontextmanager
async def desk_of(card: dict, watchdog: bool = False):
    """The client of the account a session's card tells of. watchdog: with its own keys, where it has any."""
    venue = config.Venue.model_validate(card["venue"])
    keys = keys_of(card["mode"], venue, watchdog, card.get("second", False))
    async with open_trading(venue, keys, demo=card["mode"] == "testnet") as desk:
        yield desk


def keys_of(mode: str, venue: config.Venue, watchdog: bool = False, second: bool = False) -> Keys:
    """The API key of the environment (of watchdog or second venue the one for it), or UsageError; in a rehearsal on this machine the
    practice exchange's own: it knows no other, and a real one is shown to nobody but its venue."""
    if mode == "rehearse" and any(f"//{host}:" in (venue.rest_url or "").replace("[", "").replace("]", "") for host in LOOPBACK):
        return Keys(*PRACTICE)
    given = config.environment()
    own = "QUANTALPHA_SECOND_API" if second else "QUANTALPHA_API"
    for name in ("QUANTALPHA_WATCHDOG_API", own) if watchdog and not second else (own,):
        if f"{name}_KEY" in given:
            return Keys(given[f"{name}_KEY"], config.secret(f"{name}_SECRET"))
    raise UsageError(f"secret {own}_KEY: not set; put it and {own}_SECRET into .env, a key that may not withdraw")


async def flatten_account(card: dict, patience: float, watchdog: bool = False) -> Flattening:
    """`flatten` of the account a session's card tells of, on a line of its own. A venue that does not even let in is an outcome too."""
    try:
        async with desk_of(card, watchdog) as desk:
            return await flatten(desk, patience)
    except ExchangeError as error:
        return Flattening(errors=[_words(error)])


async def flatten_accounts(cards: Mapping[str, dict], patience: float) -> dict[str, Flattening]:
    """`flatten_account` of each, at once. What keeps one from being asked at all, such as a missing key, is raised when all are done."""
    done = await asyncio.gather(*(flatten_account(card, patience) for card in cards.values()), return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return dict(zip(cards, done))
