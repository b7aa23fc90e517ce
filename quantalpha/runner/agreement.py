"""Whether this session and the venue agree on the account: orders, fills, positions, money. Where they do not, nobody trades.

What was missed is fetched and heard like any other news: orders in doubt are asked about, fills and funding since the session's beginning
counted once, orders that rest only here looked up. What is different after that is a table, and a ReconcileError. Positions and orders that
nobody here made are adopted only where that was asked for.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from quantalpha.errors import ReconcileError
from quantalpha.market.trading import patiently
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import AccountEvent, FillEvent
from quantalpha.runner.holdings import Holding
from quantalpha.runner.line import Line
from quantalpha.runner.orders import ADOPTED, DUST

CENT = 0.01  # quote currency
PRICE = 1e-5  # relative: venues round average prices
REMEDY = "look at the account, then resume with --adopt to take over what is there, or close it (`quantalpha kill`)"
ROUNDS = 3  # a trade or a funding payment between two questions is no difference


@dataclass(frozen=True)
class Difference:
    """kind: position | entry_price | cash | order | fills; name: the symbol, or the order's client id."""

    kind: str
    name: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: here {self.here}, there {self.there}"


async def agree(line: Line, *, adopt: bool = False) -> None:
    """Brings the session up to date with the venue; ReconcileError with the table of differences where that is not enough.

    Until an order in doubt is known to be dead or alive, as in a session that goes on, nothing takes the place of one that was decided,
    and another takes that of a stop: nobody waits for it here, for meanwhile a position may lack its stop.
    adopt: what nobody here made is taken over: a position as a fill at its entry price, one that has grown at the price that leads to it
    (its stop follows), money as it stands; orders, which nothing here steers, are cancelled.
    """
    await _require_known_symbols(line)
    for order in line.broker.orders.in_doubt():
        line.outbox.pursue(order.instruction)
    for _ in range(ROUNDS):
        await catch_up(line)
        found = differences(line.broker)
        if not found:
            return
    if adopt:
        await _adopt(line, found)
        await catch_up(line)
        found = differences(line.broker)
    if found:
        raise _disagreement(found)


async def _require_known_symbols(line: Line) -> None:
    """ReconcileError where something is held or rests in a symbol that the session does not trade: nobody would protect or close it, and
    it eats the margin of what is traded."""
    account = await patiently("the account", line.trading.account)
    resting = await patiently("its open orders", line.trading.open_orders)
    found = [Difference("position", name, "not traded", f"{held.quantity:g}") for name, held in sorted(account.positions.items())]
    found += [Difference("order", f"{each.symbol} {each.client_id}", "not traded", f"open {each.quantity:g}") for each in resting]
    found = [each for each in found if each.name.split()[0] not in line.symbols]
    if found:
        remedy = "close or cancel it by hand, use an account of its own, or trade it here too: --adopt takes over only what is traded"
        raise _disagreement(found, remedy)


async def catch_up(line: Line) -> None:
    """All that the venue has told by now is heard. ExchangeError where it does not answer."""
    for ask, what in ((line.look, "the account"), (line.settle, "its trades"), (line.payments, "its payments"), (line.look, "the account")):
        await patiently(what, ask)


def differences(broker: ExchangeBroker) -> list[Difference]:
    """What the broker believes against the last word of the venue; everything differs where there is none."""
    told = broker.told
    if told is None:
        return [Difference("cash", "", f"{broker.holdings.cash:.2f}", "unknown")]
    return [*_positions(broker, told), *_money(broker, told), *_orders(broker, told)]


def _positions(broker: ExchangeBroker, told: AccountEvent) -> Iterable[Difference]:
    for symbol in sorted({*told.positions, *broker.holdings.open}):
        here, there = broker.holdings[symbol], told.positions.get(symbol, {"quantity": 0.0, "entry_price": 0.0})
        if not abs(here.quantity - there["quantity"]) <= DUST * abs(here.quantity):
            yield Difference("position", symbol, f"{here.quantity:g}", f"{there['quantity']:g}")
        elif not abs(here.entry_price - there["entry_price"]) <= PRICE * here.entry_price:
            yield Difference("entry_price", symbol, f"{here.entry_price:g}", f"{there['entry_price']:g}")


def _money(broker: ExchangeBroker, told: AccountEvent) -> Iterable[Difference]:
    """The wallet has changed by what this session earned; `base`: what else lies in it, as first seen."""
    expected = broker.holdings.cash + broker.base
    if not abs(told.cash - expected) <= CENT:
        yield Difference("cash", "", f"{expected:.4f}", f"{told.cash:.4f}")


def _orders(broker: ExchangeBroker, told: AccountEvent) -> Iterable[Difference]:
    """An order sent since the venue was asked is no difference, nor one in doubt, which is being asked about."""
    for name in told.open_orders:
        if not broker.knows(name) or broker.orders[name].final:
            yield Difference("order", name, broker.orders[name].status if broker.knows(name) else "unknown", "open")
    for order in broker.orders:
        if order.fills_missing:
            yield Difference("fills", order.client_id, f"{order.filled:g}", f"{order.reported:g}")
        elif not order.final and order.acknowledged and order.told < told.recv_time and order.client_id not in told.open_orders:
            yield Difference("order", order.client_id, order.status, "not open")


async def _adopt(line: Line, found: list[Difference]) -> None:
    told, broker = line.broker.told, line.broker
    orphans = {each.name for each in found if each.kind == "order" and not broker.knows(each.name)}
    for order in await patiently("its open orders", lambda: line.trading.open_orders(line.symbols)):
        if order.client_id in orphans:
            await line.trading.cancel(order.client_id, order.symbol)
    for symbol in [each.name for each in found if each.kind == "position"]:
        there = told.positions.get(symbol, {"quantity": 0.0, "entry_price": told_mark(broker, symbol)})
        quantity, price = (
            there["quantity"] - broker.holdings.quantity(symbol),
            _paid(broker.holdings[symbol], there["quantity"], there["entry_price"]),
        )
        if not price > 0.0:
            continue
        terms = {"quantity": quantity, "price": price, "fee": 0.0, "trade": f"{ADOPTED}{told.event_time}"}
        times = {
            "event_time": told.event_time,
            "recv_time": line.reports.clock(),
            "bar": told.event_time - told.event_time % line.reports.step,
        }
        realised = broker.holdings[symbol].profit(quantity, price)
        line.reports.feed(FillEvent(**times, symbol=symbol, client_id=None, **terms, realised=realised, reason="external"))
    broker.rebase()


def _paid(here: Holding, quantity: float, entry_price: float) -> float:
    """The price of what was traded elsewhere that leads to the entry price told; 0 or below where no single trade does."""
    grown = here.quantity * (quantity - here.quantity) > 0.0
    return (quantity * entry_price - here.quantity * here.entry_price) / (quantity - here.quantity) if grown else entry_price


def told_mark(broker: ExchangeBroker, symbol: str) -> float:
    """What a position that is gone is taken to have been closed at."""
    return broker.account().position(symbol).mark


def _disagreement(found: list[Difference], remedy: str = REMEDY) -> ReconcileError:
    table = "; ".join(map(str, found))
    error = ReconcileError(f"the venue and this session do not agree, so nothing is traded: {table}; {remedy}")
    error.details = {"differences": [asdict(each) for each in found]}
    return error
