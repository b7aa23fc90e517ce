"""A page of accounts kept by hand, in exact fractions: whoever writes a case says what is traded, when, at which price and why.

The page knows only the bookkeeping, by these formulas:

    size of an order = target * equity / close - position, at the deciding close (equity at the mark)
    realised         = quantity closed * (price - entry), entry = average price of what was bought (or sold short)
    fee              = rate * |quantity| * price: taker for orders, stops and time stops, maker for limits and take-profits
    funding          = - position * mark of the bar before * rate, paid before the open (no mark: at the open); none on a coin
    cash             = 1000 + realised - fees + funding
    equity           = cash + position * (mark - entry), at least 0

It decides nothing: no level is tested, nothing fills by itself.
"""

from fractions import Fraction
from math import prod

RATES = {"limit": "maker", "take_profit": "maker", "liquidation": "liquidation"}
PRICES = ("open", "high", "low", "close")


def exact(value) -> Fraction:
    """0.001 is one thousandth, not the float beside it."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


def plain(value):
    """As JSON: a number where ten digits say it exactly, else 'a/b'."""
    value = Fraction(value)
    short = round(float(value), 10)
    if exact(short) != value:
        return str(value)
    return int(short) if short == int(short) else short


def product(*values) -> Fraction:
    return prod(map(exact, values))


class Page:
    """One case. `bar` opens a bar and closes the one before; `fill` writes a trade of this bar; `case` closes the book."""

    def __init__(self, name, *, account=None, costs=None, stops=None, columns=(), symbols=None):
        self.name, self.lines = name, []
        self.terms = {"account": account or {}, "costs": costs or {}, "stops": stops or {}}
        self.columns, self.symbols = tuple(columns), symbols or [""]
        self.cash = Fraction(1000)
        self.position = dict.fromkeys(self.symbols, Fraction(0))
        self.entry = dict.fromkeys(self.symbols, Fraction(0))
        self.mark = dict.fromkeys(self.symbols, Fraction(0))
        self.close = dict.fromkeys(self.symbols, Fraction(0))
        self.bars = {symbol: [] for symbol in self.symbols}
        self.targets = {symbol: [] for symbol in self.symbols}
        self.limits = {symbol: [] for symbol in self.symbols}
        self.fills, self.funding, self.equities = [], [], []

    def say(self, *lines):
        """Why: a line of the derivation."""
        self.lines += lines

    def bar(self, *rows, target=None, limit=None):
        """Open, high, low, close, then the case's columns; for several symbols one such row each, None where a bar is missing."""
        if self.bars[self.symbols[0]]:
            self.equities.append(self.equity())
        several = self.symbols != [""]
        rows = dict(zip(self.symbols, rows)) if several else {"": rows}
        targets, limits = (value if isinstance(value, dict) else {"": value} for value in (target, limit))
        for symbol, row in rows.items():
            self.bars[symbol].append(None if row is None else [exact(value) for value in row])
            self.targets[symbol].append(targets.get(symbol))
            self.limits[symbol].append(limits.get(symbol))
        for symbol, row in rows.items():
            if row is not None:
                self._settle(symbol)

    def _settle(self, symbol):
        named = dict(zip((*PRICES, *self.columns), self.bars[symbol][-1]))
        rate, before = named.get("funding_rate", 0), self.mark[symbol]
        if rate and self.position[symbol] and not self.coin(symbol):
            mark = before if "mark" in named else named["open"]
            amount = -self.position[symbol] * mark * rate
            self.cash += amount
            self.funding.append([*self._label(symbol), self.now, amount])
            held = plain(self.position[symbol])
            self.say(f"{self._at(symbol)}: funding - {held} * {plain(mark)} * {plain(rate)} = {plain(amount)}")
        self.close[symbol] = named["close"]
        self.mark[symbol] = named.get("mark", named["close"])

    @property
    def now(self) -> int:
        """Number of the bar that is open."""
        return len(self.bars[self.symbols[0]]) - 1

    def coin(self, symbol) -> bool:
        """Whether the symbol is spot."""
        return self.terms["account"].get("instruments", {}).get(symbol, {}).get("spot", False)

    def _label(self, symbol):
        return [symbol] if symbol else []

    def _at(self, symbol):
        return f"bar {self.now}" + (f", {symbol}" if symbol else "")

    def equity(self) -> Fraction:
        """At the last marks."""
        open_profit = sum(self.position[s] * (self.mark[s] - self.entry[s]) for s in self.symbols)
        return max(self.cash + open_profit, Fraction(0))

    def size(self, target, symbol="", lot=None) -> Fraction:
        """The order that target asks for at this bar's close; rounded down in size to whole lots."""
        target, held = exact(target), self.position[symbol]
        wanted = target * self.equity() / self.close[symbol]
        asked = f"{plain(target)} * {plain(self.equity())} / {plain(self.close[symbol])} = {plain(wanted)}"
        if lot is not None:
            lots = abs(wanted) // exact(lot)
            wanted = (1 if wanted > 0 else -1) * lots * exact(lot)
            asked += f", {lots} whole lots of {plain(exact(lot))}: {plain(wanted)}"
        self.say(f"close of {self._at(symbol)}: wanted {asked}" + (f", held {plain(held)}: order {plain(wanted - held)}" if held else ""))
        return wanted - held

    def fill(self, quantity, price, reason="order", *, symbol="", why=None, realised=None, fee=None):
        """A trade. `realised` and `fee` are given where the margin limits them."""
        quantity, price = exact(quantity), exact(price)
        held, entry = self.position[symbol], self.entry[symbol]
        after, closed = held + quantity, Fraction(0)
        if held * quantity < 0:
            closed = held if after * held <= 0 else -quantity
        natural = closed * (price - entry)
        realised = natural if realised is None else exact(realised)
        rate = exact(self.terms["costs"].get(RATES.get(reason, "taker"), 0))
        full = rate * abs(quantity) * price
        fee = full if fee is None else exact(fee)
        words = f"{self._at(symbol)}: {reason} {plain(quantity)} at {plain(price)}" + (f" ({why})" if why else "")
        if closed:
            words += f", realised {plain(closed)} * ({plain(price)} - {plain(entry)}) = {plain(natural)}"
            words += "" if realised == natural else f", of which the account bears {plain(realised)}"
        if full:
            words += f", fee {plain(rate)} * {plain(abs(quantity))} * {plain(price)} = {plain(full)}"
            words += "" if fee == full else f", of which {plain(fee)} is left to take"
        self.say(words)
        if held * after <= 0:
            self.entry[symbol] = price if after else Fraction(0)
        elif abs(after) > abs(held):
            self.entry[symbol] = (held * entry + quantity * price) / after
            self.say(f"average entry {plain(self.entry[symbol])}")
        self.position[symbol] = after
        self.cash += realised - fee
        self.fills.append([*self._label(symbol), self.now, quantity, price, fee, realised, reason])

    def case(self) -> dict:
        """The case as it stands in the file."""
        self.equities.append(self.equity())
        self.say(f"equity at the closes: {', '.join(str(plain(value)) for value in self.equities)}")
        case = {"name": self.name, "derivation": self.lines}
        case |= {name: value for name, value in self.terms.items() if value}
        if self.columns:
            case["columns"] = list(self.columns)
        one = self.symbols == [""]
        for name, table in (("bars", self.bars), ("targets", self.targets), ("limits", self.limits)):
            if name == "limits" and not any(value is not None for column in table.values() for value in column):
                continue
            written = {symbol: [_written(row) for row in rows] for symbol, rows in table.items()}
            case[name] = written[""] if one else written
        case["fills"] = [[_written(value) for value in fill] for fill in self.fills]
        if self.funding:
            case["funding"] = [[_written(value) for value in payment] for payment in self.funding]
        return case | {"equity": [plain(value) for value in self.equities]}


def _written(value):
    if isinstance(value, list):
        return [_written(part) for part in value]
    return value if value is None or isinstance(value, str) else plain(exact(value))
