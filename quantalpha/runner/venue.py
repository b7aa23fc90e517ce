"""A session's account at a venue, or at two: opened, set up, and put together with the broker and the lines that speak for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from quantalpha import config
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.connect import is_local
from quantalpha.market.trading import Elsewhere, Rules, Trading, open_trading, patiently
from quantalpha.runner import emergency
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.composition import Composition
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.line import Line
from quantalpha.runner.pair import Pair
from quantalpha.runner.two_venues import Setting, TwoVenues
from quantalpha.runner.venue_setup import Market, Setup, terms_of, with_rules

REHEARSE, TESTNET = "rehearse", "testnet"
DAY = 86_400_000  # ms
RATES = 600.0  # seconds between questions for funding rates, by which orders are shared out
LOOK = 0.2  # seconds between looks at the time


@dataclass
class Side:
    """One account of the session. place: what the names of its symbols end with, '' at the first; params: with this venue as `venue`;
    line: None until the session stands whose events it feeds; settled: of its symbols the funding rates by their time (ms), as far back as
    `reach` (ms)."""

    place: str
    params: config.Params
    trading: Trading | Elsewhere
    broker: ExchangeBroker | None = None
    line: Line | None = None
    settled: dict[str, dict[int, float]] = field(default_factory=dict)
    reach: int = DAY

    def send(self, instruction: InstructionEvent) -> None:
        """The broker's outbox."""
        self.line.outbox.send(instruction)

    @property
    def quoted(self) -> bool:
        """Whether of all its symbols the book is known, and what was settled lately."""
        return all(self.broker.known(leg).book.sound and leg in self.settled for leg in self.broker.setup.markets)

    async def learn_rates(self) -> None:
        """What was settled lately."""
        for symbol in self.broker.setup.markets:
            told = await self.trading.funding_rates(symbol, self.trading.now() - self.reach)
            self.settled[symbol] = {time: rate for time, (rate, _) in told.items()}

    async def follow_rates(self) -> None:
        """Without end."""
        while True:
            asked = self.trading.now()
            with contextlib.suppress(ExchangeError):  # nobody is the cheaper for what is not known
                await self.learn_rates()
            await asyncio.sleep(1.0)
            while self.trading.now() - asked < RATES * 1000:  # by the venue's clock: a tape's may be faster
                await asyncio.sleep(LOOK)


@dataclass(frozen=True)
class Venue:
    """broker: of all sides together."""

    sides: tuple[Side, ...]
    broker: ExchangeBroker | TwoVenues

    @property
    def trading(self) -> Trading:
        """Whose clock is the session's."""
        return self.sides[0].trading


def second_of(params: config.Params) -> config.Venue | None:
    """The venue of `route`; None where all is traded at one."""
    first, route = params.venue, params.route
    if route.venue is None:
        return None
    own = {"rest_url": route.rest_url or first.rest_url, "ws_url": route.ws_url or first.ws_url}
    source = f"{first.source}-{route.venue}" if route.source is None and first.source is not None else route.source
    return first.model_copy(update=own | {"name": route.venue, "source": source, "second": None})


@contextlib.asynccontextmanager
async def opened(composition: Composition, params: config.Params, mode: str, name: str, retelling: bool) -> AsyncIterator[Venue]:
    """The accounts behind the environment's keys, leverage, margin mode and position mode as the bundles demand.

    name: the session's, from which its orders have theirs. Raises UsageError without keys, ExchangeError where a venue stays away, and
    ReconcileError where it will not be set up so.
    """
    second = second_of(params)
    venues = {"": params.venue} | ({} if second is None else {f"@{second.name}": second})
    for venue in venues.values():
        _require_place(venue, mode)
    async with contextlib.AsyncExitStack() as stack:
        sides = []
        for place, venue in venues.items():
            keys = emergency.keys_of(mode, venue, second=bool(place))
            trading = await stack.enter_async_context(open_trading(venue, keys, demo=mode == TESTNET))
            if composition.capital is not None and not retelling:
                await _require_funds(trading, composition.capital / len(venues), venue.name)
            await trading.preflight(composition.symbols, composition.account.leverage, composition.account.margin_mode)
            here = params.model_copy(update={"venue": venue})
            told = {"settled": composition.settled, "reach": composition.reach}
            sides.append(Side(place, here, Elsewhere(trading, place) if place else trading, **told))
        for side in sides:
            setup = _setup(composition, side, name, len(sides))
            side.broker = ExchangeBroker(setup, retelling=retelling)
        yield Venue(tuple(sides), sides[0].broker if second is None else _together(composition, params, *sides))


async def _require_funds(trading: Trading, capital: float, venue: str) -> None:
    """UsageError where the wallet does not hold what is to be traded with."""
    cash = (await patiently("the account", trading.account)).cash
    if not capital <= cash:
        raise UsageError(
            f"--capital: {capital:g} of it would be traded at {venue}, whose wallet holds {cash:.2f}; name what is there, or less"
        )


def _require_place(venue: config.Venue, mode: str) -> None:
    """A rehearsal's orders go to nobody but this machine: to a real venue they would be live ones that no gate has passed. A real key is
    shown to nobody but its venue, or to this machine."""
    if mode == REHEARSE and not is_local(venue):
        raise UsageError(
            f"--mode rehearse: venue.rest_url is {venue.rest_url or 'the real venue'}, expected a practice exchange on this machine, "
            "such as http://127.0.0.1:8899; name its profile, or use --mode testnet"
        )
    if mode != REHEARSE and (venue.rest_url or venue.ws_url) and not is_local(venue):
        raise UsageError(f"--mode {mode}: {venue.name}: expected its own address, found {venue.rest_url or venue.ws_url}; take it away")


def _setup(composition: Composition, side: Side, name: str, shares: int) -> Setup:
    """shares: so many accounts have the capital between them."""
    rules = {symbol: side.trading.rules_of(symbol + side.place) for symbol in composition.symbols}
    costs, account = composition.costs(), composition.account
    per_trade = side.params.risk.per_trade
    markets = {
        symbol + side.place: Market(terms_of(each, costs[symbol]), composition.stops, composition.distance(symbol, per_trade))
        for symbol, each in rules.items()
    }
    account = with_rules(replace(account, initial_cash=account.initial_cash / shares), rules)
    account = replace(account, instruments={symbol + side.place: each for symbol, each in account.instruments.items()})
    return Setup(account, markets, side.params.execution, name, side.send)


def _together(composition: Composition, params: config.Params, first: Side, second: Side) -> TwoVenues:
    rules = {}
    for symbol in composition.symbols:
        one, other = first.trading.rules_of(symbol), second.trading.rules_of(symbol + second.place)
        coarser = Rules(*(max(pair) for pair in zip(vars(one).values(), vars(other).values())))
        rules[symbol] = replace(coarser, most=min(one.most, other.most))
    taker = next(iter(composition.costs().values())).taker
    fees = taker, taker if params.route.fee is None else params.route.fee
    account = with_rules(composition.account, rules)
    setting = Setting(account, composition.symbols, second.place, fees, lambda leg: _expected_funding(leg, second.place, second.settled))
    if composition.hedged:
        return Pair(first.broker, second.broker, setting, composition.limits)
    return TwoVenues(first.broker, second.broker, setting)


def _expected_funding(leg: str, place: str, settled: Mapping[str, Mapping[int, float]]) -> float:
    """What was settled last is the best guess of what is settled next; 0.0 while not both venues have told theirs: then nobody is the
    cheaper for it."""
    other = leg.removesuffix(place) if leg.endswith(place) else leg + place
    return settled[leg][max(settled[leg])] if settled.get(leg) and settled.get(other) else 0.0
