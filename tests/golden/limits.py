"""Limit orders: touched, traded through, gapped, resting, expiring, replaced, beside stops and take-profits."""

from golden.orders import FLAT, SIDES
from golden.page import Page, product

COSTS = {"maker": 0.0002, "taker": 0.001, "slippage": 0.01}


def mirrored(side, *prices):
    """The same path upside down about 100 for a short: highs become lows."""
    if side > 0:
        return prices
    open_, high, low, close = (200 - price for price in prices)
    return open_, low, high, close


def first_bar(name, side, limit, **terms):
    """A page on which target `side` with `limit` (told for a long) was decided at 100, and its order."""
    page = Page(f"{SIDES[side]}: {name}", **({"costs": COSTS} | terms))
    page.bar(*FLAT, target=side, limit=mirrored(side, limit, limit, limit, limit)[0])
    return page, page.size(side)


def alone():
    for side in SIDES:

        def at(*prices, side=side):
            return mirrored(side, *prices)

        page, order = first_bar("an order only touched does not fill", side, 95)
        page.bar(*at(100, 101, 95, 97), target=side)
        page.say("the best price of bar 1 is the limit itself, 95 (told for a long): others stood before us")
        page.bar(*at(97, 98, 96, 97), target=side)
        yield page.case()

        page, order = first_bar("an order traded through fills at its limit as maker", side, 95)
        page.bar(*at(100, 101, 94, 97), target=side)
        page.fill(order, at(95, 95, 95, 95)[0], "limit")
        yield page.case()

        page, order = first_bar("an open beyond the limit fills at once as taker, with slippage", side, 95)
        page.bar(*at(90, 92, 88, 91), target=side)
        page.fill(order, product(90, 1.01) if side > 0 else product(110, 0.99), why="the open worsened by 0.01")
        yield page.case()

        page, order = first_bar("slippage never goes beyond the limit", side, 95)
        page.bar(*at(94.5, 96, 94, 95.5), target=side)
        page.fill(order, 95 if side > 0 else 105, why="94.5 * 1.01 = 95.445 and 105.5 * 0.99 = 104.445 would be worse")
        yield page.case()

        page, order = first_bar("an open at the limit is enough", side, 95)
        page.bar(*at(95, 97, 95, 96), target=side)
        page.fill(order, at(95, 95, 95, 95)[0])
        yield page.case()

        page, order = first_bar("an order rests until it fills", side, 95)
        page.bar(*at(100, 101, 96, 97), target=side)
        page.bar(*at(97, 99, 95, 98), target=side)
        page.bar(*at(98, 98, 93, 94), target=side)
        page.fill(order, at(95, 95, 95, 95)[0], "limit", why="bar 2 only touched it")
        yield page.case()

        page, order = first_bar("a gap over a resting order fills it at its limit, not at the better open", side, 95)
        page.bar(*at(100, 101, 96, 97), target=side)
        page.bar(*at(90, 92, 88, 91), target=side)
        page.fill(order, at(95, 95, 95, 95)[0], "limit", why="the market had to trade against it on the way")
        yield page.case()


def in_time():
    for bars in (1, 2):
        page, order = first_bar(f"an order that may rest {bars} bars", 1, 95, account={"limit_bars": bars})
        for _ in range(bars):
            page.bar(99, 100, 96, 98, target=1)
        page.say(f"cancelled at the close of bar {bars}; bar {bars + 1} would have filled it")
        page.bar(98, 98, 90, 92, target=1)
        page.bar(92, 92, 90, 91, target=1)
        yield page.case()

        page, order = first_bar(f"filled in the last of {bars} bars it may rest", 1, 95, account={"limit_bars": bars})
        for _ in range(bars - 1):
            page.bar(99, 100, 96, 98, target=1)
        page.bar(98, 98, 90, 92, target=1)
        page.fill(order, 95, "limit")
        yield page.case()

    page, order = first_bar("an unchanged target sends no second order, whatever its limit", 1, 95, account={"limit_bars": 1})
    page.bar(99, 100, 96, 98, target=1, limit=97)
    page.bar(98, 98, 90, 92, target=1, limit=93)
    page.bar(92, 92, 90, 91, target=1, limit=91)
    yield page.case()

    page, order = first_bar("a new decision replaces what rests", 1, 95)
    page.bar(100, 101, 96, 97, target=0.5, limit=90)
    second = page.size(0.5)
    page.bar(97, 98, 92, 93, target=0.5)
    page.say("the first order is gone, the second rests at 90")
    page.bar(93, 93, 89, 90, target=0.5)
    page.fill(second, 90, "limit")
    yield page.case()

    page, order = first_bar("a target taken back cancels what rests", 1, 95)
    page.bar(100, 101, 96, 97, target=0)
    page.bar(97, 98, 90, 93, target=0)
    yield page.case()

    for side, limit, rounded in ((1, 95.4, 95.25), (-1, 104.6, 104.75)):
        page = Page(f"{SIDES[side]}: the limit is rounded to the tick, away from the market", account={"tick": 0.25}, costs=COSTS)
        page.bar(*FLAT, target=side, limit=limit)
        order = page.size(side)
        page.bar(*mirrored(side, 100, 101, 95, 97), target=side)
        page.fill(order, rounded, "limit", why=f"{limit} in steps of 0.25")
        yield page.case()

    page = Page("nobody buys below the first tick", account={"tick": 0.25})
    page.bar(1, 1, 1, 1, target=1, limit=0.2)
    page.say("0.2 in steps of 0.25 is 0: no order is sent, least of all one at market")
    page.bar(1, 1, 0.1, 0.5, target=1)
    page.bar(0.2, 0.2, 0.1, 0.1, target=1)
    yield page.case()


def on_a_position():
    def held(name, target=1, **terms):
        page = Page(name, **({"account": {"leverage": 2}, "costs": COSTS} | terms))
        page.bar(*FLAT, target=target)
        order = page.size(target)
        return page, order

    page, order = held("adding at a limit averages the entry")
    page.bar(*FLAT, target=2, limit=96)
    page.fill(order, 101)
    more = page.size(2)
    page.bar(100, 100, 95, 99, target=2)
    page.fill(more, 96, "limit")
    yield page.case()

    page, order = held("reducing at a limit keeps the entry")
    page.bar(*FLAT, target=0.5, limit=104)
    page.fill(order, 101)
    less = page.size(0.5)
    page.bar(100, 105, 99, 103, target=0.5)
    page.fill(less, 104, "limit")
    yield page.case()

    page, order = held("closing at a limit")
    page.bar(*FLAT, target=0, limit=104)
    page.fill(order, 101)
    page.bar(100, 105, 99, 103, target=0)
    page.fill(-order, 104, "limit")
    yield page.case()

    page, order = held("a flip at a limit, then the stop of the new side in the same bar", stops={"stop_loss": 0.02})
    page.bar(*FLAT, target=-1, limit=104)
    page.fill(order, 101)
    flip = page.size(-1)
    page.bar(100, 107, 100, 103, target=-1)
    page.fill(flip, 104, "limit")
    page.fill(-order - flip, product(104, 1.02, 1.01), "stop_loss", why="104 * 1.02 = 106.08 lies below the high of 107; 0.01 of slippage")
    yield page.case()

    page, order = held("the stop comes before a resting order to add", stops={"stop_loss": 0.03})
    page.bar(*FLAT, target=2, limit=96)
    page.fill(order, 101)
    page.size(2)
    page.bar(100, 100, 95, 99, target=2)
    page.fill(-order, product(101, 0.97, 0.99), "stop_loss", why="101 * 0.97 lies above 96; what rests is cancelled")
    page.bar(99, 99, 90, 95, target=2)
    yield page.case()

    page, order = held("an order opened inside the bar can be stopped inside it, at its level", target=0, stops={"stop_loss": 0.03})
    page.bar(*FLAT, target=1, limit=96)
    entry = page.size(1)
    page.bar(100, 100, 92, 95, target=1)
    page.fill(entry, 96, "limit")
    page.fill(-entry, product(96, 0.97, 0.99), "stop_loss", why="96 * 0.97 = 93.12, above the low of 92")
    yield page.case()

    page, order = held("opened inside the bar and liquidated inside it", target=0, account={"leverage": 10, "brackets": [[0, 0.05]]})
    page.bar(*FLAT, target=10, limit=96)
    entry = page.size(10)
    page.bar(100, 100, 88, 95, target=10)
    page.fill(entry, 96, "limit")
    level = (100 * 96 - page.cash) / 95
    page.fill(-entry, level, "liquidation", why="(100 * 96 - cash) / (100 * 0.95): equity = maintenance of 0.05")
    yield page.case()


def beside_a_take_profit():
    def held(name):
        page = Page(name, costs={"maker": 0.0002}, stops={"take_profit": 0.05})
        page.bar(*FLAT, target=1)
        return page, page.size(1)

    for limit, first in ((103, "limit"), (104.75, "limit"), (105, "take_profit"), (105.5, "take_profit")):
        page, entry = held(f"a sell limit at {limit} and the take-profit at 105: the nearer goes first, the take-profit on a tie")
        page.bar(100, 101, 99, 100, target=0, limit=limit)
        page.fill(entry, 100)
        page.bar(100, 107, 99, 103, target=0)
        page.fill(-entry, min(limit, 105), first)
        yield page.case()

    page, entry = held("part of a position sold at a limit leaves the take-profit to a later bar")
    page.bar(100, 101, 99, 100, target=0.5, limit=103)
    page.fill(entry, 100)
    part = page.size(0.5)
    page.bar(100, 108, 99, 104, target=0.5)
    page.fill(part, 103, "limit", why="and no take-profit in this bar, though 105 was reached")
    page.bar(104, 107, 103, 105, target=0.5)
    page.fill(-entry - part, 105, "take_profit")
    yield page.case()

    terms = {"account": {"leverage": 2}, "costs": {"maker": 0.0002}, "stops": {"take_profit": 0.05}}
    page = Page("an order that adds goes before the take-profit", **terms)
    page.bar(*FLAT, target=1)
    entry = page.size(1)
    page.bar(100, 101, 99, 100, target=2, limit=97)
    page.fill(entry, 100)
    more = page.size(2)
    page.bar(100, 108, 96, 104, target=2)
    page.fill(more, 97, "limit", why="the adverse side first; no take-profit in this bar, though 105 was reached")
    page.bar(103, 104.5, 102, 103, target=2)
    page.fill(-entry - more, product(page.entry[""], 1.05), "take_profit", why="5 % above the average entry")
    yield page.case()

    page, entry = held("a take-profit cancels the order that rests")
    page.bar(100, 101, 99, 100, target=0.5, limit=110)
    page.fill(entry, 100)
    page.size(0.5)
    page.bar(100, 107, 99, 104, target=0.5)
    page.fill(-entry, 105, "take_profit")
    page.bar(104, 115, 103, 112, target=0.5)
    yield page.case()


FAMILIES = (alone, in_time, on_a_position, beside_a_take_profit)
