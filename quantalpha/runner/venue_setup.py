"""What a venue's broker is made of: the account, what is traded in it and how, and where instructions go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from quantalpha import config, perp
from quantalpha.market.trading import Rules
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.execution import Terms, slippage


@dataclass(frozen=True)
class Market:
    """How a symbol is traded. distance: of the protective stop from the average fill price, a fraction."""

    terms: Terms
    stops: perp.Stops
    distance: float


@dataclass(frozen=True)
class Setup:
    """account: with `initial_cash` as the capital and the venue's lots; seed: what makes this session's names its own."""

    account: perp.Account
    markets: Mapping[str, Market]
    execution: config.Execution
    seed: str
    outbox: Callable[[InstructionEvent], None] = field(repr=False)


def with_rules(account: perp.Account, rules: Mapping[str, Rules]) -> perp.Account:
    """The account with the lots, ticks and smallest orders that the venue demands of each symbol."""
    known = {symbol: account.instrument(symbol) for symbol in rules}
    told = {name: {"lot": each.lot, "tick": each.tick, "min_notional": each.min_notional} for name, each in rules.items()}
    return replace(account, instruments={symbol: replace(known[symbol], **told[symbol]) for symbol in rules})


def terms_of(rules: Rules, costs: perp.Costs, *, amends: bool = True) -> Terms:
    """What an execution is told of a symbol."""
    return Terms(rules.lot, rules.tick, rules.min_notional, model_of(costs), amends, rules.most)


def model_of(costs: perp.Costs) -> slippage.Model:
    """What is charged beyond the displayed book; a slippage model counts as nothing, since a venue's own book is walked."""
    return (costs.slippage if isinstance(costs.slippage, float) else 0.0, 0.0)
