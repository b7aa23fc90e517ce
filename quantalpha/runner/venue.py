"""A session's account at a venue: opened, set up, and put together with the broker and the line that speak for it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.market.connect import is_local
from quantalpha.market.trading import Trading, open_trading
from quantalpha.runner import emergency, risk
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.composition import Composition
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.line import Line
from quantalpha.runner.venue_setup import Market, Setup, terms_of, with_rules

REHEARSE, TESTNET = "rehearse", "testnet"


@dataclass
class Venue:
    """line: None until the session stands whose events it feeds."""

    trading: Trading
    broker: ExchangeBroker
    line: Line | None = None

    def send(self, instruction: InstructionEvent) -> None:
        """The broker's outbox."""
        self.line.send(instruction)


@contextlib.asynccontextmanager
async def opened(composition: Composition, params: config.Params, mode: str, name: str, retelling: bool) -> AsyncIterator[Venue]:
    """The account behind the environment's keys, leverage, margin mode and position mode as the bundles demand.

    name: the session's, from which its orders have theirs. Raises UsageError without keys, ExchangeError where the venue stays away, and
    ReconcileError where it will not be set up so.
    """
    _require_practice(params.venue, mode)
    async with open_trading(params.venue, emergency.keys_of(mode, params.venue), demo=mode == TESTNET) as trading:
        await trading.preflight(composition.symbols, composition.account.leverage, composition.account.margin_mode)
        venue = Venue(trading, None)
        venue.broker = ExchangeBroker(_setup(composition, params, trading, name, venue), retelling=retelling)
        yield venue


def _require_practice(venue: config.Venue, mode: str) -> None:
    """A rehearsal's orders go to nobody but this machine: to a real venue they would be live ones that no gate has passed."""
    if mode == REHEARSE and not is_local(venue):
        raise UsageError(
            f"--mode rehearse: venue.rest_url is {venue.rest_url or 'the real venue'}, expected a practice exchange on this machine, "
            "such as http://127.0.0.1:8899; name its profile, or use --mode testnet"
        )


def _setup(composition: Composition, params: config.Params, trading: Trading, name: str, venue: Venue) -> Setup:
    rules = {symbol: trading.rules_of(symbol) for symbol in composition.symbols}
    costs = composition.costs()
    markets = {
        symbol: Market(terms_of(each, costs[symbol]), composition.stops, _distance(composition, params, symbol))
        for symbol, each in rules.items()
    }
    return Setup(with_rules(composition.account, rules), markets, params.execution, name, venue.send)


def _distance(composition: Composition, params: config.Params, symbol: str) -> float:
    """Of the stop that a model without one gets: where its largest position loses `risk.per_trade`."""
    largest = sum(each.policy.leverage for each in composition.bundles if each.symbol == symbol) / len(composition.bundles)
    return risk.protective_distance(composition.stops.stop_loss, params.risk.per_trade, largest)
