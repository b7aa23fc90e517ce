"""The broker of a real account, or of one on the practice exchange: what is held, what is out, and what the venue is to be told next.

A state machine without I/O: events come in, instructions come out, and `send` puts those that are durable into the outbox. What it knows
comes from events alone. After a restart it hears the record again and only remembers; `resume` puts it to work again from what it knows.
Two clocks: event times are the venue's, and what is told to it carries them; durations are measured on ours, the receive times.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from quantalpha import perp
from quantalpha.runner import execution
from quantalpha.runner.events import (
    AccountEvent,
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    InstructionEvent,
    MarketCloseEvent,
    MarketOpenEvent,
    OrderUpdateEvent,
    QuoteEvent,
    ValidatedOrderEvent,
)  # fmt: skip
from quantalpha.runner.flatten import Flatten, cancellations
from quantalpha.runner.holdings import Holdings
from quantalpha.runner.orders import EMERGENCY, Orders
from quantalpha.runner.protection import ENDS, RESTS, Need, Protection, exit_reason, levels
from quantalpha.runner.sizing import Sizing, Standing
from quantalpha.runner.traded import Traded
from quantalpha.runner.venue_setup import Setup
from quantalpha.runner.views import AccountView, Position


class ExchangeBroker:
    """See `engine.Broker`. Sizes are those of the ledger: target x equity / close, equity being the capital and what it has earned."""

    def __init__(self, setup: Setup, *, retelling: bool = False):
        """retelling: the record is heard again; until `resume` nothing is instructed."""
        self.setup = setup
        self.orders, self.holdings = Orders(), Holdings(setup.account.initial_cash)
        ticks, most = ({symbol: getattr(market.terms, name) for symbol, market in setup.markets.items()} for name in ("tick", "most"))
        self.protection = Protection(self.orders, ticks, most)
        self._flatten = Flatten(self.orders, self.holdings, setup.seed, most)
        self._symbols = {symbol: Traded() for symbol in setup.markets}
        self._sizing = {symbol: Sizing(setup.account, symbol, most[symbol]) for symbol in setup.markets}
        self._liquidation = lru_cache(maxsize=64)(perp.Liquidation(setup.account).price)  # asked after every event
        self.told: AccountEvent | None = None  # the venue's last word
        self.base = 0.0  # what lies in the wallet beyond the capital and what it has earned
        self.changes = 0  # of the account, as far as it is heard or told here: what a look at the venue may have missed
        self._seen = -1  # of these, when the venue was last asked
        self.time = self.venue_time = 0
        self._halted, self.retelling = False, retelling
        self.trades = self.orders.trades
        self.settlements: set[tuple[str, int]] = set()  # (symbol, ms) of funding that was counted
        for symbol in setup.markets:
            self.order_quantity(symbol, 0.0)  # loads what is compiled, which takes a second

    def account(self) -> AccountView:
        positions = {symbol: self._position(symbol) for symbol in self._symbols}
        pending = {symbol: known.entering() for symbol, known in self._symbols.items() if known.parent is not None}
        return AccountView(self.holdings.equity(self._marks), positions, self.holdings.cash, pending=pending)

    @property
    def _marks(self) -> dict[str, float]:
        return {symbol: known.mark for symbol, known in self._symbols.items()}

    def _position(self, symbol: str) -> Position:
        held = self.holdings[symbol]
        told = {} if self.told is None else self.told.positions.get(symbol, {})
        if told.get("quantity") == held.quantity:
            liquidation = told["liquidation_price"]
        else:  # not told yet
            liquidation = self._liquidation(held.quantity, held.entry_price, self.holdings.cash)
        return Position(held.quantity, held.entry_price, self._symbols[symbol].mark, liquidation)

    def opened(self, bars: Sequence[MarketOpenEvent]) -> Iterable[Event]:
        return []

    def closed(self, bars: Sequence[MarketCloseEvent]) -> Iterable[Event]:
        for bar in bars:
            self._pass(bar)
            self._symbols[bar.symbol].closed(bar, self.holdings.quantity(bar.symbol))
        told = [each for bar in bars for each in self._act(bar.symbol)]
        return [*told, *(self._equity(bar) for bar in bars)]

    def passed(self, bar: MarketCloseEvent) -> None:
        """Its prices are none of now: the marks stay."""
        self._symbols[bar.symbol].passed(bar, self.holdings.quantity(bar.symbol))

    def _equity(self, bar: MarketCloseEvent) -> EquityEvent:
        times = {"event_time": bar.event_time, "recv_time": bar.recv_time, "symbol": bar.symbol, "bar": bar.bar}
        money = {"equity": self.holdings.equity(self._marks), "cash": self.holdings.cash}
        return EquityEvent(**times, **money, quantity=self.holdings.quantity(bar.symbol), price=bar.close)

    def order_quantity(self, symbol: str, target: float) -> float | None:
        known, held = self._symbols[symbol], self.holdings[symbol]
        others = sum(each.unrealised(self._symbols[name].mark) for name, each in self.holdings.open.items() if name != symbol)
        under_way = 0.0 if known.execution is None else known.execution.remaining
        standing = Standing(self.holdings.cash, others, held.quantity, held.entry_price, known.target, under_way)
        return self._sizing[symbol].order(standing, target, known.close, known.mark)

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        known = self._symbols[order.symbol]
        self._pass(order)
        known.target, known.parent, known.waiting = order.target, (order, self.holdings[order.symbol].exact), True
        if known.execution is not None:
            known.execution.stop()
        return self._act(order.symbol)

    def known(self, symbol: str) -> Traded:
        return self._symbols[symbol]

    def overtake(self, symbol: str) -> Iterable[Event]:
        """The order under way is not wanted any more: its child is cancelled."""
        self._symbols[symbol].give_up()
        return self._act(symbol)

    def idle(self, symbol: str) -> bool:
        """No order changes the position any more, and every fill of those that did is counted."""
        if self._symbols[symbol].execution is not None or self._symbols[symbol].waiting:
            return False
        return self._counted(symbol)

    def _counted(self, symbol: str) -> bool:
        """Every fill that an answer or the stream has spoken of is here, and nothing that a restart found can trade any more: until then
        nobody knows what is held."""
        missing = any(order.instruction.symbol == symbol for order in self.orders.uncounted())
        return not (missing or self.orders.alive(self._symbols[symbol].left))

    def heard(self, event: Event) -> Iterable[Event]:
        self._pass(event)
        if isinstance(event, InstructionEvent):
            self._entered(event)
            return []
        self._take(event)
        return [told for symbol in ([event.symbol] if event.symbol in self._symbols else self._symbols) for told in self._act(symbol)]

    def resume(self) -> None:
        """The record is told and the venue has been asked: goes on with the orders that were under way."""
        self.retelling = False
        for symbol, known in self._symbols.items():
            parent = "" if known.parent is None else known.parent[0].client_id
            known.left = self.orders.left(symbol, parent)
            if parent and not known.left:
                self._follow(symbol, known)

    def _pass(self, event: Event) -> None:
        """A tick tells our time; the venue's stands still until somebody has it from there."""
        self.time, self.venue_time = max(self.time, event.recv_time), max(self.venue_time, event.event_time)

    def _take(self, event: Event) -> None:
        if isinstance(event, OrderUpdateEvent):
            self.orders.update(event)
        elif isinstance(event, FillEvent) and self.orders.fill(event):
            self._fill(event)
        elif isinstance(event, FundingEvent):
            self.settlements.add((event.symbol, event.event_time))
            self.holdings.pay(event)
        elif isinstance(event, AccountEvent):
            first, self.told, self._seen = self.told is None, event, self.changes
            if first:
                self.rebase()
            for symbol in event.positions.keys() & self._symbols.keys():
                self._symbols[symbol].mark = event.positions[symbol]["mark"]
        elif isinstance(event, QuoteEvent) and event.symbol in self._symbols:
            self._symbols[event.symbol].quoted(event)

    def rebase(self) -> None:
        """What the wallet holds now is what it should hold."""
        self.base = self.told.cash - self.holdings.cash

    def _entered(self, event: InstructionEvent) -> None:
        """What an execution has just made stands in the orders already; after a restart it is only read."""
        self.changes += 1
        if event.action != "place" or event.client_id not in self.orders:
            self.orders.instruct(event)

    def _fill(self, event: FillEvent) -> None:
        before = self.holdings.quantity(event.symbol)
        self.holdings.fill(event)
        self.changes += 1
        after = self.holdings.quantity(event.symbol)
        known = self._symbols.get(event.symbol)
        if known is None:
            return
        known.filled(event, before, after)
        if known.parent is not None and event.reason in ENDS:
            known.give_up()  # the position it was to change is gone

    def _act(self, symbol: str) -> list[InstructionEvent]:
        if self.retelling:
            return []
        known = self._symbols[symbol]
        told = [] if self._halted else [*self._execute(symbol, known)]
        told += self.protection.act(self.time, self._need(symbol, known), known.book)
        return self._stamped(told)

    def _stamped(self, told: Iterable[InstructionEvent]) -> list[InstructionEvent]:
        return [replace(each, event_time=self.venue_time) for each in told]

    def _execute(self, symbol: str, known: Traded) -> Iterable[InstructionEvent]:
        view = known.view(self.time)
        if known.execution is not None:
            yield from known.execution.act(view)
            if known.execution.done:
                known.execution, known.parent = None, known.parent if known.waiting else None
        for told in list(cancellations(self.orders.alive(known.left), self.time)):
            self.orders.instruct(told)
            yield told
        if known.execution is None and known.waiting and self._counted(symbol):
            self._follow(symbol, known)
            if known.execution is not None:
                yield from known.execution.act(view)

    def _follow(self, symbol: str, known: Traded) -> None:
        """The last order decided goes on, or begins."""
        order, then = known.parent
        traded = sum((Decimal(repr(child.filled)) for child in self.orders.of(order.client_id)), Decimal(0))
        self._begin(symbol, known, order, self.holdings[symbol].exact - traded - then)

    def _begin(self, symbol: str, known: Traded, order: ValidatedOrderEvent, since: Decimal) -> None:
        """since: what others have traded since it was decided; it gets so much smaller, for the position wanted is the same."""
        known.waiting = False
        quantity = float(Decimal(repr(order.quantity)) - since)
        if quantity == 0.0:
            known.parent = None
            return
        order, position = replace(order, quantity=quantity), float(known.parent[1] + since)
        known.begin(execution.of(self.setup.execution, order, position, self.setup.markets[symbol].terms, self.orders))

    def _need(self, symbol: str, known: Traded) -> Need:
        market, position = self.setup.markets[symbol], self._position(symbol)
        if position.quantity == 0.0:
            return Need(symbol, 0.0, known.opened, {})
        wanted = levels(position, market.stops, market.distance, known.best)
        return Need(symbol, position.quantity, known.opened, wanted, self._overdue(symbol))

    def _overdue(self, symbol: str) -> bool:
        longest = self.setup.markets[symbol].stops.max_bars
        return longest is not None and self._symbols[symbol].bars >= longest

    def send(self, instruction: InstructionEvent) -> None:
        self.setup.outbox(instruction)

    def flatten(self) -> Iterable[Event]:
        """Cancels what would open a position, closes what is held; said again, what is still to be done. Stops rest until nothing is."""
        if not self._halted:
            self._halted = True
            self.changes += 1  # what the venue told before it came to this is no proof
        for known in self._symbols.values():
            known.give_up()
        books = {symbol: known.book for symbol, known in self._symbols.items()}
        return [] if self.retelling else self._stamped(self._flatten.act(self.time, books))

    def release(self) -> None:
        self._halted = False
        for known in self._symbols.values():
            known.target = 0.0

    def give_up(self) -> None:
        """What is under way is cancelled with the next tick; a restart goes on with it. Stops rest on."""
        for known in self._symbols.values():
            known.give_up()

    def at_rest(self) -> bool:
        """Nothing is under way: no trade is still to come, and all that is out are stops known to rest, for everything held."""
        resting = all(each.instruction.purpose == "protection" and each.status in RESTS for each in self.orders.unfinished())
        return resting and not self.orders.uncounted() and self.protection.complete

    def flat(self) -> bool:
        """The venue was asked after the last thing that happened here, and says that nothing is held or open."""
        told = self.told
        asked_since = told is not None and self._seen == self.changes
        return asked_since and not told.positions and not told.open_orders and self.holdings.flat and not self.orders.unfinished()

    def knows(self, client_id: str | None) -> bool:
        return client_id in self.orders

    def reason(self, client_id: str | None) -> str:
        """What a fill of this order is called: see FillEvent."""
        if client_id not in self.orders:
            return "flatten" if (client_id or "").startswith(EMERGENCY) else "external"
        placed = self.orders[client_id].instruction
        if placed.purpose == "flatten":
            return "flatten"
        if placed.purpose == "protection":
            return self._exit(placed)
        return "order" if placed.kind == "market" else "limit"

    def _exit(self, placed: InstructionEvent) -> str:
        symbol, market = placed.symbol, self.setup.markets[placed.symbol]
        position = self._position(symbol)
        still = levels(position, replace(market.stops, trailing_stop=None), market.distance, position.entry_price)
        return exit_reason(placed, self._need(symbol, self._symbols[symbol]), still["stop"], market.terms.tick)
