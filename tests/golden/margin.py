"""Margin: liquidation prices over brackets, gaps to bankruptcy and beyond, funding and fees that eat the margin, dated tables."""

from fractions import Fraction
from math import ceil, floor

from golden.orders import FLAT, SIDES
from golden.page import Page, exact, plain

TABLE = [[0, 0.01], [5000, 0.02], [20000, 0.05]]  # maintenance amounts: 0, 5000 * 0.01 = 50, 50 + 20000 * 0.03 = 650
AMOUNTS = [0, 50, 650]


def liquidation(page, quantity, entry, margin, rows=TABLE, amounts=AMOUNTS) -> Fraction:
    """Where margin + quantity * (P - entry) = rate * |quantity| * P - amount, in the one bracket that the notional at P lies in.

    Solved: P = (quantity * entry - margin - amount) / (quantity - rate * |quantity|).
    """
    quantity, margin = exact(quantity), exact(margin)
    for k, ((low, rate), amount) in enumerate(zip(rows, amounts)):
        price = (quantity * entry - margin - amount) / (quantity - exact(rate) * abs(quantity))
        high = rows[k + 1][0] if k + 1 < len(rows) else float("inf")
        if low <= abs(quantity) * price < high:
            page.say(
                f"liquidation at ({plain(quantity)} * {plain(entry)} - {plain(margin)} - {amount}) / ({plain(quantity)} - {rate} * "
                f"{plain(abs(quantity))}) = {plain(price)}: its notional {float(abs(quantity) * price):.1f} lies in bracket {k + 1}"
            )
            return price
    raise ValueError(f"{page.name}: no bracket is its own")


def position(name, side, target, *, mode="cross", leverage=30, rows=TABLE, **terms):
    """A page with a position of `target` bought (or sold short) at 100 in bar 1, about to be written."""
    account = {"leverage": leverage, "margin_mode": mode, "brackets": rows}
    page = Page(f"{mode} {SIDES[side]} {target}: {name}", account=account, **terms)
    page.bar(*FLAT, *(0 for _ in page.columns), target=side * target)
    return page, page.size(side * target)


def levels():
    """Three sizes, whose liquidation prices lie in the three brackets: reached, and just missed."""
    for side in SIDES:
        for mode in ("cross", "isolated"):
            for target in (4, 10, 25):
                for reached in (True, False):
                    word = "reached" if reached else "just missed"
                    page, order = position(f"liquidation {word}", side, target, mode=mode, costs={"liquidation": 0.005})
                    margin = 1000 if mode == "cross" else abs(order) * 100 / 30
                    price = liquidation(page, order, 100, margin)
                    outward = (floor if side > 0 else ceil) if reached else (ceil if side > 0 else floor)
                    worst = outward(price * 100) / 100  # the nearest cent beyond, or before
                    page.bar(*((100, 100, worst, 100) if side > 0 else (100, worst, 100, 100)), target=side * target)
                    page.fill(order, 100)
                    if reached:
                        page.fill(-order, price, "liquidation")
                    yield page.case() | {"liquidation_prices": [[1, 0 if reached else plain(price)]]}


def bankruptcy():
    """Isolated at leverage 10 the margin of 50 at 100 is 500, gone at 90 or 110; cross it is 1000, gone at 80 or 120."""
    for side in SIDES:
        for mode, margin in (("isolated", 500), ("cross", 1000)):
            bankrupt = 100 - side * margin / 50
            for beyond, word in ((-0.5, "short of bankruptcy"), (0, "to bankruptcy"), (5, "beyond bankruptcy")):
                page, order = position(f"a gap {word}", side, 5, mode=mode, leverage=10, costs={"liquidation": 0.02})
                page.bar(*FLAT, target=side * 5)
                page.fill(order, 100)
                gap = bankrupt - side * beyond
                left = max(margin - 50 * abs(100 - exact(gap)), 0)
                page.say(f"margin {margin} is gone at {bankrupt:g}; the bar opens at {gap:g}")
                page.bar(gap, gap + 0.5, gap - 0.5, gap, target=side * 5)
                page.fill(-order, gap, "liquidation", realised=-min(margin, 50 * abs(100 - exact(gap))), fee=left)
                yield page.case()


def orders_without_margin():
    """An order, a limit or the time stop meets an open at which nothing is left: the venue was there first."""
    for side in SIDES:
        for how in ("an order to close", "an order to add", "a limit order", "a time stop"):
            stops = {"max_bars": 1} if how == "a time stop" else {}
            page, order = position(f"{how} after a gap beyond bankruptcy is a liquidation", side, 5, costs={"slippage": 0.001}, stops=stops)
            next_target = {"an order to close": 0, "an order to add": 6, "a limit order": 4}.get(how, 5)
            limit = (70 if side > 0 else 130) if how == "a limit order" else None
            entry = 100 * (1 + side * exact("0.001"))
            page.bar(*FLAT, target=side * next_target, limit=limit)
            page.fill(order, entry)
            gap = 75 if side > 0 else 125
            page.bar(gap, gap, gap, gap, target=side * next_target)
            page.fill(-order, gap, "liquidation", why="at the open itself, no slippage", realised=-1000, fee=0)
            yield page.case()

        page, order = position("an order at an open between liquidation and bankruptcy still fills", side, 5, rows=[[0, 0.05]])
        page.bar(*FLAT, target=0)
        page.fill(order, 100)
        gap = 82 if side > 0 else 118
        page.say("maintenance was lost on the way, at 84.2 or 114.3, but the order was there at the open")
        page.bar(gap, gap, gap, gap, target=0)
        page.fill(-order, gap)
        yield page.case()


def eaten_margin():
    for side in SIDES:
        for mode in ("cross", "isolated"):
            page, order = position("funding moves the level", side, 5, mode=mode, leverage=5, rows=[[0, 0.1]], columns=("funding_rate",))
            page.bar(*FLAT, 0, target=side * 5)
            page.fill(order, 100)
            before = liquidation(page, order, 100, 1000, [[0, 0.1]], [0])
            page.bar(*FLAT, side * 0.01, target=side * 5)
            page.bar(*FLAT, side * 0.01, target=side * 5)
            page.say("the wallet of 900 is all there is, less than the initial margin of 1000 that isolated would have set aside")
            price = liquidation(page, order, 100, 900, [[0, 0.1]], [0])
            page.bar(*((100, 100, floor(price), 100) if side > 0 else (100, ceil(price), 100, 100)), 0, target=side * 5)
            page.fill(-order, price, "liquidation")
            yield page.case() | {"liquidation_prices": [[1, plain(before)], [4, 0]]}

        page, order = position("funding out of the wallet leaves an isolated margin alone", side, 4, mode="isolated", leverage=8,
                               rows=[[0, 0.1]], columns=("funding_rate",))  # fmt: skip
        page.bar(*FLAT, 0, target=side * 4)
        page.fill(order, 100)
        price = liquidation(page, order, 100, 500, [[0, 0.1]], [0])
        page.bar(*FLAT, side * 0.05, target=side * 4)
        page.say("200 paid, 800 in the wallet, 500 behind the position")
        yield page.case() | {"liquidation_prices": [[1, plain(price)], [2, plain(price)]]}

        page, order = position("funding drives the wallet below zero, the profit holds the position until it is gone", side, 100,
                               mode="isolated", leverage=100, rows=[[0, 0.001]], columns=("funding_rate",))  # fmt: skip
        better = 100 + side * 10
        page.bar(*FLAT, 0, target=side * 100)
        page.fill(order, 100)
        page.bar(better, better, better, better, side * 0.02, target=side * 100)
        price = liquidation(page, order, 100, page.cash, [[0, 0.001]], [0])
        page.say("the margin is what the wallet has, and it has less than nothing")
        worst = 100 + side * 0.5
        page.bar(better, max(better, worst), min(better, worst), worst, 0, target=side * 100)
        page.fill(-order, price, "liquidation")
        yield page.case() | {"liquidation_prices": [[2, plain(price)]]}

        page, order = position("the fee of the entry is margin no more", side, 5, rows=[[0, 0.1]], costs={"taker": 0.001})
        page.bar(*FLAT, target=side * 5)
        page.fill(order, 100)
        price = liquidation(page, order, 100, 995, [[0, 0.1]], [0])
        yield page.case() | {"liquidation_prices": [[1, plain(price)]]}


def changing_size():
    for side in SIDES:
        page, order = position("adding moves up a bracket, reducing moves down again", side, 4)
        page.bar(*FLAT, target=side * 10)
        page.fill(order, 100)
        first = liquidation(page, order, 100, 1000)
        more = page.size(side * 10)
        page.bar(*FLAT, target=side * 3)
        page.fill(more, 100)
        second = liquidation(page, order + more, 100, 1000)
        less = page.size(side * 3)
        better = 104 if side > 0 else 96
        page.bar(better, better, better, better, target=side * 3)
        page.fill(less, better)
        third = liquidation(page, order + more + less, 100, page.cash)
        yield page.case() | {"liquidation_prices": [[1, plain(first)], [2, plain(second)], [3, plain(third)]]}


def dated_tables():
    """Bar k opens at hour k of 1970-01-01; a table holds from the first bar that opens at its time or later."""
    tight, loose = [[0, 0.1]], [[0, 0.01]]
    for side in SIDES:
        for first, second, word in ((loose, tight, "tightened"), (tight, loose, "loosened")):
            for start in ("1970-01-01T02:00Z", "1970-01-01T01:30Z"):
                rows = [["1969-01-01T00:00Z", first], [start, second]]
                page, order = position(f"a table {word} at {start}", side, 5, rows=rows)
                page.bar(*FLAT, target=side * 5)
                page.fill(order, 100)
                before, after = (liquidation(page, order, 100, 1000, rows, [0]) for rows in (first, second))
                page.say(f"until the open of bar 2 the level is {plain(before)}, then {plain(after)}")
                touch = 85 if side > 0 else 113
                page.bar(100, max(100, touch), min(100, touch), 100, target=side * 5)
                if second is tight:
                    page.fill(-order, after, "liquidation")
                yield page.case() | {"liquidation_prices": [[1, plain(before)], [2, 0 if second is tight else plain(after)]]}


FAMILIES = (levels, bankruptcy, orders_without_margin, eaten_margin, changing_size, dated_tables)
