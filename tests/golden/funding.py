"""Funding: every settlement of 1, 4 and 8 hours, changes of the interval, signs, marks, additions, reductions, flips."""

from golden.orders import FLAT, SIDES
from golden.page import Page

HOURS = 17  # bars of an hour after the first


def intervals():
    for side, word in SIDES.items():
        for hours in (1, 4, 8):
            for columns in (("funding_rate",), ("mark", "funding_rate")):
                marked = "mark" in columns
                page = Page(f"{word}, settled every {hours} h{', at the mark' if marked else ''}", columns=columns)
                for hour in range(HOURS):
                    price = 100 + hour
                    rate = 0.0001 if hour % hours == 0 else 0
                    row = (price, price, price, price, *((price + 0.5,) if marked else ()), rate)
                    page.bar(*row, target=side)
                    if hour == 0:
                        entry = page.size(side)
                        page.say("bar 0: nothing is held before its open, nothing is due")
                    if hour == 1:
                        page.fill(entry, price, why="after the settlement of this open" if hours == 1 else None)
                yield page.case()


def changing_intervals():
    """From every eighth hour to every fourth to every hour, and back."""
    for side, word in SIDES.items():
        page = Page(f"{word}, the interval falls from 8 h to 4 h to 1 h and rises again", columns=("funding_rate",))
        due = {8: 0.0008, 12: 0.0004, 16: 0.0004, 17: 0.0001, 18: 0.0001, 19: -0.0001, 20: 0.0001, 24: 0.0004, 32: 0.0008}
        for hour in range(33):
            page.bar(*FLAT, due.get(hour, 0), target=side)
            if hour == 0:
                entry = page.size(side)
            if hour == 1:
                page.fill(entry, 100)
        yield page.case()


def signs():
    for side, word in SIDES.items():
        for rate in (0.001, -0.001):
            page = Page(f"{word} at a rate of {rate}: {'pays' if side * rate > 0 else 'receives'}", columns=("funding_rate",))
            page.bar(*FLAT, 0, target=side)
            entry = page.size(side)
            page.bar(*FLAT, 0, target=side)
            page.fill(entry, 100)
            page.bar(103, 103, 103, 103, rate, target=side)
            yield page.case()


def of_what_is_held():
    page = Page("an addition pays from the next settlement on", account={"leverage": 2}, columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(*FLAT, 0.001, target=2)
    page.fill(order, 100, why="opened after this settlement")
    more = page.size(2)
    page.bar(*FLAT, 0.001, target=2)
    page.fill(more, 100, why="the settlement of this open was on the first part alone")
    page.bar(*FLAT, 0.001, target=2)
    yield page.case()

    page = Page("a reduction pays in full at its own open", columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(*FLAT, 0, target=0.5)
    page.fill(order, 100)
    less = page.size(0.5)
    page.bar(*FLAT, 0.001, target=0.5)
    page.fill(less, 100)
    page.bar(*FLAT, 0.001, target=0)
    leave = page.size(0)
    page.bar(*FLAT, 0.001, target=0)
    page.fill(leave, 100)
    page.bar(*FLAT, 0.001, target=0)
    yield page.case()

    page = Page("a flip pays for the old side, then receives for the new", columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(*FLAT, 0, target=-1)
    page.fill(order, 100)
    flip = page.size(-1)
    page.bar(*FLAT, 0.001, target=-1)
    page.fill(flip, 100)
    page.bar(*FLAT, 0.001, target=-1)
    yield page.case()

    page = Page("a stop of the bar before ends it", stops={"stop_loss": 0.05}, columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(100, 100, 94, 96, 0, target=1)
    page.fill(order, 100)
    page.fill(-order, 95, "stop_loss")
    page.bar(96, 96, 96, 96, 0.001, target=1)
    yield page.case()

    page = Page("a stop of the same bar does not: the settlement is at its open", stops={"stop_loss": 0.05}, columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(*FLAT, 0, target=1)
    page.fill(order, 100)
    page.bar(97, 97, 94, 96, 0.001, target=1)
    page.fill(-order, 95, "stop_loss")
    yield page.case()

    page = Page("the next order is sized after funding", columns=("funding_rate",))
    page.bar(*FLAT, 0, target=1)
    order = page.size(1)
    page.bar(*FLAT, 0, target=1)
    page.fill(order, 100)
    page.bar(*FLAT, 0.01, target=-1)
    flip = page.size(-1)
    page.bar(*FLAT, 0, target=-1)
    page.fill(flip, 100)
    yield page.case()


FAMILIES = (intervals, changing_intervals, signs, of_what_is_held)
