"""The auditor of `sequences`: replays what the clock logged, fill by fill, and holds each against the laws of the money.

Nothing of the clock is called. All sequences of a batch go through a bar together; for each the auditor keeps wallet, positions, average
entries, best prices and counts of closes of its own. Money is compared to 1e-9 of what moves (float noise), prices to 1e-9 of themselves.
"""

from types import SimpleNamespace

import numpy as np
from accounts import NOISE, Accounts, near, toward_zero
from sequences import CASH, Batch, Lived, last_told

from quantalpha.perp.clock import REASONS
from quantalpha.perp.costs import CEILING


def audit(batch: Batch, lived: Lived) -> "Auditor":
    """`broken` of the answer: law -> the sequences that broke it; empty where all is well."""
    return Auditor(batch, lived)


class Auditor(Accounts):
    def __init__(self, batch: Batch, lived: Lived):
        super().__init__(batch)
        self.lived, self.broken, self.worst_error = lived, {}, 0.0
        self.wanted = np.full(batch.target.shape, np.nan)  # positions decided at each close
        self.ordinal = np.cumsum(self.present, axis=1)  # of a symbol's bars
        self.over = (self.ordinal == self.ordinal[:, -1:]) & (np.arange(self.bars) < self.bars - 1)[:, None]  # from its last bar on
        steps = self._steps()
        for i in range(self.bars):
            self.begin(i)
            self.fund(i)
            for rows in steps.get((i, False), []):
                self.fill(i, rows)
            self.close(i)
            for rows in steps.get((i, True), []):
                self.fill(i, rows)
            self.check_equity(i)
        self.finish()

    def law(self, name: str, holds: np.ndarray, sequences: np.ndarray) -> None:
        if not np.all(holds):
            self.broken[name] = np.append(self.broken.get(name, np.empty(0, int)), np.asarray(sequences)[~np.asarray(holds)])

    def _steps(self) -> dict[tuple[int, bool], list[np.ndarray]]:
        """(Bar, whether it is over) -> rows of fills to look at together: the first of each sequence, then the second ..."""
        bar, sequence = self.lived.fills[:, [0, 9]].astype(int).T
        key = sequence * self.bars + bar
        self.law("time runs one way", np.diff(key) >= 0, sequence[1:])
        first = np.r_[True, np.diff(key) != 0][: len(key)]
        slot = np.arange(len(key)) - np.flatnonzero(first)[np.cumsum(first) - 1]
        over = self.lived.fills[:, 1] == REASONS.index("delisting")
        order, steps = np.lexsort((slot, over, bar)), {}
        together = np.diff(np.stack([bar, over, slot])[:, order], axis=1).any(axis=0)
        for rows in np.split(order, np.flatnonzero(together) + 1):
            steps.setdefault((int(bar[rows[0]]), bool(over[rows[0]])) if rows.size else (0, False), []).append(rows)
        return steps

    # --- opening of a bar ----------------------------------------------------------------------------------------------------------

    def begin(self, i):
        self.price = np.where(self.present[:, i], self.market.open[:, i], self.price)
        self.closes = np.where(self.present[:, i], self.market.close[:, i], self.price)
        self.limit_fill, self.lent = np.full((2, *self.position.shape), np.nan)
        self.born = np.zeros(self.position.shape, bool)
        self.filled, self.liquidated = np.zeros((2, len(self.cash)), bool)

    def fund(self, i):
        due = self.present[:, i] & (self.market.rate[:, i] != 0.0) & (self.position != 0.0) & ~self.coin
        before = self.market.mark[:, i - 1] if i else np.full(due.shape, np.nan)
        mark = np.where(np.isnan(before), self.market.open[:, i], before)
        amount = np.where(due, -self.position * mark * self.market.rate[:, i], 0.0)
        rows = self.lived.paid[self.lived.paid[:, 0] == i]
        b, s, paid = rows[:, 6].astype(int), rows[:, 5].astype(int), np.zeros_like(amount)
        paid[b, s] = rows[:, 1]
        self.law("funding is paid once", np.diff(b * self.symbols + s) > 0, b[1:])
        self.law("funding = -position * mark * rate, where held and due", near(paid, amount).all(axis=1), self.everyone)
        self.law("a payment tells its rate, mark and quantity", near(rows[:, 1], -rows[:, 2] * rows[:, 3] * rows[:, 4]), b)
        self.cash += paid.sum(axis=1)

    # --- a fill of each of some sequences --------------------------------------------------------------------------------------------

    def fill(self, i, rows):
        table = self.lived.fills[rows]
        self.law("what is logged is finite", np.isfinite(table).all(axis=1), table[:, 9].astype(int))
        f = SimpleNamespace(i=i, b=table[:, 9].astype(int), s=table[:, 8].astype(int))
        f.quantity, f.price, f.fee, f.realised, f.after, f.slippage = table[:, 2:8].T
        f.of = {name: table[:, 1] == code for code, name in enumerate(REASONS)}
        f.held, f.entry, f.trade = self.position[f.b, f.s], self.entry[f.b, f.s], np.sign(f.quantity)
        f.side, f.coin, f.alone = np.sign(f.held), self.coin[f.b, f.s], self.alone[f.b, f.s]
        f.open, f.high, f.low = (column[f.b, i, f.s] for column in self.market[:3])
        f.worst, f.gain = np.where(f.side > 0.0, f.low, f.high), np.where(f.side > 0.0, f.high, f.low)
        f.noise = NOISE * (CASH + np.abs(self.cash[f.b]) + (np.abs(f.held) + np.abs(f.quantity)) * (f.price + f.entry))
        f.at_open = f.open * (1.0 + f.trade * self.slip(i, f.b, f.s, f.quantity, f.open))
        limit = self.limit_fill[f.b, f.s]  # after a limit fill the market has been there
        f.seen = np.where(np.isnan(limit), f.open, f.side * np.fmin(f.side * f.open, f.side * limit))
        f.stop, f.trail, f.nearest = self.stops(f.b, f.s)
        f.quoted = f.side * np.minimum(f.nearest, f.side * f.seen)
        f.margin, f.wallet, f.others = self.in_step(f, *self.stands_behind(f, self.price[f.b]))
        self.check_position(f)
        self.check_entries(f)
        self.check_stops(f)
        self.check_profits(f)
        self.check_liquidations(f)
        self.check_money(f)
        self.book(f)

    def stands_behind(self, f, prices):
        return [table[np.arange(len(f.b)), f.s] for table in self.behind(f.b, prices)]

    def in_step(self, f, margin, wallet, others):
        """What others lend is looked at once a step: an exit right after a limit fill finds it as it was before that fill."""
        before = self.cash[f.b] + self.lent[f.b, f.s]
        initial = np.abs(f.held) * f.entry / self.rules.leverage[f.b, f.s]
        after_limit = ~np.isnan(before)
        margin = np.where(after_limit, np.where(f.alone, np.minimum(initial, before), before), margin)
        return margin, np.where(after_limit, before, wallet), others

    def check_position(self, f):
        lot = self.rules.lot[f.b, f.s]
        lots = np.where(lot > 0.0, f.after / np.where(lot > 0.0, lot, 1.0), 0.0)
        size = np.abs(f.held) + np.abs(f.quantity)
        enters = f.of["order"] | f.of["limit"]
        self.law("position = before + quantity", np.abs(f.after - f.held - f.quantity) <= NOISE * size, f.b)
        self.law("positions are whole lots", np.abs(lots - np.rint(lots)) <= 1e-6 * np.maximum(np.abs(lots), 1.0), f.b)
        self.law("an exit leaves nothing", enters | (f.after == 0.0) & (f.held != 0.0), f.b)
        self.law("a coin is never sold short", ~f.coin | (f.after >= 0.0), f.b)
        self.law("a coin is never liquidated", ~f.coin | ~f.of["liquidation"], f.b)
        beyond = ~f.coin & (f.held != 0.0) & (f.margin + f.held * (f.price - f.entry) < -f.noise)
        self.law("nobody trades with less than nothing", ~(f.of["order"] | f.of["time_stop"]) | ~beyond, f.b)

    def check_entries(self, f):
        """Some earlier close ordered just this: target * equity / close, due now (or resting since), large enough, at this price."""

        def column(values):
            return values[:, None]

        quantity, price, trade, at_open = (column(values) for values in (f.quantity, f.price, f.trade, f.at_open))
        waited = column(self.ordinal[f.b, f.i, f.s]) - self.ordinal[f.b, :, f.s]
        known = self.present[f.b, :, f.s] & ~np.isnan(self.batch.target[f.b, :, f.s]) & (np.arange(self.bars) < f.i)
        wanted, close, limit = (table[f.b, :, f.s] for table in (self.wanted, self.market.close, self.batch.limit))
        size = np.abs(wanted - column(f.after)) <= NOISE * (np.abs(column(f.held)) + np.abs(quantity))
        least = column(f.after == 0.0) | (np.abs(quantity) * close >= column(self.rules.min_notional[f.b, f.s]) * (1.0 - NOISE))
        tick, due = column(self.rules.tick[f.b, f.s]), column(self.rules.delay[f.b, f.s]) + 1
        lowered = toward_zero(limit, tick)
        level = np.where((trade < 0.0) & (lowered < limit * (1.0 - 1e-12)), lowered + tick, lowered)
        at_market = ((limit == 0.0) | np.isfinite(column(self.rules.band[f.b, f.s]))) & near(at_open, price)
        bounded = near(trade * np.minimum(trade * level, trade * at_open), price)
        at_once = (limit > 0.0) & (level > 0.0) & (trade * (level - column(f.open)) >= 0.0) & bounded
        rested = (limit > 0.0) & (level > 0.0) & (waited < due + column(self.rules.limit_bars[f.b, f.s])) & near(level, price)
        ordered, limited = (known & size & least & way for way in ((waited == due) & (at_market | at_once), (waited >= due) & rested))
        dust = np.abs(f.quantity) * f.price <= NOISE  # ordered with the rounding error that is left of a lost account
        self.law("an order is what was decided, when it is due, at its price", ~f.of["order"] | ordered.any(axis=1) | dust, f.b)
        self.law("a limit order is what was decided, at its limit, in its time", ~f.of["limit"] | limited.any(axis=1) | dust, f.b)
        through = np.where(f.trade > 0.0, f.low < f.price, f.high > f.price)
        self.law("a limit order is traded through", ~f.of["limit"] | through, f.b)

    def check_stops(self, f):
        stopped, slip = f.of["stop_loss"] | f.of["trailing_stop"], self.slip(f.i, f.b, f.s, f.quantity, f.quoted)
        touched = f.side * f.worst <= f.nearest + NOISE * np.abs(f.nearest)
        right = touched & near(f.price, f.quoted * (1.0 - f.side * slip))
        self.law("a stop is touched and filled no better than its level", ~stopped | right, f.b)
        own = np.where(f.of["trailing_stop"], f.trail, f.stop)
        self.law("of two stops the nearer", ~stopped | near(f.side * own, f.nearest), f.b)
        level = f.side * f.nearest
        above = f.margin + f.held * (level - f.entry) >= self.maintenance(f.b, f.s, f.held, level) + f.others - f.noise
        self.law("a stop beyond the liquidation is none", ~stopped | f.coin | above, f.b)
        in_time = near(f.price, f.at_open) & (self.count[f.b, f.s] >= self.rules.max_bars[f.b, f.s])
        self.law("a time stop is at the open, in time", ~f.of["time_stop"] | in_time, f.b)
        ended = self.over[f.b, f.i, f.s] & near(f.price, self.price[f.b, f.s])
        self.law("a delisting is at the last mark", ~f.of["delisting"] | ended, f.b)

    def check_profits(self, f):
        fraction = self.rules.take_profit[f.b, f.s]
        level = f.side * f.entry * (1.0 + f.side * np.where(np.isfinite(fraction), fraction, np.nan))
        touched = f.side * f.gain >= level - NOISE * np.abs(level)
        right = touched & near(f.price, f.side * np.maximum(f.side * f.open, level))
        self.law("a take-profit is touched and filled at its level or the open", ~f.of["take_profit"] | right, f.b)
        untouched = ~(f.side * f.worst <= f.nearest - NOISE * np.abs(f.nearest))
        makers = (f.of["take_profit"] | f.of["limit"]) & (f.held != 0.0)
        self.law("the losing side comes first", ~makers | untouched, f.b)

    def check_liquidations(self, f):
        """At the level or where the market already was; at the open of an order that would leave nothing; with another; at the closes."""
        rows = f.of["liquidation"]
        left = f.margin + f.held * (f.price - f.entry) - self.maintenance(f.b, f.s, f.held, f.price) - f.others
        reached = f.side * f.worst <= f.side * f.price + NOISE * f.price
        inside = reached & (left <= f.noise) & ((np.abs(left) <= f.noise) | near(f.price, f.seen))
        modelled = np.isnan(self.rules.slippage[f.b, f.s])
        dearest = f.open * (1.0 - f.side * np.where(modelled, CEILING, self.rules.slippage[f.b, f.s]))  # whatever the order's size
        at_open = near(f.price, f.open) & (f.margin + f.held * (dearest - f.entry) <= f.noise)
        together = self.liquidated[f.b] & ~f.alone
        caused = inside | at_open | together & near(f.price, self.price[f.b, f.s])
        late = rows & ~caused & ~f.alone & (self.symbols > 1) & near(f.price, self.closes[f.b, f.s])
        margin, wallet, others = self.stands_behind(f, self.closes[f.b])
        short = margin + f.held * (f.price - f.entry) <= self.maintenance(f.b, f.s, f.held, f.price) + others + f.noise
        self.law("a liquidation has cause and its price", ~rows | caused | late & (short | together), f.b)
        f.margin, f.wallet = np.where(late, margin, f.margin), np.where(late, wallet, f.wallet)

    def check_money(self, f):
        """Nothing is forgiven but what is lost beyond the margin; no fee is more than what is left."""
        closed = np.where(f.held * f.quantity < 0.0, f.side * np.minimum(np.abs(f.quantity), np.abs(f.held)), 0.0)
        natural = closed * (f.price - f.entry)
        borne = np.where((f.held != 0.0) & (f.held * f.after <= 0.0), np.maximum(natural, -f.margin), natural)
        self.law("realised = closed * (price - entry), forgiven beyond the margin", np.abs(f.realised - borne) <= f.noise, f.b)
        makers, rules = f.of["take_profit"] | f.of["limit"], (self.rules.maker, self.rules.liquidation, self.rules.taker)
        maker, liquidation, taker = (rate[f.b, f.s] for rate in rules)
        full = np.select([makers, f.of["liquidation"]], [maker, liquidation], taker) * np.abs(f.quantity) * f.price
        left = f.wallet + f.realised + np.where(f.held != 0.0, (f.held - closed) * (f.price - f.entry), 0.0)
        left = np.where(f.of["liquidation"], np.minimum(left, f.margin + f.held * (f.price - f.entry)), left)
        self.law("fee = rate * notional, at most what is left", np.abs(f.fee - np.minimum(full, np.maximum(left, 0.0))) <= f.noise, f.b)
        stopped = f.of["stop_loss"] | f.of["trailing_stop"]
        quoted = np.where(f.of["order"] | f.of["time_stop"], f.open, np.where(stopped, f.quoted, f.price))
        lost = np.abs(f.quantity) * np.abs(f.price - quoted)
        self.law("slippage is what the price lost", np.abs(f.slippage - lost) <= f.noise, f.b)

    def book(self, f):
        fresh, more, flat = f.held * f.after <= 0.0, np.abs(f.after) > np.abs(f.held), f.after == 0.0
        average = (f.held * f.entry + f.quantity * f.price) / np.where(flat, 1.0, f.after)
        best = self.best[f.b, f.s]
        further = f.side * np.maximum(f.side * best, f.side * f.price)
        started = np.where(flat, 0.0, f.price)
        self.entry[f.b, f.s] = np.where(fresh, started, np.where(more, average, f.entry))
        self.best[f.b, f.s] = np.where(fresh, started, np.where(more, further, best))
        self.lent[f.b] = np.nan
        self.lent[f.b, f.s] = np.where(f.of["limit"], f.wallet - self.cash[f.b], np.nan)
        self.limit_fill[f.b, f.s] = np.where(f.of["limit"], f.price, np.nan)
        self.born[f.b, f.s] |= f.of["limit"] & fresh & ~flat
        self.position[f.b, f.s], self.count[f.b, f.s] = f.after, 0.0
        self.cash[f.b] += f.realised - f.fee
        self.filled[f.b] = True
        self.liquidated[f.b] |= f.of["liquidation"] & ~f.alone

    # --- close of a bar, end of the story --------------------------------------------------------------------------------------------

    def close(self, i):
        held = self.present[:, i] & (self.position != 0.0)
        self.missed(i, *np.nonzero(held & ~self.filled[:, None]))
        if self.symbols > 1:
            margin, _, others = self.behind(self.everyone, self.closes)
            needed = self.maintenance(self.everyone, slice(None), self.position, self.closes) + others
            covered = margin + self.profit(self.everyone, self.closes) > needed - self.noise(self.closes)
            holds = (covered | self.alone | (self.position == 0.0)).all(axis=1)
            self.law("no account lives below its maintenance margin at the closes", holds, self.everyone)
        high, low = self.market.high[:, i], self.market.low[:, i]
        extreme = np.where(self.position > 0.0, np.fmax(self.best, high), np.fmin(self.best, low))
        self.best = np.where(held & ~self.born, extreme, self.best)
        self.count += held
        mark = self.market.mark[:, i]
        self.price = np.where(np.isnan(mark), self.closes, mark)
        delisting = (self.over[:, i] & held).any(axis=1)  # whose fees come after the decisions
        equity = np.where(delisting, self.worth(self.price), self.lived.equity[:, i])[:, None]
        self.wanted[:, i] = toward_zero(self.batch.target[:, i] * equity / self.market.close[:, i], self.rules.lot)

    def check_equity(self, i):
        held = (self.over[:, i] & (self.position != 0.0)).any(axis=1)
        self.law("nothing is held after a symbol's last bar", ~held, self.everyone)
        equity, noise = self.lived.equity[:, i], self.noise(self.price).sum(axis=1)
        self.law("equity is finite and never below zero", np.isfinite(equity) & (equity >= -noise), self.everyone)
        self.law("equity = cash + open profit", np.abs(equity - self.worth(self.price)) <= noise, self.everyone)

    def missed(self, i, b, s):
        """What would have had to happen to positions in a bar in which nothing did."""
        held, entry, side = self.position[b, s], self.entry[b, s], np.sign(self.position[b, s])
        high, low = self.market.high[b, i, s], self.market.low[b, i, s]
        worst, gain = np.where(side > 0.0, low, high), np.where(side > 0.0, high, low)
        margin, _, others = (table[np.arange(len(b)), s] for table in self.behind(b, self.price[b]))
        noise = self.noise(self.price)[b, s] + NOISE * np.abs(held) * worst
        above = margin + held * (worst - entry) > self.maintenance(b, s, held, worst) + others - noise
        self.law("no liquidation is missed", above | self.coin[b, s], b)
        nearest = self.stops(b, s)[2]
        self.law("no stop is missed", ~(side * worst <= nearest - NOISE * np.abs(nearest)), b)
        profit = side * entry * (1.0 + side * self.rules.take_profit[b, s])
        self.law("no take-profit is missed", ~(side * gain >= profit + NOISE * np.abs(profit)), b)
        self.law("no time stop is missed", self.count[b, s] < self.rules.max_bars[b, s], b)

    def finish(self):
        fills, paid = self.lived.fills, self.lived.paid
        flows, moved = np.zeros((2, len(self.cash)))
        for rows, amounts in ((fills, fills[:, 5]), (fills, -fills[:, 4]), (paid, paid[:, 1])):
            np.add.at(flows, rows[:, -1].astype(int), amounts)
            np.add.at(moved, rows[:, -1].astype(int), np.abs(amounts))
        error = np.abs(self.lived.cash - CASH - flows) / (CASH + moved)
        self.worst_error = float(error.max())
        self.law("wallet = start + realised - fees + funding", error <= NOISE, self.everyone)
        opened = np.isin(fills[:, 1], (REASONS.index("order"), REASONS.index("limit"))) & (fills[:, 6] == fills[:, 2])
        times = np.zeros(self.position.shape)
        np.add.at(times, (fills[opened, 9].astype(int), fills[opened, 8].astype(int)), 1.0)
        changes = (np.diff(np.nan_to_num(last_told(self.batch.target)), axis=1, prepend=0.0) != 0.0).sum(axis=1)
        self.law("after an exit nothing opens before the target changes", (times <= changes).all(axis=1), self.everyone)
