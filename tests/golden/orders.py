"""Market orders: round trips, fee tiers, slippage, lots, least notional, delay, band, flips, partial exits, averaging."""

import math
from fractions import Fraction

from golden.page import Page

FLAT = (100, 100, 100, 100)
SIDES = {1: "long", -1: "short"}
# Maker and taker fractions of the ten fee levels, VIP 0 to 9, that Binance published for USD-M futures; any table would do.
TIERS = [
    (0.0002, 0.0005), (0.00016, 0.0004), (0.00014, 0.00035), (0.00012, 0.00032), (0.0001, 0.0003),
    (0.00008, 0.00027), (0.00006, 0.00025), (0.00004, 0.00022), (0.00002, 0.0002), (0, 0.00017),
]  # fmt: skip


def round_trips():
    for side, word in SIDES.items():
        for leverage in (0.5, 1, 2):
            for out in (90, 130):
                page = Page(f"{word} {leverage} from 110 to {out}", account={"leverage": 2}, costs={"taker": 0.0005})
                page.bar(*FLAT, target=side * leverage)
                entry = page.size(side * leverage)
                page.bar(110, 115, 105, 110, target=0)
                page.fill(entry, 110)
                leave = page.size(0)
                page.bar(out, out, out, out, target=0)
                page.fill(leave, out)
                yield page.case()


def fee_tiers():
    for level, (maker, taker) in enumerate(TIERS):
        page = Page(f"fees of level {level}: in as maker, out as taker", costs={"maker": maker, "taker": taker})
        page.bar(*FLAT, target=1, limit=99)
        entry = page.size(1)
        page.bar(100, 101, 98, 100, target=0)
        page.fill(entry, 99, "limit", why="the low of 98 lies below the limit")
        leave = page.size(0)
        page.bar(105, 105, 105, 105, target=0)
        page.fill(leave, 105)
        yield page.case()
    page = Page("a maker's rebate is a negative fee", costs={"maker": -0.0001}, stops={"take_profit": 0.05})
    page.bar(*FLAT, target=1, limit=99)
    entry = page.size(1)
    page.bar(100, 101, 98, 100, target=1)
    page.fill(entry, 99, "limit")
    page.bar(100, 104, 100, 103, target=1)
    page.fill(-entry, "103.95", "take_profit", why="99 * 1.05 = 103.95")
    yield page.case()


def slippage():
    for side, word in SIDES.items():
        for slip in ("0.0001", "0.001", "0.02"):
            page = Page(f"slippage of {slip} on both sides of a {word}", costs={"taker": 0.001, "slippage": float(slip)})
            page.bar(*FLAT, target=side * 0.8)
            entry = page.size(side * 0.8)
            worse, better = 1 + side * Fraction(slip), 1 - side * Fraction(slip)
            page.bar(*FLAT, target=0)
            page.fill(entry, 100 * worse, why=f"100 * (1 {'+' if side > 0 else '-'} {slip})")
            leave = page.size(0)
            page.bar(110, 110, 110, 110, target=0)
            page.fill(leave, 110 * better)
            yield page.case()


def slippage_models():
    """Rows before the fill: returns log(102 / 100) and log(100 / 102), volumes 30 and 50, in a window of two hourly bars."""
    squares, volume, days = 2 * math.log(1.02) ** 2, (30 * 102 + 50 * 100), 2 / 24
    sigma, daily = math.sqrt(squares / days), volume / days
    models = {
        "half the spread": ({"half_spread": 0.0005, "impact": 0}, 0.0005, "the half-spread 0.0005"),
        "latency": (
            {"half_spread": 0.0001, "impact": 0, "latency_ms": 86_400},
            0.0001 + sigma * math.sqrt(2 / math.pi) * math.sqrt(86_400 / 86_400_000),
            f"0.0001 + sigma * sqrt(2 / pi) * sqrt(86400 / 86400000), sigma = sqrt(2 log(1.02)^2 / (2 / 24)) = {sigma!r} a day",
        ),
        "impact": (
            {"half_spread": 0.0001, "impact": 0.5},
            0.0001 + 0.5 * sigma * math.sqrt(10 * 100 / daily),
            f"0.0001 + 0.5 * sigma * sqrt(10 * 100 / V), sigma = {sigma!r}, V = (30 * 102 + 50 * 100) / (2 / 24) = {daily!r} a day",
        ),
        "the ceiling": ({"half_spread": 0.01, "impact": 50.0}, 0.05, "more than 0.05 is 0.05"),
    }
    for name, (model, fraction, words) in models.items():
        page = Page(f"slippage model: {name}", costs={"slippage": model | {"window": 2}}, columns=("volume",))
        page.bar(*FLAT, 10)
        page.bar(100, 102, 100, 102, 30)
        page.bar(102, 102, 100, 100, 50, target=1)
        entry = page.size(1)
        page.bar(100, 100, 100, 100, 10, target=1)
        page.fill(entry, 100 * (1 + Fraction(fraction)), why=words)
        yield page.case()


def lots():
    for side, word in SIDES.items():
        for lot, target in ((0.001, 0.3333), (0.1, 0.777), (0.3, 1), (7, 1), (3, 0.25)):
            page = Page(f"{word} in lots of {lot}", account={"lot": lot}, costs={"taker": 0.001})
            page.bar(99, 101, 98, 99.5, target=side * target)
            entry = page.size(side * target, lot=lot)
            page.bar(100, 104, 96, 103, target=0)
            if entry:
                page.fill(entry, 100)
                page.size(0)
            page.bar(102, 102, 102, 102, target=0)
            if entry:
                page.fill(-entry, 102)
            yield page.case()


def least_notional():
    def page_of(name):
        return Page(name, account={"leverage": 2, "min_notional": 300})

    page = page_of("an order below the least notional is not sent")
    page.bar(*FLAT, target=0.29)
    page.say("0.29 * 1000 = 290 < 300")
    page.bar(*FLAT, target=0.29)
    yield page.case()

    page = page_of("an order of exactly the least notional is sent")
    page.bar(*FLAT, target=0.3)
    entry = page.size(0.3)
    page.bar(*FLAT, target=0.3)
    page.fill(entry, 100)
    yield page.case()

    page = page_of("a small reduction is not sent, the next one is measured from what is held")
    page.bar(*FLAT, target=1)
    entry = page.size(1)
    page.bar(*FLAT, target=0.8)
    page.fill(entry, 100)
    page.say("0.8: sell 2, worth 200 < 300: nothing is sent")
    page.bar(*FLAT, target=0.6)
    reduce = page.size(0.6)
    page.bar(*FLAT, target=0.6)
    page.fill(reduce, 100)
    yield page.case()

    page = page_of("a position is closed however small it has become")
    page.bar(*FLAT, target=1)
    entry = page.size(1)
    page.bar(100, 100, 25, 25, target=0)
    page.fill(entry, 100)
    page.say("10 * 25 = 250 < 300, but nothing is wanted any more")
    leave = page.size(0)
    page.bar(25, 25, 25, 25, target=0)
    page.fill(leave, 25)
    yield page.case()

    page = page_of("a flip is one order, measured whole")
    page.bar(*FLAT, target=0.3)
    entry = page.size(0.3)
    page.bar(*FLAT, target=-0.1)
    page.fill(entry, 100)
    flip = page.size(-0.1)
    page.bar(*FLAT, target=-0.1)
    page.fill(flip, 100)
    yield page.case()

    page = page_of("a target whose order was not sent counts as acted on")
    page.bar(*FLAT, target=0.2)
    page.say("0.2 * 1000 = 200 < 300; at 400 the same target would not be worth more: 0.2 of 1000 again; it is not asked again anyway")
    page.bar(400, 400, 400, 400, target=0.2)
    page.bar(400, 400, 400, 400, target=0.35)
    entry = page.size(0.35)
    page.bar(400, 400, 400, 400, target=0.35)
    page.fill(entry, 400)
    yield page.case()


def delays():
    for side, word in SIDES.items():
        for delay in (1, 2, 3):
            page = Page(f"{word}, {delay} bars late", costs={"delay": delay, "taker": 0.001})
            page.bar(*FLAT, target=side)
            entry = page.size(side)
            for late in range(delay):
                price = 101 + late
                page.bar(price, price, price, price, target=side)
            page.bar(110, 112, 108, 111, target=side)
            page.fill(entry, 110, why=f"decided at the close of bar 0, due at the open of bar {1 + delay}")
            yield page.case()

    page = Page("a new decision replaces the order that still waits", costs={"delay": 2})
    page.bar(*FLAT, target=1)
    page.size(1)
    page.bar(101, 101, 101, 101, target=-1)
    entry = page.size(-1)
    page.bar(102, 102, 102, 102, target=-1)
    page.say("bar 3 would have filled the first order; it is gone")
    page.bar(103, 103, 103, 103, target=-1)
    page.bar(104, 104, 104, 104, target=-1)
    page.fill(entry, 104)
    yield page.case()

    page = Page("a target taken back while its order waits leaves nothing", costs={"delay": 2})
    page.bar(*FLAT, target=1)
    page.size(1)
    page.bar(101, 101, 101, 101, target=0)
    for price in (102, 103, 104):
        page.bar(price, price, price, price, target=0)
    yield page.case()

    page = Page("a stop cancels the order that waits", account={"leverage": 2}, costs={"delay": 1}, stops={"stop_loss": 0.05})
    page.bar(*FLAT, target=1)
    entry = page.size(1)
    page.bar(*FLAT, target=1)
    page.bar(100, 100, 100, 100, target=2)
    page.fill(entry, 100)
    page.size(2)
    page.bar(100, 100, 94, 99, target=2)
    page.fill(-entry, 95, "stop_loss", why="100 * 0.95")
    page.say("the order of bar 2 was due at bar 4")
    page.bar(99, 99, 99, 99, target=2)
    yield page.case()

    page = Page("a delayed limit order is due later and may fill at once", costs={"delay": 1, "taker": 0.001, "maker": 0.0002})
    page.bar(*FLAT, target=1, limit=98)
    entry = page.size(1)
    page.say("bar 1 trades at 96, but the order is not there yet")
    page.bar(100, 100, 96, 97, target=1, limit=98)
    page.bar(97, 99, 97, 99, target=1, limit=98)
    page.fill(entry, 97, why="due at an open below the limit: taker at the open")
    yield page.case()


def bands():
    def page_of(name, **others):
        return Page(name, account={"leverage": 2, "rebalance_band": 0.1}, **others)

    for second, word in ((0.55, "within"), (0.625, "beyond")):
        page = page_of(f"a change {word} the band")
        page.bar(*FLAT, target=0.5)
        entry = page.size(0.5)
        page.bar(*FLAT, target=second)
        page.fill(entry, 100)
        page.say(f"|{second} - 0.5| against 0.1")
        more = page.size(second) if second > 0.6 else None
        page.bar(*FLAT, target=second)
        if more is not None:
            page.fill(more, 100)
        yield page.case()

    for second, word in ((-0.0625, "through zero"), (0, "to zero")):
        page = page_of(f"a change within the band but {word} is traded")
        page.bar(*FLAT, target=0.03125)
        entry = page.size(0.03125)
        page.bar(*FLAT, target=second)
        page.fill(entry, 100)
        change = page.size(second)
        page.bar(*FLAT, target=second)
        page.fill(change, 100)
        yield page.case()

    page = page_of("small changes are measured from the last one acted on")
    page.bar(*FLAT, target=0.5)
    entry = page.size(0.5)
    page.bar(*FLAT, target=0.5625)
    page.fill(entry, 100)
    page.say("0.5625 is 0.0625 away from 0.5, 0.625 is 0.125 away")
    page.bar(*FLAT, target=0.625)
    more = page.size(0.625)
    page.bar(*FLAT, target=0.625)
    page.fill(more, 100)
    yield page.case()

    for side, word in SIDES.items():
        page = page_of(f"drift of a {word} is traded back")
        page.bar(*FLAT, target=side * 0.5)
        entry = page.size(side * 0.5)
        end = 200 if side > 0 else 120
        page.bar(100, end, 100, end, target=side * 0.5)
        page.fill(entry, 100)
        page.say(f"{entry} * {end} / {page.equity()} = {float(entry * end / page.equity()):.4f}: more than 0.1 away from the target")
        back = page.size(side * 0.5)
        page.bar(end, end, end, end, target=side * 0.5)
        page.fill(back, end)
        yield page.case()

    page = page_of("a target said once is rebalanced at every close")
    page.bar(*FLAT, target=0.5)
    entry = page.size(0.5)
    page.bar(100, 200, 100, 200)
    page.fill(entry, 100)
    back = page.size(0.5)
    page.bar(200, 200, 200, 200)
    page.fill(back, 200)
    yield page.case()

    page = page_of("drift within the band is left alone")
    page.bar(*FLAT, target=0.5)
    entry = page.size(0.5)
    page.bar(100, 130, 100, 130, target=0.5)
    page.fill(entry, 100)
    page.say("5 * 130 / 1150 = 0.565 against 0.5")
    page.bar(130, 130, 130, 130, target=0.5)
    yield page.case()

    page = page_of("drift is traded at market, whatever limit stands beside the target")
    page.bar(*FLAT, target=0.5, limit=105)
    entry = page.size(0.5)
    page.bar(100, 200, 100, 200, target=0.5, limit=300)
    page.fill(entry, 100, why="the open is below the limit of 105")
    back = page.size(0.5)
    page.bar(200, 200, 200, 200, target=0.5, limit=300)
    page.fill(back, 200)
    yield page.case()

    page = page_of("after a stop neither drift nor a change within the band opens again", stops={"stop_loss": 0.05})
    page.bar(*FLAT, target=0.5)
    entry = page.size(0.5)
    page.bar(100, 100, 94, 100, target=0.5)
    page.fill(entry, 100)
    page.fill(-entry, 95, "stop_loss")
    page.bar(*FLAT, target=0.5625)
    page.bar(*FLAT, target=0.75)
    again = page.size(0.75)
    page.bar(*FLAT, target=0.75)
    page.fill(again, 100)
    yield page.case()


def flips():
    for side, word in SIDES.items():
        for taker in (0, 0.001):
            page = Page(f"{word} turned round, taker fee {taker}", account={"leverage": 2}, costs={"taker": taker})
            page.bar(*FLAT, target=side)
            entry = page.size(side)
            page.bar(100, 105, 95, 104, target=-side * 2)
            page.fill(entry, 100)
            flip = page.size(-side * 2)
            page.bar(103, 103, 99, 99, target=-side * 2)
            page.fill(flip, 103)
            yield page.case()


def in_parts():
    for side, word in SIDES.items():
        page = Page(f"{word} closed in three parts", costs={"taker": 0.001})
        path = ((100, 0.9), (104, 0.6), (98, 0.3), (101, 0))
        page.bar(*FLAT, target=side * path[0][1])
        order = page.size(side * path[0][1])
        for price, target in path[1:]:
            page.bar(price, price, price, price, target=side * target)
            page.fill(order, price)
            order = page.size(side * target)
        page.bar(102, 102, 102, 102, target=0)
        page.fill(order, 102)
        yield page.case()

        page = Page(f"{word} built in three parts", account={"leverage": 3}, costs={"taker": 0.001, "slippage": 0.001})
        page.bar(*FLAT, target=side)
        order = page.size(side)
        slip = 1 + side * Fraction("0.001")
        for price, target in ((104, 2), (98, 3), (101, 0)):
            page.bar(price, price, price, price, target=side * target)
            page.fill(order, price * slip)
            order = page.size(side * target)
        page.bar(102, 102, 102, 102, target=0)
        page.fill(order, 102 * (2 - slip))
        yield page.case()


FAMILIES = (
    round_trips, fee_tiers, slippage, slippage_models, lots, least_notional, delays, bands, flips, in_parts,
)  # fmt: skip
