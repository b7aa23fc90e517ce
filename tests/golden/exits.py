"""What closes a position by itself: stop-loss, trailing stop, take-profit, time stop; their order, their gaps."""

from golden.orders import FLAT, SIDES
from golden.page import Page, product

COSTS = {"maker": 0.0002, "taker": 0.001, "slippage": 0.01}


def opened(name, side=1, *, costs=None, account=None, **stops):
    """A page with an order of 10 (or -10) decided at 100, to be filled in the next bar."""
    page = Page(f"{SIDES[side]}: {name}", account=account, costs=costs, stops=stops)
    page.bar(*FLAT, target=side)
    return page, page.size(side)


def turned(side, *prices):
    """A path told for a long; for a short upside down about 100."""
    return prices if side > 0 else (200 - prices[0], 200 - prices[2], 200 - prices[1], 200 - prices[3])


def stops_and_profits():
    for side in SIDES:

        def price(value, side=side):
            return value if side > 0 else 200 - value

        page, order = opened("the level is enough", side, stop_loss=0.05)
        page.bar(*turned(side, 100, 102, 95, 98), target=side)
        page.fill(order, 100)
        page.fill(-order, price(95), "stop_loss", why="100 * (1 - side * 0.05)")
        yield page.case()

        page, order = opened("a stop just missed", side, stop_loss=0.05)
        page.bar(*turned(side, 100, 102, 95.001, 98), target=side)
        page.fill(order, 100)
        yield page.case()

        page, order = opened("a stop is a taker and slips", side, costs=COSTS, stop_loss=0.05)
        slip, against = (1.01, 0.99) if side > 0 else (0.99, 1.01)
        page.bar(*turned(side, 100, 102, 90, 98), target=side)
        page.fill(order, product(100, slip))
        page.fill(-order, product(100, slip, 1 - side * 0.05, against), "stop_loss", why="entry * (1 - side * 0.05), then slippage")
        yield page.case()

        page, order = opened("a gap beyond the stop fills at the open", side, stop_loss=0.05)
        page.bar(*turned(side, 100, 102, 97, 98), target=side)
        page.fill(order, 100)
        page.bar(*turned(side, 92, 99, 91, 98), target=side)
        page.fill(-order, price(92), "stop_loss")
        yield page.case()

        page, order = opened("a take-profit is a maker at its level", side, costs={"maker": 0.0002, "taker": 0.001}, take_profit=0.05)
        page.bar(*turned(side, 100, 105, 99, 101), target=side)
        page.fill(order, 100)
        page.fill(-order, price(105), "take_profit")
        yield page.case()

        page, order = opened("a gap beyond the take-profit fills at the better open", side, take_profit=0.05)
        page.bar(*turned(side, 100, 104, 99, 101), target=side)
        page.fill(order, 100)
        page.bar(*turned(side, 108, 109, 107, 108), target=side)
        page.fill(-order, price(108), "take_profit")
        yield page.case()

        page, order = opened("where both are reached the stop counts", side, stop_loss=0.05, take_profit=0.05)
        page.bar(*turned(side, 100, 106, 94, 101), target=side)
        page.fill(order, 100)
        page.fill(-order, price(95), "stop_loss")
        yield page.case()

        page, order = opened("levels hang on the average entry", side, account={"leverage": 2}, stop_loss=0.05)
        page.bar(*FLAT, target=side * 2)
        page.fill(order, 100)
        more = page.size(side * 2)
        page.bar(*turned(side, 110, 110, 105, 106), target=side * 2)
        page.fill(more, price(110))
        page.say("the average is 105 for a long: the level of 99.75 lies below this bar's 105")
        page.bar(*turned(side, 106, 106, 99, 104), target=side * 2)
        page.fill(-order - more, product(page.entry[""], 1 - side * 0.05), "stop_loss")
        yield page.case()


def trailing():
    for side in SIDES:

        def price(value, side=side):
            return value if side > 0 else 200 - value

        def level(best, fraction=0.05, side=side):
            return product(best if side > 0 else 200 - best, 1 - side * fraction)

        page, order = opened("the entry is the first best price", side, trailing_stop=0.05)
        page.bar(*turned(side, 100, 108, 95, 98), target=side)
        page.fill(order, 100)
        page.fill(-order, price(95), "trailing_stop", why="this bar's own extreme never counts")
        yield page.case()

        page, order = opened("the best price of earlier bars moves the level", side, trailing_stop=0.05)
        page.bar(*turned(side, 100, 110, 99, 108), target=side)
        page.fill(order, 100)
        page.bar(*turned(side, 108, 120, 106, 118), target=side)
        page.say("level from 110 (told for a long): 104.5, not reached; from now on from 120")
        page.bar(*turned(side, 118, 119, 113, 115), target=side)
        page.fill(-order, level(120), "trailing_stop", why="the best price times (1 - side * 0.05)")
        yield page.case()

        page, order = opened("the level never falls back", side, trailing_stop=0.05)
        page.bar(*turned(side, 100, 120, 99, 116), target=side)
        page.fill(order, 100)
        page.bar(*turned(side, 117, 118, 116.5, 117), target=side)
        page.bar(*turned(side, 117, 118, 113, 114), target=side)
        page.fill(-order, level(120), "trailing_stop")
        yield page.case()

        page, order = opened("a gap beyond the level fills at the open, with slippage", side, costs={"slippage": 0.01}, trailing_stop=0.05)
        page.bar(*turned(side, 100, 110, 99, 108), target=side)
        page.fill(order, product(100, 1 + side * 0.01))
        page.bar(*turned(side, 100, 101, 98, 99), target=side)
        page.fill(-order, product(100, 1 - side * 0.01), "trailing_stop", why="the level from 110 (a long's 104.5) lies beyond the open")
        yield page.case()

        page, order = opened("beside a stop-loss the nearer level counts", side, stop_loss=0.08, trailing_stop=0.05)
        page.bar(*turned(side, 100, 101, 99, 100), target=side)
        page.fill(order, 100)
        page.bar(*turned(side, 100, 101, 90, 95), target=side)
        page.fill(-order, level(101), "trailing_stop", why="nearer than the stop-loss 8 % away")
        yield page.case()

        page, order = opened("on a tie the stop-loss counts", side, stop_loss=0.05, trailing_stop=0.05)
        page.bar(*turned(side, 100, 103, 94, 95), target=side)
        page.fill(order, 100)
        page.fill(-order, price(95), "stop_loss", why="both levels lie at 5 % from the entry")
        yield page.case()

        page, order = opened("a flip starts a new best price", side, account={"leverage": 2}, trailing_stop=0.05)
        page.bar(*turned(side, 100, 110, 99, 108), target=-side)
        page.fill(order, 100)
        flip = page.size(-side)
        page.bar(*turned(side, 108, 109, 107, 108), target=-side)
        page.fill(flip, price(108))
        page.say("from here the best price is 108, then 107 (told for a long turned short)")
        page.bar(*turned(side, 108, 113, 107.5, 108), target=-side)
        page.fill(-order - flip, product(price(107), 1 + side * 0.05), "trailing_stop")
        yield page.case()


def in_time():
    for side in SIDES:
        for bars in (1, 2, 4):
            page, order = opened(f"closed at the open after {bars} closes", side, costs={"taker": 0.001, "slippage": 0.01}, max_bars=bars)
            page.bar(*turned(side, 100, 101, 99, 100), target=side)
            page.fill(order, product(100, 1 + side * 0.01))
            for _ in range(bars - 1):
                page.bar(*turned(side, 100, 102, 99, 101), target=side)
            page.bar(*turned(side, 103, 104, 102, 103), target=side)
            out = 103 if side > 0 else 97
            page.fill(-order, product(out, 1 - side * 0.01), "time_stop")
            yield page.case()

    page, order = opened("every fill starts the count again", account={"leverage": 2}, max_bars=2)
    page.bar(*FLAT, target=2)
    page.fill(order, 100)
    more = page.size(2)
    page.bar(*FLAT, target=2)
    page.fill(more, 100, why="one close held, the count restarts")
    page.bar(*FLAT, target=2)
    page.bar(101, 101, 101, 101, target=2)
    page.fill(-order - more, 101, "time_stop")
    yield page.case()

    page, order = opened("an order at the same open goes first, and there is no time stop then", account={"leverage": 2}, max_bars=1)
    page.bar(*FLAT, target=2)
    page.fill(order, 100)
    more = page.size(2)
    page.bar(*FLAT, target=2)
    page.fill(more, 100)
    page.bar(101, 101, 101, 101, target=2)
    page.fill(-order - more, 101, "time_stop")
    yield page.case()

    page, order = opened("what rests is cancelled with it", account={"leverage": 2}, max_bars=1)
    page.bar(*FLAT, target=2, limit=95)
    page.fill(order, 100)
    page.size(2)
    page.bar(*FLAT, target=2)
    page.fill(-order, 100, "time_stop", why="the order at 95 becomes due at this open, does not fill, and goes with the position")
    page.bar(100, 100, 90, 95, target=2)
    yield page.case()

    page, order = opened("what waits is cancelled with it", account={"leverage": 2}, costs={"delay": 1}, max_bars=1)
    page.bar(*FLAT, target=1)
    page.bar(*FLAT, target=2)
    page.fill(order, 100, why="decided at the close of bar 0, one bar late")
    page.size(2)
    page.bar(*FLAT, target=2)
    page.fill(-order, 100, "time_stop", why="the order for bar 4 goes with the position")
    page.bar(*FLAT, target=2)
    page.bar(*FLAT, target=2)
    yield page.case()

    page, order = opened("the same target does not open again, a new one does", max_bars=1)
    page.bar(*FLAT, target=1)
    page.fill(order, 100)
    page.bar(*FLAT, target=1)
    page.fill(-order, 100, "time_stop")
    page.bar(*FLAT, target=0.5)
    again = page.size(0.5)
    page.bar(*FLAT, target=0.5)
    page.fill(again, 100)
    yield page.case()

    page, order = opened("the stop of the bar before the time is up comes first", stop_loss=0.05, max_bars=2)
    page.bar(*FLAT, target=1)
    page.fill(order, 100)
    page.bar(100, 100, 94, 96, target=1)
    page.fill(-order, 95, "stop_loss")
    page.bar(96, 96, 96, 96, target=1)
    yield page.case()


FAMILIES = (stops_and_profits, trailing, in_time)
