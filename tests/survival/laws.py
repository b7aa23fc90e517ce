"""What of a venue's books and a session's journal does not fit: every line is a broken law."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable

from quantalpha.runner.events import Event, FillEvent, FundingEvent, InstructionEvent, ValidatedOrderEvent
from quantalpha.runner.holdings import Holdings
from quantalpha.runner.journal import read
from survival.exchange import Bare
from survival.play import Played

NAMES = ("duplicate", "untold", "fills", "positions", "money", "resting", "stops", "recovery", "journal", "error", "end", "harness")
BOUND = 10.0  # seconds for which a position may lack its stop while one session lives; then `switches.unprotected` closes it
CENT = 0.01
DUST = 1e-9
GRACE = 0.2  # seconds: the venue is looked at every 50 ms, on a busy machine less often
RECOVERY = 10.0  # seconds


def broken(played: Played) -> list[str]:
    """Each with the law's name before a colon."""
    if played.trouble:
        return [f"end: {played.trouble}"]
    events = read(played.journal)
    holdings = folded(events)
    laws = (orders(played, events), fills(played, events), positions(played, holdings), money(played, holdings), resting(played))
    return [*(line for law in laws for line in law), *stops(played), *recovery(played), *sound(played)]


def folded(events: list[Event]) -> Holdings:
    holdings = Holdings(0.0)
    for event in events:
        if type(event) is FillEvent:
            holdings.fill(event)
        elif type(event) is FundingEvent:
            holdings.pay(event)
    return holdings


def orders(played: Played, events: list[Event]) -> Iterable[str]:
    """No name twice, none that the journal does not know, no decided order traded beyond its size."""
    placed = {each.client_id: each for each in events if type(each) is InstructionEvent and each.action == "place"}
    for name, count in Counter(each.client_id for each in played.books.orders).items():
        if count > 1:
            yield f"duplicate: the venue has {count} orders {name}"
        if name not in placed:
            yield f"untold: the venue has an order {name} that the journal does not know"
    traded: dict[str, float] = defaultdict(float)
    for fill in played.books.fills:
        if fill.client_id in placed:
            traded[placed[fill.client_id].parent] += fill.quantity
    for parent, most in permitted(events).items():
        if abs(traded[parent]) > most * (1 + DUST):
            yield f"duplicate: of the decided order {parent} of at most {most} the venue has traded {traded[parent]}"


def permitted(events: list[Event]) -> dict[str, float]:
    """How much each decided order may trade: to the position it was to bring about, from wherever others had moved it when it was sent."""
    left, symbols, parents, most = {}, {}, {}, {}
    for event in events:
        if type(event) is ValidatedOrderEvent:
            left[event.client_id], symbols[event.client_id], most[event.client_id] = event.quantity, event.symbol, 0.0
        elif type(event) is InstructionEvent and event.action == "place":
            parents[event.client_id] = event.parent
            if event.parent in most:
                most[event.parent] = max(most[event.parent], abs(left[event.parent]))
        elif type(event) is FillEvent:
            for parent, symbol in symbols.items():
                if symbol == event.symbol and parents.get(event.client_id) != parent:
                    left[parent] -= event.quantity
    return most


def fills(played: Played, events: list[Event]) -> Iterable[str]:
    here = Counter((each.symbol, each.trade) for each in events if type(each) is FillEvent)
    there = Counter((each.symbol, each.trade) for each in played.books.fills)
    for key in here | there:
        if here[key] != there[key]:
            yield f"fills: trade {key} is {there[key]} times at the venue and {here[key]} times in the journal"


def positions(played: Played, holdings: Holdings) -> Iterable[str]:
    there = played.books.positions
    for symbol in there.keys() | holdings.open.keys():
        if abs(there.get(symbol, 0.0) - holdings.quantity(symbol)) > DUST:
            yield f"positions: {symbol} is {there.get(symbol, 0.0)} at the venue and {holdings.quantity(symbol)} here"


def money(played: Played, holdings: Holdings) -> Iterable[str]:
    if not abs(played.books.earned - holdings.cash) < CENT:
        yield f"money: the venue's wallet has earned {played.books.earned:.4f}, the ledger {holdings.cash:.4f}"


def resting(played: Played) -> Iterable[str]:
    """At the end every open order is a stop or a take-profit of a position that is held, and every position has its stop."""
    held = played.books.positions
    for order in played.books.orders:
        needed = order.stop and order.symbol in held and order.side * held[order.symbol] < 0
        if order.status in ("untriggered", "new", "partially_filled") and not needed:
            yield f"resting: {order.client_id} of {order.quantity} {order.symbol} rests, {held.get(order.symbol, 0.0)} is held"


def stops(played: Played) -> Iterable[str]:
    """A position lacks its stop for at most BOUND seconds while a session lives, and loses none while nobody does."""
    for bare in played.books.bare:
        alive = lived(played, bare)
        if alive > BOUND:
            yield f"stops: a position in {bare.symbol} had none for {alive:.1f} s while a session lived"
        if alone(played, bare.begin) and not any(abs(at - bare.begin) < 1.0 for at in played.books.moved_at):
            yield f"stops: a position in {bare.symbol} lost its stop while no session lived"


def lived(played: Played, bare: Bare) -> float:
    """The most seconds of it in which one session lived: who is killed again has to begin anew."""
    return max(max(min(bare.end, life.end) - max(bare.begin, life.begin), 0.0) for life in played.lives)


def deserted(played: Played, bare: Bare) -> float:
    """Seconds of it in which none did."""
    alive = sum(max(min(bare.end, life.end) - max(bare.begin, life.begin), 0.0) for life in played.lives)
    return bare.end - bare.begin - alive


def alone(played: Played, moment: float) -> bool:
    return not any(life.begin <= moment <= life.end + GRACE for life in played.lives)


def recovery(played: Played) -> Iterable[str]:
    for number, life in enumerate(played.lives[1:], 1):
        if life.recovery is not None and life.recovery > RECOVERY:
            yield f"recovery: life {number} took {life.recovery:.1f} s"


def sound(played: Played) -> Iterable[str]:
    """The journal is a sound database, and nobody died of a bug."""
    with sqlite3.connect(played.journal) as database:
        if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            yield "journal: damaged"
    for number, life in enumerate(played.lives):
        if life.code not in (0, -9, 5, 7):
            words = (played.folder / f"life-{number}.log").read_text().strip().splitlines()
            yield f"error: life {number} ended with {life.code}: {words[-1] if words else ''}"
