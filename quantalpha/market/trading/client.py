"""An account at a venue: orders, positions, money. One call is one question, asked once.

    async with open_trading(params.venue, Keys(key, secret)) as trading:
        report = await trading.place(instruction)

An order has three outcomes. A report: the venue has it. `Refused`: the venue surely does not. `InDoubt`: nobody knows (a timeout, a broken
line, a 5xx, nonsense); nothing is sent again here, the caller asks for the client id. Reading raises the same two; both are
ExchangeErrors.
Requests are paid for from the budget that all processes share; of it downloads use `venue.budget`, and this client all of it, so that what
they leave is kept for orders and cancellations.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from quantalpha import config, perp
from quantalpha.errors import ExchangeError, ReconcileError, UsageError, did_you_mean
from quantalpha.market.budget import Stopped
from quantalpha.market.connect import Late, Retry, is_local, short, trading_client
from quantalpha.market.trading.clock import VenueClock
from quantalpha.market.trading.words import (
    AccountReport,
    InDoubt,
    Instruction,
    Keys,
    NotSent,
    OrderReport,
    Payment,
    Permissions,
    Refused,
    Rules,
    Settings,
    Trade,
)  # fmt: skip

RECV_WINDOW = 3000  # ms after its timestamp at which the venue takes no request any more; so long an order in doubt cannot be decided
REMEMBERED = 50  # requests behind `errors`
MINUTE = 60_000  # ms
WEEK = 7 * 86_400_000  # the longest span either venue answers at once


class Trading(ABC):
    """What every venue can do; a subclass words it in the venue's dialect. asset: what money is counted in."""

    dead_man_spares_stops = False  # whether conditional orders outlive the dead man's switch
    asset = "USDT"
    orders = ("", "")  # where orders are placed: ccxt's names of the service and the path

    def __init__(self, venue: config.Venue, keys: Keys, demo: bool):
        self.venue, self.demo = venue, demo
        self.exchange, self._faults = trading_client(venue, (keys.key, keys.secret), self.judge, demo)
        self.exchange.options["recvWindow"] = RECV_WINDOW
        self.clock = VenueClock(is_local(venue))
        self.exchange.nonce = self.now  # what requests are signed with
        self.rules: dict[str, Rules] = {}
        self._sound: deque[bool] = deque(maxlen=REMEMBERED)

    async def __aenter__(self):
        try:
            await self.load()
        except BaseException:
            await self.exchange.close()
            raise
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self) -> None:
        await self.exchange.close()

    async def load(self) -> None:
        """The venue's clock and the rules of its instruments, asked for at once: `quantalpha kill` must not wait for one after the other.
        ExchangeError where it does not tell them."""
        asked = patiently("its clock", self._begun), patiently("the rules of its instruments", self._some_rules)
        _, self.rules = await together(*asked)

    async def _begun(self) -> None:
        """A tape's clock is asked twice: only then is it known to run."""
        await self.synchronise()
        if self.clock.waits:
            await self.synchronise()

    async def _some_rules(self) -> dict[str, Rules]:
        rules = await self._rules()
        if not rules:
            raise InDoubt(f"{self.venue.name}: an empty list of instruments")  # no venue has none
        return rules

    async def synchronise(self) -> float:
        """Seconds that our clock is ahead of the venue's. From now on requests carry the venue's time, so that even with a clock that is
        wrong an account can be made flat."""
        before = self.exchange.milliseconds()
        told = await self.server_time()
        after = self.exchange.milliseconds()
        return self.clock.told((before + after) / 2, told, after - before) / 1000

    def now(self) -> int:
        """The venue's time as far as we know it."""
        return self.clock.at(self.exchange.milliseconds())

    def expect_order(self) -> None:
        """One may soon be placed: what it takes that can be done before is done. Nobody is told."""
        self.exchange.expect(*self.orders)

    @property
    def errors(self) -> float:
        """Share of the last requests that got no sound answer."""
        return 1 - sum(self._sound) / len(self._sound) if self._sound else 0.0

    def rules_of(self, symbol: str) -> Rules:
        if symbol not in self.rules:
            raise UsageError(f"symbol: {self.venue.name} has no linear perpetual {symbol!r}; {did_you_mean(symbol, self.rules)}")
        return self.rules[symbol]

    async def preflight(self, symbols: Sequence[str], leverage: float, margin_mode: str) -> None:
        """Sees to it that each symbol is traded one-way with this leverage and margin mode: set where it differs, then read back.
        ReconcileError where the venue still says something else."""
        wanted = Settings(leverage, margin_mode, one_way=True)
        for symbol in symbols:
            self.rules_of(symbol)
            found, words = await self._set_to(symbol, wanted)
            if found != wanted:
                raise ReconcileError(
                    f"{self.venue.name} {symbol}: expected {wanted}, found {found}{words}; close what is open there and set it by hand"
                )

    async def _set_to(self, symbol: str, wanted: Settings) -> tuple[Settings, str]:
        """How a symbol is traded after it was told what is wanted, and the venue's words if it would not. To say it twice is harmless."""
        words, refused, retry = "", False, Retry()
        for attempt in range(retry.attempts):
            found = await patiently(f"how {symbol} is traded", lambda: self.settings(symbol))
            if found == wanted or refused:
                break
            try:
                await self.set_up(symbol, wanted, found)
            except (InDoubt, Refused) as error:
                words, refused = f" ({error})", isinstance(error, Refused) and error.sound
                await retry.sleep(0.0 if refused else retry.pause(attempt))
        return found, words

    async def _ask(self, endpoint: str, **parameters):
        """One request by ccxt's name of the endpoint: the answer's JSON."""
        sound = False
        try:
            answer = await getattr(self.exchange, endpoint)(parameters)
            sound = True
        except Refused as error:
            sound = error.sound
            raise
        except Late as error:
            raise NotSent("not sent", str(error), sound=False) from None
        except Stopped as error:
            raise Refused("not sent", str(error), sound=False) from None
        except self._faults as error:
            raise InDoubt(f"{self.venue.name}: {endpoint}: {type(error).__name__}: {short(str(error))}") from None
        finally:
            self._sound.append(sound)
        return answer

    def quantity_text(self, instruction: Instruction) -> str:
        """The size as the venue reads it, without its sign."""
        return perp.to_venue(abs(instruction.quantity), self.rules_of(instruction.symbol).lot)

    def price_text(self, instruction: Instruction) -> str:
        if instruction.price is None:
            raise UsageError(f"order {instruction.client_id}: a {instruction.kind} order needs a price")
        return perp.to_venue(instruction.price, self.rules_of(instruction.symbol).tick)

    @staticmethod
    @abstractmethod
    def judge(status: int, text: str, wait: float | None) -> None:
        """Raises Refused or NoAnswer unless a reply is what was asked for."""

    @abstractmethod
    async def server_time(self) -> int: ...

    @abstractmethod
    async def _rules(self) -> dict[str, Rules]: ...

    @abstractmethod
    async def place(self, instruction: Instruction) -> OrderReport:
        """Quantity and price must lie on lot and tick (UsageError)."""

    @abstractmethod
    async def amend(self, instruction: Instruction) -> OrderReport:
        """New total quantity and price of a resting limit order."""

    @abstractmethod
    async def cancel(self, client_id: str, symbol: str) -> OrderReport | None:
        """The order as it then stands; None where the venue has no such open order any more."""

    @abstractmethod
    async def cancel_all(self, symbol: str) -> None:
        """Every open order of the symbol, conditional ones too."""

    @abstractmethod
    async def order(self, client_id: str, symbol: str) -> OrderReport | None:
        """What the venue knows of it; None where it has never heard of it (or, on Binance, forgot it: cancelled, unfilled, 3 days old)."""

    @abstractmethod
    async def open_orders(self, symbols: Iterable[str] | None = None) -> list[OrderReport]:
        """Conditional ones too; symbols None: of the whole account."""

    @abstractmethod
    async def trades_since(self, symbol: str, since: int) -> list[Trade]:
        """Every fill from that time on, oldest first, each once."""

    @abstractmethod
    async def payments_since(self, symbol: str, since: int) -> list[Payment]:
        """Funding and what a liquidation cost beyond its trades, from that time on, oldest first, each once."""

    @abstractmethod
    async def funding_rates(self, symbol: str, since: int) -> dict[int, tuple[float, float | None]]:
        """What was settled from that time on: by the minute (ms since 1970 UTC) the rate and the mark price, None where it is not told."""

    @abstractmethod
    async def account(self) -> AccountReport: ...

    @abstractmethod
    async def settings(self, symbol: str) -> Settings: ...

    @abstractmethod
    async def set_up(self, symbol: str, wanted: Settings, found: Settings) -> None:
        """Tells the venue what is wanted where it differs from what was found."""

    @abstractmethod
    async def permissions(self) -> Permissions: ...

    @abstractmethod
    async def dead_man(self, seconds: float, symbols: Iterable[str]) -> None:
        """The venue cancels all orders of the symbols unless this is said again within so many seconds; 0 ends it."""

    @staticmethod
    def minute(time: int) -> int:
        """A settlement and what is paid for it are told some milliseconds apart."""
        return time - time % MINUTE

    def weeks(self, since: int) -> list[tuple[int, int]]:
        """Spans that a venue answers at once, from `since` to `until`."""
        end = self.until()
        return [(start, min(start + WEEK, end)) for start in range(since, end, WEEK)]

    def until(self) -> int:
        """Well after now: a clock that is behind must not hide what happened last."""
        return self.now() + WEEK // 7


async def together(*questions: Awaitable) -> list:
    """The answers to what is asked at once. What the first that fails raises; the others are given up then."""
    tasks = [asyncio.ensure_future(each) for each in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def patiently(what: str, call: Callable[[], Awaitable], retry: Retry | None = None):
    """What a question that changes nothing is answered, asked again while it is not; ExchangeError in the end. Never for orders."""
    retry = Retry() if retry is None else retry
    for attempt in range(retry.attempts):
        try:
            return await call()
        except (InDoubt, Refused) as error:
            if attempt == retry.attempts - 1 or (isinstance(error, Refused) and error.sound):
                raise ExchangeError(f"venue: no usable answer for {what} after {attempt + 1} tries; last: {error}; check it") from None
        await retry.sleep(retry.pause(attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")
