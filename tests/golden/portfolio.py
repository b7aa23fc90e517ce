"""Several symbols in one account: sizes on the whole equity, cross and isolated margin, a coin beside its perpetual."""

from golden.page import Page, exact, plain, product

A, B = "AAA", "BBB"
FLAT = (100, 100, 100, 100)
HALF = (50, 50, 50, 50)


def flat(price):
    return (price, price, price, price)


def two(name, first, second, **terms):
    """A page on which targets of A (at 100) and B (at 50) were decided, and their orders."""
    terms.setdefault("account", {"leverage": 10, "brackets": [[0, 0.1]]})
    page = Page(name, symbols=[A, B], **terms)
    page.bar(FLAT, HALF, target={A: first, B: second})
    return page, page.size(first, A) if first else 0, page.size(second, B) if second else 0


def keep(page, first, second):
    return {"target": dict(zip(page.symbols, (first, second)))}


def sizes():
    for first, second in ((1, 0.5), (1, -0.5), (-0.5, -1)):
        page, a, b = two(f"targets {first} and {second}: every order is sized on the equity of the whole account", first, second)
        page.bar(flat(110), flat(45), **keep(page, first / 2, second * 2))
        page.fill(a, 110, symbol=A)
        page.fill(b, 45, symbol=B)
        page.say("marked at the entries: the equity is still 1000")
        page.bar(flat(120), flat(48), **keep(page, first / 4, second * 2))
        a, b = exact(first) / 2 * 1000 / 110 - a, exact(second) * 2 * 1000 / 45 - b
        page.say(f"decided at the close of bar 1: {plain(a)} of {A}, {plain(b)} of {B}")
        page.fill(a, 120, symbol=A)
        page.fill(b, 48, symbol=B)
        last = page.size(first / 4, A)
        page.bar(flat(115), flat(47), **keep(page, first / 4, second * 2))
        page.fill(last, 115, symbol=A)
        yield page.case()

    page, a, b = two("fees, slippage and lots of each symbol", 1, -1, costs={"taker": 0.001, "slippage": 0.001},
                     account={"leverage": 10, "instruments": {A: {"lot": 3}, B: {"lot": 7}}})  # fmt: skip
    page.bar(flat(101), flat(51), **keep(page, 1, -1))
    page.fill(9, product(101, 1.001), symbol=A, why="10 in lots of 3")
    page.fill(-14, product(51, 0.999), symbol=B, why="-20 in lots of 7")
    yield page.case()


def settlements():
    page = Page("funding of each symbol at its own times", account={"leverage": 10}, symbols=[A, B], columns=("funding_rate",))
    page.bar((*FLAT, 0), (*HALF, 0), target={A: 1, B: -1})
    a, b = page.size(1, A), page.size(-1, B)
    for hour in range(1, 9):
        rates = 0.001 if hour in (4, 8) else 0, 0.0005 if hour in (2, 4, 6, 8) else 0
        page.bar((*FLAT, rates[0]), (*HALF, rates[1]), target={A: 1, B: -1})
        if hour == 1:
            page.fill(a, 100, symbol=A)
            page.fill(b, 50, symbol=B)
    yield page.case()


def missing_bars():
    page, a, b = two("a symbol without a bar keeps its last mark, and its order waits", 1, 1)
    page.bar(FLAT, None, **keep(page, 1, None))
    page.fill(a, 100, symbol=A)
    page.bar(flat(104), flat(52), **keep(page, 1, 1))
    page.fill(b, 52, symbol=B, why="the first bar of its own after the decision")
    page.bar(flat(106), None, **keep(page, 0.5, None))
    less = page.size(0.5, A)
    page.bar(flat(107), flat(55), **keep(page, 0.5, 1))
    page.fill(less, 107, symbol=A)
    yield page.case()

    page, a, b = two("a stop has no bar to be touched in", 1, 1, stops={"stop_loss": 0.05})
    page.bar(FLAT, HALF, **keep(page, 1, 1))
    page.fill(a, 100, symbol=A)
    page.fill(b, 50, symbol=B)
    page.bar((100, 100, 94, 96), None, **keep(page, 1, None))
    page.fill(-a, 95, "stop_loss", symbol=A)
    page.bar(flat(96), (46, 47, 45, 46), **keep(page, 1, 1))
    page.fill(-b, 46, "stop_loss", symbol=B, why="its next bar opens beyond 47.5")
    yield page.case()

    page, a, _ = two("a target said in a gap is decided at the symbol's next close", 1, 0)
    page.bar(FLAT, None, **keep(page, 1, 1))
    page.fill(a, 100, symbol=A)
    page.bar(flat(104), HALF, **keep(page, 1, None))
    b = page.size(1, B)
    page.bar(flat(104), flat(51), **keep(page, 1, None))
    page.fill(b, 51, symbol=B)
    yield page.case()

    page = Page(
        "delisted after its last bar, at its last mark", symbols=[A, B], costs={"taker": 0.001, "slippage": 0.01}, columns=("mark",)
    )
    page.bar((*FLAT, 100), (*HALF, 50), target={A: 0.5, B: 0.5})
    a, b = page.size(0.5, A), page.size(0.5, B)
    page.bar((*FLAT, 100), (50, 52, 50, 52, 51), target={A: 0.5, B: 0.25})
    page.fill(a, 101, symbol=A)
    page.fill(b, 50.5, symbol=B)
    page.fill(-b, 51, "delisting", symbol=B, why="no slippage; what was decided at this close is gone")
    page.bar((*flat(103), 103), None, target={A: 0.5, B: 0.5})
    page.bar((*flat(104), 104), None, target={A: 0.5, B: None})
    yield page.case()


def cross_margin():
    """Rate 0.1 everywhere. A's level: cash + B's profit at its open + a * (P - E) = 0.1 * |a| * P + 0.1 * |b| * B's open."""

    def opened(name, first, second, **terms):
        page, a, b = two(name, first, second, **terms)
        page.bar(FLAT, HALF, **keep(page, first, second))
        page.fill(a, 100, symbol=A)
        page.fill(b, 50, symbol=B)
        return page, a, b

    def level(page, a, b, open_b):
        price = (a * 100 - page.cash - b * (open_b - 50) + abs(b) * open_b / 10) / (a - abs(a) / 10)
        page.say(f"with {B} at its open of {open_b} the level of {A} is {plain(price)}")
        return price

    for second, open_b in ((2, 50), (2, 45), (2, 54), (-2, 50), (-2, 46), (-2, 54)):
        page, a, b = opened(f"liquidated together: {A} long 3, {B} {second} opening at {open_b}", 3, second, costs={"liquidation": 0.01})
        price = level(page, a, b, open_b)
        page.bar((100, 100, 60, 90), flat(open_b), **keep(page, 3, second))
        page.fill(-a, price, "liquidation", symbol=A, why="touched by the low of 60")
        page.fill(-b, open_b, "liquidation", symbol=B, why="closed with it, at its open")
        page.bar(flat(90), flat(open_b), **keep(page, 3, second))
        yield page.case()

    page, a, b = opened("a hedge holds where one side alone would not", 5, -3)
    page.say(f"alone, {A} would be liquidated at (5000 - 1000) / 45 = 88.9; {B} opens 10 lower, which brings 600")
    level(page, a, b, 40)
    page.bar((90, 91, 85, 90), flat(40), **keep(page, 5, -3))
    yield page.case()

    page, a, b = opened("neither is reached alone, but the closes together are too low", 3, 3, costs={"liquidation": 0.01})
    level(page, a, b, 50)
    page.say(f"{A} at 86 with {B} at its open: 1000 - 420 = 580 > 0.1 * (2580 + 3000); {B} at 43 with {A} at its open: the same")
    page.bar((100, 100, 86, 86), (50, 50, 43, 43), **keep(page, 3, 3))
    page.say("at the closes: 1000 - 420 - 420 = 160 <= 0.1 * (2580 + 2580) = 516")
    page.fill(-a, 86, "liquidation", symbol=A)
    page.fill(-b, 43, "liquidation", symbol=B)
    page.bar(flat(86), flat(43), **keep(page, 3, 3))
    yield page.case()

    page, a, b = opened("a stop of one leaves the other", 3, 2, stops={"stop_loss": 0.05})
    page.bar((100, 100, 94, 96), flat(49), **keep(page, 3, 2))
    page.fill(-a, 95, "stop_loss", symbol=A)
    page.bar(flat(96), flat(49), **keep(page, 3, 2))
    yield page.case()

    page, a, b = opened("a stop goes before the liquidation that it prevents", 4, 3, stops={"stop_loss": 0.02})
    page.bar((100, 100, 70, 80), flat(50), **keep(page, 4, 3))
    page.fill(-a, 98, "stop_loss", symbol=A)
    yield page.case()


def isolated_margin():
    account = {"leverage": 10, "margin_mode": "isolated", "brackets": [[0, 0.05]]}
    for second in (2, -2):
        page, a, b = two(f"isolated: {A} is liquidated, {B} {second} is not", 3, second, account=account, costs={"liquidation": 0.01})
        page.bar(FLAT, HALF, **keep(page, 3, second))
        page.fill(a, 100, symbol=A)
        page.fill(b, 50, symbol=B)
        price = (a * 100 - 300) / (a * exact("0.95"))
        page.say(f"{A}: margin 30 * 100 / 10 = 300, level (3000 - 300) / (30 * 0.95) = {plain(price)}")
        page.bar((100, 100, 90, 95), flat(50), **keep(page, 3, second))
        page.fill(-a, price, "liquidation", symbol=A)
        page.bar(flat(95), flat(51), **keep(page, 3, second))
        yield page.case()

    page, a, b = two("isolated: a gap takes the margin of one and nothing of the other", 3, 2, account=account)
    page.bar(FLAT, HALF, **keep(page, 3, 2))
    page.fill(a, 100, symbol=A)
    page.fill(b, 50, symbol=B)
    page.bar(flat(80), flat(50), **keep(page, 3, 2))
    page.fill(-a, 80, "liquidation", symbol=A, realised=-300, fee=0)
    yield page.case()


def coins():
    """B is the coin itself, A its perpetual, both at 100."""

    def opened(name, perpetual, coin, mode="cross", **terms):
        account = {"leverage": 5, "margin_mode": mode, "brackets": [[0, 0.1]], "instruments": {B: {"spot": True}}}
        page = Page(name, account=account, symbols=[A, B], columns=("funding_rate",), **terms)
        targets = {"target": {A: perpetual, B: coin}}
        page.bar((*FLAT, 0), (*FLAT, 0), **targets)
        a, b = page.size(perpetual, A), page.size(coin, B)
        page.bar((*FLAT, 0), (*FLAT, 0), **targets)
        page.fill(a, 100, symbol=A)
        page.fill(b, 100, symbol=B)
        return page, a, b, targets

    for end in (80, 130):
        page, a, b, targets = opened(f"cash and carry: the price to {end} changes nothing", -0.5, 0.5, costs={"taker": 0.001})
        page.bar((*flat(end), 0.01), (*flat(end), 0), **targets)
        page.bar((*flat(end), 0.01), (*flat(end), 0), target={A: 0, B: 0})
        page.bar((*flat(end), 0.01), (*flat(end), 0), target={A: 0, B: 0})
        page.fill(-a, end, symbol=A)
        page.fill(-b, end, symbol=B)
        yield page.case()

    page, a, b, targets = opened("a coin pays no funding", 0.5, 0.5)
    page.bar((*FLAT, 0.01), (*FLAT, 0.01), **targets)
    yield page.case()

    page, a, b, targets = opened("a coin lends nothing: the short beside it is liquidated while the coin has gained as much", -0.5, 0.5)
    price = (500 + 500) / exact("5.5")
    page.say(f"behind the short stand 1000 less the 500 paid for the coin: (5 * 100 + 500) / (5 * 1.1) = {plain(price)}")
    page.bar((150, 190, 150, 180, 0), (*flat(150), 0), **targets)
    page.fill(-a, price, "liquidation", symbol=A)
    page.bar((*flat(180), 0), (*flat(180), 0), **targets)
    yield page.case()

    page, a, b, targets = opened("a coin is never liquidated", 2, 0.5)
    price = (2000 - 500) / exact(18)
    page.say(f"(20 * 100 - 500) / (20 * 0.9) = {plain(price)}")
    page.bar((90, 90, 70, 75, 0), (*flat(75), 0), **targets)
    page.fill(-a, price, "liquidation", symbol=A)
    page.bar((*flat(75), 0), (*flat(1), 0), **targets)
    yield page.case()

    page, a, b, targets = opened("a coin's money is set aside before an isolated margin", 2, 0.5, mode="isolated")
    page.bar((*FLAT, 0.4), (*FLAT, 0), target={A: 2, B: 0})
    page.say("of the 200 left all stand behind the coin, nothing behind the perpetual: 0 + 20 * (100 - 100) <= 0.1 * 2000")
    page.fill(-a, 100, "liquidation", symbol=A)
    page.bar((*FLAT, 0), (*flat(70), 0), target={A: 2, B: 0})
    page.fill(-b, 70, symbol=B)
    yield page.case()

    account = {"leverage": 5, "brackets": [[0, 0.1]], "instruments": {B: {"spot": True}}}
    page = Page(
        "a coin paid with a perpetual's open profit loses what it loses", account=account, symbols=[A, B], columns=("funding_rate",)
    )
    page.bar((*FLAT, 0), (*FLAT, 0), target={A: 2, B: 0})
    long = page.size(2, A)
    page.bar((*FLAT, 0), (*FLAT, 0), target={A: 2, B: 0})
    page.fill(long, 100, symbol=A)
    page.bar((*flat(200), 0.4), (*FLAT, 0), target={A: 2, B: 0.5})
    page.say("the wallet owes 600, the open profit is 2000")
    coin = page.size(0.5, B)
    page.bar((*flat(200), 0), (*FLAT, 0), target={A: 2, B: 0})
    page.fill(coin, 100, symbol=B)
    page.bar((*flat(200), 0), (*flat(60), 0), target={A: 2, B: 0})
    page.fill(-coin, 60, symbol=B)
    yield page.case()

    page = Page("with less than nothing no coin is bought, nor sold short", account=account, symbols=[A, B], columns=("mark",))
    page.bar((*FLAT, 100), (*FLAT, 100), target={A: -2, B: 0})
    short = page.size(-2, A)
    page.bar((*FLAT, 200), (*FLAT, 100), target={A: -2, B: 0.5})
    page.fill(short, 100, symbol=A)
    page.say(
        "at its mark of 200 the short has lost 2000 of 1000: the equity is 0, so is the coin's order; at the close of 100 it is covered"
    )
    page.bar((*FLAT, 100), (*FLAT, 100), target={A: -2, B: 0.5})
    yield page.case()


FAMILIES = (sizes, settlements, missing_bars, cross_margin, isolated_margin, coins)
